import { stateError, typeError, wrongKind } from '../../errors';
import { type WaitOptions, waitKeys } from '../../lock/deadline';
import { booleanOption, checkOptions, integerIn, oneOf } from '../../options';
import { Fifo } from '../../pool/fifo';
import { type Caller, callerNow } from '../caller';
import { Line } from '../waits';
import { Heap } from './heap';
import { Holders } from './holders';

export interface HostedQueueOptions {
  /** How many items it holds at most; put() waits then. Default: no limit. */
  readonly maxItems?: number;
  /** Which item comes first: the oldest (default), the newest, or the one of the lowest priority, of several the oldest. */
  readonly kind?: 'fifo' | 'lifo' | 'priority';
  /**
   * What a caller has taken, and whose connection ends before it has called taskDone(), goes back to its place. Default
   * false: it is lost with its caller, and join() does not wait for it.
   */
  readonly redeliver?: boolean;
}

export interface HostedPutOptions {
  /** Of a queue of this kind: what is lower comes first. Default 0. */
  readonly priority?: number;
}

/** An item in the order of the queue: by rank, then by number. */
interface Entry<T> {
  readonly item: T;
  readonly rank: number;
  readonly number: number;
}

/** What a caller has taken, and has not said taskDone() of. */
class Taken<T> {
  count = 0;
  /** If they are to go back. */
  readonly entries = new Fifo<Entry<T>>();
}

/**
 * A queue of values: queue.Queue, LifoQueue and PriorityQueue of Python, and multiprocessing.JoinableQueue. An item goes to a
 * caller whose connection has not ended, or to nobody. Who waits is served in the order of the calls.
 * @example
 * const manager = await ndshm.Manager.start();
 * const jobs = await manager.queue({ maxItems: 100, redeliver: true });
 * await jobs.put({ task: 'resize', size: [640, 480] });
 * console.log(await jobs.get({ timeoutMs: 1000 })); // { task: 'resize', size: [ 640, 480 ] }, in any process
 * await jobs.taskDone();
 * await jobs.join();
 * await manager.close();
 */
export class HostedQueue<T = unknown> {
  readonly #maxItems: number;
  readonly #kind: 'fifo' | 'lifo' | 'priority';
  readonly #redeliver: boolean;
  readonly #entries = new Heap<Entry<T>>((a, b) => a.rank < b.rank || (a.rank === b.rank && a.number < b.number));
  readonly #taken = new Holders<Taken<T>>((taken) => this.#giveBack(taken));
  readonly #getters = new Line();
  readonly #putters = new Line();
  readonly #joiners = new Line();
  /** How many have been put. */
  #count = 0;
  /** How many of them are inside, or taken and not done. */
  #unfinished = 0;
  #isShutDown = false;

  /** Errors: ERR_NDSHM_OUT_OF_RANGE for maxItems below 1, or another kind. */
  constructor(options?: HostedQueueOptions) {
    const checked = checkOptions(options, ['maxItems', 'kind', 'redeliver'], 'queue()');
    const { maxItems, kind = 'fifo', redeliver } = checked;
    this.#maxItems =
      maxItems === undefined ? Number.POSITIVE_INFINITY : integerIn(maxItems, 1, 2 ** 31 - 1, 'maxItems');
    this.#kind = oneOf(kind, ['fifo', 'lifo', 'priority'], 'kind');
    this.#redeliver = booleanOption(redeliver, 'redeliver');
  }

  /** How many items are inside. */
  get size(): number {
    return this.#entries.length;
  }
  get empty(): boolean {
    return this.size === 0;
  }
  /** Whether put() would wait. */
  get full(): boolean {
    return this.size >= this.#maxItems;
  }
  /** Whether shutdown() has been called. */
  get isShutDown(): boolean {
    return this.#isShutDown;
  }

  /**
   * Puts an item in; waits while the queue is full.
   * Errors: ERR_NDSHM_SHUT_DOWN, ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason.
   */
  async put(item: T, options?: HostedPutOptions & WaitOptions): Promise<void> {
    const { priority, ...how } = checkOptions(options, ['priority', ...waitKeys], 'put()');
    const rank = this.#rankOf(priority);
    const done = this.#putters.wait(callerNow(), () => this.#append(item, rank), how, 'put()');
    this.#settle();
    await done;
  }

