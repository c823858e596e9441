import type { Mode } from '../options';
import { Attachment, type Excerpt } from './attachment';
import type { DType } from './dtype';
import { checkElements } from './elements-spec';
import { checkedByteLength, type Order } from './shape';
import { SharedArray } from './shared-array';

export interface ExcerptElements {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly order: Order;
  readonly mode: Mode;
}

/**
 * An array over part of a buffer that somebody else has mapped. It has no name and no lock; close() ends the array
 * alone. The caller has checked that the elements lie within the buffer.
 */
export function excerpt(memory: Excerpt, elements: ExcerptElements): SharedArray {
  const { spec, shape, order } = checkElements(elements.shape, elements.dtype, elements.order);
  const dataBytes = checkedByteLength(shape, spec.itemBytes);
  return new SharedArray(Attachment.within(memory, { mode: elements.mode, spec, shape, order, dataBytes }));
}
