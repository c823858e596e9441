import { BufferViews, type ObjectMemory } from './buffer-views';
import type { Special } from './document';
import { type Document, Place } from './document-reader';
import { corrupt } from './object-format';

const errorClasses: ReadonlyMap<unknown, ErrorConstructor> = new Map(
  [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((each) => [each.name, each]),
);

/** What a special of a kind that only the caller knows stands for; undefined = the caller does not know it either. */
export type InstanceOf = (special: Special) => unknown;

/** Around what an InstanceOf has thrown: the bytes are not to blame. */
export class InstanceError extends Error {}

/**
 * What a document's specials are. First all of them are made, containers empty, then each is put where it belongs, and only
 * then containers are filled: they may be in each other.
 */
export class Specials {
  readonly #specials: Document['specials'];
  readonly #views: BufferViews;
  readonly #instance: InstanceOf | undefined;
  readonly #values: unknown[] = [];

  constructor(specials: Document['specials'], memory: ObjectMemory, instance: InstanceOf | undefined) {
    this.#specials = specials;
    this.#views = new BufferViews(memory);
    this.#instance = instance;
  }

  putInto(places: readonly Place[]): void {
    for (const special of this.#specials) this.#values.push(this.#make(special));
    for (const place of places) place.container[place.key] = this.#valueOf(place);
    this.#specials.forEach((special, n) => {
      fill(this.#values[n], special);
    });
  }

  #valueOf({ index }: Place): unknown {
    if (index >= this.#values.length) throw corrupt(`it has no special ${index}, or not yet where one is needed`);
    return this.#values[index];
  }

  /** A part of a special that is not a container; where it is a special itself, it is one before this one. */
  #scalar(part: unknown): unknown {
    return part instanceof Place ? this.#valueOf(part) : part;
  }

  #text(part: unknown): string {
    const text = this.#scalar(part);
    if (typeof text !== 'string') throw malformed();
    return text;
  }

  #make(special: Special): unknown {
    const [tag, first, second, third] = special;
    switch (tag) {
      case 'undefined':
        return undefined;
      case '-0':
        return -0;
      case 'BigInt':
        return bigIntOf(this.#text(first));
      case 'UTF16':
        if (!(first instanceof Uint8Array)) throw malformed();
        return Buffer.from(first.buffer, first.byteOffset, first.byteLength).toString('utf16le');
      case 'Date':
        if (first !== null && typeof first !== 'number') throw malformed();
        return new Date(first ?? Number.NaN);
      case 'RegExp':
        return new RegExp(this.#text(first), this.#text(second));
      case 'Boxed':
        return boxed(this.#scalar(first));
      case 'Error':
        return this.#makeError(first, second, third);
      case 'Map':
        return new Map();
      case 'Set':
        return new Set();
      case 'Array':
        return listOf(first, special.length);
      case 'Entries':
        return {};
      case 'List':
        if (!Array.isArray(first)) throw malformed();
        return first;
      case 'Object':
        if (typeof first !== 'object' || first === null || Object.getPrototypeOf(first) !== Object.prototype) {
          throw malformed();
        }
        return first;
      default:
        return this.#instanceOf(special) ?? this.#views.make(special);
    }
  }

  #instanceOf(special: Special): unknown {
    try {
      return this.#instance?.(special);
    } catch (cause) {
      throw new InstanceError('', { cause });
    }
  }

  #makeError(name: unknown, message: unknown, stack: unknown): Error {
    const Class = errorClasses.get(name);
    if (Class === undefined) throw malformed();
    const error = errorWithoutStack(Class, message === null ? undefined : this.#text(message));
    defineHidden(error, 'stack', stack === null ? undefined : this.#text(stack));
    return error;
  }
}

/** To write down where we are just now would take ten times as long as all else, and it gets the stack that it had. */
function errorWithoutStack(Class: ErrorConstructor, message: string | undefined): Error {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new Class(message); // undefined: it has no message of its own
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function fill(value: unknown, special: Special): void {
  switch (special[0]) {
    case 'Map':
      eachPair(special, 1, (key, each) => (value as Map<unknown, unknown>).set(key, each));
      break;
    case 'Set':
      for (let n = 1; n < special.length; n++) (value as Set<unknown>).add(special[n]);
      break;
    case 'Entries':
      eachPair(special, 1, (key, each) => define(value as object, key, each));
      break;
    case 'Array':
      eachPair(special, 2, (key, each) => define(value as object, key, each));
      break;
    case 'Error':
      if (special.length > 4) defineHidden(value as Error, 'cause', special[4]);
      break;
  }
}

function eachPair(special: Special, from: number, visit: (key: unknown, value: unknown) => void): void {
  if ((special.length - from) % 2 !== 0) throw malformed();
  for (let n = from; n < special.length; n += 2) visit(special[n], special[n + 1]);
}

/** Not an assignment: the key may be __proto__. */
function define(object: object, key: unknown, value: unknown): void {
  if (typeof key !== 'string') throw malformed();
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

function defineHidden(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true });
}

/** Hexadecimal, because reading that takes time in proportion to its length. */
function bigIntOf(text: string): bigint {
  if (!/^-?0x[0-9a-f]+$/.test(text)) throw malformed();
  return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
}

function boxed(primitive: unknown): object {
  if (primitive === undefined || primitive === null || typeof primitive === 'object') throw malformed();
  return Object(primitive) as object;
}

/** A list with holes. A length alone must not take room: V8 takes it for lengths of up to 32 Mi, but not of lists that were longer. */
function listOf(length: unknown, parts: number): unknown[] {
  if (typeof length !== 'number' || !Number.isInteger(length) || length < 0 || length >= 2 ** 32) throw malformed();
  const list: unknown[] = [];
  if (length > 64 * parts) list.length = 2 ** 32 - 1;
  list.length = length;
  return list;
}

const malformed = () => corrupt('it has a malformed special');
