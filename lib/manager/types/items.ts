import { rangeError, wrongKind } from '../../errors';
import { integerIn } from '../../options';

/** A whole number, which need not be that of an item. */
export function checkIndex(index: number): number {
  return integerIn(index, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 'the index');
}

/** Where an item is, whose index may count from the end. Errors: ERR_NDSHM_OUT_OF_RANGE if there is none. */
export function positionOf(index: number, length: number): number {
  if (length === 0) throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `There is no item ${index}: it is empty`);
  integerIn(index, -length, length - 1, 'the index');
  return index < 0 ? index + length : index;
}

export function arrayOf<T>(items: Iterable<T>): T[] {
  if (typeof items === 'object' && items !== null && Symbol.iterator in items) return [...items];
  throw wrongKind('an iterable', 'the items', items);
}
