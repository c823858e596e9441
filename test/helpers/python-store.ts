import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { python } from './python';

const found = python !== undefined && spawnSync(python, ['-c', 'import msgpack, pyarrow']).status === 0;
if (!found && process.env['CI'] === 'true') {
  throw new Error('CI needs a Python with msgpack and pyarrow; .ci/run installs them');
}

/** describe(), but left out with its name in the report where Python has no msgpack and pyarrow. In CI it has. */
export const describeWithMsgpack: jest.Describe = found ? describe : describe.skip;

/**
 * What a PythonPeer's program begins with that reads and writes objects of stores: by test/python, which knows nothing of
 * ndshm but docs/format.md.
 */
export const pythonStore = `
import sys
sys.path.insert(0, ${JSON.stringify(resolve(__dirname, '../python'))})
sys.dont_write_bytecode = True
from object_reader import decode
from object_writer import encode
import store_reader
from store_reader import object_bytes

def place(address, byteLength):
    """Which file is mapped there, and at which byte of its page."""
    for line in open('/proc/self/maps'):
        span, *_, file = line.rstrip('\\n').split(' ', 5)
        low, high = (int(end, 16) for end in span.split('-'))
        if low <= address and address + byteLength <= high:
            return {'file': file.strip(), 'at': address % 4096}
`;
