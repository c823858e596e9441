import { types } from 'node:util';
import { specOf } from '../array/dtype';
import { SharedArray } from '../array/shared-array';
import { type CodedError, typeError } from '../errors';
import { isArrowTable, tableToBytes } from './arrow';
import { maxDepth, SpecialRef } from './document';

export interface Tree {
  /** The value's tree, and the specials. */
  readonly document: readonly unknown[];
  readonly buffers: readonly Uint8Array[];
}

/** A value as a tree that msgpack can say, with the bytes of its arrays beside it. */
export const treeOf = (value: unknown): Tree => new Walk().walk(value);

/** A part of the tree, by index or by key. */
type Node = Record<string | number, unknown>;

/** A container of the value, and its part of the tree, which is still to be filled. */
interface Open {
  readonly fill: (walk: Walk, open: Open) => void;
  readonly source: object;
  readonly node: Node;
  /** Of the tree, counted from the root or a special. */
  readonly depth: number;
  /** Where in the value it was met first. */
  readonly within: Open | undefined;
  readonly at: string | number;
}

/** What an object has become: a special, or a node, and then where that is. */
type Seen = SpecialRef | { readonly node: Node; readonly parent: Node; readonly at: string | number };

/** What has a state that is not in its properties. */
const uncloneable = new Set([
  'Promise',
  'WeakMap',
  'WeakSet',
  'WeakRef',
  'FinalizationRegistry',
  'Generator',
  'AsyncGenerator',
  'Map Iterator',
  'Set Iterator',
  'Array Iterator',
]);
/** The names of errors that structured clone keeps. */
const errorNames = new Set(['EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError']);

const tagOf = (value: object): string => Object.prototype.toString.call(value).slice(8, -1);

/** The way through one value, without recursion: it may be nested to any depth. */
class Walk {
  readonly #document: unknown[] = [null];
  readonly #buffers: Uint8Array[] = [];
  readonly #seen = new Map<object, Seen>();
  readonly #open: Open[] = [];
  #undefined: SpecialRef | undefined;

  walk(value: unknown): Tree {
    const document = this.#document as unknown as Node;
    document[0] = this.part(value, document, 0, undefined, 0);
    for (let open = this.#open.pop(); open !== undefined; open = this.#open.pop()) open.fill(this, open);
    return { document: this.#document, buffers: this.#buffers };
  }

  /** What stands for a value at `parent[at]`. */
  part(value: unknown, parent: Node, at: string | number, within: Open | undefined, depth: number): unknown {
    switch (typeof value) {
      case 'string':
        return value.isWellFormed() ? value : this.#special(['UTF16', Buffer.from(value, 'utf16le')]);
      case 'number':
        return value === 0 && Object.is(value, -0) ? this.#special(['-0']) : value;
      case 'object':
        return value === null ? null : this.#objectPart(value, parent, at, within, depth);
      case 'undefined':
        this.#undefined ??= this.#special(['undefined']);
        return this.#undefined;
      case 'bigint':
        return this.#special(['BigInt', value.toString()]);
      case 'boolean':
        return value;
      default:
        throw refused(`is a ${typeof value}`, within, at);
    }
  }

  #special(special: unknown[]): SpecialRef {
    return new SpecialRef(this.#document.push(special) - 2);
  }

  #buffer(view: ArrayBufferView): number {
    return this.#buffers.push(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)) - 1;
  }

  #objectPart(value: object, parent: Node, at: string | number, within: Open | undefined, depth: number): unknown {
    const seen = this.#seen.get(value);
    if (seen !== undefined) return this.#again(value, seen);
    if (types.isProxy(value)) throw refused('is a Proxy', within, at);
    if (ArrayBuffer.isView(value)) return this.#known(value, viewParts(value, this.#buffer(value)));
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype && !Object.hasOwn(value, '__proto__') && !types.isArgumentsObject(value)) {
      return this.#nest(value, {}, fillObject, parent, at, within, depth);
    }
    if (Array.isArray(value)) {
      if (isDense(value)) {
        return this.#nest(value, new Array(value.length) as unknown as Node, fillList, parent, at, within, depth);
      }
      return this.#nestSpecial(value, ['Array', value.length], fillEntries, at, within);
    }
    const leaf = this.#leaf(value, within, at);
    if (leaf !== undefined) return this.#known(value, leaf);
    if (types.isMap(value)) return this.#nestSpecial(value, ['Map'], fillMap, at, within);
    if (types.isSet(value)) return this.#nestSpecial(value, ['Set'], fillSet, at, within);
    if (types.isNativeError(value)) return this.#nestSpecial(value, errorParts(value), fillCause, at, within);
    const tag = tagOf(value);
    if (uncloneable.has(tag)) throw refused(`is a ${tag}`, within, at);
    // A key that decoders refuse, and rightly so: as entries.
    if (Object.hasOwn(value, '__proto__')) return this.#nestSpecial(value, ['Entries'], fillEntries, at, within);
    return this.#nest(value, {}, fillObject, parent, at, within, depth);
  }

  #known(value: object, special: unknown[]): SpecialRef {
    const ref = this.#special(special);
    this.#seen.set(value, ref);
    return ref;
  }

  /** What was met before becomes a special, to which both places refer. */
  #again(value: object, seen: Seen): SpecialRef {
    if (seen instanceof SpecialRef) return seen;
    const ref = this.#known(value, [Array.isArray(seen.node) ? 'List' : 'Object', seen.node]);
    seen.parent[seen.at] = ref;
    return ref;
  }

  /** A special without any values in it; undefined if it is none of these. */
  #leaf(value: object, within: Open | undefined, at: string | number): unknown[] | undefined {
    if (types.isDate(value)) {
      const time = value.getTime();
      return ['Date', Number.isNaN(time) ? null : time];
    }
    if (types.isRegExp(value)) return ['RegExp', value.source, value.flags];
    if (types.isSharedArrayBuffer(value)) throw refused('is a SharedArrayBuffer', within, at);
    if (types.isArrayBuffer(value)) return ['ArrayBuffer', this.#buffer(new Uint8Array(value))];
    if (value instanceof SharedArray) return this.#sharedArray(value);
    if (types.isBoxedPrimitive(value)) {
      const primitive = unboxed(value);
      return ['Boxed', this.part(primitive, {}, 0, within, 0)];
    }
    if (isArrowTable(value)) return ['Arrow', this.#buffer(tableToBytes(value))];
    return undefined;
  }

  #sharedArray(array: SharedArray): unknown[] {
    const isWhole = array.isCContiguous || array.isFContiguous;
    const order = isWhole && !array.isCContiguous ? 'F' : 'C';
    const data = isWhole ? array.data : array.toTypedArray();
    return ['ndarray', specOf(array.dtype).descr, array.shape, order, this.#buffer(data as ArrayBufferView)];
  }

  #nest(
    source: object,
    node: Node,
    fill: Open['fill'],
    parent: Node,
    at: string | number,
    within: Open | undefined,
    depth: number,
  ): unknown {
    if (depth === maxDepth) {
      const special = [Array.isArray(node) ? 'List' : 'Object', node];
      this.#open.push({ fill, source, node, depth: 1, within, at });
      return this.#known(source, special);
    }
    this.#seen.set(source, { node, parent, at });
    this.#open.push({ fill, source, node, depth: depth + 1, within, at });
    return node;
  }

  #nestSpecial(
    source: object,
    special: unknown[],
    fill: Open['fill'],
    at: string | number,
    within: Open | undefined,
  ): SpecialRef {
    this.#open.push({ fill, source, node: special as unknown as Node, depth: 1, within, at });
    return this.#known(source, special);
  }
}

