import type { ArrayHandle } from '../array/handle';
import { SharedArray } from '../array/shared-array';
import { type DecodeOptions, decode } from '../codec/decode';
import type { Special } from '../codec/document';
import { type Encoded, encode } from '../codec/encode';
import type { EncodeOptions } from '../codec/tree';
import { typeError } from '../errors';
import type { Mode } from '../options';
import type { Attachments } from './attachments';

// Arguments and results, as the bytes of a store's object, but that arrays with a name are not copied: they go as a special
// of the pool's own, which no store reads.
const tag = 'SharedArray';

/**
 * The bytes of a value, as encode() gives them, but of a SharedArray its handle and its mode, which no copy is made of. What
 * store.get() gave has no name, and is copied. `instance` is asked for what is no SharedArray.
 * Errors: ERR_NDSHM_ANONYMOUS, ERR_NDSHM_CLOSED, ERR_NDSHM_TRUNCATED, and those of encode().
 */
export function encodePayload(value: unknown, options?: EncodeOptions): Encoded {
  const others = options?.instance;
  return encode(value, {
    instance: (each, where) => (each instanceof SharedArray ? specialOf(each, where) : others?.(each, where)),
  });
}

function specialOf(array: SharedArray, where: () => string): Special | undefined {
  if (array.name !== null) return [tag, array.handle, array.mode];
  const attachment = SharedArray.attachmentOf(array);
  attachment.check();
  if (attachment.spec.raw) return undefined; // of an object in a store
  throw typeError(
    'ERR_NDSHM_ANONYMOUS',
    `${where()} is an anonymous array, which no worker can find; make it by create() with a name, and { ephemeral: true } to have it go with its last user`,
  );
}

/**
 * What encodePayload() was given, with its SharedArrays attached; an array that was in it twice is one object. Errors: those
 * of decode() and of attach().
 */
export function decodePayload(bytes: Uint8Array, attachments: Attachments, options?: DecodeOptions): unknown {
  return decode(bytes, {
    ...options,
    instance: (special) =>
      special[0] === tag
        ? attachments.attach(special[1] as ArrayHandle, special[2] as Mode)
        : options?.instance?.(special),
  });
}
