import fc from 'fast-check';
import * as ndshm from 'ndshm';
import {
  type ArrayCase,
  arrayCase,
  bytesOf,
  fillFrom,
  runs,
  shapeUpTo,
  sliceItems,
  timeoutMs,
  withArray,
} from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { type Content, PythonPeer } from '../helpers/python-peer';
import { thrownBy } from '../helpers/shm';

const anonymous = <D extends ndshm.DType>(dtype: D, shape: number[]): ndshm.SharedArray<D> =>
  ndshm.anonymous({ dtype, shape });

/** get(), set() and the like with what TypeScript would not let through. */
type Loose = { set(index: unknown, value: unknown): void; fill(value: unknown): void; copyFrom(source: unknown): void };
const loose = (array: object): Loose => array as Loose;

const integerRanges: [ndshm.DType, number, number][] = [
  ['int8', -128, 127],
  ['uint8', 0, 255],
  ['int16', -32768, 32767],
  ['uint16', 0, 65535],
  ['int32', -2147483648, 2147483647],
  ['uint32', 0, 4294967295],
];
const bigRanges: [ndshm.DType, bigint, bigint][] = [
  ['int64', -(2n ** 63n), 2n ** 63n - 1n],
  ['uint64', 0n, 2n ** 64n - 1n],
];

