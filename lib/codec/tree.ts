import { isDeepStrictEqual, types } from 'node:util';
import { specOf } from '../array/dtype';
import { SharedArray } from '../array/shared-array';
import { type CodedError, typeError } from '../errors';
import { isArrowTable, tableToBytes } from './arrow';
import { isPlain, whyNotClonable } from './clonable';
import { entries, error, type Kind, list, map, Open, object, type Part, type Parts, pathTo, set } from './containers';
import { maxDepth, type Special, SpecialRef } from './document';

export interface EncodeOptions {
  /**
   * What stands for an object that is neither a list nor a plain object, or for a function: a special of msgpack's kinds, or
   * undefined for the usual way. `where` is the path to it, for messages.
   */
  readonly instance?: (value: object, where: () => string) => Special | undefined;
  /** Whether `instance` is asked about plain objects as well. */
  readonly asksPlain?: boolean;
}

export interface Tree {
  /** The value's tree, and the specials. */
  readonly document: readonly unknown[];
  readonly buffers: readonly Uint8Array[];
}

/** A value as a tree that msgpack can say, with the bytes of its arrays beside it. */
export const treeOf = (value: unknown, options?: EncodeOptions): Tree => new Walk(options).walk(value);

/** The way through one value, without recursion: it may be nested to any depth. */
class Walk implements Parts {
  readonly #document: unknown[] = [null];
  readonly #buffers: Uint8Array[] = [];
  readonly #seen = new Map<object, Open | SpecialRef>();
  readonly #open: Open[] = [];
  #undefined: SpecialRef | undefined;
  #negativeZero: SpecialRef | undefined;
  readonly #instance: EncodeOptions['instance'] | undefined;
  readonly #asksPlain: boolean;

  constructor({ instance, asksPlain = false }: EncodeOptions = {}) {
    this.#instance = instance;
    this.#asksPlain = asksPlain;
  }

  walk(value: unknown): Tree {
    this.#document[0] = this.part(value, undefined, 0);
    for (let open = this.#open.pop(); open !== undefined; open = this.#open.pop()) open.kind.fill(this, open);
    return { document: this.#document, buffers: this.#buffers };
  }

  /** What stands in the tree for a value that was met there. */
  part(value: unknown, within: Open | undefined, at: string | number): unknown {
    switch (typeof value) {
      case 'string':
        return this.#text(value);
      case 'number':
        if (!Object.is(value, -0)) return value;
        this.#negativeZero ??= this.#special(['-0']);
        return this.#negativeZero;
      case 'object':
        return value === null ? null : this.#object(value, within, at);
      case 'undefined':
        this.#undefined ??= this.#special(['undefined']);
        return this.#undefined;
      case 'bigint':
        return this.#special(['BigInt', value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`]);
      case 'boolean':
        return value;
      case 'function':
        return this.#function(value, within, at);
      default:
        throw refused(`is a ${typeof value}`, within, at);
    }
  }

  #function(value: object, within: Open | undefined, at: string | number): SpecialRef {
    const seen = this.#seen.get(value);
    if (seen instanceof SpecialRef) return seen;
    const special = this.#instance?.(value, () => pathTo(within, at));
    if (special === undefined) throw refused('is a function', within, at);
    return this.#leaf(value, special);
  }

  #text(text: string): string | SpecialRef {
    return text.isWellFormed() ? text : this.#special(['UTF16', Buffer.from(text, 'utf16le')]);
  }

  #special(special: Special): SpecialRef {
    return new SpecialRef(this.#document.push(special) - 2);
  }

