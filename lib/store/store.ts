import { statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { DType } from '../array/dtype';
import { checkElements } from '../array/elements-spec';
import type { Order } from '../array/shape';
import { binding } from '../binding';
import { decode } from '../codec/decode';
import { type Encoded, encode, encodeArray } from '../codec/encode';
import { type CodedError, stateError, wrongKind } from '../errors';
import type { PeerId } from '../lock/changes';
import { fence } from '../lock/control-words';
import { type WaitOptions, waitKeys } from '../lock/deadline';
import { byteCount, checkName, checkOptions, integerIn } from '../options';
import { copyObject, fillZeros, run, runSync } from './copy';
import { Draft } from './draft';
import { collectGarbage } from './garbage';
import { Heap, maxSlotBytes, pageBytes, pagesFor, slotSizes } from './heap';
import { Lease } from './lease';
import { MappedObjects } from './mapped';
import { checkRef, type ObjectRef } from './object-ref';
import { type Claim, isFull, Room } from './room';
import {
  Field,
  field,
  generationOf,
  isSealed,
  lengthOf,
  loadState,
  maxGeneration,
  ownerOf,
  type Row,
  State,
  setField,
  setLength,
  stateOf,
  wordOf,
} from './rows';
import { SpillFolder } from './spill';

export interface StoreOptions {
  /**
   * How much shared memory the store takes at most, in bytes or like '2GiB'. Default: half of /dev/shm. If the store
   * exists: has to be what it was made with, where given.
   */
  readonly capacity?: number | string;
  /**
   * A folder on disk for what does not fit: past the capacity, the objects that were used longest ago and that nobody has
   * mapped go there, and come back as mapped files. Default: none; a put that does not fit fails. Set by whoever first
   * says it, for all.
   */
  readonly spillDir?: string;
  /** How many free bytes to keep ready, within the capacity, by a thread in the background. Default 0. */
  readonly prefault?: number | string;
  /** Open one that belongs to another user. Default false. */
  readonly allowForeignOwner?: boolean;
}

export interface CreateArrayOptions {
  /** Default 'C'. */
  readonly order?: Order;
}

export interface StoreWaitOptions extends WaitOptions {
  /** How many of the refs have to be ready. Default: all. */
  readonly numReturns?: number;
}

/** One object, as list() gives it. */
export interface ObjectInfo {
  readonly ref: ObjectRef;
  /** 'making': not sealed yet. 'deleted': somebody still has it mapped. 'spilled': on disk. */
  readonly state: 'making' | 'sealed' | 'deleted' | 'spilled';
  /** Encoded, with its arrays; 0 while it is being made. */
  readonly byteLength: number;
  /** Whether any process has it mapped. */
  readonly mapped: boolean;
  /** The process that put it, as it sees itself. */
  readonly pid: number;
  readonly createdAt: Date;
}

export interface StoreInfo {
  readonly name: string;
  readonly id: string;
  readonly capacityBytes: number;
  /** Shared memory that exists now: in use, or free and ready to be used again. */
  readonly usedBytes: number;
  /** Of these, how many are free. */
  readonly readyBytes: number;
  readonly objects: number;
  /** Of all objects, encoded. */
  readonly objectBytes: number;
  readonly spilledObjects: number;
  readonly spilledBytes: number;
  readonly spillDir: string | null;
}

const stateNames: { readonly [state: number]: ObjectInfo['state'] } = {
  [State.making]: 'making',
  [State.live]: 'sealed',
  [State.spilling]: 'sealed',
  [State.limbo]: 'deleted',
  [State.spilled]: 'spilled',
};

/**
 * An object store by name, for all processes on the host: put() copies a value into shared memory once, and get() gives
 * it in any process without copying its arrays, in the same time for any size. Objects are immutable, as Ray's.
 *
 * There is no server. The store belongs to the processes that have it open: when the last one has left, however it ended,
 * all of it is gone. An object lives until delete(); whoever still reads it then keeps its memory until the last array of
 * it is collected.
 * Errors of all methods: ERR_NDSHM_CLOSED, ERR_NDSHM_TRUNCATED, ERR_NDSHM_CONTROL_CORRUPT.
 * @example
 * const store = ndshm.Store.open('jobs', { capacity: '64MiB' });
 * const ref = await store.put({ weights: new Float64Array(100_000), epoch: 3 });
 * const message = JSON.stringify(ref); // by child.send, HTTP, argv …
 * const { weights, epoch } = store.get(JSON.parse(message)); // in any process
 * console.log(weights.length, epoch); // 100000 3
 * store.delete(ref);
 * store.close();
 */
export class Store {
  readonly name: string;
  readonly #heap: Heap;
  readonly #room: Room;
  readonly #mapped: MappedObjects;
  #spillFolder: SpillFolder | undefined;

  private constructor(name: string, options: StoreOptions) {
    const { capacity, spillDir, prefault, allowForeignOwner } = options;
    this.name = checkName(name);
    const capacityPages = capacity === undefined ? undefined : Math.floor(byteCount(capacity, 'capacity') / pageBytes);
    if (capacityPages !== undefined) integerIn(capacityPages, 1, maxCapacityPages, 'capacity, in pages of 4096 bytes,');
    const readyBytes = prefault === undefined ? 0 : byteCount(prefault, 'prefault');
    if (spillDir !== undefined && typeof spillDir !== 'string') throw wrongKind('a path', 'spillDir', spillDir);
    this.#heap = new Heap(
      name,
      { kind: 'Store', capacityPages, otherwisePages: defaultCapacityPages() },
      { ephemeral: true, ...(allowForeignOwner === undefined ? {} : { allowForeignOwner }) },
    );
    try {
      // Under the lock: two who say it at once say it one after the other.
      this.#spillFolder = this.#heap.state.quietly(() => this.#openSpill(spillDir));
    } catch (error) {
      this.#heap.close();
      throw error;
    }
    const spill = () => this.#spill();
    this.#mapped = new MappedObjects(this.#heap, spill);
    this.#room = new Room(this.#heap, spill, this.#mapped, readyBytes);
    this.#room.prefault();
  }

  /**
   * Opens the store of this name, or makes it. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if it was made with another capacity or spillDir or the name means something else, and those
   * of create().
   */
  static open(name: string, options?: StoreOptions): Store {
    return new Store(
      name,
      checkOptions(options, ['capacity', 'spillDir', 'prefault', 'allowForeignOwner'], 'Store.open()'),
    );
  }

  #openSpill(spillDir: string | undefined): SpillFolder | undefined {
    const { array } = this.#heap.state;
    const found = SpillFolder.of(array);
    if (spillDir === undefined) return found;
    const wanted = resolve(spillDir);
    if (found === undefined) return SpillFolder.make(array, this.#heap.id, wanted);
    if (dirname(found.path) === wanted) return found;
    throw stateError(
      'ERR_NDSHM_MISMATCH',
      `The store '${this.name}' spills to '${dirname(found.path)}', not to '${wanted}'`,
    );
  }

  /** Another process may have said meanwhile where to spill. */
  #spill(): SpillFolder | undefined {
    this.#spillFolder ??= SpillFolder.of(this.#heap.state.array);
    return this.#spillFolder;
  }

  get closed(): boolean {
    return this.#heap.closed;
  }

  // ---- putting ----

  /**
   * Copies a value into the store, and resolves with its ref once any process can get it. Takes what structured clone
   * takes, nested to any depth, and SharedArrays and Arrow tables; arrays lie aligned in shared memory, and large ones are
   * copied by several threads. Large values are copied in slices, between which the event loop has its turn: they must
   * not be changed before the promise has resolved.
   * Errors: ERR_NDSHM_INVALID_ARGUMENT for what cannot be cloned (a function), ERR_NDSHM_CAPACITY, ENOSPC. Then nothing of
   * it is left.
   */
  async put(value: unknown): Promise<ObjectRef> {
    return Store.putEncoded(this, encode(value));
  }

  /** put(), but blocking the thread. */
  putSync(value: unknown): ObjectRef {
    return Store.putEncodedSync(this, encode(value));
  }

  /** @internal put() of what is encoded already. */
  static async putEncoded(store: Store, object: Encoded): Promise<ObjectRef> {
    return object.byteLength <= maxSlotBytes ? runSync(store.#putSmall(object)) : run(store.#putLarge(object));
  }

  /** @internal */
  static putEncodedSync(store: Store, object: Encoded): ObjectRef {
    return runSync(object.byteLength <= maxSlotBytes ? store.#putSmall(object) : store.#putLarge(object));
  }

  /** Into a slot of a slab. */
  *#putSmall({ byteLength, head, buffers }: Encoded): Generator<void, ObjectRef> {
    this.#heap.check();
    const kind = slotClassOf(byteLength);
    const { row } = yield* this.#room.claim(kind, 0);
    const { chunk, index } = row;
    const at = index * (slotSizes[kind] as number);
    chunk.slots.set(head, at);
    for (const { offset, bytes } of buffers) chunk.slots.set(bytes, at + offset);
    return this.#publish(row, byteLength);
  }

  /** Into pages of its own. */
  *#putLarge(object: Encoded): Generator<void, ObjectRef> {
    this.#heap.check();
    for (;;) {
      const claim = yield* this.#room.claim(0, pagesFor(object.byteLength));
      if (
        yield* this.#fillOrDrop(
          claim,
          copyObject(this.#heap.pages, claim.extent as NonNullable<Claim['extent']>, object),
        )
      ) {
        const ref = this.#publish(claim.row, object.byteLength);
        this.#room.prefault();
        return ref;
      }
    }
  }

  /** False if there was no room in memory, some was made, and it may be tried again. */
  *#fillOrDrop({ row }: Claim, steps: Generator<void>): Generator<void, boolean> {
    try {
      yield* steps;
      this.#heap.check();
      return true;
    } catch (error) {
      this.#drop(row); // once: from here on it may be another's
      if (isFull(error) && (yield* this.#room.relieve())) return false;
      throw error;
    }
  }

  /** Unless close() has done so. */
  #drop(row: Row): void {
    if (!this.#heap.closed) this.#heap.abandon(row);
  }

  /** The step that makes it an object. */
  #publish(row: Row, byteLength: number): ObjectRef {
    setLength(row, byteLength);
    setField(row, Field.lastUse, this.#heap.tick());
    const ref = this.#refOf(row, generationOf(loadState(row))); // before somebody deletes it, and the row is another's
    this.#heap.publish(row);
    return ref;
  }

  #refOf({ id }: Row, generation: number): ObjectRef {
    return Object.freeze({ ndshm: 1, store: this.name, storeId: this.#heap.id, object: id, generation });
  }

  /**
   * An array in the store's memory, for the caller to fill and then to seal(): a put without any copy. What is in it at
   * first is undefined, as numpy.empty. Blocks while fresh pages are made, if there are none to use again.
   * Errors: ERR_NDSHM_SHAPE, ERR_NDSHM_DTYPE, ERR_NDSHM_CAPACITY, ENOSPC.
   * @example
   * const store = ndshm.Store.open('frames', { capacity: '64MiB' });
   * const draft = store.createArray([480, 640], 'float32');
   * draft.array.fill(0.5);
   * const ref = draft.seal();
   * console.log(store.get(ref).get(479, 639)); // 0.5, in any process
   * store.close();
   */
  createArray<D extends DType = 'float64'>(
    shape: number | readonly number[],
    dtype?: D,
    options?: CreateArrayOptions,
  ): Draft<D> {
    const { order } = checkOptions(options, ['order'], 'createArray()');
    const elements = checkElements(shape, dtype, order);
    this.#heap.check();
    return runSync(this.#draft(elements.spec.name as D, elements.shape, elements.order));
  }

  *#draft<D extends DType>(dtype: D, shape: readonly number[], order: Order): Generator<void, Draft<D>> {
    const layout = encodeArray(dtype, shape, order);
    for (;;) {
      const claim = yield* this.#room.claim(0, pagesFor(layout.byteLength));
      const { start, pages, warm } = claim.extent as NonNullable<Claim['extent']>;
      const fill = warm ? nothing() : fillZeros(this.#heap.pages, start * pageBytes, pages * pageBytes);
      if (!(yield* this.#fillOrDrop(claim, fill))) continue;
      const ref = this.#refOf(claim.row, generationOf(loadState(claim.row)));
      return new Draft(
        this.#heap,
        claim.row,
        ref,
        layout,
        { dtype, shape, order },
        {
          publish: (row, byteLength) => this.#publish(row, byteLength),
          abandon: (row) => this.#drop(row),
        },
      );
    }
  }

  // ---- getting ----

  /**
   * The object. Arrays in it are views on shared memory, read-only as in mode 'r': a store into one is seen in this process
   * alone, if at all. (Objects of up to 64 KiB are copied out, which takes less time than a view.) Nothing else is copied
   * but ArrayBuffers. The memory is this process's to read until the last array is collected, whatever becomes of the
   * object or the store. Does not block.
   * Errors: ERR_NDSHM_STALE_HANDLE if it was deleted, if its maker died before it was sealed, or if it belongs to another
   * store; ERR_NDSHM_NOT_SEALED; ERR_NDSHM_CORRUPT_OBJECT.
   */
  // The caller knows what was put.
  get<T = unknown>(ref: ObjectRef): T {
    return Store.read(this, ref, decode) as T;
  }

  /** @internal Lets go of what nobody in this process uses any more, which others may wait for. */
  static collectGarbage(store: Store): void {
    store.#mapped.forgetRecent();
    if (store.#mapped.hasMapped) collectGarbage();
  }

  /** @internal What `decoder` makes of the object's bytes. */
  static read(store: Store, ref: ObjectRef, decoder: typeof decode): unknown {
    const { row, generation } = store.#find(ref);
    if (row.chunk.class !== 0) return decoder(store.#copySmall(row, generation));
    const mapped = store.#mapped.get(row, generation);
    if (mapped === undefined) throw store.#whyNot(row, generation);
    setField(row, Field.lastUse, store.#heap.tick());
    return decoder(mapped.bytes, mapped);
  }

  #find(ref: ObjectRef): { row: Row; generation: number } {
    const { object, generation } = checkRef(ref, this.name, this.#heap.id);
    this.#heap.check();
    // A generation that no row comes to must not wrap around to one that it has.
    const row = generation > maxGeneration ? undefined : this.#heap.rows.row(object);
    if (row === undefined) throw this.#goneError(object);
    return { row, generation };
  }

  #copySmall(row: Row, generation: number): Uint8Array {
    const live = wordOf(generation, State.live);
    const { chunk, index } = row;
    if (loadState(row) !== live) throw this.#whyNot(row, generation);
    const slotBytes = slotSizes[chunk.class] as number;
    const byteLength = field(row, Field.lengthLow);
    const copy = chunk.slots.slice(index * slotBytes, index * slotBytes + Math.min(byteLength >>> 0, slotBytes));
    fence(); // the copy before the second look
    if (loadState(row) !== live) throw this.#whyNot(row, generation);
    return copy;
  }

  /**
   * As get(), but with an end: when the lease is released (or disposed of by `using`), its arrays have length 0, and the
   * memory is free to be used again at once, not when the arrays are collected.
   * @example
   * const store = ndshm.Store.open('frames', { capacity: '64MiB' });
   * const ref = await store.put(new Float64Array(100_000).fill(1));
   * const lease = store.lease(ref);
   * const sum = lease.value.reduce((a, b) => a + b);
   * lease.release();
   * console.log(sum, lease.value.length); // 100000 0
   * store.close();
   */
  lease<T = unknown>(ref: ObjectRef): Lease<T> {
    const { row, generation } = this.#find(ref);
    if (row.chunk.class !== 0) return new Lease(decode(this.#copySmall(row, generation)) as T, undefined);
    const mapped = this.#mapped.map(row, generation);
    if (mapped === undefined) throw this.#whyNot(row, generation);
    setField(row, Field.lastUse, this.#heap.tick());
    return new Lease(decode(mapped.bytes, mapped) as T, mapped.unmap);
  }

  #whyNot(row: Row, generation: number): CodedError {
    const word = loadState(row);
    const isMaking = generationOf(word) === generation && stateOf(word) === State.making;
    if (isMaking && !this.#isLost(row)) {
      return stateError(
        'ERR_NDSHM_NOT_SEALED',
        `Object ${row.id} of the store '${this.name}' has not been sealed yet; wait() for it`,
      );
    }
    return this.#goneError(row.id);
  }

  #goneError(object: number): CodedError {
    return stateError(
      'ERR_NDSHM_STALE_HANDLE',
      `Object ${object} of the store '${this.name}' has been deleted, or whoever made it died before it was complete`,
    );
  }

  #isLost(row: Row): boolean {
    const { state } = this.#heap;
    const owner = ownerOf(row);
    const isMe = owner.slot === state.me.slot && owner.generation === state.me.generation;
    return !isMe && state.isDead(owner);
  }

  /** Whether get() would give the object now. Errors: ERR_NDSHM_STALE_HANDLE if the ref belongs to another store. */
  has(ref: ObjectRef): boolean {
    const { object, generation } = checkRef(ref, this.name, this.#heap.id);
    this.#heap.check();
    const row = this.#heap.rows.row(object);
    return row !== undefined && isSealed(loadState(row), generation);
  }

  /**
   * Waits until `numReturns` of the refs are ready: sealed, or never to be so, in which case get() says why. Resolves with
   * those that are, at least so many, in the order given; after `timeoutMs` with whatever is, as Ray's wait does. Does not
   * block the thread. Errors: ERR_NDSHM_OUT_OF_RANGE, the signal's reason.
   */
  async wait(
    refs: readonly ObjectRef[],
    options?: StoreWaitOptions,
  ): Promise<{ ready: ObjectRef[]; pending: ObjectRef[] }> {
    if (!Array.isArray(refs)) throw wrongKind('an array of object refs', 'refs', refs);
    const { numReturns = refs.length, ...how } = checkOptions(options, ['numReturns', ...waitKeys], 'wait()');
    integerIn(numReturns, 0, refs.length, 'numReturns');
    const awaited = (refs as readonly ObjectRef[]).map((ref) => {
      const { object, generation } = checkRef(ref, this.name, this.#heap.id);
      return { ref, object, generation, settled: false };
    });
    this.#heap.check();
    const look = (): true | undefined => {
      this.#heap.check();
      let count = 0;
      for (const each of awaited) {
        each.settled ||= this.#isSettled(each.object, each.generation);
        if (each.settled) count++;
      }
      return count >= numReturns ? true : undefined;
    };
    const makers = () => awaited.filter(({ settled }) => !settled).flatMap(({ object }) => this.#makerOf(object));
    try {
      await this.#heap.state.changes.until(look, how, makers);
    } catch (error) {
      if ((error as Partial<CodedError>).code !== 'ERR_NDSHM_TIMEOUT') throw error;
    }
    return {
      ready: awaited.filter(({ settled }) => settled).map(({ ref }) => ref),
      pending: awaited.filter(({ settled }) => !settled).map(({ ref }) => ref),
    };
  }

  #isSettled(object: number, generation: number): boolean {
    const row = this.#heap.rows.row(object);
    if (row === undefined) return true;
    const word = loadState(row);
    return generationOf(word) !== generation || stateOf(word) !== State.making || this.#isLost(row);
  }

  #makerOf(object: number): PeerId[] {
    const row = this.#heap.rows.row(object);
    return row === undefined ? [] : [ownerOf(row)];
  }

  // ---- ending ----

  /**
   * Deletes the object, whoever put it: nobody finds it any more. Whoever reads it keeps it; its memory is used again when
   * the last one has let go. True if this call deleted it, false if it was gone.
   * Errors: ERR_NDSHM_NOT_SEALED, ERR_NDSHM_STALE_HANDLE if the ref belongs to another store.
   */
  delete(ref: ObjectRef): boolean {
    const { object, generation } = checkRef(ref, this.name, this.#heap.id);
    const heap = this.#heap;
    heap.check();
    const row = heap.rows.row(object);
    if (row === undefined) return false;
    const found = heap.state.quietly(() => {
      const word = loadState(row);
      if (generationOf(word) !== generation) return undefined;
      const state = stateOf(word);
      if (state === State.making && !this.#isLost(row)) throw this.#whyNot(row, generation);
      if (!isSealed(word, generation)) return undefined;
      if (row.chunk.class !== 0 || state === State.spilled) heap.rows.free(row);
      else heap.retire(row);
      return state;
    });
    if (found === undefined) return false;
    if (found === State.spilled) this.#spill()?.remove(object, generation);
    return true;
  }

  /** All objects, in no order. */
  list(): ObjectInfo[] {
    const heap = this.#heap;
    heap.check();
    return heap.state.quietly(() => {
      heap.reclaim();
      return [...heap.rows.all()].flatMap((row) => {
        const word = loadState(row);
        const state = stateNames[stateOf(word)];
        if (state === undefined) return [];
        return {
          ref: this.#refOf(row, generationOf(word)),
          state,
          byteLength: state === 'making' ? 0 : lengthOf(row),
          mapped: state !== 'spilled' && heap.isMapped(row),
          pid: field(row, Field.pid),
          createdAt: new Date((field(row, Field.createdAtSeconds) >>> 0) * 1000),
        };
      });
    });
  }

  /** How full the store is. */
  stat(): StoreInfo {
    const objects = this.list();
    const { extents } = this.#heap;
    const spilled = objects.filter(({ state }) => state === 'spilled');
    const sum = (of: readonly ObjectInfo[]) => of.reduce((bytes, { byteLength }) => bytes + byteLength, 0);
    return {
      name: this.name,
      id: this.#heap.id,
      capacityBytes: extents.capacityPages * pageBytes,
      usedBytes: extents.usedPages * pageBytes,
      readyBytes: this.#heap.state.quietly(() => extents.warmPages) * pageBytes,
      objects: objects.length,
      objectBytes: sum(objects),
      spilledObjects: spilled.length,
      spilledBytes: sum(spilled),
      spillDir: this.#spill()?.path ?? null,
    };
  }

  /**
   * Takes back now what would be taken back when room is short: objects that a process was making when it died, and deleted
   * ones that nobody has mapped any more. Returns how many bytes have become free for new objects, of objects with pages of
   * their own. Does not block.
   */
  gc(): number {
    const heap = this.#heap;
    heap.check();
    return heap.state.quietly(() => {
      const { extents } = heap;
      const inUse = () => extents.usedPages - extents.warmPages;
      const before = inUse();
      heap.reclaim();
      return (before - inUse()) * pageBytes;
    });
  }

  /** Lets go of the store; the last process to do so takes all of it away. What get() gave stays. May be called again. */
  close(): void {
    this.#mapped.forgetRecent();
    this.#heap.close();
  }

  /** Ends the store for everybody. What get() gave, here or elsewhere, stays. */
  unlink(): void {
    this.#heap.unlink();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const maxCapacityPages = 2 ** 28; // 1 TiB

/** Half of /dev/shm. */
function defaultCapacityPages(): number {
  const { blocks, bsize } = statfsSync(binding.layout.directory);
  return Math.min(Math.max(Math.floor((blocks * bsize) / 2 / pageBytes), 1024), maxCapacityPages);
}

/** The smallest slot that holds so many bytes. */
function slotClassOf(byteLength: number): number {
  let kind = 1;
  while ((slotSizes[kind] as number) < byteLength) kind++;
  return kind;
}

function* nothing(): Generator<void> {}
