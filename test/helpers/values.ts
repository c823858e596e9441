import { types } from 'node:util';
import fc from 'fast-check';
import { decode } from '../../dist/codec/decode';
import { type Encoded, encode } from '../../dist/codec/encode';

// Values of every kind that structured clone takes, and what it means that two of them are alike.

/** An object's bytes as they lie in a store. What nobody writes there is not zero. */
export function bytesOf({ byteLength, head, buffers }: Encoded): Uint8Array {
  const object = new Uint8Array(byteLength).fill(0xa5);
  object.set(head);
  for (const { offset, bytes } of buffers) object.set(bytes, offset);
  return object;
}

/** What another process would get. */
export const through = <T>(value: T): T => decode(bytesOf(encode(value))) as T;

const tagOf = (value: object): string => {
  if (types.isBoxedPrimitive(value)) return `Boxed ${typeof value.valueOf()}`;
  if (types.isNativeError(value)) return `Error ${value.constructor.name}`;
  return Object.prototype.toString.call(value);
};

/** Whatever a value of a kind has beside its properties. */
function inside(value: object): unknown[] {
  if (types.isMap(value)) return [...value].flat();
  if (types.isSet(value)) return [...value];
  if (types.isDate(value)) return [value.getTime()];
  if (types.isRegExp(value)) return [value.source, value.flags, value.lastIndex];
  if (types.isBoxedPrimitive(value)) return [value.valueOf()];
  if (types.isNativeError(value)) {
    const { name, message, stack, cause } = value;
    return [name, Object.hasOwn(value, 'message'), message, stack, Object.hasOwn(value, 'cause'), cause];
  }
  if (types.isAnyArrayBuffer(value)) return [...new Uint8Array(value)];
  if (types.isDataView(value)) return [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)];
  if (types.isTypedArray(value)) return [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)];
  return Array.isArray(value) ? [value.length] : [];
}

/** Own properties; those of typed arrays and boxed strings are what is inside. */
const keysOf = (value: object): string[] =>
  ArrayBuffer.isView(value) || types.isBoxedPrimitive(value) ? [] : Object.keys(value);

/**
 * Where two values differ, as a path; undefined if they are alike in every respect, shared parts and order included.
 * Goes by what things are, not by their classes: structuredClone() of a test's values gives objects of another realm.
 */
export function differenceOf(actual: unknown, expected: unknown): string | undefined {
  const twins = new Map<object, object>();
  const taken = new Set<object>();
  const open: [actual: unknown, expected: unknown, path: string][] = [[actual, expected, 'value']];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [a, b, path] = next;
    if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) {
      if (!Object.is(a, b)) return path;
      continue;
    }
    const twin = twins.get(b);
    if (twin !== undefined) {
      if (twin !== a) return `${path} (shared)`;
      continue;
    }
    if (taken.has(a)) return `${path} (not shared)`;
    twins.set(b, a);
    taken.add(a);
    if (tagOf(a) !== tagOf(b)) return `${path} (kind)`;
    const [insideA, insideB, keysA, keysB] = [inside(a), inside(b), keysOf(a), keysOf(b)];
    if (insideA.length !== insideB.length || keysA.join('\0') !== keysB.join('\0')) return `${path} (keys)`;
    insideA.forEach((each, n) => {
      open.push([each, insideB[n], `${path}<${n}>`]);
    });
    for (const key of keysA) {
      open.push([(a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key], `${path}.${key}`]);
    }
  }
  return undefined;
}

