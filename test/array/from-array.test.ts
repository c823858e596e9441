import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { arrayCase, bytesOf, runs, shapeUpTo, sliceItems, withArray } from '../helpers/arrays';
import { exists, freshName, thrownBy } from '../helpers/shm';

const ephemeral = { ephemeral: true } as const;

describe('fromArray', () => {
  test.each([
    [new Int8Array([-1, 2]), 'int8'],
    [new Uint8Array([1, 2]), 'uint8'],
    [new Uint8ClampedArray([1, 300]), 'uint8'],
    [Buffer.from('ab'), 'uint8'],
    [new Int16Array([-1, 2]), 'int16'],
    [new Uint16Array([1, 2]), 'uint16'],
    [new Int32Array([-1, 2]), 'int32'],
    [new Uint32Array([1, 2]), 'uint32'],
    [new BigInt64Array([-1n, 2n]), 'int64'],
    [new BigUint64Array([1n, 2n]), 'uint64'],
    [new Float32Array([0.5, -0]), 'float32'],
    [new Float64Array([0.5, NaN]), 'float64'],
  ] as const)('takes %p with its own dtype, as a copy', (source, dtype) => {
    const array = ndshm.fromArray(freshName(), source, ephemeral);
    expect([array.dtype, array.shape, array.mode]).toEqual([dtype, [2], 'r+']);
    expect(array.toNested()).toEqual([...source]);
    const before = bytesOf(array);
    new Uint8Array(source.buffer, source.byteOffset, source.byteLength).fill(99);
    expect(bytesOf(array)).toBe(before);
    array.close();
  });

  test.each([
    [
      [
        [1, 2.5],
        [3, 4],
      ],
      'float64',
      [2, 2],
    ],
    [[true, false], 'bool', [2]],
    [[1n, -(2n ** 63n)], 'int64', [2]],
    [[{ re: 1, im: 2 }, 3], 'complex128', [2]],
    [[], 'float64', [0]],
    [[[], []], 'float64', [2, 0]],
    [7, 'float64', []],
    [true, 'bool', []],
    [5n, 'int64', []],
  ] as const)('infers what %p is', (source, dtype, shape) => {
    const array = ndshm.fromArray(freshName(), source as never, ephemeral);
    expect([array.dtype, array.shape]).toEqual([dtype, shape]);
    const expected =
      dtype === 'complex128'
        ? [
            { re: 1, im: 2 },
            { re: 3, im: 0 },
          ]
        : source;
    expect(array.toNested()).toEqual(expected);
    array.close();
  });

  test('copies any view of any SharedArray, in either order', async () => {
    const cases = arrayCase(shapeUpTo(150)).chain((from) => fc.tuple(fc.constant(from), sliceItems(from.shape)));
    await fc.assert(
      fc.asyncProperty(cases, fc.constantFrom('C', 'F'), ([from, items], order) =>
        withArray(from, (array) => {
          const view = array.slice(...items);
          const copy = ndshm.fromArray(freshName(), view, { order, ...ephemeral });
          expect([copy.dtype, copy.shape, bytesOf(copy)]).toEqual([view.dtype, view.shape, bytesOf(view)]);
          expect(order === 'C' ? copy.isCContiguous : copy.isFContiguous).toBe(true);
          copy.close();
        }),
      ),
      runs(200),
    );
  });

  test('fills another shape in C order, whatever the order of the memory and the kind of source', () => {
    const flat = Float32Array.of(1, 2, 3, 4, 5, 6);
    const shared = ndshm.anonymous({ shape: [6], dtype: 'float32' }).copyFrom(flat);
    for (const source of [
      flat,
      shared,
      shared.reshape([3, 2]),
      [...flat],
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
    ]) {
      for (const order of ['C', 'F'] as const) {
        const array = ndshm.fromArray(freshName(), source, { shape: [2, 3], order, dtype: 'float32', ...ephemeral });
        expect(array.toNested()).toEqual([
          [1, 2, 3],
          [4, 5, 6],
        ]);
        expect([...array.data]).toEqual(order === 'C' ? [1, 2, 3, 4, 5, 6] : [1, 4, 2, 5, 3, 6]);
        array.close();
      }
    }
    shared.close();
  });

  test('converts to the dtype asked for where each element fits', () => {
    const floats = ndshm.fromArray(freshName(), Int32Array.of(1, -2), { dtype: 'float16', ...ephemeral });
    expect(floats.toNested()).toEqual([1, -2]);
    const big = ndshm.fromArray(freshName(), [1, 2n], { dtype: 'uint64', ...ephemeral });
    expect(big.toNested()).toEqual([1n, 2n]);
    const complex = ndshm.fromArray(freshName(), Float32Array.of(1, 2, 3, 4), { dtype: 'complex64', ...ephemeral });
    expect(complex.toNested()).toEqual([
      { re: 1, im: 2 },
      { re: 3, im: 4 },
    ]);
    const booleans = ndshm.fromArray(freshName(), Uint8Array.of(0, 1), { dtype: 'bool', ...ephemeral });
    expect(booleans.toNested()).toEqual([false, true]);
    for (const each of [floats, big, complex, booleans]) each.close();
  });

  const itself: unknown[] = [];
  itself.push(itself);
  test.each<[what: string, source: unknown, options: object, code: string]>([
    ['a value outside the dtype', [1, 300], { dtype: 'uint8' }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['a fraction for an integer', Float64Array.of(0.5), { dtype: 'int32' }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['bigints for floats', [1n], { dtype: 'float64' }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['several kinds of elements', [1, true], {}, 'ERR_NDSHM_DTYPE'],
    ['strings', ['1'], {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['a string', '12', {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['undefined', undefined, {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['null', null, {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['holes', new Array(3), {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['an object', { length: 2 }, {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['a DataView', new DataView(new ArrayBuffer(8)), {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['an ArrayBuffer', new ArrayBuffer(8), {}, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['ragged arrays', [[1, 2], [3]], {}, 'ERR_NDSHM_SHAPE'],
    ['ragged arrays of the right total', [[1], [2, 3]], { shape: [3], dtype: 'int8' }, 'ERR_NDSHM_SHAPE'],
    ['an array that contains itself', itself, {}, 'ERR_NDSHM_SHAPE'],
    ['too few elements', Int8Array.of(1, 2, 3), { shape: [2, 2] }, 'ERR_NDSHM_SHAPE'],
    ['too many elements', Int8Array.of(1, 2, 3, 4, 5), { shape: [2, 2] }, 'ERR_NDSHM_SHAPE'],
    ['an odd number of parts for complex', Float32Array.of(1, 2, 3), { dtype: 'complex64' }, 'ERR_NDSHM_SHAPE'],
    ['an unknown dtype', [1], { dtype: 'float128' }, 'ERR_NDSHM_DTYPE'],
    ['an unknown order', [1], { order: 'A' }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['an unknown option', [1], { type: 'int8' }, 'ERR_NDSHM_INVALID_ARGUMENT'],
  ])('refuses %s and leaves no name', (_what, source, options, code) => {
    const name = freshName();
    expect(thrownBy(() => ndshm.fromArray(name, source as never, options)).code).toBe(code);
    expect(exists(name)).toBe(false);
  });

  test('leaves no name where a getter of the source throws, or changes the source between two looks', () => {
    const thrower = [1, 2];
    Object.defineProperty(thrower, 1, {
      get() {
        throw new Error('trap');
      },
    });
    const name = freshName();
    expect(thrownBy(() => ndshm.fromArray(name, thrower)).message).toBe('trap');

    let looks = 0;
    const changing = [
      [1, 2],
      [3, 4],
    ];
    Object.defineProperty(changing, 1, { get: () => (looks++ === 0 ? [3, 4] : [3, 4, 5, 6, 7]) });
    expect(thrownBy(() => ndshm.fromArray(name, changing)).code).toBe('ERR_NDSHM_SHAPE');
    const complex = {
      re: 1,
      get im(): number {
        throw new Error('trap');
      },
    };
    expect(thrownBy(() => ndshm.fromArray(name, [complex], { dtype: 'complex128' })).message).toBe('trap');
    expect(exists(name)).toBe(false);
  });

  test('refuses a source that has been closed', () => {
    const closed = ndshm.anonymous({ shape: [2] });
    closed.close();
    const name = freshName();
    expect(thrownBy(() => ndshm.fromArray(name, closed)).code).toBe('ERR_NDSHM_CLOSED');
    expect(exists(name)).toBe(false);
  });
});
