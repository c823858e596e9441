import { typeError } from '../../errors';
import { arrayOf, checkIndex, positionOf } from './items';

/**
 * A list: a JavaScript array, with what Python's list has beside it. Each method is atomic. Positions may count from the end,
 * from -1 on. What it gives are copies; indexOf() and includes() compare as arrays do, and so find no objects that were
 * copied on their way.
 * @example
 * const manager = await ndshm.Manager.start();
 * const names = await manager.list(['b', 'c']);
 * await names.insert(0, 'a');
 * console.log(await names.get(-1), await names.length()); // c 3
 * await manager.close();
 */
export class List<T = unknown> {
  readonly #items: T[];

  constructor(items?: Iterable<T>) {
    this.#items = items === undefined ? [] : arrayOf(items);
  }

  get length(): number {
    return this.#items.length;
  }

  /** The item there, undefined beyond the ends: Array.at(). */
  get(index: number): T | undefined {
    return this.#items.at(checkIndex(index));
  }

  /** Errors: ERR_NDSHM_OUT_OF_RANGE if there is no item. */
  set(index: number, value: T): void {
    this.#items[positionOf(index, this.#items.length)] = value;
  }

  /** Appends, and gives the new length. */
  push(...items: T[]): number {
    return this.extend(items);
  }

  /** Takes the last item away and gives it; undefined if there is none. */
  pop(): T | undefined {
    return this.#items.pop();
  }

  /** Takes the first item away and gives it; undefined if there is none. */
  shift(): T | undefined {
    return this.#items.shift();
  }

  /** Puts items before all others, and gives the new length. */
  unshift(...items: T[]): number {
    return this.#items.unshift(...items);
  }

  /** Puts an item before the one there; beyond the ends at the ends, as Python's list does. */
  insert(index: number, item: T): void {
    this.#items.splice(checkIndex(index), 0, item);
  }

  /** Takes the item there away and gives it. Errors: ERR_NDSHM_OUT_OF_RANGE if there is none. */
  removeAt(index: number): T {
    return this.#items.splice(positionOf(index, this.#items.length), 1)[0] as T;
  }

  /** Where the first such item is, from 0; -1 if there is none. */
  indexOf(item: T): number {
    return this.#items.indexOf(item);
  }

  includes(item: T): boolean {
    return this.#items.includes(item);
  }

  /** Items from `start` up to, not including, `end`: Array.slice(). */
  slice(start = 0, end = this.length): T[] {
    return this.#items.slice(checkIndex(start), checkIndex(end));
  }

  /** Appends all, and gives the new length. */
  extend(items: Iterable<T>): number {
    for (const item of arrayOf(items)) this.#items.push(item);
    return this.#items.length;
  }

  /**
   * Sorts numbers (NaN last), bigints or strings (by UTF-16 code units), and keeps the order of equal ones. Errors:
   * ERR_NDSHM_INVALID_ARGUMENT for items of other or several kinds; nothing is moved then.
   */
  sort(): void {
    const kinds = new Set(this.#items.map((item) => typeof item));
    for (const kind of kinds) {
      if (kinds.size > 1 || !['number', 'bigint', 'string'].includes(kind)) throw unsortable([...kinds]);
    }
    this.#items.sort((a, b) => (a < b ? -1 : a > b ? 1 : Number(Number.isNaN(a)) - Number(Number.isNaN(b))));
  }

  reverse(): void {
    this.#items.reverse();
  }

  clear(): void {
    this.#items.length = 0;
  }

  toArray(): T[] {
    return [...this.#items];
  }
}

const unsortable = (kinds: string[]) =>
  typeError(
    'ERR_NDSHM_INVALID_ARGUMENT',
    `sort() takes numbers, bigints or strings, and not several kinds at once, but the items are of type ${kinds.join(', ')}`,
  );
