import { decode } from '../codec/decode';
import { bytesOf, encode } from '../codec/encode';
import { rangeError, stateError } from '../errors';
import { type SyncWaitOptions, syncWaitKeys, type WaitOptions, waitKeys } from '../lock/deadline';
import { checkOptions, integerIn } from '../options';
import { Blocked, Monitor } from './monitor';
import { type NamedOptions, namedKeys } from './named-state';
import { Primitive } from './primitive';
import type { Description, Still } from './still';

export interface QueueOptions extends NamedOptions {
  /** How many items it holds at most, default 4096. If the queue exists: has to be what it was made with, where given. */
  readonly maxItems?: number;
  /**
   * How many bytes all items together have at most, encoded as docs/format.md says (18 bytes and more each); default 1 MiB.
   * Likewise.
   */
  readonly maxBytes?: number;
}

// How many items have been put and taken, both modulo 2 * maxItems, so that their difference tells empty from full;
// whether there will be more; and where in the bytes each item lies: number n is described at n modulo maxItems. An item
// is the bytes of an object (docs/format.md), which other languages read as well.
const Word = { put: 0, taken: 1, shut: 2, items: 3 };
const itemWords = 2; // where it begins, its length

/**
 * A bounded queue of values by name, for any number of producers and consumers: queue.Queue of Python across
 * processes, first in, first out. Values are what structured clone takes (numbers, strings, bigints, arrays, maps,
 * dates, typed arrays, buffers …), SharedArrays and Arrow tables, and are copied; large arrays are better passed as the
 * handle of a SharedArray. Typed arrays that come out of one item have one buffer between them.
 *
 * An item is in the queue whole or not at all: what a producer that died was putting is not, and what a consumer that
 * died had not taken yet is. Of one process, items enter in the order of its put() calls.
 * Errors of all methods: ERR_NDSHM_CLOSED.
 * @example
 * const jobs = new ndshm.Queue('jobs', { maxItems: 100, ephemeral: true });
 * await jobs.put({ task: 'resize', size: [640, 480] });
 * console.log(await jobs.get({ timeoutMs: 1000 })); // { task: 'resize', size: [ 640, 480 ] }, in any process
 * jobs.close();
 */
export class Queue<T = unknown> extends Primitive<Monitor> {
  readonly maxItems: number;
  readonly maxBytes: number;
  // Each stands for a put() that waits: an item that would fit does not overtake one that does not.
  readonly #puts = new Set<object>();

  /**
   * Opens the queue of this name, or makes it, empty. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if it was made with other options or the name means something else, and those of create().
   */
  constructor(name: string, options?: QueueOptions) {
    const given = checkOptions(options, ['maxItems', 'maxBytes', ...namedKeys], 'new Queue()');
    const { maxItems, maxBytes, ...named } = given;
    if (maxItems !== undefined) integerIn(maxItems, 1, 2 ** 24, 'maxItems');
    if (maxBytes !== undefined) integerIn(maxBytes, 16, 2 ** 31 - 1, 'maxBytes');
    const parameters = [
      { name: 'maxItems', given: maxItems, otherwise: 4096 },
      { name: 'maxBytes', given: maxBytes, otherwise: 2 ** 20 },
    ];
    const size = (items: number, bytes: number) => ({
      words: Word.items + itemWords * items,
      bytes: Math.ceil(bytes / 8) * 8,
    });
    super(new Monitor(name, { kind: 'Queue', parameters, size }, named));
    [this.maxItems, this.maxBytes] = this.state.parameters as [number, number];
  }

