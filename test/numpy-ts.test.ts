import * as ndshm from 'ndshm';
import { asNumpy, fromNumpy } from 'ndshm/numpy';
import * as np from 'numpy-ts';
import { freshName, thrownBy } from './helpers/shm';

const made: ndshm.SharedArray[] = [];
const keep = <D extends ndshm.DType>(array: ndshm.SharedArray<D>): ndshm.SharedArray<D> => {
  made.push(array as unknown as ndshm.SharedArray);
  return array;
};
const create = (dtype: ndshm.DType, shape: number[], order: ndshm.Order = 'C') =>
  keep(ndshm.create(freshName(), { shape, dtype, order, ephemeral: true }));

afterEach(() => {
  for (const array of made.splice(0)) array.close();
});

const usable = ndshm.dtypes.filter((dtype) => dtype !== 'float16' || !ndshm.float16IsBits);

describe('asNumpy', () => {
  test('shares the memory in both directions', () => {
    const a = create('float64', [2, 3]);
    const nd = asNumpy(a);
    nd.set([1, 2], 5);
    a.set([0, 0], 7);
    expect(nd.toArray()).toEqual([
      [7, 0, 0],
      [0, 0, 5],
    ]);
    nd.fill(3);
    expect(a.toNested()).toEqual([
      [3, 3, 3],
      [3, 3, 3],
    ]);
  });

  test.each(usable)('gives %s arrays with the same elements, C and Fortran order alike', (dtype) => {
    for (const order of ['C', 'F'] as const) {
      const a = create(dtype, [2, 3], order);
      const { kind } = { kind: dtype };
      const value = (n: number) =>
        kind === 'bool'
          ? n % 2 === 1
          : kind.startsWith('complex')
            ? { re: n, im: -n }
            : /int64/.test(kind)
              ? BigInt(n)
              : n;
      for (let n = 0; n < 6; n++) a.set([Math.floor(n / 3), n % 3], value(n) as number);
      const nd = asNumpy(a);
      expect([nd.dtype, [...nd.shape]]).toEqual([dtype, [2, 3]]);
      for (let n = 0; n < 6; n++) {
        const got = nd.get([Math.floor(n / 3), n % 3]);
        const plain = typeof got === 'object' ? { re: got.re, im: got.im } : kind === 'bool' ? got === 1 : got;
        expect(plain).toEqual(value(n));
      }
    }
  });

  test('keeps the strides of views, and computes on them', () => {
    const a = create('float64', [4, 5]);
    a.copyFrom(Float64Array.from({ length: 20 }, (_, n) => n));
    const view = a.slice('::-2', '1:4').transpose();
    const nd = asNumpy(view as ndshm.SharedArray);
    expect(nd.toArray()).toEqual(view.toNested());
    expect(np.sum(nd)).toBe((view.toNested() as number[][]).flat().reduce((sum, x) => sum + x, 0));
    nd.set([0, 0], -1);
    expect(a.get(3, 1)).toBe(-1);
  });

  test('writes in mode r reach nobody else', () => {
    const a = create('int32', [3]);
    const nd = asNumpy(keep(ndshm.open(a.name as string)));
    nd.set([0], 9);
    expect(a.get(0)).toBe(0);
  });

  test('is empty after close, and refuses what is no array', () => {
    const a = create('float64', [3]);
    const nd = asNumpy(a);
    a.close();
    expect(nd.data.length).toBe(0);
    expect(thrownBy(() => asNumpy(a)).code).toBe('ERR_NDSHM_CLOSED');
    expect(thrownBy(() => asNumpy([1] as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => fromNumpy('x', [1] as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('says which runtime has float16 over given memory, where this one has not', () => {
    const a = create('float16', [3]);
    if (ndshm.float16IsBits) expect(thrownBy(() => asNumpy(a)).message).toMatch(/Float16Array.*Node 24/);
    else expect(asNumpy(a).dtype).toBe('float16');
  });
});

describe('fromNumpy', () => {
  test.each(ndshm.dtypes)('creates an equal %s array', (dtype) => {
    const nd = np.arange(0, 6, 1, 'float64').reshape(2, 3).astype(dtype);
    const a = keep(fromNumpy(freshName(), nd, { ephemeral: true }));
    expect([a.dtype, a.shape, a.mode]).toEqual([dtype, [2, 3], 'r+']);
    const numbers = (a.toNested() as unknown[][])
      .flat()
      .map((x) => (typeof x === 'object' ? (x as ndshm.Complex).re : Number(x)));
    expect(numbers).toEqual(dtype === 'bool' ? [0, 1, 1, 1, 1, 1] : [0, 1, 2, 3, 4, 5]);
  });

  test('takes views with any strides, and broadcast ones', () => {
    const nd = np.arange(0, 12, 1, 'float64').reshape(3, 4);
    const t = keep(fromNumpy(freshName(), nd.T, { ephemeral: true }));
    expect(t.toNested()).toEqual(nd.T.toArray());
    const b = np.broadcast_to(np.array([1, 2, 3]), [4, 3]);
    expect(keep(fromNumpy(freshName(), b, { ephemeral: true })).toNested()).toEqual(b.toArray());
  });
});
