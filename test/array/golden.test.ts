import { copyFileSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as ndshm from 'ndshm';
import { describeWithNumpy, runPython } from '../helpers/python';
import { freshName, shmPath } from '../helpers/shm';

const golden = resolve(__dirname, '../fixtures/segment-v1.npy');
const values = [
  [1, 2, 3],
  [4, 5, 6],
];

function placed(): string {
  const name = freshName();
  copyFileSync(golden, shmPath(name));
  return name;
}

describe('the golden segment of layout version 1', () => {
  test.each(['r', 'r+', 'c'] as const)('opens in mode %s', (mode) => {
    const a = ndshm.open(placed(), { mode });
    expect([a.dtype, a.shape, a.isFContiguous, a.toNested()]).toEqual(['float32', [2, 3], true, values]);
    a.close();
  });

  test('has its fields where docs/format.md draws them', () => {
    const bytes = readFileSync(golden);
    const control = bytes.subarray(8192);
    expect(bytes.length).toBe(4096 + 4096 + 20480);
    expect(control.toString('latin1', 0, 8)).toBe('NDSHMCTL');
    expect([control.readUInt32LE(8), control.readUInt32LE(12)]).toEqual([1, 20480]);
    expect([control.readBigUInt64LE(16), control.readBigUInt64LE(24)]).toEqual([4096n, 24n]);
    expect([control.readUInt32LE(48), control.readUInt32LE(52)]).toEqual([0, 256]);
    const info = ndshm.stat(placed());
    expect(info.id).toBe(control.toString('hex', 32, 48));
    expect(info.createdAt?.getTime()).toBe(Number(control.readBigUInt64LE(56) / 1_000_000n));
    expect(control.subarray(64, 4096).every((byte) => byte === 0)).toBe(true);
    // The first peer: used, once claimed, in mode r+.
    const peer = control.subarray(4096, 4160);
    expect([peer.readUInt32LE(4), peer.readUInt32LE(8), peer.readUInt32LE(12)]).toEqual([1, 1, 2]);
    expect(peer.readUInt32LE(32)).toBe(Number(peer.readBigUInt64LE(16)));
    expect(control.subarray(4160).every((byte) => byte === 0)).toBe(true);
  });

  test('has no living peer, although a slot says so: the kernel is the witness', () => {
    expect(ndshm.stat(placed()).peers).toEqual([]);
  });
});

describeWithNumpy('numpy and the golden segment', () => {
  test('opens it with the same values', () => {
    const program =
      'a = np.load(given, mmap_mode="r"); print(json.dumps([a.tolist(), str(a.dtype), bool(a.flags.f_contiguous)]))';
    expect(runPython(program, shmPath(placed()))).toEqual([values, 'float32', true]);
  });
});
