import { type DType, dtypes, float16IsBits } from 'ndshm';
import { builtinTypes as types } from '../../../dist/manager/types';
import { thrownBy } from '../../helpers/shm';

const outOfRange = 'ERR_NDSHM_OUT_OF_RANGE';

describe('an array', () => {
  test.each(dtypes)('of %s has zeros, and takes and gives its elements', (dtype) => {
    const array = new types.array(dtype, 3);
    const one =
      { complex64: { re: 1, im: 2 }, complex128: { re: 1, im: 2 }, bool: true, int64: 1n, uint64: 1n }[
        dtype as string
      ] ?? 1;
    const zero = array.get(0);
    expect([array.dtype, array.length]).toEqual([dtype, 3]);
    array.set(1, one);
    expect([array.get(0), array.get(1), array.get(-2), array.get(2)]).toEqual([zero, one, one, zero]);
    array.fill(one);
    const all = [one, one, one];
    expect([0, 1, 2].map((index) => array.get(index))).toEqual(all);
    // What it gives makes another one of the same kind.
    for (const same of [new types.array(dtype, all), new types.array(dtype, array.toArray())]) {
      expect(same.toArray()).toEqual(array.toArray());
      expect(same.length).toBe(3);
    }
    array.setSlice(1, new types.array(dtype, 2).toArray());
    expect([0, 1, 2].map((index) => array.get(index))).toEqual([one, zero, zero]);
  });

  test('gives parts as typed arrays of their own', () => {
    const array = new types.array('int32', [1, 2, 3, 4]);
    const part = array.slice(1, 3);
    expect(part).toEqual(Int32Array.of(2, 3));
    part[0] = 99;
    array.toArray()[0] = 99;
    expect([array.slice(-2), array.slice(2), array.slice()]).toEqual([
      Int32Array.of(3, 4),
      Int32Array.of(3, 4),
      Int32Array.of(1, 2, 3, 4),
    ]);
    expect(new types.array('complex64', [{ re: 1, im: 2 }, 3]).slice(-1)).toEqual(Float32Array.of(3, 0));
  });

  test('keeps a copy of what it is made of', () => {
    const given = Int32Array.of(1, 2);
    const array = new types.array('int32', given);
    given[0] = 99;
    expect(array.toArray()).toEqual(Int32Array.of(1, 2));
  });

  test('is changed from a position on by all elements or by none', () => {
    const array = new types.array('uint8', 4);
    array.setSlice(1, [1, 2]);
    array.setSlice(-1, Uint8Array.of(9));
    array.setSlice(4, []);
    array.setSlice(0, Int16Array.of(7)); // of another dtype, element by element
    expect([...array.toArray()]).toEqual([7, 1, 2, 9]);
    for (const [start, items, code] of [
      [3, [1, 2], outOfRange],
      [5, [], outOfRange],
      [-5, [], outOfRange],
      [0, [1, 256], outOfRange],
      [0, [1, 'x'], 'ERR_NDSHM_INVALID_ARGUMENT'],
      [0, Int16Array.of(1, -1), outOfRange],
      [0, 5, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ] as [number, number[], string][]) {
      expect(thrownBy(() => array.setSlice(start, items)).code).toBe(code);
    }
    expect([...array.toArray()]).toEqual([7, 1, 2, 9]);
  });

  test('has no element beyond its ends, and none that does not fit', () => {
    const array = new types.array('int8', [1, 2]);
    expect(thrownBy(() => array.slice(0.5)).code).toBe(outOfRange);
    for (const index of [2, -3, 0.5]) {
      expect(thrownBy(() => array.get(index)).code).toBe(outOfRange);
      expect(thrownBy(() => array.set(index, 1)).code).toBe(outOfRange);
    }
    expect(thrownBy(() => array.set(0, 128)).code).toBe(outOfRange);
    expect(thrownBy(() => array.fill(-129)).code).toBe(outOfRange);
    expect(thrownBy(() => new types.array('int8', -1)).code).toBe(outOfRange);
    expect(thrownBy(() => new types.array('int9' as DType, 1)).code).toBe('ERR_NDSHM_DTYPE');
    expect([...array.toArray()]).toEqual([1, 2]);
    expect(thrownBy(() => new types.array('int8', 0).get(0)).code).toBe(outOfRange);
  });

  test('of bool takes bytes as elements, and only 0 and 1', () => {
    expect(new types.array('bool', Uint8Array.of(0, 1)).get(1)).toBe(true);
    expect(thrownBy(() => new types.array('bool', Uint8Array.of(0, 2))).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('of float16 gives what SharedArray.data gives', () => {
    const data = new types.array('float16', [1.5]).toArray();
    expect(data.constructor.name).toBe(float16IsBits ? 'Uint16Array' : 'Float16Array');
  });
});
