import { stateError } from '../errors';
import { inspect, type ObjectInfo, Store, type StoreInfo, stat } from '../index';
import { statNamed } from './names';

export interface OpenStoreOptions {
  /** Default false. */
  readonly allowForeignOwner?: boolean;
}

/** What is in a store. Opens it for a moment, as a peer of it. Errors: those of withStore(). */
export function lookIntoStore(
  name: string,
  options?: OpenStoreOptions,
): { readonly info: StoreInfo; readonly objects: readonly ObjectInfo[] } {
  return withStore(name, options, (store) => ({ info: store.stat(), objects: store.list() }));
}

/**
 * Opens the store that is there, and closes it again: never makes one. Blocks for a second if a process was stopped inside
 * its lock. Errors: ENOENT, also if all its processes have died; ERR_NDSHM_MISMATCH if it is no store,
 * ERR_NDSHM_FOREIGN_OWNER, ERR_NDSHM_TIMEOUT.
 */
export function withStore<T>(given: string, options: OpenStoreOptions | undefined, use: (store: Store) => T): T {
  const { name, id, kind, leftover } = statNamed(given);
  const primitive = kind === 'array' ? inspect(name) : null;
  if (primitive?.kind !== 'Store') {
    throw stateError('ERR_NDSHM_MISMATCH', `Expected '${name}' to be a store but found ${primitive?.kind ?? kind}`);
  }
  if (leftover) throw goneError(name, 'all its processes have ended without closing it; `ndshm gc` removes it');
  const { allowForeignOwner = false } = options ?? {};
  // Should the store vanish now this makes another one, which no one ever sees but those who then ask for one like it.
  const store = Store.open(name, { allowForeignOwner, capacity: primitive.facts['capacityBytes'] as number });
  try {
    if (stat(name).id !== id) throw goneError(name, 'it has just been removed');
    return use(store);
  } finally {
    store.close();
  }
}

const goneError = (name: string, why: string): Error =>
  Object.assign(new Error(`There is no store '${name}' any more: ${why}`), { code: 'ENOENT' });
