import { rmSync, writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { bytesOf } from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { PythonPeer } from '../helpers/python-peer';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

// The peer owns the segments as long as it lives: Python's resource tracker takes them away when it ends.
const program = `
from multiprocessing.shared_memory import SharedMemory
segments = {}

def answer(given):
    name = given['name']
    if given['do'] == 'create':
        segments[name] = SharedMemory(name, create=True, size=given['size'])
        return segments[name].size
    if given['do'] == 'fill':
        count = given['size'] - given['offset']
        np.frombuffer(segments[name].buf, np.uint8, count, given['offset'])[:] = np.arange(count) % (2 if given['dtype'] == 'bool' else 251)
    if given['do'] == 'remove':
        segment = segments.pop(name)
        segment.close()
        segment.unlink()
        return None
    a = np.ndarray(given['shape'], given['dtype'], segments[name].buf, given['offset'], order=given['order'])
    return a.tobytes().hex()
`;

describeWithNumpy('openRaw of a Python SharedMemory', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  const size = 1000;

  test('shows what Python shows, for every dtype, offset, shape and order; writes in r+ are seen by Python', async () => {
    const name = freshName();
    expect(await numpy.ask({ do: 'create', name, size })).toBe(size);
    for (const dtype of ndshm.dtypes) {
      for (const order of ['C', 'F'] as const) {
        for (const [offset, shape] of [
          [0, [5, 3]],
          [16, [2, 3, 4]],
          [48, []],
          [1000, [0]],
          [992, dtype === 'complex128' ? [0, 2] : [1]],
        ] as const) {
          const described = { name, size, dtype, offset, shape, order };
          const expected = await numpy.ask<string>({ do: 'fill', ...described });
          const reader = ndshm.openRaw(name, { dtype, shape, byteOffset: offset, order });
          const writer = ndshm.openRaw(name, { dtype, shape, byteOffset: offset, order, mode: 'r+' });
          expect([bytesOf(reader), bytesOf(writer)]).toEqual([expected, expected]);
          expect([reader.mode, writer.mode, reader.dtype]).toEqual(['r', 'r+', dtype]);
          const raw = new Uint8Array(writer.data.buffer, writer.data.byteOffset, writer.nbytes);
          for (let n = 0; n < raw.length; n++)
            raw[n] = dtype === 'bool' ? 1 - (raw[n] as number) : 255 - (raw[n] as number);
          expect(await numpy.ask({ do: 'see', ...described })).toBe(bytesOf(writer));
          expect(bytesOf(reader)).toBe(bytesOf(writer));
          reader.close();
          writer.close();
        }
      }
    }
    await numpy.ask({ do: 'remove', name });
  });

  test('mode c writes for itself alone, and a handle finds the same raw bytes', async () => {
    const name = freshName();
    await numpy.ask({ do: 'create', name, size });
    const described = { name, size, dtype: 'uint16', offset: 10, shape: [4], order: 'C' };
    const before = await numpy.ask({ do: 'fill', ...described });
    const alone = ndshm.openRaw(name, { dtype: 'uint16', shape: [4], byteOffset: 10, mode: 'c' });
    alone.fill(7);
    expect(await numpy.ask({ do: 'see', ...described })).toBe(before);
    expect(alone.toNested()).toEqual([7, 7, 7, 7]);
    const again = ndshm.attach(JSON.parse(JSON.stringify(alone.handle)));
    expect(bytesOf(again)).toBe(before);
    again.close();
    alone.close();
    await numpy.ask({ do: 'remove', name });
  });
});

describe('openRaw', () => {
  const name = freshName('raw');
  beforeAll(() =>
    writeFileSync(
      shmPath(name),
      Uint8Array.from({ length: 100 }, (_, n) => n),
    ),
  );
  afterAll(() => rmSync(shmPath(name)));

  test('without a shape takes all whole elements from the offset to the end', () => {
    for (const [dtype, byteOffset, count] of [
      ['uint8', 0, 100],
      ['uint8', 99, 1],
      ['uint8', 100, 0],
      ['float64', 0, 12],
      ['float64', 8, 11],
      ['complex128', 8, 5],
      ['int16', 98, 1],
    ] as const) {
      const array = ndshm.openRaw(name, { dtype, byteOffset });
      expect(array.shape).toEqual([count]);
      array.close();
    }
  });

  test.each<[what: string, options: object, code: string]>([
    ['one element too many', { dtype: 'uint8', shape: [101] }, 'ERR_NDSHM_TRUNCATED'],
    ['one byte too many behind an offset', { dtype: 'float64', shape: [12], byteOffset: 8 }, 'ERR_NDSHM_TRUNCATED'],
    ['an offset past the end', { dtype: 'uint8', byteOffset: 101 }, 'ERR_NDSHM_TRUNCATED'],
    ['a size past 2^53', { dtype: 'float64', shape: [2 ** 52, 2] }, 'ERR_NDSHM_SHAPE'],
    ['an odd offset for float64', { dtype: 'float64', shape: [1], byteOffset: 4 }, 'ERR_NDSHM_ALIGNMENT'],
    ['an odd offset for int16', { dtype: 'int16', byteOffset: 1 }, 'ERR_NDSHM_ALIGNMENT'],
    ['half an element’s offset for complex64', { dtype: 'complex64', byteOffset: 2 }, 'ERR_NDSHM_ALIGNMENT'],
    ['no dtype', {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['an unknown dtype', { dtype: 'float128' }, 'ERR_NDSHM_DTYPE'],
    ['a dtype that is inherited', { dtype: 'toString' }, 'ERR_NDSHM_DTYPE'],
    ['a dtype that is no string', { dtype: 8 }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['a negative offset', { dtype: 'uint8', byteOffset: -1 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['a fractional offset', { dtype: 'uint8', byteOffset: 0.5 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['an offset in words', { dtype: 'uint8', byteOffset: '8' }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['another order', { dtype: 'uint8', order: 'A' }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['another mode', { dtype: 'uint8', mode: 'w' }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['an unknown option', { dtype: 'uint8', offset: 8 }, 'ERR_NDSHM_INVALID_ARGUMENT'],
  ])('refuses %s', (_what, options, code) => {
    expect(thrownBy(() => ndshm.openRaw(name, options as ndshm.OpenRawOptions)).code).toBe(code);
  });

  test('refuses a name that is not there, and no options', () => {
    expect(thrownBy(() => ndshm.openRaw(freshName(), { dtype: 'uint8' })).code).toBe('ENOENT');
    expect(thrownBy(() => ndshm.openRaw(name, undefined as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });
});