  #load(word: number): number {
    return Atomics.load(this.state.words, word);
  }

  /** How many items are inside now. */
  get size(): number {
    this.state.check();
    return this.#inside(this.#load(Word.put), this.#load(Word.taken));
  }
  /** Whether no item is inside now. */
  get empty(): boolean {
    return this.size === 0;
  }
  /** Whether maxItems are inside now. */
  get full(): boolean {
    return this.size === this.maxItems;
  }
  /** Whether shutdown() has been called. */
  get isShutDown(): boolean {
    this.state.check();
    return this.#load(Word.shut) !== 0;
  }

  /**
   * Appends a value; resolves once it is inside. Waits for room without blocking the thread; a large item may wait for as
   * long as other processes fill the room with small ones.
   * Errors: ERR_NDSHM_OUT_OF_RANGE for an item larger than maxBytes, ERR_NDSHM_INVALID_ARGUMENT for what cannot be
   * cloned (a function), ERR_NDSHM_SHUT_DOWN, ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason.
   */
  async put(value: T, options?: WaitOptions): Promise<void> {
    const how = checkOptions(options, waitKeys, 'put()');
    const item = this.#encoded(value);
    const turn = {};
    this.#puts.add(turn);
    const step = () => {
      const [first] = this.#puts;
      const done = first === turn ? this.#append(item) : new Blocked([]);
      if (!(done instanceof Blocked)) this.#puts.delete(turn);
      return done;
    };
    try {
      this.#unlessShut(await this.state.transact(step, how));
    } finally {
      // Given up: without a change of the queue, the next one may go.
      if (this.#puts.delete(turn) && !this.closed) this.state.changes.notify();
    }
  }

  /** put(), but blocking the thread; before what put() of this process still waits for. */
  putSync(value: T, options?: SyncWaitOptions): void {
    const how = checkOptions(options, syncWaitKeys, 'putSync()');
    const item = this.#encoded(value);
    this.#unlessShut(this.state.transactSync(() => this.#append(item), how));
  }

  /** Appends a value if there is room now, before what put() still waits for; whether it did. */
  tryPut(value: T): boolean {
    const item = this.#encoded(value);
    const done = this.state.attempt(() => this.#append(item));
    return done !== undefined && this.#unlessShut(done);
  }

  /**
   * Takes the oldest item; waits for one without blocking the thread.
   * Errors: ERR_NDSHM_SHUT_DOWN once the queue is shut down and empty, ERR_NDSHM_TIMEOUT after `timeoutMs` (default:
   * never), the signal's reason, ERR_NDSHM_CORRUPT_OBJECT for an item that was overwritten, ERR_NDSHM_UNSUPPORTED for one
   * with an Arrow table or a Float16Array that this process cannot have; both are taken then.
   */
  async get(options?: WaitOptions): Promise<T> {
    const how = checkOptions(options, waitKeys, 'get()');
    return decode(this.#unlessShut(await this.state.transact(this.#take, how))) as T;
  }

  /** get(), but blocking the thread. */
  getSync(options?: SyncWaitOptions): T {
    const how = checkOptions(options, syncWaitKeys, 'getSync()');
    return decode(this.#unlessShut(this.state.transactSync(this.#take, how))) as T;
  }

  /** Takes the oldest item if there is one now, else gives undefined. Errors: ERR_NDSHM_SHUT_DOWN as get(). */
  tryGet(): T | undefined {
    const item = this.state.attempt(this.#take);
    return item === undefined ? undefined : (decode(this.#unlessShut(item)) as T);
  }

  /**
   * Says that nothing more will come, as Queue.shutdown() of Python 3.13: put() fails from now on, in every process,
   * and get() once the items inside have been taken.
   */
  shutdown(): void {
    this.state.attempt(() => {
      Atomics.store(this.state.words, Word.shut, 1);
      return true;
    });
  }

  /** Takes item after item; ends when the queue is shut down and empty. */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<T> {
    for (;;) {
      const item = await this.state.transact(this.#take);
      if (item === 'shut') return;
      yield decode(item) as T;
    }
  }

  #inside(put: number, taken: number): number {
    return (put - taken + 2 * this.maxItems) % (2 * this.maxItems);
  }

  #next(count: number): number {
    return (count + 1) % (2 * this.maxItems);
  }

  /** Where the item of this number lies, and how long it is. */
  #place(number: number): readonly [start: number, length: number] {
    const at = Word.items + (number % this.maxItems) * itemWords;
    const start = this.#load(at);
    const length = this.#load(at + 1);
    if (start < 0 || start >= this.maxBytes || length < 1 || length > this.maxBytes) throw this.#corrupt();
    return [start, length];
  }

  /** Checked: the words may hold anything. */
  #counts(): { put: number; taken: number; size: number } {
    const put = this.#load(Word.put);
    const taken = this.#load(Word.taken);
    const size = this.#inside(put, taken);
    if (put < 0 || taken < 0 || put >= 2 * this.maxItems || taken >= 2 * this.maxItems || size > this.maxItems) {
      throw this.#corrupt();
    }
    return { put, taken, size };
  }

  #append(item: Uint8Array): true | 'shut' | Blocked {
    if (this.#load(Word.shut) !== 0) return 'shut';
    const { put, taken, size } = this.#counts();
    let start = 0;
    let used = 0;
    if (size > 0) {
      const [first] = this.#place(taken);
      const [last, length] = this.#place(put + 2 * this.maxItems - 1);
      start = (last + length) % this.maxBytes;
      used = ((start - first + this.maxBytes - 1) % this.maxBytes) + 1; // never 0: then all of it
    }
    if (size === this.maxItems || item.length > this.maxBytes - used) return new Blocked([]);
    const { bytes, words } = this.state;
    const untilEnd = Math.min(item.length, this.maxBytes - start);
    bytes.set(item.subarray(0, untilEnd), start);
    bytes.set(item.subarray(untilEnd), 0);
    const at = Word.items + (put % this.maxItems) * itemWords;
    Atomics.store(words, at, start);
    Atomics.store(words, at + 1, item.length);
    Atomics.store(words, Word.put, this.#next(put)); // until here nobody sees it
    return true;
  }

  readonly #take = (): Uint8Array | 'shut' | Blocked => {
    const { taken, size } = this.#counts();
    if (size === 0) return this.#load(Word.shut) === 0 ? new Blocked([]) : 'shut';
    const [start, length] = this.#place(taken);
    const { bytes, words } = this.state;
    const item = new Uint8Array(length);
    const untilEnd = Math.min(length, this.maxBytes - start);
    item.set(bytes.subarray(start, start + untilEnd));
    item.set(bytes.subarray(0, length - untilEnd), untilEnd);
    Atomics.store(words, Word.taken, this.#next(taken)); // until here it is still inside
    return item;
  };

  /** A copy: the value may change while it waits for room. */
  #encoded(value: T): Uint8Array {
    const item = encode(value);
    if (item.byteLength <= this.maxBytes) return item.buffers.length === 0 ? item.head : bytesOf(item);
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `The item has ${item.byteLength} bytes, encoded; the queue '${this.name}' takes ${this.maxBytes}. Make it with larger maxBytes, or pass the handle of a SharedArray`,
    );
  }

  #unlessShut<R>(result: R | 'shut'): R {
    if (result !== 'shut') return result;
    throw stateError('ERR_NDSHM_SHUT_DOWN', `The queue '${this.name}' has been shut down`);
  }

  #corrupt(): Error {
    return stateError('ERR_NDSHM_CONTROL_CORRUPT', `The queue '${this.name}' has been overwritten; create it anew`);
  }
}

export function describeQueue({ words, parameters }: Still): Description {
  const [maxItems, maxBytes] = parameters as unknown as [number, number];
  const inside = (words[Word.put] as number) - (words[Word.taken] as number);
  const items = inside < 0 ? inside + 2 * maxItems : inside;
  return { facts: { items, maxItems, maxBytes, shutDown: words[Word.shut] === 1 }, claims: [] };
}
