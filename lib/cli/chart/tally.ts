import type { Element, OnProgress, SharedArray } from '../../index';

/** An element as what can be drawn: false and true as 0 and 1, a complex number by its magnitude. */
export const numberOf = (element: Element): number =>
  typeof element === 'number'
    ? element
    : typeof element === 'object'
      ? Math.hypot(element.re, element.im)
      : Number(element);

/** So that sums of many stay finite, and what axes compute. */
const largest = 1e290;

/** Takes part in each look at an element: counts those that cannot be drawn, finds the range of the others. */
export class Tally {
  low: number = Number.POSITIVE_INFINITY;
  high: number = Number.NEGATIVE_INFINITY;
  nan = 0;
  /** Or too large. */
  infinite = 0;
  #seen = 0;

  constructor(
    /** Elements that will be looked at. */
    readonly total: number,
    readonly onProgress: OnProgress | undefined,
  ) {
    onProgress?.(0, total);
  }

  /** Whether it can be drawn. */
  add(value: number): boolean {
    this.tick();
    if (Math.abs(value) <= largest) {
      if (value < this.low) this.low = value;
      if (value > this.high) this.high = value;
      return true;
    }
    if (Number.isNaN(value)) this.nan++;
    else this.infinite++;
    return false;
  }

  tick(): void {
    this.#seen++;
    if (this.#seen % reportEvery === 0 || this.#seen === this.total) this.onProgress?.(this.#seen, this.total);
  }
}

const reportEvery = 2 ** 22;

/** Visits every element, in whatever order is the fastest. */
export function forEachNumber(array: SharedArray, visit: (value: number) => void): void {
  const flat = array.isCContiguous ? array.reshape(-1) : array.isFContiguous ? array.transpose().reshape(-1) : array;
  const length = flat.shape[0] as number;
  if (flat.ndim === 1) for (let n = 0; n < length; n++) visit(numberOf(flat.get(n)));
  else for (let n = 0; n < length; n++) forEachNumber(flat.row(n), visit);
}
