import * as ndshm from 'ndshm';
import { type ChildOptions, Peer } from './child';
import { namesInShm } from './shm';

// A handle is GENERATION · 2^29 + NUMBER, and its array is called TABLE.NUMBER.GENERATION: docs/object-store.md.
export const numberOf = (handle: number): number => handle % 2 ** 29;
export const generationOf = (handle: number): number => Math.floor(handle / 2 ** 29);
export const arrayName = (table: string, handle: number): string =>
  `${table}.${numberOf(handle)}.${generationOf(handle)}`;

export const sorted = (handles: readonly number[]): number[] => [...handles].sort((a, b) => a - b);

/** The names of a table's arrays in /dev/shm. */
export const arrayNames = (table: string): string[] =>
  namesInShm()
    .filter((name) => name.startsWith(`${table}.`) && name !== `${table}.pages.0`)
    .sort();

/** Whether the names of arrays are exactly those of the table's handles. */
export function expectExactNames(table: ndshm.ArrayTable): void {
  expect(arrayNames(table.name)).toEqual(
    table
      .handles()
      .map((handle) => arrayName(table.name, handle))
      .sort(),
  );
}

export const openTable = (name: string, ephemeral = true): ndshm.ArrayTable =>
  ndshm.ArrayTable.open(name, { ephemeral });

/** Another process (or thread) that has the table open, as 't'. */
export async function peerWithTable(
  name: string,
  { ephemeral = true, ...options }: ChildOptions & { thread?: boolean; ephemeral?: boolean } = {},
): Promise<Peer> {
  const peer = await Peer.start(options);
  await openIn(peer, name, ephemeral);
  return peer;
}

export const openIn = (peer: Peer, name: string, ephemeral = true): Promise<void> =>
  peer.run(
    ({ ndshm: library, kept }, table, belongsToPeers) => {
      kept.set('t', library.ArrayTable.open(table, { ephemeral: belongsToPeers }));
    },
    name,
    ephemeral,
  );

/** Makes an int32 array of one value in another process; its handle. */
export const makeIn = (peer: Peer, length: number, value: number): Promise<number> =>
  peer.run(
    ({ kept }, shape, given) =>
      (kept.get('t') as ndshm.ArrayTable).createArray(shape, 'int32', { init: (array) => array.fill(given) }),
    length,
    value,
  );

/** All values of an array, as another process gets them by its handle. */
export const valuesIn = (peer: Peer, handle: number): Promise<number[]> =>
  peer.run(({ kept }, given) => {
    const array = (kept.get('t') as ndshm.ArrayTable).getArray<'int32'>(given, { mode: 'r' });
    const values = [...array.data];
    array.close();
    return values;
  }, handle);

export function valuesOf(table: ndshm.ArrayTable, handle: number): number[] {
  const array = table.getArray<'int32'>(handle, { mode: 'r' });
  const values = [...array.data];
  array.close();
  return values;
}

export function make(table: ndshm.ArrayTable, length: number, value: number): number {
  return table.createArray(length, 'int32', { init: (array) => array.fill(value) });
}
