import { setFloat16 } from '@petamoriken/float16';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { freshName } from './shm';

// Arrays and indices for property tests. NDSHM_FUZZ=20 runs each property twenty times as often.

const factor = Number(process.env['NDSHM_FUZZ'] ?? 1);
export const timeoutMs = 30_000 * factor;
/** How often to run a property. Bounded in time, so that a failure is told even where it takes long to simplify. */
export const runs = (count: number) => ({
  numRuns: Math.ceil(count * factor),
  interruptAfterTimeLimit: timeoutMs * 0.8,
  markInterruptAsFailure: true,
});

type Part = number | bigint;

export interface ArrayCase {
  readonly dtype: ndshm.DType;
  readonly shape: readonly number[];
  readonly order: ndshm.Order;
  /** The entries of `.data`, over and over again. */
  readonly pool: readonly Part[];
}

const integers = (low: number, high: number): fc.Arbitrary<readonly Part[]> =>
  fc.oneof(
    fc.array(fc.integer({ min: Math.max(low, -50), max: Math.min(high, 50) }), { minLength: 1, maxLength: 30 }),
    fc.array(fc.oneof(fc.integer({ min: low, max: high }), fc.constantFrom(low, high, 0)), {
      minLength: 1,
      maxLength: 30,
    }),
  );

const bigIntegers = (low: bigint, high: bigint): fc.Arbitrary<readonly Part[]> =>
  fc.oneof(
    fc.array(fc.bigInt({ min: 0n, max: 99n }), { minLength: 1, maxLength: 30 }),
    fc.array(fc.oneof(fc.bigInt({ min: low, max: high }), fc.constantFrom(low, high, 0n)), {
      minLength: 1,
      maxLength: 30,
    }),
  );

const special = fc.constantFrom(
  Number.NaN,
  Infinity,
  -Infinity,
  0,
  -0,
  5e-324,
  1e-45,
  6e-8,
  2 ** -14,
  2 ** -126,
  2 ** -9,
  3 * 2 ** -9,
  2 ** -27,
  0.1,
  1 / 3,
  1e-4,
  9.9999e-5,
  99.5,
  999.5,
  999.9999999,
  1000,
  1e6,
  999999,
  1e8,
  99999999,
  1e16,
  65504,
  3.4e38,
  1.7e308,
);
const ordinary = fc.tuple(
  fc.integer({ min: -99999, max: 99999 }),
  fc.constantFrom(1, 2, 10, 100, 1024, 2 ** 20, 1e4, 3, 0.5),
);
const floats: fc.Arbitrary<readonly Part[]> = fc.oneof(
  fc.array(
    ordinary.map(([whole, divisor]) => whole / divisor),
    { minLength: 1, maxLength: 30 },
  ),
  fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 1, maxLength: 30 }),
  fc.array(
    fc.integer({ min: -(2 ** 30), max: 2 ** 30 }).map((n) => n * 2 ** -27),
    { minLength: 1, maxLength: 30 },
  ),
  fc.array(
    fc.oneof(
      special,
      ordinary.map(([whole, divisor]) => whole / divisor),
    ),
    { minLength: 1, maxLength: 12 },
  ),
  fc.array(fc.oneof(special, fc.double(), fc.float()), { minLength: 1, maxLength: 12 }),
  fc
    .tuple(
      fc.integer({ min: -320, max: 308 }),
      fc.array(fc.integer({ min: -1e9, max: 1e9 }), { minLength: 1, maxLength: 8 }),
    )
    .map(([power, wholes]) => wholes.map((whole) => Number(`${whole}e${power}`))),
);

const pools: Record<ndshm.DType, fc.Arbitrary<readonly Part[]>> = {
  bool: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 20 }),
  int8: integers(-128, 127),
  uint8: integers(0, 255),
  int16: integers(-32768, 32767),
  uint16: integers(0, 65535),
  int32: integers(-(2 ** 31), 2 ** 31 - 1),
  uint32: integers(0, 2 ** 32 - 1),
  int64: bigIntegers(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: bigIntegers(0n, 2n ** 64n - 1n),
  float16: floats,
  float32: floats,
  float64: floats,
  complex64: floats,
  complex128: floats,
};

export const dtype: fc.Arbitrary<ndshm.DType> = fc.constantFrom(...ndshm.dtypes);
export const order: fc.Arbitrary<ndshm.Order> = fc.constantFrom('C', 'F');

