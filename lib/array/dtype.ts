import { rangeError, typeError, wrongKind } from '../errors';
import { float16FromBits, float16ToBits } from './float16';

/** A complex number, as elements of complex64 and complex128 are read and written. */
export interface Complex {
  re: number;
  im: number;
}

// By way of the global scope, since the user's `lib` need not know the class.
type Float16Data = typeof globalThis extends { Float16Array: new (...args: never) => infer T } ? T : never;

/**
 * For each dtype: `element` is what `get` returns and `set` takes, `data` the typed array behind `.data`.
 * complex: `.data` holds re, im, re, im, …, twice as long as the array has elements.
 * float16: `.data` is a Float16Array where the runtime has one (Node 24), else a Uint16Array of the bits.
 */
export interface DTypes {
  bool: { element: boolean; data: Uint8Array };
  int8: { element: number; data: Int8Array };
  uint8: { element: number; data: Uint8Array };
  int16: { element: number; data: Int16Array };
  uint16: { element: number; data: Uint16Array };
  int32: { element: number; data: Int32Array };
  uint32: { element: number; data: Uint32Array };
  int64: { element: bigint; data: BigInt64Array };
  uint64: { element: bigint; data: BigUint64Array };
  float16: { element: number; data: Float16Data | Uint16Array };
  float32: { element: number; data: Float32Array };
  float64: { element: number; data: Float64Array };
  complex64: { element: Complex; data: Float32Array };
  complex128: { element: Complex; data: Float64Array };
}
export type DType = keyof DTypes;
export type Element<D extends DType = DType> = DTypes[D]['element'];
export type Data<D extends DType = DType> = DTypes[D]['data'];
/** What may be written where an element of D is expected; a whole number does for a bigint. */
export type ElementInput<D extends DType = DType> =
  Element<D> extends bigint ? bigint | number : Element<D> extends Complex ? Complex | number : Element<D>;

type Numbers = Exclude<Data, BigInt64Array | BigUint64Array>;

/** One dtype: its bytes, and how an element passes between JavaScript and the typed array. */
export interface DTypeSpec {
  readonly name: DType;
  /** numpy's type string, as in an .npy header. */
  readonly descr: string;
  readonly itemBytes: number;
  /** Typed-array entries per element: 2 for complex, else 1. */
  readonly lanes: 1 | 2;
  /** The data's entries are the elements themselves. */
  readonly plain: boolean;
  readonly kind: 'bool' | 'int' | 'uint' | 'float' | 'complex';
  over(buffer: ArrayBufferLike, byteOffset: number, lanes: number): Data;
  /** `at` counts typed-array entries. */
  read(this: void, data: Data, at: number): Element;
  /** Checks the value: TypeError for another kind, RangeError for one that does not fit. */
  write(this: void, data: Data, at: number, value: unknown): void;
}

type Constructor = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => Data;

const hasFloat16Array = typeof globalThis.Float16Array === 'function';
export const float16IsBits: boolean = !hasFloat16Array;

function spec(
  name: DType,
  descr: string,
  kind: DTypeSpec['kind'],
  construct: Constructor,
  access: Partial<Pick<DTypeSpec, 'read' | 'write'>> & { lanes?: 1 | 2 },
): DTypeSpec {
  const lanes = access.lanes ?? 1;
  return {
    name,
    descr,
    kind,
    itemBytes: Number(descr.slice(2)),
    lanes,
    plain: access.read === undefined,
    over: (buffer, byteOffset, length) => new construct(buffer, byteOffset, length),
    read: access.read ?? ((data, at) => data[at] as Element),
    write:
      access.write ??
      ((data, at, value) => {
        if (typeof value !== 'number') throw wrongKind('a number', `an element of dtype ${name}`, value);
        (data as Numbers)[at] = value;
      }),
  };
}

/** Whole numbers within the dtype only: JavaScript's own wrap-around would lose the value in silence. */
function integer(name: DType, low: number, high: number): Pick<DTypeSpec, 'write'> {
  return {
    write(data, at, value) {
      const number = typeof value === 'bigint' ? Number(value) : value;
      if (typeof number !== 'number') throw wrongKind('a whole number', `an element of dtype ${name}`, value);
      if (!(number >= low && number <= high) || !Number.isInteger(number)) {
        throw rangeError(
          'ERR_NDSHM_OUT_OF_RANGE',
          `Expected a whole number from ${low} to ${high} for an element of dtype ${name} but received ${number}`,
        );
      }
      (data as Numbers)[at] = number;
    },
  };
}

function bigInteger(name: DType, low: bigint, high: bigint): Pick<DTypeSpec, 'write'> {
  return {
    write(data, at, value) {
      if (typeof value !== 'bigint' && typeof value !== 'number') {
        throw wrongKind('a bigint or a whole number', `an element of dtype ${name}`, value);
      }
      if (typeof value === 'number' && !Number.isSafeInteger(value)) {
        throw rangeError(
          'ERR_NDSHM_OUT_OF_RANGE',
          `Expected a whole number within ±2^53 or a bigint for an element of dtype ${name} but received ${value}`,
        );
      }
      const whole = BigInt(value);
      if (whole < low || whole > high) {
        throw rangeError(
          'ERR_NDSHM_OUT_OF_RANGE',
          `Expected a value from ${low} to ${high} for an element of dtype ${name} but received ${whole}`,
        );
      }
      (data as BigInt64Array)[at] = whole;
    },
  };
}

