import type { WaitOptions } from '../../lock/deadline';
import { callerNow } from '../caller';
import { Exclusive } from './exclusive';

/**
 * What one connection at a time holds: multiprocessing.Lock of Python, but only its holder can release it, and it is free
 * again when the holder's connection ends. Who waits gets it in the order of the calls; so does its holder, who calls
 * acquire() once more. Calls of one connection are all the same holder's.
 * @example
 * const manager = await ndshm.Manager.start();
 * const lock = await manager.lock();
 * await lock.run(async () => {
 *   console.log(await lock.locked()); // true
 * });
 * await manager.close();
 */
export class HostedLock {
  protected readonly exclusive: Exclusive = new Exclusive();

  /** Whether anybody holds it. */
  get locked(): boolean {
    return this.exclusive.locked;
  }

  /** Errors: ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason. */
  async acquire(options?: WaitOptions): Promise<void> {
    await this.exclusive.enter(callerNow(), options, 'acquire()');
  }

  /** Whether it was to be had at once. */
  tryAcquire(): boolean {
    return this.exclusive.tryEnter(callerNow());
  }

  /** Errors: ERR_NDSHM_NOT_OWNED if the caller does not hold it. */
  release(): void {
    this.exclusive.leave(callerNow(), 'release()');
  }

  /** Holds it while the function runs, and gives the function's result. Waits and fails as acquire() does. */
  async run<T>(fn: () => T | Promise<T>, options?: WaitOptions): Promise<T> {
    return this.exclusive.run(callerNow(), fn, options, 'run()');
  }

  [Symbol.dispose](): void {
    this.exclusive.close();
  }
}
