import { type CodedError, stateError, wrongKind } from '../errors';
import type { PeerId } from '../lock/changes';
import {
  checkSignal,
  checkTimeout,
  type SyncWaitOptions,
  syncWaitKeys,
  type WaitOptions,
  waitKeys,
} from '../lock/deadline';
import type { Hold, OnAbandonedWrite, WriteOptions, WriteSyncOptions } from '../lock/hold';
import { checkOptions, integerIn } from '../options';
import { type NamedOptions, NamedState, namedKeys } from './named-state';
import { Primitive } from './primitive';
import type { Description, Still } from './still';
import { Waiters } from './waiters';

const everybody = 2 ** 31 - 1;

/**
 * A named lock, and waiting inside it for others to say that something has changed: threading.Condition of Python.
 * The lock is that of Mutex, and survives its holder likewise. notify() wakes so many of those who wait, the longest
 * waiting first; if one of them dies before it has the lock again, the next one wakes in its place. At most 1024 wait.
 *
 * The lock is this process's: whatever part of it calls wait() or release(), it is to be the one that has acquired.
 * Errors of all methods: ERR_NDSHM_CLOSED.
 * @example
 * const changed = new ndshm.Condition('changed', { ephemeral: true });
 * let full = false; // something shared, mostly the elements of an array
 * const consumer = changed.run(() => changed.waitFor(() => full));
 * await changed.run(() => {
 *   full = true;
 *   changed.notify();
 * });
 * console.log(await consumer); // true
 * changed.close();
 */
export class Condition extends Primitive {
  readonly #waiters: Waiters;
  /** Who waits has been notified since the lock was taken, and is to be told once it is free. */
  #notified = false;
  /** What an owner that died inside has left is being repaired: the next release() takes the mark away. */
  #repairing = false;

  /**
   * Opens the condition of this name, or makes it. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if the name means something else, and those of open().
   */
  constructor(name: string, options?: NamedOptions) {
    const named = checkOptions(options, namedKeys, 'new Condition()');
    super(new NamedState(name, { kind: 'Condition', size: () => ({ words: Waiters.words }) }, named));
    this.#waiters = new Waiters(this.state);
  }

  /** Takes the lock, as Mutex.acquire() does, and with its errors. */
  async acquire(options?: WriteOptions): Promise<Hold> {
    const { onAbandoned, ...how } = checkOptions(options, [...waitKeys, 'onAbandoned'], 'acquire()');
    return this.#hold(await this.state.lock.enterWrite(how), onAbandoned);
  }

  /** acquire(), but blocking the thread. */
  acquireSync(options?: WriteSyncOptions): Hold {
    const how = checkOptions(options, [...syncWaitKeys, 'onAbandoned'], 'acquireSync()');
    return this.#hold(this.state.lock.enterWriteSync(checkTimeout(how.timeoutMs)), how.onAbandoned);
  }

  /** Takes the lock if it is to be had now; otherwise undefined. */
  tryAcquire(options?: OnAbandonedWrite): Hold | undefined {
    const { onAbandoned } = checkOptions(options, ['onAbandoned'], 'tryAcquire()');
    const entered = this.state.lock.tryEnterWrite();
    return entered === undefined ? undefined : this.#hold(entered, onAbandoned);
  }