/** UTF-16 code units: lone surrogates and byte order marks included. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 80 }) },
  fc.string({ unit: 'grapheme-ascii', maxLength: 300 }),
  fc
    .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0xd800, 0xdc00, 0xdbff, 0xfeff, 0x61)))
    .map((units) => String.fromCharCode(...units)),
  fc.constantFrom(
    '',
    '__proto__',
    'constructor',
    'toJSON',
    'hasOwnProperty',
    'length',
    '0',
    '-1',
    `\ufeff${'x'.repeat(300)}`,
  ),
);

export const anyPrimitive: fc.Arbitrary<unknown> = fc.oneof(
  anyText,
  fc.double(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(
    0,
    -0,
    Number.NaN,
    Infinity,
    -Infinity,
    2 ** 53,
    -(2 ** 53),
    2 ** 31,
    2 ** 32,
    -(2 ** 31) - 1,
    5e-324,
  ),
  fc.boolean(),
  fc.constantFrom(null, undefined),
  fc.bigInt(),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
);

const typedArrayClasses = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;
export const typedArrayNames = typedArrayClasses.map(({ name }) => name);

const bytes = fc.uint8Array({ maxLength: 200 });

/** Objects without others in them. */
const anyLeaf: fc.Arbitrary<object> = fc.oneof(
  fc.date({ noInvalidDate: false }),
  fc
    .constantFrom(/a(b)?/gi, /[\u{1F600}]/u, /\//, /(?:)/, /(?<year>\d+)/y)
    .map(({ source, flags }) => new RegExp(source, flags)),
  fc.oneof(anyText, fc.double(), fc.boolean(), fc.bigInt()).map((primitive) => Object(primitive) as object),
  bytes.map((all) => all.buffer.slice(all.byteOffset, all.byteOffset + all.byteLength)),
  fc.tuple(bytes, fc.nat(8)).map(([all, from]) => new DataView(all.slice().buffer, Math.min(from, all.length))),
  fc.tuple(bytes, fc.constantFrom(...typedArrayClasses), fc.nat(3)).map(([all, Class, from]) => {
    const items = Math.floor(all.length / Class.BYTES_PER_ELEMENT);
    const start = Math.min(from, items);
    return new Class(new Uint8Array(all).buffer, start * Class.BYTES_PER_ELEMENT, items - start);
  }),
);

class Point {
  x = 1;
  #hidden = 2;
  get hidden() {
    return this.#hidden;
  }
}

type Container = 'object' | 'bare' | 'instance' | 'getters' | 'list' | 'sparse' | 'map' | 'set' | 'error';
const containers: Container[] = ['object', 'bare', 'instance', 'getters', 'list', 'sparse', 'map', 'set', 'error'];

function emptyContainer(kind: Container): object {
  switch (kind) {
    case 'bare':
      return Object.create(null) as object;
    case 'instance':
      return new Point();
    case 'list':
    case 'sparse':
      return [];
    case 'map':
      return new Map();
    case 'set':
      return new Set();
    case 'error':
      return new RangeError();
    default:
      return {};
  }
}

function addTo(container: object, kind: Container, key: string, n: number, value: unknown): void {
  const property = { enumerable: true, configurable: true };
  switch (kind) {
    case 'list':
      (container as unknown[]).push(value);
      break;
    case 'sparse':
      (container as unknown[])[n * n] = value;
      if (n % 5 === 4) Object.defineProperty(container, `named ${key}`, { ...property, value, writable: true });
      break;
    case 'map':
      (container as Map<unknown, unknown>).set(n % 2 === 0 ? key : value, n % 2 === 0 ? value : key);
      break;
    case 'set':
      (container as Set<unknown>).add(value);
      break;
    case 'error':
      Object.defineProperty(container, n % 2 === 0 ? 'cause' : 'message', {
        value: n % 2 === 0 ? value : key,
        configurable: true,
        writable: true,
      });
      break;
    case 'getters':
      Object.defineProperty(container, key, { ...property, get: () => value });
      break;
    default:
      Object.defineProperty(container, key, { ...property, value, writable: true });
  }
}

/**
 * Any value: some containers, filled with primitives, leaves and each other in any way, so that parts are shared and go in
 * circles.
 */
export const anyValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 1, arbitrary: anyPrimitive },
  { weight: 1, arbitrary: anyLeaf },
  {
    weight: 8,
    arbitrary: fc
      .record({
        kinds: fc.array(fc.constantFrom(...containers), { minLength: 1, maxLength: 8 }),
        leaves: fc.array(anyLeaf, { maxLength: 4 }),
        primitives: fc.array(anyPrimitive, { minLength: 1, maxLength: 12 }),
        edges: fc.array(fc.record({ from: fc.nat(), key: anyText, to: fc.nat() }), { maxLength: 40 }),
      })
      .map(({ kinds, leaves, primitives, edges }) => {
        const made = kinds.map(emptyContainer);
        const all: unknown[] = [...made, ...leaves, ...primitives];
        edges.forEach(({ from, key, to }, n) => {
          const at = from % made.length;
          addTo(made[at] as object, kinds[at] as Container, key, n, all[to % all.length]);
        });
        return made[0];
      }),
  },
);
