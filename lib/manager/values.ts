import type { ArrayHandle } from '../array/handle';
import { SharedArray } from '../array/shared-array';
import { decode } from '../codec/decode';
import type { Special } from '../codec/document';
import { bytesOf, encode } from '../codec/encode';
import { corrupt } from '../codec/object-format';
import { bytesInWords, stateError, wrongKind } from '../errors';
import type { Mode } from '../options';
import type { Attachments } from '../pool/attachments';
import { copyInto, streamOf } from './array-copy';
import { anyMethod } from './exposure';
import { Hosted } from './hosted';
import { reachOf } from './remote';

// Values cross a connection in two forms. Scalars are in capnweb's messages as they are. All else is the bytes of a store's
// object, which say everything that structured clone takes; and beside them, in the order of their numbers, references that
// capnweb passes: to objects, functions, iterators, signals and streams of this process.

/** A scalar, or [bytes, ...references]. */
export type Sent = unknown;

/** What the values of one connection need to know of it. */
export interface Crossing {
  /** Where both sides have the same /dev/shm: the arrays that were attached. Otherwise arrays are copied. */
  readonly arrays: Attachments | undefined;
  /** Of all arguments of a call together, or a result. */
  readonly maxValueBytes: number;
  /** Of all copied arrays that arrive at the same time. */
  readonly maxArrayBytes: number;
  /** What is reserved for those that are arriving now. */
  readonly arriving: { bytes: number };
  /** What capnweb passes a reference by. */
  exposed(hosted: Hosted): Disposable;
  iterator(iterable: AsyncIterable<unknown>): Disposable;
  signal(signal: AbortSignal): Disposable;
  /** The other side's id of what a proxy stands for; undefined if it is no proxy of this connection. */
  idOf(value: object): string | undefined;
  /** What has come by a reference: taken over from whoever has brought it, who gives its own up. */
  remote(reference: unknown, id: string, type: string): object;
  remoteIterator(reference: unknown): AsyncIterableIterator<unknown>;
  remoteSignal(reference: unknown): AbortSignal;
}

const maxTextLength = 4096;
const maxScalars = 16;

/** Whether capnweb's own way gives it back unchanged, and cheaply. */
function isScalar(value: unknown): boolean {
  switch (typeof value) {
    case 'number':
      return !Object.is(value, -0);
    case 'string':
      return value.length <= maxTextLength;
    case 'boolean':
    case 'undefined':
      return true;
    default:
      return value === null;
  }
}

/** Errors: those of encode(), ERR_NDSHM_CLOSED. */
export const encodeValue = (value: unknown, crossing: Crossing): Sent =>
  isScalar(value) ? value : encodeWhole(value, crossing);

/** Of a call: each scalar by itself, or all in one. */
export const encodeArguments = (args: unknown[], crossing: Crossing): Sent[] =>
  args.length <= maxScalars && args.every(isScalar) ? args : [encodeWhole(args, crossing)];

/** A promise where arrays are still on their way. Errors: ERR_NDSHM_CORRUPT_OBJECT, and those of attach(). */
export const decodeValue = (sent: Sent, crossing: Crossing): unknown =>
  Array.isArray(sent) ? decodeWhole(sent, crossing) : checkScalar(sent);

/** As decodeValue(), of what encodeArguments() has made. */
export function decodeArguments(sent: Sent[], crossing: Crossing): unknown[] | Promise<unknown[]> {
  if (sent.length !== 1 || !Array.isArray(sent[0])) return sent.map(checkScalar);
  const args = decodeWhole(sent[0], crossing);
  return args instanceof Promise ? args.then(checkList) : checkList(args);
}

function checkScalar(sent: unknown): unknown {
  if (typeof sent === 'object' && sent !== null) throw corrupt('it is no value');
  if (typeof sent === 'function') throw corrupt('it is a reference where a value has to be');
  return sent;
}

function checkList(args: unknown): unknown[] {
  if (!Array.isArray(args)) throw corrupt('it is no list of arguments');
  return args;
}

// ---- out ----

function encodeWhole(value: unknown, crossing: Crossing): Sent {
  const references: object[] = [];
  const refer: Refer = (reference) => references.push(reference) - 1;
  try {
    const encoded = encode(value, {
      instance: (each, where) => specialOf(each, where, crossing, refer),
      asksPlain: true,
    });
    checkSize(encoded.byteLength, crossing.maxValueBytes); // capnweb would end the session over what cannot be sent
    return [bytesOf(encoded), ...references];
  } catch (error) {
    for (const reference of references) (reference as Partial<Disposable>)[Symbol.dispose]?.();
    throw error;
  }
}

