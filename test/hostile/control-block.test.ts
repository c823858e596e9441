import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { holdings, randomFrom } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const controlBytes = 20_480;
const fields = { layoutVersion: 8, controlBytes: 12, dataOffset: 16, dataBytes: 24, flags: 48, peerSlots: 52 };

function golden(): Buffer {
  const name = freshName('golden');
  ndshm.fromArray(name, [1.5, 2.5, 3.5]).close();
  const bytes = readFileSync(shmPath(name));
  ndshm.unlink(name);
  return bytes;
}

/** What open() in each mode, stat() and a second peer make of these bytes: all right, or coded errors; never a crash. */
function judge(bytes: Buffer): string[] {
  const name = freshName('judged');
  writeFileSync(shmPath(name), bytes);
  const outcomes = (['r', 'r+', 'c'] as const).map((mode) => {
    try {
      const a = ndshm.open(name, { mode });
      const b = ndshm.open(name);
      expect([a.toNested(), b.toNested()]).toEqual([
        [1.5, 2.5, 3.5],
        [1.5, 2.5, 3.5],
      ]);
      ndshm.stat(name);
      b.close();
      a.close();
      return 'works';
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === 'ENOENT') return 'gone'; // flags said ephemeral, and the last peer has left
      if (code?.startsWith('ERR_NDSHM_CONTROL') !== true) throw error;
      return `${code} ${message}`;
    }
  });
  ndshm.gc();
  try {
    ndshm.unlink(name);
  } catch {
    expect(outcomes).toContain('gone');
  }
  return outcomes;
}

describe('a corrupt control block', () => {
  const bytes = golden();
  const start = bytes.length - controlBytes;

  test('is the one that these tests mean to corrupt', () => {
    expect(bytes.toString('latin1', start, start + 8)).toBe('NDSHMCTL');
    expect(judge(bytes)).toEqual(['works', 'works', 'works']);
  });

  test('with any byte changed is an error or a working array', () => {
    const before = holdings();
    const inspected = 64 + 192 + 64; // header and lock words; then the first peer slot
    for (let n = 0; n < inspected; n++) {
      const at = start + (n < 256 ? n : 4096 + n - 256);
      for (const value of [0x00, 0xff, (bytes[at] as number) ^ 1]) {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        judge(changed);
      }
    }
    expect(holdings()).toEqual(before);
  });

  test.each(Object.entries(fields).filter(([field]) => field !== 'flags'))(
    'with another %s is refused',
    (field, at) => {
      const changed = Buffer.from(bytes);
      changed.writeUInt32LE(77, start + at);
      const code = field === 'layoutVersion' ? 'ERR_NDSHM_CONTROL_VERSION' : 'ERR_NDSHM_CONTROL_CORRUPT';
      for (const outcome of judge(changed)) {
        expect(outcome).toContain(code);
        expect(outcome).toContain('77');
      }
    },
  );

  test('of another version is refused with an error that names both', () => {
    const name = freshName();
    const changed = Buffer.from(bytes);
    changed.writeUInt32LE(9, start + fields.layoutVersion);
    writeFileSync(shmPath(name), changed);
    expect(thrownBy(() => ndshm.open(name)).message).toMatch(/version 9.*version 1/);
    expect(ndshm.stat(name).problem?.code).toBe('ERR_NDSHM_CONTROL_VERSION');
    expect(ndshm.gc()).not.toContain(name);
    ndshm.unlink(name);
  });

  test('written over while peers have it open harms neither them nor whoever comes', () => {
    const name = freshName();
    const random = randomFrom(1);
    const a = ndshm.fromArray(name, [1.5, 2.5, 3.5]);
    const fd = openSync(shmPath(name), 'r+');
    for (let round = 0; round < 300; round++) {
      // Everything behind the header, which tells newcomers whether there is a control block at all.
      const noise = Buffer.from(Array.from({ length: 4096 }, () => Math.floor(random() * 256)));
      writeSync(fd, noise.subarray(64), 0, 4032, start + 64);
      writeSync(fd, noise, 0, 4096, start + 4096 + 4096 * (round % 4));
      const b = ndshm.open(name, { mode: 'r+' });
      expect(ndshm.stat(name).peers.length).toBe(2);
      expect([...b]).toEqual([1.5, 2.5, 3.5]);
      b.close();
    }
    closeSync(fd);
    expect([...a]).toEqual([1.5, 2.5, 3.5]);
    a.close();
    ndshm.unlink(name);
  });
});
