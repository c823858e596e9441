import { type DType, specOfDescr } from '../array/dtype';
import { excerpt } from '../array/excerpt';
import { checkedByteLength, checkShape, type Order } from '../array/shape';
import type { CodedError } from '../errors';
import { bytesToTable } from './arrow';
import { decodeDocument, SpecialRef } from './document';
import { type BufferPlace, corrupt, readLayout } from './object-format';

export interface DecodeOptions {
  /** Whether pages under the object were lost. */
  readonly faulted?: () => boolean;
}

/**
 * The value of an object's bytes, which begin at a multiple of 64 in their buffer. Typed arrays and SharedArrays in it are
 * views on that buffer; ArrayBuffers are copies. The bytes may be anything: errors ERR_NDSHM_CORRUPT_OBJECT.
 */
export function decode(object: Uint8Array, options: DecodeOptions = {}): unknown {
  try {
    const { document, buffers } = readLayout(object);
    const { document: parts, hasRefs } = decodeDocument(document);
    if (!Array.isArray(parts) || parts.length === 0) throw corrupt('its document is not a list');
    return hasRefs ? new Resolution(object, buffers, parts, options.faulted ?? (() => false)).root() : parts[0];
  } catch (error) {
    const { code } = error as Partial<CodedError>;
    if (code === 'ERR_NDSHM_CORRUPT_OBJECT' || code === 'ERR_NDSHM_UNSUPPORTED') throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw Object.assign(corrupt(why), { cause: error });
  }
}

const viewClasses: ReadonlyMap<
  unknown,
  { new (buffer: ArrayBuffer, at: number, length: number): unknown; BYTES_PER_ELEMENT: number }
> = new Map(
  [
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
  ].map((each) => [each.name, each]),
);
/** Where the runtime has it; else its bits. */
const Float16 = (globalThis as unknown as { Float16Array?: typeof Uint16Array }).Float16Array ?? Uint16Array;