describe('set and get', () => {
  test.each(integerRanges)('%s takes whole numbers from %d to %d and nothing else', (dtype, low, high) => {
    const array = anonymous(dtype, [2]);
    for (const value of [low, high, 0, 1]) {
      array.set(1, value);
      expect(array.get(1)).toBe(value);
      array.set(1, BigInt(value) as never);
      expect(array.get(1)).toBe(value);
    }
    for (const value of [low - 1, high + 1, 0.5, NaN, Infinity, -Infinity, 1e300, 2n ** 70n]) {
      const error = thrownBy(() => loose(array).set(1, value));
      expect([error.code, error.name]).toEqual(['ERR_NDSHM_OUT_OF_RANGE', 'RangeError']);
    }
    expect(array.toNested()).toEqual([0, 1]);
    array.close();
  });

  test.each(bigRanges)('%s takes bigints from %d to %d and safe whole numbers', (dtype, low, high) => {
    const array = anonymous(dtype, [2]);
    for (const value of [low, high, 0n, 1n, 2n ** 53n + 1n]) {
      array.set(1, value);
      expect(array.get(1)).toBe(value);
    }
    loose(array).set(1, 2 ** 53 - 1);
    expect(array.get(1)).toBe(2n ** 53n - 1n);
    for (const value of [low - 1n, high + 1n, 0.5, NaN, Infinity, 2 ** 53, -(2 ** 53), 1e300]) {
      const error = thrownBy(() => loose(array).set(1, value));
      expect([error.code, error.name]).toEqual(['ERR_NDSHM_OUT_OF_RANGE', 'RangeError']);
    }
    expect(array.toNested()).toEqual([0n, 2n ** 53n - 1n]);
    array.close();
  });

  test('bool takes true, false, 1 and 0', () => {
    const array = anonymous('bool', [1]);
    for (const [given, expected] of [
      [true, true],
      [false, false],
      [1, true],
      [0, false],
    ] as const) {
      loose(array).set(0, given);
      expect(array.get(0)).toBe(expected);
    }
    for (const value of [2, -1, NaN, 1n, 'true', null]) {
      expect(thrownBy(() => loose(array).set(0, value)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
    array.close();
  });

  test('complex takes { re, im } and numbers', () => {
    for (const dtype of ['complex64', 'complex128'] as const) {
      const array = anonymous(dtype, [2]);
      array.set(1, { re: -0, im: NaN });
      expect(array.get(1)).toEqual({ re: -0, im: NaN });
      array.set(1, 3.5);
      expect(array.get(1)).toEqual({ re: 3.5, im: 0 });
      for (const value of [{}, { re: 1 }, { im: 1 }, { re: '1', im: 2 }, { re: 1n, im: 2n }, [1, 2], 1n]) {
        expect(thrownBy(() => loose(array).set(1, value)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      }
      expect(array.toNested()).toEqual([
        { re: 0, im: 0 },
        { re: 3.5, im: 0 },
      ]);
      array.close();
    }
  });

  test('floats take every number', () => {
    for (const dtype of ['float16', 'float32', 'float64'] as const) {
      const array = anonymous(dtype, [1]);
      for (const value of [0, -0, 1.5, -2, NaN, Infinity, -Infinity]) {
        array.set(0, value);
        expect(array.get(0)).toBe(value);
      }
      expect(thrownBy(() => loose(array).set(0, 1n)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      array.close();
    }
  });

  test.each(ndshm.dtypes)('%s takes neither strings, null, undefined, objects, symbols nor functions', (dtype) => {
    const array = anonymous(dtype, [2]);
    for (const value of ['1', null, undefined, {}, [1], Symbol('s'), () => 1, new Date()]) {
      const error = thrownBy(() => loose(array).set(0, value));
      expect([error.code, error.name]).toEqual(['ERR_NDSHM_INVALID_ARGUMENT', 'TypeError']);
      expect(thrownBy(() => loose(array).fill(value)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
    expect(bytesOf(array)).toMatch(/^0+$/);
    array.close();
  });
});

describe('an index', () => {
  const array = anonymous('float64', [3, 2, 2, 2]);
  array.data.set(Array.from({ length: 24 }, (_, n) => n));
  afterAll(() => array.close());

  test('counts from the end where it is negative', () => {
    expect(array.get(-1, -2, 1, -1)).toBe(19);
    expect(array.slice(-1, -2).get(1, -1)).toBe(19);
    expect(array.slice(-1).get(-2, 1, -1)).toBe(19);
  });

  const views = {
    1: array.slice(':', 0, 0, 0),
    2: array.slice(':', ':', 0, 0),
    3: array.slice(':', ':', ':', 0),
    4: array,
  };
  test.each([3, -4, 0.5, NaN, Infinity, -Infinity, 2 ** 53, 1e300])(
    'of %d is out of bounds in every dimension',
    (wrong) => {
      for (const [ndim, view] of Object.entries(views)) {
        for (let axis = 0; axis < Number(ndim); axis++) {
          const index = Array.from({ length: Number(ndim) }, (_, n) => (n === axis ? wrong : 0));
          const before = array.toNested();
          expect(thrownBy(() => view.get(...index)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
          expect(thrownBy(() => view.set(index, 1)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
          expect(array.toNested()).toEqual(before);
        }
      }
    },
  );

  test.each(['0', null, true, 0n, [0], {}])('of the wrong kind (%p) is refused', (wrong) => {
    for (const view of Object.values(views)) {
      const index = Array.from({ length: view.ndim }, (_, n) => (n === 0 ? wrong : 0)) as number[];
      expect(thrownBy(() => view.get(...index)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      expect(thrownBy(() => view.set(index, 1)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
  });

  test('needs one number for each axis', () => {
    for (const view of Object.values(views)) {
      for (let count = 0; count < 6; count++) {
        if (count === view.ndim) continue;
        const index = Array.from({ length: count }, () => 0);
        expect(thrownBy(() => view.get(...index)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
        expect(thrownBy(() => view.set(index, 1)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
      }
    }
  });

  test('finds nothing outside a view in the memory around it', () => {
    const row = array.slice(1, 0, 0);
    expect(row.toNested()).toEqual([8, 9]);
    expect(thrownBy(() => row.get(2)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(thrownBy(() => row.get(-3)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
  });
});

describe('arrays of one or no elements', () => {
  test.each(ndshm.dtypes)('0-d %s: get(), set([]), fill, copyFrom, toNested', (dtype) => {
    const array = anonymous(dtype, []);
    const [zero, one] = dtype.includes('int64')
      ? [0n, 1n]
      : dtype.startsWith('complex')
        ? [
            { re: 0, im: 0 },
            { re: 1, im: 0 },
          ]
        : dtype === 'bool'
          ? [false, true]
          : [0, 1];
    expect([array.ndim, array.size, array.get(), array.toNested()]).toEqual([0, 1, zero, zero]);
    loose(array).set([], one);
    expect(array.get()).toEqual(one);
    loose(array).fill(zero);
    expect(array.toNested()).toEqual(zero);
    loose(array).copyFrom(one);
    expect(array.toNested()).toEqual(one);
    expect(array.toTypedArray().length).toBe(dtype.startsWith('complex') ? 2 : 1);
    expect(thrownBy(() => [...array]).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => array.get(0)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    array.close();
  });

  test.each(ndshm.dtypes)('empty %s: nothing to get, nothing to fill, nothing to iterate', (dtype) => {
    const array = anonymous(dtype, [2, 0]);
    expect([array.size, array.nbytes, array.data.length, array.toTypedArray().length]).toEqual([0, 0, 0, 0]);
    expect(array.toNested()).toEqual([[], []]);
    expect([...array].map((row) => (row as ndshm.SharedArray).shape)).toEqual([[0], [0]]);
    loose(array).fill(dtype === 'bool' ? true : 1);
    array.copyFrom([[], []]);
    array.copyFrom(array);
    expect(thrownBy(() => array.get(0, 0)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    array.close();
    expect(thrownBy(() => array.toNested()).code).toBe('ERR_NDSHM_CLOSED');
  });
});

const program = `
def answer(given):
    a = mapped(given['name'], 'r+')
    if given['do'] == 'overlap':
        target, source = a[index(given['to']) + (Ellipsis,)], a[index(given['from']) + (Ellipsis,)]
        target[...] = source
        return content(a)
    view = a[index(given['items']) + (() if '...' in given['items'] else (Ellipsis,))]
    return {**content(view), 'nested': json.loads(json.dumps(view.real.tolist() if a.dtype.kind == 'c' else view.tolist()))}
`;

const finite = (from: ArrayCase): boolean =>
  from.pool.every(
    (part) => Number.isSafeInteger(Number(part)) && Math.abs(Number(part)) < 2048 && !Object.is(part, -0),
  );

describeWithNumpy('elements beside numpy', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  test(
    'toNested, iteration and get give what numpy’s tolist gives',
    async () => {
      const cases = arrayCase(shapeUpTo(200))
        .filter(finite)
        .chain((from) => fc.tuple(fc.constant(from), sliceItems(from.shape)));
      const plain = (value: unknown): unknown => {
        if (Array.isArray(value)) return value.map(plain);
        if (typeof value === 'bigint') return Number(value);
        return typeof value === 'object' ? (value as ndshm.Complex).re : value;
      };
      const iterated = (array: ndshm.SharedArray): unknown[] =>
        [...array].map((item) => (array.ndim > 1 ? iterated(item as ndshm.SharedArray) : item));
      const got = (array: ndshm.SharedArray, index: number[]): unknown =>
        index.length === array.ndim
          ? array.get(...index)
          : Array.from({ length: array.shape[index.length] as number }, (_, n) => got(array, [...index, n]));
      await fc.assert(
        fc.asyncProperty(cases, ([from, items]) =>
          withArray(from, async (array) => {
            const view = array.slice(...items);
            const { nested } = await numpy.ask<Content & { nested: unknown }>({ do: 'see', name: array.name, items });
            expect(plain(view.toNested())).toEqual(nested);
            expect(plain(got(view, []))).toEqual(nested);
            if (view.ndim > 0) expect(plain(iterated(view))).toEqual(nested);
          }),
        ),
        runs(200),
      );
    },
    timeoutMs,
  );

  test('copyFrom between overlapping views gives what numpy gives', async () => {
    const overlaps: [shape: number[], to: string[], from: string[]][] = [
      [[9], [':'], ['::-1']],
      [[9], ['1:'], [':-1']],
      [[9], [':-1'], ['1:']],
      [[9], ['::2'], ['-1::-2']],
      [
        [5, 5],
        ['1:', ':'],
        [':-1', '::-1'],
      ],
      [
        [5, 5],
        [':', '1:'],
        ['::-1', ':-1'],
      ],
      [
        [4, 6],
        ['::-1', '::-1'],
        [':', ':'],
      ],
    ];
    for (const dtype of ndshm.dtypes) {
      for (const order of ['C', 'F'] as const) {
        for (const [shape, to, from] of overlaps) {
          const pool = dtype.includes('int64')
            ? [1n, 2n, 3n, 5n]
            : dtype === 'bool'
              ? [1, 0, 0, 1, 1]
              : [1, 2, 3, 5, 8];
          const sample: ArrayCase = { dtype, order, shape, pool };
          const theirs = await withArray(sample, (array) =>
            numpy.ask<Content>({ do: 'overlap', name: array.name, to, from }),
          );
          const ours = await withArray(sample, (array) => {
            array.slice(...to).copyFrom(array.slice(...from));
            return bytesOf(array);
          });
          expect(ours).toBe(theirs.bytes);
        }
      }
    }
  });

  test('copyFrom between two attachments of one segment that overlap gives what numpy gives', async () => {
    const sample: ArrayCase = { dtype: 'int32', order: 'C', shape: [9], pool: [1, 2, 3, 4, 5, 6, 7, 8, 9] };
    const theirs = await withArray(sample, (array) =>
      numpy.ask<Content>({ do: 'overlap', name: array.name, to: [':'], from: ['::-1'] }),
    );
    await withArray(sample, (array) => {
      const second = ndshm.open(array.name as string);
      array.copyFrom(second.slice('::-1'));
      second.close();
      expect(bytesOf(array)).toBe(theirs.bytes);
    });
  });
});

const float16Program = `
def answer(given):
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    values = np.array(given, dtype=np.float64)
    with np.errstate(over='ignore'):
        return {'values': halves.astype(np.float64).tobytes().hex(), 'rounded': values.astype(np.float16).tobytes().hex()}
`;

describeWithNumpy('float16 beside numpy', () => {
  test(
    'all 65536 bit patterns read as numpy reads them, and write back; numbers between them round as numpy rounds',
    async () => {
      const numpy = new PythonPeer(float16Program);
      const array = ndshm.anonymous({ dtype: 'float16', shape: [65536] });
      array.copyFrom(Uint16Array.from({ length: 65536 }, (_, n) => n));
      const values = Array.from({ length: 65536 }, (_, n) => array.get(n));
      const finite = values.filter(Number.isFinite);
      // Between two neighbours: exactly in the middle, and the next double on either side of that.
      const between = finite.slice(1).flatMap((value, n) => {
        const middle = (value + (finite[n] as number)) / 2;
        return [middle, middle * (1 + 2 ** -52), middle * (1 - 2 ** -52)];
      });
      const wanted = [...between, 65519.99, 65520, 65536, 1e300, -1e300, 2 ** -25, 2 ** -25 * 1.0001, 5e-324];
      const expected = await numpy.ask<{ values: string; rounded: string }>(wanted);
      await numpy.close();

      const theirs = new Float64Array(Uint8Array.from(Buffer.from(expected.values, 'hex')).buffer);
      expect(values.filter((value, n) => !Object.is(value, theirs[n]))).toEqual([]);

      const copy = ndshm.anonymous({ dtype: 'float16', shape: [65536] });
      values.forEach((value, n) => void copy.set(n, value));
      const bits = (from: ndshm.SharedArray) => new Uint16Array(from.data.buffer, from.data.byteOffset, from.size);
      // A NaN has many patterns, and any of them is one.
      expect([...bits(copy)].filter((pattern, n) => pattern !== n && !Number.isNaN(values[n]))).toEqual([]);

      const rounded = ndshm.anonymous({ dtype: 'float16', shape: [wanted.length] });
      wanted.forEach((value, n) => void rounded.set(n, value));
      expect(Buffer.from(bits(rounded)).length).toBe(wanted.length);
      expect(bytesOf(rounded) === expected.rounded).toBe(true);
      for (const each of [array, copy, rounded]) each.close();
    },
    timeoutMs,
  );
});

describe('copyFrom', () => {
  test('converts between dtypes where each value fits, and says where one does not', () => {
    for (const from of ndshm.dtypes) {
      for (const to of ndshm.dtypes) {
        const source = anonymous(from, [2, 2]);
        const target = anonymous(to, [2, 2]);
        fillFrom(source, from.includes('int64') ? [1n, 0n] : [1, 0]);
        const bigToFloat = from.includes('int64') && /float|complex|bool/.test(to);
        const complexToOther = from.startsWith('complex') && !to.startsWith('complex');
        const boolToOther = from === 'bool' && to !== 'bool';
        if (bigToFloat || complexToOther || boolToOther) {
          expect(thrownBy(() => target.copyFrom(source)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
        } else {
          target.copyFrom(source);
          const plain = JSON.stringify(target.toNested(), (_key, value) =>
            typeof value === 'bigint' ? Number(value) : value,
          );
          const numbers = plain.replaceAll('true', '1').replaceAll('false', '0');
          const parts = from.startsWith('complex')
            ? [
                { re: 1, im: 0 },
                { re: 1, im: 0 },
              ]
            : to.startsWith('complex')
              ? [
                  { re: 1, im: 0 },
                  { re: 0, im: 0 },
                ]
              : [1, 0];
          expect(numbers).toBe(JSON.stringify([parts, parts]));
        }
        source.close();
        target.close();
      }
    }
    const large = ndshm.anonymous({ dtype: 'float64', shape: [2] }).copyFrom([1, 300]);
    const small = anonymous('uint8', [2]);
    expect(thrownBy(() => small.copyFrom(large)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    large.close();
    small.close();
  });

  test('takes a typed array of the same type in C order, whatever the order of the target', () => {
    for (const order of ['C', 'F'] as const) {
      const array = ndshm.anonymous({ dtype: 'int32', shape: [2, 3], order });
      array.copyFrom(Int32Array.of(1, 2, 3, 4, 5, 6));
      expect(array.toNested()).toEqual([
        [1, 2, 3],
        [4, 5, 6],
      ]);
      array.slice('::-1', '::2').copyFrom(Int32Array.of(7, 8, 9, 10));
      expect(array.toNested()).toEqual([
        [9, 2, 10],
        [7, 5, 8],
      ]);
      array.close();
    }
  });

  test('takes re and im in turns for complex, a Buffer for bytes, bits for float16', () => {
    const complex = anonymous('complex64', [2]).copyFrom(Float32Array.of(1, 2, 3, 4));
    expect(complex.toNested()).toEqual([
      { re: 1, im: 2 },
      { re: 3, im: 4 },
    ]);
    complex.copyFrom(Int8Array.of(5, 6, 7, 8));
    expect(complex.toNested()).toEqual([
      { re: 5, im: 6 },
      { re: 7, im: 8 },
    ]);
    const bytes = anonymous('uint8', [3]).copyFrom(Buffer.from('abc'));
    expect(bytes.toNested()).toEqual([97, 98, 99]);
    const clamped = anonymous('int16', [2]).copyFrom(Uint8ClampedArray.of(3, 300));
    expect(clamped.toNested()).toEqual([3, 255]);
    const halves = anonymous('float16', [3]).copyFrom(Uint16Array.of(0x3c00, 0xc000, 0x0001));
    expect(halves.toNested()).toEqual([1, -2, 2 ** -24]);
    const booleans = anonymous('bool', [2]).copyFrom(Uint8Array.of(1, 0));
    expect(booleans.toNested()).toEqual([true, false]);
    expect(thrownBy(() => booleans.copyFrom(Uint8Array.of(1, 2))).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    for (const each of [complex, bytes, clamped, halves, booleans]) each.close();
  });

  test('takes nested arrays of the same shape only', () => {
    const array = anonymous('float64', [2, 2]);
    array.slice('::-1').copyFrom([
      [1, 2],
      [3, 4],
    ]);
    expect(array.toNested()).toEqual([
      [3, 4],
      [1, 2],
    ]);
    const wrong: unknown[] = [
      [1, 2],
      [[1, 2]],
      [[1, 2], [3]],
      [
        [1, 2],
        [3, 4, 5],
      ],
      [[1], [2]],
      [
        [1, 2],
        [3, [4]],
      ],
      [
        [[1], [2]],
        [[3], [4]],
      ],
      [[1, 2], 3],
      [[1, 2], '34'],
      [],
      7,
    ];
    for (const source of wrong) expect(thrownBy(() => loose(array).copyFrom(source)).code).toBe('ERR_NDSHM_SHAPE');
    const itself: unknown[] = [];
    itself.push(itself);
    expect(thrownBy(() => loose(array).copyFrom(itself)).code).toBe('ERR_NDSHM_SHAPE');
    array.close();
  });

  test('refuses sources of another length or shape, and what is no array', () => {
    const array = anonymous('float32', [2, 2]);
    const other = anonymous('float32', [4]);
    expect(thrownBy(() => array.copyFrom(other)).code).toBe('ERR_NDSHM_SHAPE');
    expect(thrownBy(() => array.copyFrom(new Float32Array(3))).code).toBe('ERR_NDSHM_SHAPE');
    expect(thrownBy(() => array.copyFrom(new Float32Array(5))).code).toBe('ERR_NDSHM_SHAPE');
    expect(thrownBy(() => array.copyFrom(new DataView(new ArrayBuffer(16)))).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => array.copyFrom(new BigInt64Array(4))).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    other.close();
    expect(thrownBy(() => array.copyFrom(other)).code).toBe('ERR_NDSHM_CLOSED');
    array.close();
  });
});

test('toTypedArray is a copy in this process’s own memory', () => {
  const array = anonymous('int8', [3]).copyFrom([1, 2, 3]);
  const copy = array.toTypedArray();
  array.fill(9);
  expect(copy).toEqual(Int8Array.of(1, 2, 3));
  array.close();
  expect(copy.length).toBe(3);
});