function checkSize(byteLength: number, most: number): void {
  if (byteLength <= most) return;
  throw stateError(
    'ERR_NDSHM_LIMIT',
    `The value has ${bytesInWords(byteLength)}, and one message takes ${bytesInWords(most)}; pass large arrays as SharedArray, or raise limits.maxMessageBytes on both sides`,
  );
}

/** Gives a reference its number. */
type Refer = (reference: object) => number;

/** Arrays up to here are in the bytes of the object. */
const inlineArrayBytes = 2 ** 18;

function specialOf(value: object, where: () => string, crossing: Crossing, refer: Refer): Special | undefined {
  if (value instanceof SharedArray) return arraySpecial(value, crossing, refer);
  const id = crossing.idOf(value);
  if (id !== undefined) return ['Home', id];
  const hosted = reachOf(value) === undefined ? Hosted.of(value) : forwarded(value);
  if (hosted !== undefined) return ['Reference', refer(crossing.exposed(hosted)), hosted.id, hosted.type];
  if (value instanceof AbortSignal) return ['AbortSignal', refer(crossing.signal(value))];
  const iterable = iterableOf(value);
  if (iterable !== undefined) return ['Iterator', refer(crossing.iterator(iterable))];
  if (value instanceof Promise) throw wrongKind('a value to pass on', where(), value);
  return undefined;
}

/** A proxy of another connection: those who are given it reach the object through this process. */
const forwarded = (proxy: object): Hosted => Hosted.of(proxy) ?? Hosted.host(proxy, 'proxy', anyMethod);

function arraySpecial(array: SharedArray, { arrays }: Crossing, refer: Refer): Special | undefined {
  if (arrays !== undefined && array.name !== null) return ['SharedArray', array.handle, array.mode];
  if (array.nbytes <= inlineArrayBytes) return undefined;
  return ['ArrayCopy', array.dtype, array.shape, refer(streamOf(array))];
}

/** Generators too: they cannot be cloned, and their values can as well come later. */
function iterableOf(value: object): AsyncIterable<unknown> | undefined {
  if (Symbol.asyncIterator in value) return value as AsyncIterable<unknown>;
  const isIterator = Symbol.iterator in value && typeof (value as { next?: unknown }).next === 'function';
  return isIterator ? asynchronous(value as Iterable<unknown>) : undefined;
}

async function* asynchronous(iterable: Iterable<unknown>): AsyncGenerator<unknown> {
  yield* iterable;
}

// ---- in ----

function decodeWhole(sent: unknown[], crossing: Crossing): unknown {
  const [bytes, ...references] = sent;
  if (!(bytes instanceof Uint8Array)) throw corrupt('it has no bytes');
  const pending: Promise<unknown>[] = [];
  try {
    const value = decode(bytes, { instance: (special) => meaningOf(special, references, crossing, pending) });
    return pending.length === 0 ? value : Promise.all(pending).then(() => value);
  } catch (error) {
    for (const each of pending) each.catch(() => {}); // nobody waits for them any more
    throw error;
  }
}

function meaningOf(special: Special, references: unknown[], crossing: Crossing, pending: Promise<unknown>[]): unknown {
  const [tag, first, second, third] = special;
  const reference = (number: unknown): unknown => {
    if (typeof number === 'number' && number in references) return references[number];
    throw corrupt('it has a reference that is not there');
  };
  switch (tag) {
    case 'Home':
      return Hosted.byId(first);
    case 'Reference':
      return crossing.remote(reference(first), String(second), String(third));
    case 'Iterator':
      return crossing.remoteIterator(reference(first));
    case 'AbortSignal':
      return crossing.remoteSignal(reference(first));
    case 'SharedArray':
      if (crossing.arrays === undefined) throw corrupt('it has a handle, though the other side is on another host');
      return crossing.arrays.attach(first as ArrayHandle, second as Mode);
    case 'ArrayCopy': {
      const { arriving, maxArrayBytes } = crossing;
      const { array, done } = copyInto(first, second, reference(third), maxArrayBytes - arriving.bytes);
      const { nbytes } = array;
      arriving.bytes += nbytes;
      pending.push(
        done.finally(() => {
          arriving.bytes -= nbytes;
        }),
      );
      return array;
    }
    default:
      return undefined;
  }
}