  /** Of an object without others in it. */
  #leaf(value: object, special: Special): SpecialRef {
    const ref = this.#special(special);
    this.#seen.set(value, ref);
    return ref;
  }

  #object(value: object, within: Open | undefined, at: string | number): unknown {
    const seen = this.#seen.get(value);
    if (seen !== undefined) return seen instanceof SpecialRef ? seen : this.#hoist(seen);
    if (types.isProxy(value)) throw refused('is a Proxy', within, at);
    if (ArrayBuffer.isView(value)) return this.#leaf(value, [tagOf(value), this.#buffer(value, within, at)]);
    if (Array.isArray(value)) {
      return isDense(value)
        ? this.#nest(value, [] as unknown as Part, list, within, at)
        : this.#nestSpecial(value, ['Array', value.length], entries, within, at);
    }
    const isUsual = isPlain(value);
    const special = isUsual && !this.#asksPlain ? undefined : this.#instance?.(value, () => pathTo(within, at));
    if (special !== undefined) return this.#leaf(value, special);
    return isUsual ? this.#nest(value, {}, object, within, at) : this.#otherObject(value, within, at);
  }

  #otherObject(value: object, within: Open | undefined, at: string | number): unknown {
    if (types.isMap(value)) return this.#nestSpecial(value, ['Map'], map, within, at);
    if (types.isSet(value)) return this.#nestSpecial(value, ['Set'], set, within, at);
    if (types.isDate(value)) {
      const time = Date.prototype.getTime.call(value);
      return this.#leaf(value, ['Date', Number.isNaN(time) ? null : time]);
    }
    if (types.isRegExp(value)) return this.#leaf(value, ['RegExp', this.#text(value.source), value.flags]);
    if (types.isNativeError(value)) return this.#nestSpecial(value, this.#errorSpecial(value), error, within, at);
    if (types.isBoxedPrimitive(value)) return this.#leaf(value, ['Boxed', this.part(primitiveOf(value), within, at)]);
    if (types.isArrayBuffer(value)) return this.#leaf(value, ['ArrayBuffer', this.#buffer(value, within, at)]);
    if (value instanceof SharedArray) return this.#sharedArray(value, within, at);
    if (isArrowTable(value)) return this.#leaf(value, ['Arrow', this.#buffer(tableToBytes(value), within, at)]);
    const why = whyNotClonable(value);
    if (why !== undefined) throw refused(why, within, at);
    return this.#nest(value, {}, object, within, at);
  }

  #sharedArray(array: SharedArray, within: Open | undefined, at: string | number): SpecialRef {
    const isWhole = array.isCContiguous || array.isFContiguous;
    const order = isWhole && !array.isCContiguous ? 'F' : 'C';
    const buffer = this.#buffer((isWhole ? array.data : array.toTypedArray()) as ArrayBufferView, within, at);
    return this.#leaf(array, ['ndarray', specOf(array.dtype).descr, array.shape, order, buffer]);
  }

  /** As structured clone keeps them: a name of its own, message and stack. */
  #errorSpecial(error: Error): Special {
    const name = errorNames.has(error.name) ? error.name : 'Error';
    const message = Object.hasOwn(error, 'message') ? this.#text(String(error.message)) : null;
    return ['Error', name, message, typeof error.stack === 'string' ? this.#text(error.stack) : null];
  }

  /** The number of a new buffer. */
  #buffer(source: ArrayBufferView | ArrayBuffer, within: Open | undefined, at: string | number): number {
    try {
      return this.#buffers.push(bytesOf(source)) - 1;
    } catch {
      throw refused('shows a buffer that has been transferred or closed', within, at);
    }
  }

  #nest(source: object, part: Part, kind: Kind, within: Open | undefined, at: string | number): unknown {
    const depth = within === undefined ? 0 : within.depth;
    const open = new Open(source, part, kind, within, at, depth === maxDepth ? 1 : depth + 1);
    this.#seen.set(source, open);
    this.#open.push(open);
    return depth === maxDepth ? this.#hoist(open) : part;
  }

  #nestSpecial(
    source: object,
    special: Special,
    kind: Kind,
    within: Open | undefined,
    at: string | number,
  ): SpecialRef {
    const open = new Open(source, special as unknown as Part, kind, within, at, 1);
    open.ref = this.#leaf(source, special);
    this.#open.push(open);
    return open.ref;
  }

  /** Makes a special of what lay in the tree: it is met again, or lies deep. */
  #hoist(open: Open): SpecialRef {
    if (open.ref !== undefined) return open.ref;
    open.ref = this.#special([Array.isArray(open.part) ? 'List' : 'Object', open.part]);
    const parent = open.within === undefined ? (this.#document as unknown as Part) : open.within.part;
    parent[open.at] = open.ref;
    return open.ref;
  }

  /** Before anything is in it. */
  turnIntoEntries(open: Open): void {
    const special = this.#document[this.#hoist(open).index + 1] as unknown[];
    special.splice(0, special.length, 'Entries');
    open.part = special as unknown as Part;
    open.kind = entries;
  }
}

const errorNames = new Set(['EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError']);

const typedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** The name of its class, whatever a subclass says. */
const tagOf = (view: ArrayBufferView): string =>
  Buffer.isBuffer(view)
    ? 'Buffer'
    : ((Reflect.get(typedArrayPrototype, Symbol.toStringTag, view) as string | undefined) ?? 'DataView');

/** Whatever its own valueOf() says. */
function primitiveOf(boxed: object): unknown {
  if (types.isNumberObject(boxed)) return Number.prototype.valueOf.call(boxed);
  if (types.isStringObject(boxed)) return String.prototype.valueOf.call(boxed);
  if (types.isBooleanObject(boxed)) return Boolean.prototype.valueOf.call(boxed);
  if (types.isBigIntObject(boxed)) return BigInt.prototype.valueOf.call(boxed);
  return Symbol.prototype.valueOf.call(boxed);
}

/** Throws if they are gone. */
function bytesOf(source: ArrayBufferView | ArrayBuffer): Uint8Array {
  if (!ArrayBuffer.isView(source)) return new Uint8Array(source);
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  // Shared with other threads, and so not to be handed to native code, which wants it to stay as it is.
  return types.isSharedArrayBuffer(bytes.buffer) ? new Uint8Array(bytes) : bytes;
}

/** To compare that many elements takes less time than to name them all; to compare fewer takes twice as much. */
const manyElements = 20_000;

/** No holes, and no properties beside the elements. */
function isDense(source: readonly unknown[]): boolean {
  if (source.length > manyElements && !source.includes(undefined) && isDeepStrictEqual(source, source.slice())) {
    return true;
  }
  const keys = Object.keys(source);
  return keys.length === source.length && (keys.length === 0 || keys[keys.length - 1] === String(keys.length - 1));
}

function refused(why: string, within: Open | undefined, at: string | number): CodedError {
  return typeError(
    'ERR_NDSHM_INVALID_ARGUMENT',
    `Expected a value that structured clone takes, but ${pathTo(within, at)} ${why}`,
  );
}