  /** Puts an item in if there is room; whether it did. Errors: ERR_NDSHM_SHUT_DOWN. */
  tryPut(item: T, options?: HostedPutOptions): boolean {
    const rank = this.#rankOf(checkOptions(options, ['priority'], 'tryPut()').priority);
    const done = this.#putters.attempt(callerNow(), () => this.#append(item, rank));
    this.#settle();
    return done === true;
  }

  /**
   * Takes the first item; waits while there is none.
   * Errors: ERR_NDSHM_SHUT_DOWN once the queue is shut down and empty, ERR_NDSHM_TIMEOUT after `timeoutMs` (default:
   * never), the signal's reason.
   */
  async get(options?: WaitOptions): Promise<T> {
    const caller = callerNow();
    const taken = this.#getters.wait(caller, () => this.#take(caller), options, 'get()');
    this.#settle();
    return (await taken).item;
  }

  /** Takes the first item, or gives undefined if there is none. Errors: ERR_NDSHM_SHUT_DOWN as get(). */
  tryGet(): T | undefined {
    const caller = callerNow();
    const taken = this.#getters.attempt(caller, () => this.#take(caller));
    this.#settle();
    return taken?.item;
  }

  /**
   * Says that what the caller has taken has been dealt with: the oldest of what it has not said so of.
   * Errors: ERR_NDSHM_NOT_OWNED if there is nothing.
   */
  taskDone(): void {
    const caller = callerNow();
    const taken = this.#taken.get(caller);
    if (taken === undefined) {
      throw stateError('ERR_NDSHM_NOT_OWNED', 'taskDone() was called more often than the caller has taken items');
    }
    taken.entries.shift();
    if (--taken.count === 0) this.#taken.delete(caller);
    this.#finish(1);
  }

  /**
   * Resolves when taskDone() has been said of every item that was put.
   * Errors: ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason.
   */
  async join(options?: WaitOptions): Promise<void> {
    await this.#joiners.wait(callerNow(), () => this.#unfinished === 0 || undefined, options, 'join()');
  }

  /** Says that nothing more will come: put() fails from now on, and get() once the items inside have been taken. */
  shutdown(): void {
    this.#isShutDown = true;
    this.#settle();
  }

  #append(item: T, rank: number): true | undefined {
    if (this.#isShutDown) throw shutDown();
    if (this.full) return undefined;
    const number = ++this.#count;
    this.#entries.push({ item, rank: this.#kind === 'lifo' ? -number : rank, number });
    this.#unfinished++;
    return true;
  }

  #take(caller: Caller): Entry<T> | undefined {
    const entry = this.#entries.pop();
    if (entry === undefined) {
      if (this.#isShutDown) throw shutDown();
      return undefined;
    }
    const taken = this.#taken.get(caller) ?? new Taken<T>();
    taken.count++;
    if (this.#redeliver) taken.entries.push(entry);
    this.#taken.set(caller, taken);
    return entry;
  }

  /** Those who can go do. Never do both kinds wait: there is an item, or there is room. */
  #settle(): void {
    this.#getters.advance();
    this.#putters.advance();
  }

  #giveBack({ count, entries }: Taken<T>): void {
    if (!this.#redeliver) {
      this.#finish(count);
      return;
    }
    for (let entry = entries.shift(); entry !== undefined; entry = entries.shift()) this.#entries.push(entry);
    this.#settle();
  }

  #finish(items: number): void {
    this.#unfinished -= items;
    this.#joiners.advance();
  }

  #rankOf(priority: number | undefined): number {
    if (priority === undefined) return 0;
    if (typeof priority !== 'number' || Number.isNaN(priority)) throw wrongKind('a number', 'priority', priority);
    if (this.#kind === 'priority') return priority;
    throw typeError(
      'ERR_NDSHM_INVALID_ARGUMENT',
      `A queue of kind '${this.#kind}' has no priorities; make it with kind: 'priority'`,
    );
  }

  [Symbol.dispose](): void {
    for (const line of [this.#getters, this.#putters, this.#joiners]) line.close();
    this.#taken.clear();
  }
}

const shutDown = () => stateError('ERR_NDSHM_SHUT_DOWN', 'The queue has been shut down');
