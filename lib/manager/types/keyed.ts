import { wrongKind } from '../../errors';

/** What dict and namespace share: values by keys, in the order in which the keys came. */
export class Keyed<K, V> {
  protected readonly map = new Map<K, V>();
  protected readonly checkKey: (key: unknown) => K;

  /** `given`: a plain object, a Map or any other iterable of entries. */
  constructor(checkKey: (key: unknown) => K, given: DictEntries<K, V> | undefined) {
    this.checkKey = checkKey;
    if (given === undefined) return;
    for (const [key, value] of entriesOf(given, checkKey)) this.map.set(key, value);
  }

  /** How many keys it has. */
  get size(): number {
    return this.map.size;
  }

  /** The value of a key; undefined if it has none. */
  get(key: K): V | undefined {
    return this.map.get(this.checkKey(key));
  }

  set(key: K, value: V): void {
    this.map.set(this.checkKey(key), value);
  }

  has(key: K): boolean {
    return this.map.has(this.checkKey(key));
  }

  /** Whether there was such a key. */
  delete(key: K): boolean {
    return this.map.delete(this.checkKey(key));
  }

  keys(): K[] {
    return [...this.map.keys()];
  }
}

export type DictEntries<K, V> = Iterable<readonly [K, V]> | (K extends string ? Readonly<Record<K, V>> : never);

/** All of them checked before anything comes of them. */
export function entriesOf<K, V>(given: DictEntries<K, V>, checkKey: (key: unknown) => K): [K, V][] {
  if (typeof given !== 'object' || given === null) throw wrongKind('an object, a Map or entries', 'the entries', given);
  const isIterable = Symbol.iterator in given;
  return [...(isIterable ? (given as Iterable<unknown>) : Object.entries(given))].map((entry) => {
    if (!Array.isArray(entry) || entry.length !== 2) throw wrongKind('[key, value]', 'an entry', entry);
    return [checkKey(entry[0]), entry[1] as V];
  });
}
