import { closeAtExit } from '../array/at-exit';
import type { Encoded } from '../codec/encode';
import { type CodedError, stateError } from '../errors';
import type { ObjectRef } from '../store/object-ref';
import type { Store } from '../store/store';
import { Attachments } from './attachments';
import type { Received, StoredAt } from './lane';
import { decodePayload } from './payload';

/** When so many-th part of the store has been read, what of it is garbage is collected. */
const garbageShare = 16;
/** So long for room, and so often looking for it: nobody tells. */
const longestWaitMs = 1000;
const lookAgainMs = 10;

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
  #limit: number | undefined;
  #readBytes = 0;
  #ended = false;

  constructor(name: string, owned?: { readonly capacity: number | string | undefined }) {
    this.name = name;
    this.#capacity = owned?.capacity;
    this.#owner = owned && { close: () => this.unlink() };
  }

  /** Opened when it is first needed, for many tasks need none. */
  get store(): Store {
    if (this.#store === undefined) {
      if (this.#ended) throw stateError('ERR_NDSHM_CLOSED', 'The pool has been closed');
      this.#store = storeClass().open(this.name, this.#capacity === undefined ? {} : { capacity: this.#capacity });
      if (this.#owner !== undefined) this.#forgetExit = closeAtExit(this.#owner);
    }
    return this.#store;
  }

  refOf({ object, generation }: StoredAt): ObjectRef {
    this.#id ??= this.store.stat().id;
    return { ndshm: 1, store: this.name, storeId: this.#id, object, generation };
  }

  /** Waits a while for room: the other side lets go of what it has read, and tasks end. */
  async put(payload: Encoded): Promise<StoredAt> {
    for (let begunMs = performance.now(); ; ) {
      try {
        return await storeClass().putEncoded(this.store, payload);
      } catch (error) {
        const { code } = error as Partial<CodedError>;
        if (code !== 'ERR_NDSHM_CAPACITY' || performance.now() - begunMs > longestWaitMs) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, lookAgainMs));
    }
  }

  putSync(payload: Encoded): StoredAt {
    return storeClass().putEncodedSync(this.store, payload);
  }

  /**
   * What was read keeps its memory until it is collected, and V8 is in no hurry: it does not know that the other side waits
   * for room.
   */
  #count(bytes: number): void {
    this.#limit ??= this.store.stat().capacityBytes / garbageShare;
    this.#readBytes += bytes;
    if (this.#readBytes < this.#limit) return;
    this.#readBytes = 0;
    setImmediate(() => {
      if (this.#store?.closed === false) storeClass().collectGarbage(this.#store);
    });
  }

  /** What encodePayload() was given. Arrays of what is stored are views on shared memory. */
  read(payload: Received): unknown {
    if (!(payload instanceof Uint8Array || 'object' in payload)) return payload;
    const decoder = (bytes: Uint8Array, options?: { readonly faulted?: () => boolean }) => {
      if (options !== undefined) this.#count(bytes.byteLength);
      return decodePayload(bytes, this.#attachments, options);
    };
    return payload instanceof Uint8Array
      ? decoder(payload)
      : storeClass().read(this.store, this.refOf(payload), decoder);
  }

  delete(at: StoredAt): void {
    if (this.#store?.closed === false) this.#store.delete(this.refOf(at));
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
    this.#ended = true;
    this.#forgetExit?.();
    this.#store?.unlink();
    this.#store?.close();
  }
}
