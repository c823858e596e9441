import { stateError } from '../errors';
import type { ObjectRef } from '../store/object-ref';
import type { Store } from '../store/store';
import type { StoredAt } from './lane';
import { type PayloadStore, storeClass } from './payload-store';

/** An argument that its task finds in a store: item, place among its arguments, and where it is. */
export type Reference = [item: number, place: number, of: ObjectRef | StoredAt];

/** A payload of items with references. */
export type WithReferences = [items: unknown[], references: Reference[]];

/** Whether it is what put() gives. */
export const isObjectRef = (value: unknown): value is ObjectRef =>
  typeof value === 'object' && value !== null && 'storeId' in value && (value as ObjectRef).ndshm === 1;

/**
 * The items, with what their references mean in its place. Items that are lists of arguments are told from the others by
 * the reference's place, -1 being the item itself.
 */
export function resolveReferences(payload: unknown, memory: PayloadStore): unknown[] {
  const [items, references] = payload as WithReferences;
  for (const [item, place, of] of references) {
    const value = 'storeId' in of ? valueOfRef(of) : (memory.read(of) as unknown[])[0];
    if (place < 0) items[item] = value;
    else (items[item] as unknown[])[place] = value;
  }
  return items;
}

const stores = new Map<string, Store>();

/** From any store on this host, which stays open in this process. Errors: those of get(). */
export function valueOfRef(ref: ObjectRef): unknown {
  let store = stores.get(ref.storeId);
  if (store === undefined || store.closed) {
    store = storeClass().open(ref.store, { allowForeignOwner: true });
    if (store.stat().id !== ref.storeId) {
      store.close(); // opening a store that has ended makes a new one
      throw stateError('ERR_NDSHM_STALE_HANDLE', `The store '${ref.store}' that an argument lies in has ended`);
    }
    stores.set(ref.storeId, store);
  }
  return store.get(ref);
}