/** Of at most `maxSize` elements. */
export const shapeUpTo = (maxSize: number, maxDimensions = 4): fc.Arbitrary<number[]> =>
  fc
    .array(fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 12 }) }, { weight: 1, arbitrary: fc.nat(1) }), {
      maxLength: maxDimensions,
    })
    .filter((shape) => shape.reduce((size, length) => size * length, 1) <= maxSize);

/** Long rows, and more elements than numpy prints in full. */
export const largeShape: fc.Arbitrary<number[]> = fc.oneof(
  fc.tuple(fc.integer({ min: 13, max: 1100 })),
  fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 100, max: 300 })),
  fc.tuple(fc.integer({ min: 100, max: 300 }), fc.integer({ min: 1, max: 9 })),
  fc.tuple(fc.integer({ min: 5, max: 9 }), fc.integer({ min: 5, max: 9 }), fc.integer({ min: 25, max: 60 })),
  fc.constantFrom<number[]>(
    [1000],
    [1001],
    [10, 10, 10],
    [7, 11, 13],
    [6, 6, 6, 6],
    [7, 7, 7, 7],
    [1001, 1],
    [1, 1001],
    [0, 2000],
  ),
);

export const arrayCase = (shapes: fc.Arbitrary<readonly number[]>): fc.Arbitrary<ArrayCase> =>
  dtype.chain((each) => fc.record({ dtype: fc.constant(each), shape: shapes, order, pool: pools[each] }));

/** One item of a slice along an axis of this length; mostly valid. */
export const rangeItem = (length: number): fc.Arbitrary<string> => {
  const bound = fc.option(fc.integer({ min: -length - 3, max: length + 3 }), { nil: '' });
  const step = fc.option(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: -4, max: -1 })), {
    nil: undefined,
  });
  return fc.tuple(bound, bound, step).map(([start, stop, by]) => `${start}:${stop}${by === undefined ? '' : `:${by}`}`);
};

/** A valid basic index for this shape: ranges, whole numbers, at most one '...', new axes. */
export const sliceItems = (shape: readonly number[]): fc.Arbitrary<ndshm.SliceItem[]> => {
  const axisItem = (length: number): fc.Arbitrary<ndshm.SliceItem> =>
    length === 0
      ? rangeItem(0)
      : fc.oneof(
          { weight: 4, arbitrary: rangeItem(length) },
          { weight: 1, arbitrary: fc.integer({ min: -length, max: length - 1 }) },
        );
  return fc
    .record({
      first: fc.nat(shape.length),
      skipped: fc.nat(shape.length),
      newAxes: fc.array(fc.nat(5), { maxLength: 2 }),
    })
    .chain(({ first, skipped, newAxes }) => {
      const after = Math.min(first + skipped, shape.length);
      return fc
        .tuple(
          fc.tuple(...shape.slice(0, first).map(axisItem)),
          fc.boolean(),
          fc.tuple(...shape.slice(after).map(axisItem)),
        )
        .map(([before, dots, behind]) => {
          const items: ndshm.SliceItem[] =
            dots || after > first ? [...before, '...', ...behind] : [...before, ...behind];
          for (const at of newAxes) items.splice(Math.min(at, items.length), 0, null);
          return items;
        });
    });
};

const float16Bits = (value: number): number => {
  const view = new DataView(new ArrayBuffer(2));
  setFloat16(view, 0, value, true);
  return view.getUint16(0, true);
};

/** Stores the parts in the entries of `.data`, over and over again. */
export function fillFrom(array: ndshm.SharedArray, pool: readonly Part[]): void {
  const { data } = array;
  const parts = array.dtype === 'float16' && ndshm.float16IsBits ? pool.map((part) => float16Bits(Number(part))) : pool;
  for (let n = 0; n < data.length; n++) data[n] = parts[n % parts.length] as never;
}

/** Runs `use` with the array of a case; it is gone afterwards. */
export async function withArray<T>(from: ArrayCase, use: (array: ndshm.SharedArray) => Promise<T> | T): Promise<T> {
  const { dtype, shape, order } = from;
  const array = ndshm.create(freshName(), { dtype, shape, order, ephemeral: true });
  try {
    fillFrom(array, from.pool);
    return await use(array);
  } finally {
    array.close();
  }
}

/** The bytes of all elements in C order, as content() in Python gives them. */
export function bytesOf(array: ndshm.SharedArray): string {
  const copy = array.toTypedArray();
  return Buffer.from(copy.buffer, copy.byteOffset, copy.byteLength).toString('hex');
}

export const contentOf = (array: ndshm.SharedArray) => ({
  dtype: array.dtype,
  shape: [...array.shape],
  strides: [...array.strides],
  bytes: bytesOf(array),
});
