import { type DType, specOf } from '../array/dtype';
import { checkedByteLength, type Order } from '../array/shape';
import { encodeDocument, SpecialRef } from './document';
import { layOut } from './object-format';
import { type EncodeOptions, treeOf } from './tree';

export interface Encoded {
  /** Of the whole object. */
  readonly byteLength: number;
  /** What lies at its beginning. */
  readonly head: Uint8Array;
  /** What lies where behind it, in ascending order: views on the caller's memory. What is between them is not looked at. */
  readonly buffers: readonly EncodedBuffer[];
}

export interface EncodedBuffer {
  readonly offset: number;
  /** As it was when it was encoded: `bytes` is the caller's, who may transfer or resize what is under it. */
  readonly byteLength: number;
  readonly bytes: Uint8Array;
}

/**
 * An object's bytes, but for the bulk of them: arrays are left where they are. Takes what structured clone takes, and
 * SharedArrays and Arrow tables. Errors: ERR_NDSHM_INVALID_ARGUMENT, with the path to what cannot be cloned; what
 * `instance` throws.
 */
export function encode(value: unknown, options?: EncodeOptions): Encoded {
  const { document, buffers } = treeOf(value, options);
  const byteLengths = buffers.map((bytes) => bytes.byteLength);
  const { byteLength, head, offsets } = layOut(encodeDocument(document), byteLengths);
  const placed = (bytes: Uint8Array, n: number): EncodedBuffer => ({
    offset: offsets[n] as number,
    byteLength: byteLengths[n] as number,
    bytes,
  });
  return { byteLength, head, buffers: buffers.map(placed) };
}

/** The bytes of an object in one piece; what nobody has written in it is zero. */
export function bytesOf({ byteLength, head, buffers }: Encoded): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  bytes.set(head);
  for (const { offset, bytes: buffer } of buffers) bytes.set(buffer, offset);
  return bytes;
}

/** The bytes around an array that is there already, or will be: where in the object it has to lie. */
export function encodeArray(dtype: DType, shape: readonly number[], order: Order): Encoded {
  const spec = specOf(dtype);
  const document = encodeDocument([new SpecialRef(0), ['ndarray', spec.descr, shape, order, 0]]);
  const dataBytes = checkedByteLength(shape, spec.itemBytes);
  const { byteLength, head, offsets } = layOut(document, [dataBytes]);
  const buffers = offsets.map((offset) => ({ offset, byteLength: dataBytes, bytes: new Uint8Array(0) }));
  return { byteLength, head, buffers };
}
