import { rangeError } from '../../errors';
import type { WaitOptions } from '../../lock/deadline';
import { booleanOption, checkOptions, integerIn } from '../../options';
import { type Caller, callerNow } from '../caller';
import { Line } from '../waits';
import { Holders } from './holders';
import { runInside } from './run-inside';

export interface HostedSemaphoreOptions {
  /** Permits at first, default 1. */
  readonly value?: number;
  /** Refuse to release what is not held, as BoundedSemaphore of Python does. Default false. */
  readonly bounded?: boolean;
}

const most = 2 ** 31 - 1;

/**
 * A number of permits: Semaphore and BoundedSemaphore of Python. A permit belongs to the connection that acquired it, and
 * comes back when that ends. Who waits gets one in the order of the calls.
 * @example
 * const manager = await ndshm.Manager.start();
 * const licences = await manager.semaphore({ value: 3 });
 * await licences.run(async () => {
 *   console.log(await licences.value()); // 2
 * });
 * await manager.close();
 */
export class HostedSemaphore {
  readonly #line = new Line();
  readonly #held = new Holders<number>((permits) => this.#add(permits));
  readonly #limit: number;
  /** Free and held. */
  #total: number;
  #free: number;

  /** Errors: ERR_NDSHM_OUT_OF_RANGE for a value below 0 or above 2^31 - 1. */
  constructor(options?: HostedSemaphoreOptions) {
    const { value = 1, bounded } = checkOptions(options, ['value', 'bounded'], 'semaphore()');
    this.#total = this.#free = integerIn(value, 0, most, 'value');
    this.#limit = booleanOption(bounded, 'bounded') ? value : most;
  }

  /** Permits that are free now. */
  get value(): number {
    return this.#free;
  }

  /** Takes a permit. Errors: ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason. */
  async acquire(options?: WaitOptions): Promise<void> {
    await this.#acquire(callerNow(), options, 'acquire()');
  }

  /** Takes a permit if one is free; whether it did. */
  tryAcquire(): boolean {
    const caller = callerNow();
    return this.#line.attempt(caller, () => this.#take(caller)) === true;
  }

  /**
   * Gives back `n` permits. What is more than the caller holds adds to the semaphore's permits, as in Python; if it is
   * bounded, that is ERR_NDSHM_OUT_OF_RANGE, and nothing is released.
   */
  release(n = 1): void {
    this.#release(callerNow(), n);
  }

  /** Holds a permit while the function runs, and gives the function's result. Waits and fails as acquire() does. */
  async run<T>(fn: () => T | Promise<T>, options?: WaitOptions): Promise<T> {
    const caller = callerNow();
    return runInside(caller, fn, {
      enter: () => this.#acquire(caller, options, 'run()'),
      leave: () => {
        if (this.#held.get(caller) !== undefined) this.#release(caller, 1);
      },
    });
  }

  async #acquire(caller: Caller, options: WaitOptions | undefined, what: string): Promise<void> {
    await this.#line.wait(caller, () => this.#take(caller), options, what);
  }

  #release(caller: Caller, n: number): void {
    integerIn(n, 1, most, 'the number of permits to release');
    const held = this.#held.get(caller) ?? 0;
    const added = Math.max(n - held, 0);
    if (this.#total + added > this.#limit) {
      throw rangeError(
        'ERR_NDSHM_OUT_OF_RANGE',
        `Cannot release ${n} permits: the caller holds ${held}, and the semaphore has no more than ${this.#limit} in all`,
      );
    }
    this.#total += added;
    if (n < held) this.#held.set(caller, held - n);
    else this.#held.delete(caller);
    this.#add(n);
  }

  #take(caller: Caller): true | undefined {
    if (this.#free === 0) return undefined;
    this.#free--;
    this.#held.set(caller, (this.#held.get(caller) ?? 0) + 1);
    return true;
  }

  #add(permits: number): void {
    this.#free += permits;
    this.#line.advance();
  }

  [Symbol.dispose](): void {
    this.#line.close();
    this.#held.clear();
  }
}
