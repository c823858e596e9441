import { readFileSync, writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { bytesOf, fillFrom } from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { type Content, PythonPeer } from '../helpers/python-peer';
import { freshName, shmPath } from '../helpers/shm';

const program = `
import os, warnings
warnings.simplefilter('ignore', UserWarning) # numpy says that version 2.0 and 3.0 need a newer numpy

def everything(a):
    return {**content(a), 'C': a.flags.c_contiguous, 'F': a.flags.f_contiguous}

def random(given):
    """The same bytes in every element type; booleans are 0 or 1."""
    count = int(np.prod(given['shape'], dtype=np.int64))
    dtype = np.dtype(given['dtype'])
    raw = np.random.default_rng(7).integers(0, 2 if dtype == bool else 256, count * dtype.itemsize, dtype=np.uint8)
    return raw.view(dtype).reshape(given['shape'], order=given['order'])

def answer(given):
    path = '/dev/shm/' + given['name']
    if given['do'] == 'see':
        a = np.load(path, mmap_mode=given['mode'])
        assert a.flags.writeable == (given['mode'] != 'r')
        return everything(a.view(np.ndarray))
    if given['do'] == 'reverse': # what is there, with the bytes of each element inverted
        a = mapped(given['name'], 'r+')
        before = everything(a)
        a[...] = np.logical_not(a) if a.dtype == bool else reversed_bytes(a)
        return before
    a = random(given)
    if given['do'] == 'save':
        with open(path, 'wb') as file:
            np.lib.format.write_array(file, a, version=given['version'] and tuple(given['version']))
    elif given['do'] == 'open_memmap':
        np.lib.format.open_memmap(path, 'w+', a.dtype, tuple(given['shape']), given['order'] == 'F', given['version'] and tuple(given['version']))[...] = a
    seen = mapped(given['name'])
    assert seen.tobytes() == a.tobytes()
    return everything(seen)

def reversed_bytes(a):
    part = {8: np.float32, 16: np.float64}[a.dtype.itemsize] if a.dtype.kind == 'c' else a.dtype
    turned = np.ascontiguousarray(a).reshape(-1).view(f'u{np.dtype(part).itemsize}')
    return np.invert(turned).view(a.dtype).reshape(a.shape)
`;

const shapes = [[], [1], [7], [0], [3, 4], [1, 5], [5, 1], [0, 3], [3, 0], [2, 3, 4], [1, 1, 2], [2, 0, 2]];
const everyCase = ndshm.dtypes.flatMap((dtype) =>
  (['C', 'F'] as const).flatMap((order) => shapes.map((shape) => ({ dtype, order, shape }))),
);

const everything = (array: ndshm.SharedArray) => ({
  dtype: array.dtype,
  shape: [...array.shape],
  strides: [...array.strides],
  bytes: bytesOf(array),
  C: array.isCContiguous,
  F: array.isFContiguous,
});

/** With the bits of each entry inverted (false and true exchanged). */
function inverted({ dtype, bytes }: { dtype: string; bytes: string }): string {
  const content = Buffer.from(bytes, 'hex');
  return Buffer.from(content.map((byte) => (dtype === 'bool' ? 1 - byte : 255 - byte))).toString('hex');
}

type Everything = Content & { C: boolean; F: boolean };

describeWithNumpy('a segment is an .npy file', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  test('numpy maps what create() made, in every mode, for every dtype, order and shape', async () => {
    for (const { dtype, order, shape } of everyCase) {
      const array = ndshm.create(freshName(), { dtype, order, shape, ephemeral: true });
      fillFrom(array, dtype === 'bool' ? [1, 0, 0] : dtype.includes('int64') ? [1n, 100n, 77n] : [1, 100, 77, 3, 64]);
      for (const mode of ['r', 'r+', 'c']) {
        expect(await numpy.ask({ do: 'see', name: array.name, mode })).toEqual(everything(array));
      }
      array.close();
    }
  });

  test('what numpy writes is seen here, for every dtype, order and shape', async () => {
    for (const { dtype, order, shape } of everyCase) {
      const array = ndshm.create(freshName(), { dtype, order, shape, ephemeral: true });
      const before = everything(array);
      expect(await numpy.ask({ do: 'reverse', name: array.name })).toEqual(before);
      expect(everything(array)).toEqual({ ...before, bytes: inverted(before) });
      array.close();
    }
  });

  // 1.0 is what numpy takes by itself; the others have a longer header length.
  const versions = [null, [1, 0], [2, 0], [3, 0]];

  test.each(['save', 'open_memmap'])('open() maps in every mode what numpy wrote by %s', async (how) => {
    for (const [n, { dtype, order, shape }] of everyCase.entries()) {
      const name = freshName();
      const version = versions[n % versions.length];
      const written = await numpy.ask<Everything>({ do: how, name, dtype, order, shape, version });
      for (const mode of ['r', 'r+', 'c'] as const) {
        const array = ndshm.open(name, { mode });
        expect(everything(array)).toEqual(written);
        expect(array.mode).toBe(mode);
        array.close();
      }
      ndshm.unlink(name);
    }
  });

  test('in numpy’s own file, r+ writes for numpy and c for itself', async () => {
    for (const order of ['C', 'F']) {
      const name = freshName();
      await numpy.ask({ do: 'save', name, dtype: 'int32', order, shape: [3, 4], version: null });
      const shared = ndshm.open<'int32'>(name, { mode: 'r+' });
      const alone = ndshm.open<'int32'>(name, { mode: 'c' });
      shared.slice(1).copyFrom([1, 2, 3, 4]);
      alone.slice(2).fill(-1);
      const seen = await numpy.ask<Everything>({ do: 'see', name, mode: 'r' });
      expect(seen).toEqual(everything(shared));
      expect(alone.slice(1).toNested()).toEqual([1, 2, 3, 4]);
      expect(alone.slice(2).toNested()).toEqual([-1, -1, -1, -1]);
      expect(shared.slice(2).toNested()).not.toEqual([-1, -1, -1, -1]);
      shared.close();
      alone.close();
      ndshm.unlink(name);
    }
  });

  test('headers padded to other lengths open, as long as the elements are aligned', async () => {
    const name = freshName();
    await numpy.ask({ do: 'save', name, dtype: 'float64', order: 'C', shape: [5], version: null });
    const original = readFileSync(shmPath(name));
    const dict = original.toString('latin1', 10, original.indexOf('}') + 1);
    const elements = original.subarray(10 + original.readUInt16LE(8));
    for (const end of [72, 80, 88, 96, 160, 4096, 8192, 10_000]) {
      const header = Buffer.alloc(end, ' ', 'latin1');
      original.copy(header, 0, 0, 8);
      header.writeUInt16LE(end - 10, 8);
      header.write(`${dict}`, 10, 'latin1');
      header.write('\n', end - 1, 'latin1');
      writeFileSync(shmPath(name), Buffer.concat([header, elements]));
      const array = ndshm.open(name);
      expect(everything(array)).toEqual(await numpy.ask({ do: 'see', name, mode: 'r' }));
      expect(bytesOf(array)).toBe(elements.toString('hex'));
      array.close();
    }
    ndshm.unlink(name);
  });
});
