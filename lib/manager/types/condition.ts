import type { CodedError } from '../../errors';
import { checkTimeout, type WaitOptions, waitKeys } from '../../lock/deadline';
import { checkOptions, integerIn } from '../../options';
import { type Caller, callerNow, orGone } from '../caller';
import { Line } from '../waits';
import { HostedLock } from './lock';
import { checkFunction } from './run-inside';

const everybody = 2 ** 31 - 1;

/**
 * A lock, and waiting inside it for others to say that something has changed: threading.Condition of Python. notify() wakes
 * those who have waited longest; if the connection of one ends before it has the lock again, the next one wakes in its place.
 * @example
 * const manager = await ndshm.Manager.start();
 * const changed = await manager.condition();
 * let full = false; // something shared, mostly another object of the manager
 * const consumer = changed.run(() => changed.waitFor(() => full));
 * await changed.run(async () => {
 *   full = true;
 *   await changed.notify();
 * });
 * console.log(await consumer); // true
 * await manager.close();
 */
export class HostedCondition extends HostedLock {
  readonly #waiting = new Line();
  /** Of those who wait, so many may go on. */
  #notified = 0;

  /**
   * Lets the lock go, waits until it is notified, takes the lock again. However it ends, the caller holds the lock then.
   * Errors: ERR_NDSHM_NOT_OWNED if the caller does not hold the lock; ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never)
   * and the signal's reason, both only once the lock is to be had.
   */
  async wait(options?: WaitOptions): Promise<void> {
    await this.#wait(callerNow(), options);
  }

  /**
   * Waits until the predicate gives something true, and gives that: looks at once, and after every notification. The
   * predicate runs inside the lock. Fails as wait() does; when the time is up it has looked once more.
   */
  async waitFor<T>(predicate: () => T | Promise<T>, options?: WaitOptions): Promise<T> {
    const caller = callerNow();
    checkFunction(predicate, 'the predicate');
    const { signal, timeoutMs } = checkOptions(options, waitKeys, 'waitFor()');
    const end = performance.now() + checkTimeout(timeoutMs);
    this.exclusive.checkHeld(caller, 'waitFor()');
    let late: unknown;
    for (;;) {
      const result = await orGone(caller, predicate());
      if (result) return result;
      if (late !== undefined) throw late;
      try {
        await this.#wait(caller, { signal, timeoutMs: Math.max(0, end - performance.now()) });
      } catch (error) {
        if ((error as CodedError).code !== 'ERR_NDSHM_TIMEOUT') throw error;
        late = error;
      }
    }
  }

  /** Wakes `n` of those who wait, or as many as there are. Errors: ERR_NDSHM_NOT_OWNED if the caller does not hold the lock. */
  notify(n = 1): void {
    integerIn(n, 0, everybody, 'the number of waiters to notify');
    this.exclusive.checkHeld(callerNow(), 'notify()');
    this.#wake(n);
  }

  /** Wakes all who wait. */
  notifyAll(): void {
    this.notify(everybody);
  }

  #wake(n: number): void {
    this.#notified = n;
    this.#waiting.advance();
    this.#notified = 0;
  }

  async #wait(caller: Caller, options: WaitOptions | undefined): Promise<void> {
    this.exclusive.checkHeld(caller, 'wait()');
    const isNotified = () => {
      if (this.#notified === 0) return undefined;
      this.#notified--;
      return true;
    };
    const notified = this.#waiting.wait(caller, isNotified, options, 'wait()');
    this.exclusive.leave(caller, 'wait()');
    let failure: { readonly reason: unknown } | undefined;
    await notified.catch((reason: unknown) => {
      failure = { reason };
    });
    try {
      await this.exclusive.enter(caller, {}, 'wait()');
    } catch (error) {
      if (failure === undefined) this.#wake(1); // what woke it is for the next one
      throw error;
    }
    if (failure !== undefined) throw failure.reason;
  }

  override [Symbol.dispose](): void {
    this.#waiting.close();
    super[Symbol.dispose]();
  }
}
