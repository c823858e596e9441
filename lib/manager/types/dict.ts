import { wrongKind } from '../../errors';
import type { WaitOptions } from '../../lock/deadline';
import { callerNow } from '../caller';
import { Exclusive } from './exclusive';
import { type DictEntries, entriesOf, Keyed } from './keyed';

/** What is the same in every process. An object would arrive as a copy, which is never the same as another one. */
export type DictKey = string | number | bigint | boolean | null;

function checkKey(key: unknown): DictKey {
  if (key === null || ['string', 'number', 'bigint', 'boolean'].includes(typeof key)) return key as DictKey;
  throw wrongKind('a string, a number, a bigint, a boolean or null', 'the key', key);
}

/**
 * Values by keys: a JavaScript Map, with what Python's dict has beside it. Each method is atomic. Keys are strings, numbers,
 * bigints, booleans and null (ERR_NDSHM_INVALID_ARGUMENT), and keep the order in which they came. keys(), values() and
 * entries() are copies.
 * @example
 * const manager = await ndshm.Manager.start();
 * const stock = await manager.dict({ apple: 3 });
 * await stock.change('apple', (count) => count - 1);
 * console.log(await stock.get('apple')); // 2
 * await manager.close();
 */
export class Dict<K extends DictKey = DictKey, V = unknown> extends Keyed<K, V> {
  readonly #changing = new Map<K, Exclusive>();

  /** With the entries of a plain object, a Map or a list of [key, value]. */
  constructor(entries?: DictEntries<K, V>) {
    super(checkKey as (key: unknown) => K, entries);
  }

  values(): V[] {
    return [...this.map.values()];
  }

  entries(): [K, V][] {
    return [...this.map];
  }

  clear(): void {
    this.map.clear();
  }

  /** The value of a key, which is `value` from now on if it had none: dict.setdefault() of Python. */
  setDefault(key: K, value: V): V {
    if (!this.has(key)) this.set(key, value);
    return this.get(key) as V;
  }

  /** Takes a key away and gives its value, or `otherwise` if it had none. */
  pop(key: K, otherwise?: V): V | undefined {
    if (!this.has(key)) return otherwise;
    const value = this.get(key);
    this.delete(key);
    return value;
  }

  /** Sets all of the entries, or none of them if one has a wrong key. */
  update(entries: DictEntries<K, V>): void {
    for (const [key, value] of entriesOf(entries, this.checkKey)) this.set(key, value);
  }

  /**
   * Replaces the value of a key (undefined if it has none) by what the function makes of it, and gives that. Changes of the
   * same key wait for each other, the first to come first, so that none is lost; other methods do not wait, and what they
   * set meanwhile is overwritten. If the function fails, or its process ends, nothing is changed.
   * Errors: ERR_NDSHM_TIMEOUT if its turn does not come within `timeoutMs` (default: never), the signal's reason until
   * then, and what the function throws.
   */
  async change(key: K, fn: (value: V | undefined) => V | Promise<V>, options?: WaitOptions): Promise<V> {
    const caller = callerNow();
    this.checkKey(key);
    const turn = this.#changing.get(key) ?? new Exclusive();
    this.#changing.set(key, turn);
    try {
      const kept = { get: () => this.get(key), set: (value: V | undefined) => this.set(key, value as V) };
      return (await turn.change(caller, fn, kept, options)) as V;
    } finally {
      if (turn.isIdle && this.#changing.get(key) === turn) this.#changing.delete(key);
    }
  }
}
