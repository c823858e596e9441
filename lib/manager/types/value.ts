import { typeError } from '../../errors';
import type { WaitOptions } from '../../lock/deadline';
import { callerNow } from '../caller';
import { Exclusive } from './exclusive';

/** One value of any kind: multiprocessing.Value of Python. * @example
 * const manager = await ndshm.Manager.start();
 * const count = await manager.value(1);
 * console.log(await count.add(2)); // 3
 * await manager.close();
 */
export class HostedValue<T = unknown> {
  #value: T;
  readonly #changing = new Exclusive();

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    this.#value = value;
  }

  /** Adds to a number or bigint, and gives the sum. Errors: ERR_NDSHM_INVALID_ARGUMENT for anything else. */
  add(amount: T & (number | bigint)): T {
    const value: unknown = this.#value;
    if (typeof value !== typeof amount || !['number', 'bigint'].includes(typeof value)) {
      throw typeError(
        'ERR_NDSHM_INVALID_ARGUMENT',
        `add() adds a number to a number or a bigint to a bigint, but the value is of type ${typeof value} and what is to be added of type ${typeof amount}`,
      );
    }
    this.#value = ((value as number) + (amount as number)) as T;
    return this.#value;
  }

  /**
   * Replaces the value by what the function makes of it, and gives that. Changes wait for each other, the first to come
   * first, so that none is lost; set() and add() do not wait, and are overwritten. If the function fails, or its process
   * ends, nothing is changed.
   * Errors: ERR_NDSHM_TIMEOUT if its turn does not come within `timeoutMs` (default: never), the signal's reason until
   * then, and what the function throws.
   */
  async change(fn: (value: T) => T | Promise<T>, options?: WaitOptions): Promise<T> {
    const kept = { get: () => this.get(), set: (value: T) => this.set(value) };
    return this.#changing.change(callerNow(), fn, kept, options);
  }
}