  #hold(abandoned: boolean, onAbandoned: OnAbandonedWrite['onAbandoned']): Hold {
    const hold = this.state.lock.holdWrite(abandoned, onAbandoned);
    this.#repairing = hold.abandoned;
    return hold;
  }

  /** Lets the lock go. Errors: ERR_NDSHM_NOT_OWNED. */
  release(): void {
    this.#checkHeld('release()');
    // The words under the lock are ours alone, and nobody asks for their version: who waits is told by notify() only.
    this.state.lock.leaveWrite(!this.#repairing);
    if (this.#notified) this.state.changes.notify();
    this.#notified = false;
  }

  /** Runs a function inside the lock and gives its result. Waits and fails as acquire() does. */
  async run<T>(fn: (hold: Hold) => T | PromiseLike<T>, options?: WriteOptions): Promise<T> {
    const hold = await this.acquire(options);
    try {
      return await fn(hold);
    } catch (error) {
      this.#repairing = false;
      throw error;
    } finally {
      if (!this.closed) this.release();
    }
  }

  /** run() with a function that returns no promise, blocking the thread. */
  runSync<T>(fn: (hold: Hold) => T, options?: WriteSyncOptions): T {
    const hold = this.acquireSync(options);
    try {
      return fn(hold);
    } catch (error) {
      this.#repairing = false;
      throw error;
    } finally {
      if (!this.closed) this.release();
    }
  }

  /**
   * Lets the lock go, waits until it is notified, takes the lock again. Does not block the thread. However it ends, the
   * lock is held then, unless the condition has been closed.
   * Errors: ERR_NDSHM_NOT_OWNED if the lock is not held; ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never) and the
   * signal's reason, both only once the lock is to be had; ERR_NDSHM_ABANDONED if one who had it meanwhile has died
   * inside; ERR_NDSHM_FULL if 1024 wait already.
   */
  async wait(options?: WaitOptions): Promise<void> {
    const { signal, timeoutMs } = checkOptions(options, waitKeys, 'wait()');
    checkSignal(signal);
    const end = performance.now() + checkTimeout(timeoutMs);
    const wait = this.#begin();
    for (let over = false; !over; ) {
      try {
        const left = Math.max(0, end - performance.now());
        await this.state.changes.until(wait.isNotified, { signal, timeoutMs: left }, wait.watched);
      } catch (error) {
        wait.failed(error);
      }
      over = wait.ended(await this.state.lock.enterWrite({}));
    }
  }

  /** wait(), but blocking the thread. */
  waitSync(options?: SyncWaitOptions): void {
    const { timeoutMs } = checkOptions(options, syncWaitKeys, 'waitSync()');
    const end = performance.now() + checkTimeout(timeoutMs);
    const wait = this.#begin();
    for (let over = false; !over; ) {
      try {
        const left = Math.max(0, end - performance.now());
        this.state.changes.untilSync(wait.isNotified, { timeoutMs: left }, wait.watched);
      } catch (error) {
        wait.failed(error);
      }
      over = wait.ended(this.state.lock.enterWriteSync(Number.POSITIVE_INFINITY));
    }
  }

  /**
   * Waits until the predicate gives something true, and gives that: looks at once, and after every notification. The
   * predicate runs inside the lock. Fails as wait() does; when the time is up it has looked once more.
   */
  async waitFor<T>(predicate: () => T | PromiseLike<T>, options?: WaitOptions): Promise<T> {
    checkPredicate(predicate);
    const { signal, timeoutMs } = checkOptions(options, waitKeys, 'waitFor()');
    const end = performance.now() + checkTimeout(timeoutMs);
    let late: unknown;
    for (;;) {
      const result = await predicate();
      if (result) return result;
      if (late !== undefined) throw late;
      try {
        await this.wait({ signal, timeoutMs: Math.max(0, end - performance.now()) });
      } catch (error) {
        late = this.#ifTimeout(error);
      }
    }
  }

  /** waitFor(), but blocking the thread. */
  waitForSync<T>(predicate: () => T, options?: SyncWaitOptions): T {
    checkPredicate(predicate);
    const { timeoutMs } = checkOptions(options, syncWaitKeys, 'waitForSync()');
    const end = performance.now() + checkTimeout(timeoutMs);
    let late: unknown;
    for (;;) {
      const result = predicate();
      if (result) return result;
      if (late !== undefined) throw late;
      try {
        this.waitSync({ timeoutMs: Math.max(0, end - performance.now()) });
      } catch (error) {
        late = this.#ifTimeout(error);
      }
    }
  }

  /**
   * Wakes `n` of those who wait, or as many as there are; each goes on once it has the lock. Does not block.
   * Errors: ERR_NDSHM_NOT_OWNED if the lock is not held.
   */
  notify(n = 1): void {
    integerIn(n, 0, everybody, 'the number of waiters to notify');
    this.#checkHeld('notify()');
    if (this.#waiters.notify(n)) this.#notified = true;
  }

  /** Wakes all who wait. */
  notifyAll(): void {
    this.notify(everybody);
  }

  #checkHeld(what: string): void {
    this.state.check();
    if (this.state.lock.holding === 'write') return;
    throw stateError(
      'ERR_NDSHM_NOT_OWNED',
      `${what} needs the lock of the condition '${this.name}'; acquire() it first`,
    );
  }

  /** Enters the table and lets the lock go; what the rest of a wait has in common, blocking or not. */
  #begin() {
    this.#checkHeld('wait()');
    const entry = this.#waiters.add();
    this.release();
    let watched: readonly PeerId[] = [];
    let failure: { readonly reason: unknown } | undefined;
    return {
      isNotified: (): true | undefined => {
        const standing = this.#waiters.look(entry);
        if (standing === 'notified') return true;
        watched = standing;
        return undefined;
      },
      watched: () => watched,
      failed: (reason: unknown) => {
        if (this.closed) throw reason;
        failure = { reason };
      },
      /** With the lock held again: whether the wait is over. Throws if it has failed. */
      ended: (abandoned: boolean): boolean => {
        this.#repairing = false;
        if (abandoned) {
          this.#waiters.leave(entry);
          this.#notified = true; // if it was for us it is for the next one now
          throw this.#abandoned();
        }
        if (this.#waiters.use(entry)) return true;
        if (failure !== undefined) {
          this.#waiters.leave(entry);
          throw failure.reason;
        }
        this.release();
        return false;
      },
    };
  }

  #abandoned(): CodedError {
    return stateError(
      'ERR_NDSHM_ABANDONED',
      `A process died while it held the condition '${this.name}': release it, and acquire it with onAbandoned: 'repair'`,
    );
  }

  #ifTimeout(error: unknown): unknown {
    if (this.closed || (error as CodedError).code !== 'ERR_NDSHM_TIMEOUT') throw error;
    return error;
  }
}

function checkPredicate(predicate: unknown): void {
  if (typeof predicate !== 'function') throw wrongKind('a function', 'the predicate', predicate);
}

export function describeCondition(still: Still): Description {
  const slots = new Waiters(still).slots();
  return {
    facts: { waiting: slots.length },
    claims: slots.map((slot) => ({ slot, holds: null, waitsFor: 'a notification' })),
  };
}
