"""The bytes of an object, by docs/format.md alone: of lists, dicts, numbers, strings, arrays and Arrow streams."""
import struct

import msgpack
import numpy as np


def encode(value):
    specials, buffers = [], []

    def special(tag, *parts, data):
        specials.append([tag, *parts, len(buffers)])
        buffers.append(data)
        return msgpack.ExtType(1, struct.pack('<I', len(specials) - 1))

    def part(value):
        if isinstance(value, np.ndarray):
            order = 'C' if value.flags.c_contiguous else 'F'
            return special('ndarray', value.dtype.str, value.shape, order, data=value.tobytes(order))
        return special('Arrow', data=value)  # pyarrow's buffer, of an IPC stream

    root = msgpack.packb(value, default=part)
    document = struct.pack('>BI', 0xDD, 1 + len(specials)) + root + b''.join(map(msgpack.packb, specials))
    return join(document, buffers)


def join(document, buffers):
    end = 16 + 16 * len(buffers) + len(document)
    table, laid = b'', b''
    for data in buffers:
        gap = -end % (4096 if len(data) >= 2**20 else 64)
        table += struct.pack('<QQ', end + gap, len(data))
        laid += bytes(gap) + bytes(data)
        end += gap + len(data)
    return struct.pack('<4sIII', b'NDOB', 1, len(document), len(buffers)) + table + document + laid