/** Not by its own valueOf(), which may be anything. */
function unboxed(value: object): unknown {
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value);
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value);
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value);
  if (types.isBigIntObject(value)) return BigInt.prototype.valueOf.call(value);
  return Symbol.prototype.valueOf.call(value as unknown as symbol);
}

function viewParts(view: ArrayBufferView, buffer: number): unknown[] {
  return [Buffer.isBuffer(view) ? 'Buffer' : (view as Uint8Array)[Symbol.toStringTag], buffer];
}

/** No holes, and no properties beside its elements. */
function isDense(list: readonly unknown[]): boolean {
  const keys = Object.keys(list);
  return keys.length === list.length && (list.length === 0 || keys[list.length - 1] === String(list.length - 1));
}

function fillObject(walk: Walk, open: Open): void {
  const { source, node, depth } = open;
  for (const key of Object.keys(source)) node[key] = walk.part((source as Node)[key], node, key, open, depth);
}

function fillList(walk: Walk, open: Open): void {
  const { source, node, depth } = open;
  const { length } = source as unknown[];
  for (let n = 0; n < length; n++) node[n] = walk.part((source as Node)[n], node, n, open, depth);
}

/** Appends a value to a special. */
function append(walk: Walk, open: Open, value: unknown): void {
  const special = open.node as unknown as unknown[];
  const at = special.push(null) - 1;
  special[at] = walk.part(value, open.node, at, open, open.depth);
}

function fillEntries(walk: Walk, open: Open): void {
  for (const key of Object.keys(open.source)) {
    append(walk, open, key);
    append(walk, open, (open.source as Node)[key]);
  }
}

function fillMap(walk: Walk, open: Open): void {
  for (const [key, value] of open.source as Map<unknown, unknown>) {
    append(walk, open, key);
    append(walk, open, value);
  }
}

function fillSet(walk: Walk, open: Open): void {
  for (const value of open.source as Set<unknown>) append(walk, open, value);
}

/** As structured clone keeps them: a name of its own, message and stack, and the cause. */
function errorParts(error: Error): unknown[] {
  const name = errorNames.has(error.name) ? error.name : 'Error';
  const message = Object.hasOwn(error, 'message') ? String(error.message) : null;
  return ['Error', name, message, typeof error.stack === 'string' ? error.stack : null];
}

function fillCause(walk: Walk, open: Open): void {
  if (Object.hasOwn(open.source, 'cause')) append(walk, open, (open.source as Error).cause);
}

function refused(why: string, within: Open | undefined, at: string | number): CodedError {
  let path = '';
  let key = at;
  for (let open = within; open !== undefined; open = open.within) {
    path = typeof key === 'number' ? `[${key}]${path}` : `.${key}${path}`;
    key = open.at;
  }
  return typeError('ERR_NDSHM_INVALID_ARGUMENT', `Expected a value to clone, but value${path} ${why}`);
}