function complex(name: DType): Pick<DTypeSpec, 'read' | 'write'> & { lanes: 2 } {
  return {
    lanes: 2,
    read(data, at) {
      return { re: (data as Float64Array)[at] as number, im: (data as Float64Array)[at + 1] as number };
    },
    write(data, at, value) {
      const { re, im } = typeof value === 'number' ? { re: value, im: 0 } : ((value ?? {}) as Partial<Complex>);
      if (typeof re !== 'number' || typeof im !== 'number') {
        throw wrongKind('{ re, im } or a number', `an element of dtype ${name}`, value);
      }
      (data as Float64Array)[at] = re;
      (data as Float64Array)[at + 1] = im;
    },
  };
}

const specs: Readonly<Record<DType, DTypeSpec>> = {
  bool: spec('bool', '|b1', 'bool', Uint8Array, {
    read: (data, at) => (data as Uint8Array)[at] !== 0,
    write(data, at, value) {
      if (typeof value !== 'boolean' && value !== 0 && value !== 1) {
        throw wrongKind('true or false', 'an element of dtype bool', value);
      }
      (data as Uint8Array)[at] = Number(value);
    },
  }),
  int8: spec('int8', '|i1', 'int', Int8Array, integer('int8', -128, 127)),
  uint8: spec('uint8', '|u1', 'uint', Uint8Array, integer('uint8', 0, 255)),
  int16: spec('int16', '<i2', 'int', Int16Array, integer('int16', -32768, 32767)),
  uint16: spec('uint16', '<u2', 'uint', Uint16Array, integer('uint16', 0, 65535)),
  int32: spec('int32', '<i4', 'int', Int32Array, integer('int32', -(2 ** 31), 2 ** 31 - 1)),
  uint32: spec('uint32', '<u4', 'uint', Uint32Array, integer('uint32', 0, 2 ** 32 - 1)),
  int64: spec('int64', '<i8', 'int', BigInt64Array, bigInteger('int64', -(2n ** 63n), 2n ** 63n - 1n)),
  uint64: spec('uint64', '<u8', 'uint', BigUint64Array, bigInteger('uint64', 0n, 2n ** 64n - 1n)),
  float16: hasFloat16Array
    ? spec('float16', '<f2', 'float', globalThis.Float16Array as Constructor, {})
    : spec('float16', '<f2', 'float', Uint16Array, {
        read: (data, at) => float16FromBits((data as Uint16Array)[at] as number),
        write(data, at, value) {
          if (typeof value !== 'number') throw wrongKind('a number', 'an element of dtype float16', value);
          (data as Uint16Array)[at] = float16ToBits(value);
        },
      }),
  float32: spec('float32', '<f4', 'float', Float32Array, {}),
  float64: spec('float64', '<f8', 'float', Float64Array, {}),
  complex64: spec('complex64', '<c8', 'complex', Float32Array, complex('complex64')),
  complex128: spec('complex128', '<c16', 'complex', Float64Array, complex('complex128')),
};

/** The names of all dtypes, in numpy's order. */
export const dtypes: readonly DType[] = Object.freeze(Object.keys(specs) as DType[]);

const byDescr = new Map(Object.values(specs).map((each) => [each.descr, each]));

export function specOf(dtype: unknown): DTypeSpec {
  if (typeof dtype !== 'string') throw wrongKind(`a dtype name (${dtypes.join(', ')})`, 'dtype', dtype);
  if (!Object.hasOwn(specs, dtype)) {
    throw rangeError('ERR_NDSHM_DTYPE', `Unknown dtype ${JSON.stringify(dtype)}; known: ${dtypes.join(', ')}`);
  }
  return specs[dtype as DType];
}

/** The dtype of a numpy type string, as `.npy` headers carry it. */
export function specOfDescr(descr: string): DTypeSpec {
  const found =
    byDescr.get(descr) ?? byDescr.get(descr.replace(/^[=|]/, '<')) ?? byDescr.get(descr.replace(/^[<=>]/, '|'));
  if (found !== undefined && !(descr.startsWith('>') && found.itemBytes > 1)) return found;
  const why = descr.startsWith('>') ? 'is big-endian' : 'is not a fixed-size number';
  throw typeError(
    'ERR_NDSHM_DTYPE',
    `The dtype ${JSON.stringify(descr.slice(0, 40))} ${why} and cannot be mapped; in numpy: a.astype(one of ${dtypes.join(', ')})`,
  );
}

/** The dtype whose `.data` this typed array could be; undefined if none. Buffers and clamped arrays are uint8. */
export function specOfTypedArray(value: unknown): DTypeSpec | undefined {
  if (!ArrayBuffer.isView(value) || value instanceof DataView) return undefined;
  // By tag, not instanceof: the array may come from another realm (jest, vm).
  const tag = (value as unknown as { [Symbol.toStringTag]: string })[Symbol.toStringTag];
  const names: Record<string, DType> = {
    Int8Array: 'int8',
    Uint8Array: 'uint8',
    Uint8ClampedArray: 'uint8',
    Int16Array: 'int16',
    Uint16Array: 'uint16',
    Int32Array: 'int32',
    Uint32Array: 'uint32',
    BigInt64Array: 'int64',
    BigUint64Array: 'uint64',
    Float16Array: 'float16',
    Float32Array: 'float32',
    Float64Array: 'float64',
  };
  const name = names[tag];
  return name === undefined ? undefined : specs[name];
}
