import { oneOf } from '../options';
import { type DTypeSpec, specOf } from './dtype';
import { checkShape, type Order } from './shape';

/** What the elements of an array are and how they lie. */
export interface ElementsSpec {
  readonly spec: DTypeSpec;
  readonly shape: readonly number[];
  readonly order: Order;
}

/** From the options that a caller gave; the defaults are float64 and C order. */
export function checkElements(shape: unknown, dtype: unknown, order: unknown): ElementsSpec {
  return {
    spec: specOf(dtype ?? 'float64'),
    shape: checkShape(shape),
    order: order === undefined ? 'C' : oneOf(order, ['C', 'F'], 'order'),
  };
}