const errorClasses: ReadonlyMap<unknown, ErrorConstructor> = new Map(
  [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((each) => [each.name, each]),
);

const isContainer = (part: unknown): part is Record<string, unknown> | unknown[] =>
  Array.isArray(part) ||
  (typeof part === 'object' && part !== null && Object.getPrototypeOf(part) === Object.prototype);

/** Puts the specials where they belong. Without recursion. */
class Resolution {
  readonly #object: Uint8Array;
  readonly #buffers: readonly BufferPlace[];
  readonly #parts: readonly unknown[];
  readonly #faulted: () => boolean;
  /** What each special is; containers are filled when all are there, since they may be in each other. */
  readonly #values: unknown[] = [];
  readonly #open: (Record<string, unknown> | unknown[])[] = [];

  constructor(object: Uint8Array, buffers: readonly BufferPlace[], parts: readonly unknown[], faulted: () => boolean) {
    this.#object = object;
    this.#buffers = buffers;
    this.#parts = parts;
    this.#faulted = faulted;
  }

  root(): unknown {
    const specials = this.#parts.slice(1);
    for (const special of specials) {
      if (!Array.isArray(special)) throw corrupt('a special is not a list');
      this.#values.push(this.#make(special));
    }
    for (const [n, special] of specials.entries()) this.#fill(this.#values[n], special as unknown[]);
    const root = this.#resolve(this.#parts[0]);
    for (let open = this.#open.pop(); open !== undefined; open = this.#open.pop()) {
      if (Array.isArray(open)) for (let n = 0; n < open.length; n++) open[n] = this.#resolve(open[n]);
      else for (const key of Object.keys(open)) open[key] = this.#resolve(open[key]);
    }
    return root;
  }

  /** The value of a part, or the part itself, to be looked through. */
  #resolve(part: unknown): unknown {
    if (part instanceof SpecialRef) {
      if (part.index >= this.#values.length) throw corrupt(`it has no special ${part.index}`);
      return this.#values[part.index];
    }
    if (isContainer(part)) this.#open.push(part);
    return part;
  }

  #make(special: readonly unknown[]): unknown {
    const [tag, first, second, third] = special;
    switch (tag) {
      case 'undefined':
        return undefined;
      case '-0':
        return -0;
      case 'BigInt':
        return BigInt(checked(first, typeof first === 'string' && /^-?\d+$/.test(first)) as string);
      case 'UTF16':
        return Buffer.from(checked(first, first instanceof Uint8Array) as Uint8Array).toString('utf16le');
      case 'Date':
        return new Date(first === null ? Number.NaN : (checked(first, typeof first === 'number') as number));
      case 'RegExp':
        checked(special, typeof first === 'string' && typeof second === 'string');
        return new RegExp(first as string, second as string);
      case 'Boxed': {
        const primitive = this.#resolve(first); // a special before this one, if it is one
        return Object(checked(primitive, Object(primitive) !== primitive && primitive !== null)) as unknown;
      }
      case 'Error':
        return makeError(first, second, third);
      case 'Map':
        return new Map();
      case 'Set':
        return new Set();
      case 'Array':
        return Object.assign([], { length: checked(first, typeof first === 'number') });
      case 'Entries':
        return {};
      case 'List':
        return checked(first, Array.isArray(first));
      case 'Object':
        return checked(first, isContainer(first) && !Array.isArray(first));
      default:
        return this.#makeView(special);
    }
  }

  /** What shows a buffer. */
  #makeView([tag, ...rest]: readonly unknown[]): unknown {
    const place = this.#buffers[checked(rest.at(-1), Number.isInteger(rest.at(-1))) as number];
    if (place === undefined) throw corrupt('it has no such buffer');
    const { byteLength } = place;
    const buffer = this.#object.buffer as ArrayBuffer;
    const byteOffset = this.#object.byteOffset + place.offset;
    switch (tag) {
      case 'Buffer':
        return Buffer.from(buffer, byteOffset, byteLength);
      case 'DataView':
        return new DataView(buffer, byteOffset, byteLength);
      case 'ArrayBuffer':
        return buffer.slice(byteOffset, byteOffset + byteLength);
      case 'Arrow':
        return bytesToTable(new Uint8Array(buffer, byteOffset, byteLength));
      case 'ndarray':
        return this.#makeArray(rest, byteOffset, byteLength);
      default: {
        const Class = tag === 'Float16Array' ? Float16 : viewClasses.get(tag);
        if (Class === undefined) throw corrupt(`it has a special of unknown kind ${JSON.stringify(tag)?.slice(0, 40)}`);
        return new Class(buffer, byteOffset, byteLength / Class.BYTES_PER_ELEMENT);
      }
    }
  }

  #makeArray([descr, lengths, order]: readonly unknown[], byteOffset: number, byteLength: number): unknown {
    checked(descr, typeof descr === 'string' && (order === 'C' || order === 'F'));
    const { name, itemBytes } = specOfDescr(descr as string);
    const shape = checkShape(lengths);
    checked(shape, checkedByteLength(shape, itemBytes) === byteLength);
    const memory = {
      buffer: this.#object.buffer as ArrayBuffer,
      byteOffset,
      faulted: this.#faulted,
      who: 'The array in an object',
    };
    return excerpt(memory, { dtype: name as DType, shape, order: order as Order, mode: 'r' });
  }

  #fill(value: unknown, special: readonly unknown[]): void {
    const [tag] = special;
    switch (tag) {
      case 'List':
      case 'Object':
        this.#open.push(value as unknown[]);
        break;
      case 'Map':
        for (const [key, each] of this.#pairs(special, 1)) (value as Map<unknown, unknown>).set(key, each);
        break;
      case 'Set':
        for (let n = 1; n < special.length; n++) (value as Set<unknown>).add(this.#resolve(special[n]));
        break;
      case 'Entries':
      case 'Array':
        for (const [key, each] of this.#pairs(special, tag === 'Array' ? 2 : 1)) {
          checked(key, typeof key === 'string');
          // Not an assignment: the key may be __proto__.
          const property = { value: each, writable: true, enumerable: true, configurable: true };
          Object.defineProperty(value, key as string, property);
        }
        break;
      case 'Error':
        if (special.length > 4) defineHidden(value as Error, 'cause', this.#resolve(special[4]));
        break;
    }
  }

  *#pairs(special: readonly unknown[], from: number): Generator<[unknown, unknown]> {
    for (let n = from; n + 1 < special.length; n += 2) yield [this.#resolve(special[n]), this.#resolve(special[n + 1])];
  }
}

function makeError(name: unknown, message: unknown, stack: unknown): Error {
  const Class = errorClasses.get(name);
  if (Class === undefined || !isTextOrNull(message) || !isTextOrNull(stack)) throw corrupt('it has a malformed error');
  const error = message === null ? new Class() : new Class(message);
  if (stack !== null) defineHidden(error, 'stack', stack);
  return error;
}

const isTextOrNull = (value: unknown): value is string | null => value === null || typeof value === 'string';

function defineHidden(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true });
}

function checked(value: unknown, isRight: boolean): unknown {
  if (!isRight) throw corrupt('it has a malformed special');
  return value;
}
