/** Gives the first of what is in it, in the order of `isBefore`. A binary heap: each item is before the two below it. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: T): void {
    let at = this.#items.length;
    for (;;) {
      const above = (at - 1) >> 1;
      if (at === 0 || !this.#isBefore(item, this.#items[above] as T)) break;
      this.#items[at] = this.#items[above] as T;
      at = above;
    }
    this.#items[at] = item;
  }

  pop(): T | undefined {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (this.#items.length > 0) this.#sink(last as T);
    return first;
  }

  /** Puts an item in the place of the first. */
  #sink(item: T): void {
    const { length } = this.#items;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= length) break;
      if (below + 1 < length && this.#isBefore(this.#items[below + 1] as T, this.#items[below] as T)) below++;
      if (!this.#isBefore(this.#items[below] as T, item)) break;
      this.#items[at] = this.#items[below] as T;
      at = below;
    }
    this.#items[at] = item;
  }
}
