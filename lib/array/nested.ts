import { rangeError, typeError } from '../errors';
import type { DType } from './dtype';
import { maxDimensions } from './shape';

/** Arrays in arrays, as deep as the array has dimensions. */
export type Nested<T> = T | readonly Nested<T>[];

/** The shape of nested arrays. All of a level must have the same length (ERR_NDSHM_SHAPE). */
export function nestedShape(nested: unknown): number[] {
  const shape: number[] = [];
  for (let level = nested; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (level.length === 0) break;
    if (shape.length > maxDimensions) {
      throw rangeError(
        'ERR_NDSHM_SHAPE',
        `The arrays are nested more than ${maxDimensions} deep (or contain themselves)`,
      );
    }
  }
  return shape;
}

/** Visits the leaves in C order, having checked that the nesting is regular. */
export function forEachLeaf(nested: unknown, shape: readonly number[], visit: (leaf: unknown) => void): void {
  const walk = (value: unknown, axis: number): void => {
    if (axis === shape.length) {
      if (Array.isArray(value)) throw ragged(shape, axis);
      visit(value);
      return;
    }
    if (!Array.isArray(value) || value.length !== shape[axis]) throw ragged(shape, axis);
    for (const item of value) walk(item, axis + 1);
  };
  walk(nested, 0);
}

const ragged = (shape: readonly number[], axis: number): RangeError =>
  rangeError(
    'ERR_NDSHM_SHAPE',
    `The nested arrays are ragged: not all have the shape (${shape.join(', ')}), at depth ${axis}`,
  );

/** bool for booleans, int64 for bigints, complex128 for { re, im }, float64 for numbers and for nothing at all. */
export function inferDType(nested: unknown, shape: readonly number[]): DType {
  const kinds = new Set<DType>();
  forEachLeaf(nested, shape, (leaf) => {
    if (typeof leaf === 'number') kinds.add('float64');
    else if (typeof leaf === 'boolean') kinds.add('bool');
    else if (typeof leaf === 'bigint') kinds.add('int64');
    else kinds.add('complex128'); // or something that no dtype takes: writing it will say so
  });
  if (kinds.size === 2 && kinds.has('complex128') && kinds.has('float64')) return 'complex128';
  if (kinds.size > 1) {
    throw typeError(
      'ERR_NDSHM_DTYPE',
      `The elements are of several kinds (${[...kinds].join(', ')}); say which dtype they shall have`,
    );
  }
  return kinds.values().next().value ?? 'float64';
}
