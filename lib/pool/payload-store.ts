import { closeAtExit } from '../array/at-exit';
import type { Encoded } from '../store/encode';
import type { ObjectRef } from '../store/object-ref';
import type { Store } from '../store/store';
import { Attachments } from './attachments';
import type { Received, StoredAt } from './lane';
import { decodePayload } from './payload';

/** Loaded when it is first needed: it is a third of what a worker would have to load before it is ready. */
export const storeClass = (): typeof Store => (require('../store/store') as typeof import('../store/store')).Store;

/** The payloads of one pool, as its owner or one of its workers sees them: in its private store, if not in a cell. */
export class PayloadStore {
  readonly name: string;
  readonly #capacity: number | string | undefined;
  /** The pool's owner, with whom it ends. */
  readonly #owner: { close(): void } | undefined;
  #forgetExit: (() => void) | undefined;
  readonly #attachments = new Attachments();
  #store: Store | undefined;
  #id: string | undefined;

  constructor(name: string, owned?: { readonly capacity: number | string | undefined }) {
    this.name = name;
    this.#capacity = owned?.capacity;
    this.#owner = owned && { close: () => this.unlink() };
  }

  /** Opened when it is first needed, for many tasks need none. */
  get store(): Store {
    if (this.#store === undefined) {
      this.#store = storeClass().open(this.name, this.#capacity === undefined ? {} : { capacity: this.#capacity });
      if (this.#owner !== undefined) this.#forgetExit = closeAtExit(this.#owner);
    }
    return this.#store;
  }

  refOf({ object, generation }: StoredAt): ObjectRef {
    this.#id ??= this.store.stat().id;
    return { ndshm: 1, store: this.name, storeId: this.#id, object, generation };
  }

  async put(payload: Encoded): Promise<StoredAt> {
    return storeClass().putEncoded(this.store, payload);
  }

  putSync(payload: Encoded): StoredAt {
    return storeClass().putEncodedSync(this.store, payload);
  }

  /** What encodePayload() was given. Arrays of what is stored are views on shared memory. */
  read(payload: Received): unknown {
    if (!(payload instanceof Uint8Array || 'object' in payload)) return payload;
    const decoder = (bytes: Uint8Array, options?: { readonly faulted?: () => boolean }) =>
      decodePayload(bytes, this.#attachments, options);
    return payload instanceof Uint8Array
      ? decoder(payload)
      : storeClass().read(this.store, this.refOf(payload), decoder);
  }

  delete(at: StoredAt): void {
    if (!this.store.closed) this.store.delete(this.refOf(at));
  }

  /** Deletes what a process has put, but for these objects. */
  deleteAllOf(pid: number, except: (at: StoredAt) => boolean): void {
    for (const info of this.#store?.list() ?? []) {
      if (info.pid === pid && info.state !== 'making' && info.state !== 'deleted' && !except(info.ref)) {
        this.store.delete(info.ref);
      }
    }
  }

  /** For everybody. What was read stays. */
  unlink(): void {
    this.#forgetExit?.();
    this.#store?.unlink();
    this.#store?.close();
  }
}
