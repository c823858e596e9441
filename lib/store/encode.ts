import { type DType, specOf } from '../array/dtype';
import { checkedByteLength, type Order } from '../array/shape';
import { encodeDocument, SpecialRef } from './document';
import { layOut } from './object-format';
import { treeOf } from './tree';

export interface Encoded {
  /** Of the whole object. */
  readonly byteLength: number;
  /** What lies at its beginning. */
  readonly head: Uint8Array;
  /** What lies where behind it, in ascending order: views on the caller's memory. What is between them is not looked at. */
  readonly buffers: readonly { readonly offset: number; readonly bytes: Uint8Array }[];
}

/**
 * An object's bytes, but for the bulk of them: arrays are left where they are. Takes what structured clone takes, and
 * SharedArrays and Arrow tables. Errors: ERR_NDSHM_INVALID_ARGUMENT, with the path to what cannot be cloned.
 */
export function encode(value: unknown): Encoded {
  const { document, buffers } = treeOf(value);
  const layout = layOut(
    encodeDocument(document),
    buffers.map((bytes) => bytes.byteLength),
  );
  return {
    byteLength: layout.byteLength,
    head: layout.head,
    buffers: layout.buffers.map(({ offset }, n) => ({ offset, bytes: buffers[n] as Uint8Array })),
  };
}

/** The bytes around an array that is there already, or will be: where in the object it has to lie. */
export function encodeArray(dtype: DType, shape: readonly number[], order: Order): Encoded {
  const spec = specOf(dtype);
  const document = encodeDocument([new SpecialRef(0), ['ndarray', spec.descr, shape, order, 0]]);
  const { byteLength, head, buffers } = layOut(document, [checkedByteLength(shape, spec.itemBytes)]);
  return { byteLength, head, buffers: buffers.map(({ offset }) => ({ offset, bytes: new Uint8Array(0) })) };
}
