import { rangeError, typeError, wrongKind } from '../errors';

/** C = the last index varies fastest (numpy's default), F = the first. */
export type Order = 'C' | 'F';

/** numpy's limit. */
export const maxDimensions = 64;

/** The shape as a frozen array of lengths; a number n means [n]. */
export function checkShape(shape: unknown): readonly number[] {
  const lengths = typeof shape === 'number' ? [shape] : shape;
  if (!Array.isArray(lengths)) throw wrongKind('an array of lengths', 'shape', shape);
  if (lengths.length > maxDimensions) {
    throw rangeError('ERR_NDSHM_SHAPE', `Expected at most ${maxDimensions} dimensions but received ${lengths.length}`);
  }
  for (const length of lengths) {
    if (typeof length !== 'number') throw wrongKind('whole numbers', 'shape', length);
    if (!Number.isSafeInteger(length) || length < 0) {
      throw rangeError('ERR_NDSHM_SHAPE', `Expected lengths of 0 or more in shape but received ${length}`);
    }
  }
  return Object.freeze(lengths.slice() as number[]);
}

/** How many bytes elements of this shape take; refuses what cannot be counted exactly. */
export function checkedByteLength(shape: readonly number[], itemBytes: number): number {
  // A length of 0 makes the product 0 however large the others are, but the partial products must stay countable.
  let bytes = itemBytes;
  for (const length of shape) if (length !== 0) bytes *= length;
  if (!Number.isSafeInteger(bytes)) {
    throw rangeError(
      'ERR_NDSHM_SHAPE',
      `The shape (${shape.join(', ')}) with ${itemBytes}-byte elements is more than 2^53 bytes`,
    );
  }
  return shape.includes(0) ? 0 : bytes;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/** Distances between neighbours along each axis, in units of one element. */
export function contiguousSteps(shape: readonly number[], order: Order): number[] {
  const steps = new Array<number>(shape.length);
  let step = 1;
  for (let n = 0; n < shape.length; n++) {
    const axis = order === 'C' ? shape.length - 1 - n : n;
    steps[axis] = step;
    step *= Math.max(shape[axis] as number, 1);
  }
  return steps;
}

/** Whether the elements lie next to each other in this order. Axes of length 1 may have any step, as in numpy. */
export function isContiguous(shape: readonly number[], steps: readonly number[], order: Order): boolean {
  if (shape.includes(0)) return true;
  const expected = contiguousSteps(shape, order);
  return shape.every((length, axis) => length === 1 || steps[axis] === expected[axis]);
}

/** Calls `visit` with the position of each element, in C order. */
export function forEachPosition(
  shape: readonly number[],
  steps: readonly number[],
  offset: number,
  visit: (position: number) => void,
): void {
  const last = shape.length - 1;
  if (last < 0) {
    visit(offset);
    return;
  }
  if (shape.includes(0)) return;
  const lastLength = shape[last] as number;
  const lastStep = steps[last] as number;
  const index = new Array<number>(last).fill(0);
  let row = offset;
  for (;;) {
    for (let n = 0, at = row; n < lastLength; n++, at += lastStep) visit(at);
    let axis = last - 1;
    for (; axis >= 0; axis--) {
      row += steps[axis] as number;
      const next = (index[axis] as number) + 1;
      if (next < (shape[axis] as number)) {
        index[axis] = next;
        break;
      }
      row -= (steps[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

/** A part of an array: one number or slice per axis. */
export interface Geometry {
  readonly shape: readonly number[];
  /** In elements. */
  readonly steps: readonly number[];
  /** Of the first element, in elements. */
  readonly offset: number;
}

/**
 * One item of an index, as in numpy: a whole number takes that entry and drops the axis; 'start:stop:step' keeps a
 * part of it; '...' stands for all axes not mentioned; null adds an axis of length 1.
 */
export type SliceItem = number | string | null;

const slicePattern = /^\s*([+-]?\d+)?\s*:\s*([+-]?\d+)?\s*(?::\s*([+-]?\d+)?\s*)?$/;

export function sliceGeometry(from: Geometry, items: readonly SliceItem[]): Geometry {
  const named = items.filter((item) => item !== null && item !== '...').length;
  if (named > from.shape.length) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Too many indices: the array has ${from.shape.length} dimensions but ${named} were indexed`,
    );
  }
  if (items.filter((item) => item === '...').length > 1) {
    throw typeError('ERR_NDSHM_INVALID_ARGUMENT', "A slice can have a single '...'");
  }
  const all = items.includes('...') ? items : [...items, '...'];
  const shape: number[] = [];
  const steps: number[] = [];
  let offset = from.offset;
  let axis = 0;
  const keep = (length: number, step: number) => {
    shape.push(length);
    steps.push(step);
  };
  for (const item of all) {
    if (item === null) {
      keep(1, 0);
    } else if (item === '...') {
      for (let n = from.shape.length - named; n > 0; n--, axis++)
        keep(from.shape[axis] as number, from.steps[axis] as number);
    } else {
      const length = from.shape[axis] as number;
      const step = from.steps[axis] as number;
      if (typeof item === 'number') {
        offset += checkIndex(item, length, axis) * step;
      } else {
        const range = parseSlice(item, length, axis);
        if (range.count > 0) offset += range.start * step;
        // As numpy: an empty part keeps the step. (+ 0: a reversed new axis has step 0, not -0.)
        keep(range.count, range.count > 0 ? step * range.step + 0 : step);
      }
      axis++;
    }
  }
  if (shape.length > maxDimensions) {
    throw rangeError(
      'ERR_NDSHM_SHAPE',
      `Expected at most ${maxDimensions} dimensions but the slice has ${shape.length}`,
    );
  }
  return { shape, steps, offset };
}

/** An index from 0 to length - 1; negative ones count from the end. */
export function checkIndex(index: unknown, length: number, axis: number): number {
  if (typeof index !== 'number') throw wrongKind('a whole number', `the index on axis ${axis}`, index);
  const at = index < 0 ? index + length : index;
  if (!Number.isInteger(at) || at < 0 || at >= length) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Index ${index} is out of bounds for axis ${axis} with length ${length}`,
    );
  }
  return at;
}

/** Python's slice.indices(): a bound outside the axis is moved to its end. */
function parseSlice(text: unknown, length: number, axis: number): { start: number; step: number; count: number } {
  if (typeof text !== 'string') {
    throw wrongKind("a number, 'start:stop:step', '...' or null", `the slice on axis ${axis}`, text);
  }
  const match = slicePattern.exec(text);
  if (match === null) {
    throw typeError(
      'ERR_NDSHM_INVALID_ARGUMENT',
      `Expected 'start:stop:step', '...', a number or null for the slice on axis ${axis} but received ${JSON.stringify(text)}`,
    );
  }
  const step = match[3] === undefined ? 1 : Number(match[3]);
  if (step === 0) throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `The step of the slice on axis ${axis} cannot be zero`);
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const bound = (given: string | undefined, otherwise: number): number => {
    if (given === undefined) return otherwise;
    const value = Number(given) < 0 ? Number(given) + length : Number(given);
    return Math.min(Math.max(value, low), high);
  };
  const start = bound(match[1], step > 0 ? low : high);
  const stop = bound(match[2], step > 0 ? high : low);
  return { start, step, count: Math.max(0, Math.ceil((stop - start) / step)) };
}

/** The same elements in C order under another shape, as a view; undefined where that needs a copy. One length may be -1. */
export function reshapeGeometry(from: Geometry, asked: number | readonly number[]): Geometry | undefined {
  const { offset } = from;
  const shape = checkReshape(asked, sizeOf(from.shape));
  // As numpy: only who names the very same lengths keeps the steps; a -1 is a new shape, whatever it comes to.
  if (asked.toString() === from.shape.toString()) return { shape, steps: from.steps, offset };
  if (isContiguous(from.shape, from.steps, 'C')) return { shape, steps: contiguousSteps(shape, 'C'), offset };
  // Axes of both shapes are matched in groups of equal size. Within a group the old axes must lie as one long axis
  // (each as far as the next one's whole length), which the new axes then cut anew.
  const old = from.shape
    .map((length, axis) => ({ length, step: from.steps[axis] as number }))
    .filter(({ length }) => length !== 1);
  const steps = new Array<number>(shape.length);
  let axis = 0;
  let nextOld = 0;
  while (nextOld < old.length) {
    const first = axis;
    let newSize = shape[axis++] as number;
    let inner = old[nextOld++] as { length: number; step: number };
    let oldSize = inner.length;
    while (newSize !== oldSize) {
      if (newSize < oldSize) {
        newSize *= shape[axis++] as number;
      } else {
        const outer = inner;
        inner = old[nextOld++] as { length: number; step: number };
        if (outer.step !== inner.length * inner.step) return undefined;
        oldSize *= inner.length;
      }
    }
    for (let n = axis - 1, step = inner.step; n >= first; n--) {
      steps[n] = step;
      step *= shape[n] as number;
    }
  }
  steps.fill(steps[axis - 1] as number, axis); // axes of length 1 behind the last group
  return { shape, steps, offset };
}

/** A shape in which one length may be -1: what remains of `size`. */
function checkReshape(shape: unknown, size: number): readonly number[] {
  const lengths = typeof shape === 'number' ? [shape] : shape;
  if (!Array.isArray(lengths)) throw wrongKind('an array of lengths', 'shape', shape);
  const unknown = lengths.indexOf(-1);
  const known = checkShape(lengths.map((length, axis) => (axis === unknown ? 1 : length)));
  const product = sizeOf(known);
  const rest = size / product;
  const result = unknown < 0 ? known : known.map((length, axis) => (axis === unknown ? rest : length));
  if ((unknown >= 0 && !(product > 0 && Number.isInteger(rest))) || sizeOf(result) !== size) {
    throw rangeError('ERR_NDSHM_SHAPE', `Cannot reshape an array of ${size} elements into (${lengths.join(', ')})`);
  }
  return Object.freeze(result.slice());
}
