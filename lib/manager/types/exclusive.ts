import { stateError } from '../../errors';
import type { WaitOptions } from '../../lock/deadline';
import type { Caller } from '../caller';
import { Line } from '../waits';
import { Holders } from './holders';
import { checkFunction, runInside } from './run-inside';

/** What one caller at a time holds, until it lets go or its connection ends; then whoever has waited longest has it. */
export class Exclusive {
  readonly #line = new Line();
  /** How many times it has been taken. */
  readonly #holder = new Holders<number>(() => this.#line.advance());

  /** `reentrant`: who holds it may take it again, and has to let it go as often. */
  constructor(private readonly kind: 'plain' | 'reentrant' = 'plain') {}

  get locked(): boolean {
    return this.#holder.size > 0;
  }

  /** Whether nobody holds it or waits for it. */
  get isIdle(): boolean {
    return !this.locked && this.#line.length === 0;
  }

  async enter(caller: Caller, options: WaitOptions | undefined, what: string): Promise<void> {
    await this.#lineFor(caller).wait(caller, () => this.#take(caller), options, what);
  }

  /** Whether it could be had at once. */
  tryEnter(caller: Caller): boolean {
    return this.#lineFor(caller).attempt(caller, () => this.#take(caller)) === true;
  }

  /** Who holds it does not stand in line to take it again. */
  #lineFor(caller: Caller): Line {
    return this.#isReentry(caller) ? new Line() : this.#line;
  }

  #isReentry(caller: Caller): boolean {
    return this.kind === 'reentrant' && this.#holder.get(caller) !== undefined;
  }

  #take(caller: Caller): true | undefined {
    const depth = this.#holder.get(caller) ?? 0;
    if (this.locked && !this.#isReentry(caller)) return undefined;
    this.#holder.set(caller, depth + 1);
    return true;
  }

  /** Errors: ERR_NDSHM_NOT_OWNED. */
  leave(caller: Caller, what: string): void {
    const depth = this.checkHeld(caller, what);
    if (depth > 1) {
      this.#holder.set(caller, depth - 1);
      return;
    }
    this.#holder.delete(caller);
    this.#line.advance();
  }

  /** How many times the caller has taken it. Errors: ERR_NDSHM_NOT_OWNED. */
  checkHeld(caller: Caller, what: string): number {
    const depth = this.#holder.get(caller);
    if (depth !== undefined) return depth;
    throw stateError(
      'ERR_NDSHM_NOT_OWNED',
      `${what} needs the lock, which the caller does not hold; acquire() it first`,
    );
  }

  run<T>(caller: Caller, fn: () => T | Promise<T>, options: WaitOptions | undefined, what: string): Promise<T> {
    return runInside(caller, fn, {
      enter: () => this.enter(caller, options, what),
      leave: () => {
        if (this.#holder.get(caller) !== undefined) this.leave(caller, what);
      },
    });
  }

  /**
   * Has a function make a new value of the old one, and keeps it, unless the caller has gone meanwhile: then somebody else
   * may be changing it.
   */
  change<T>(
    caller: Caller,
    fn: (before: T) => T | Promise<T>,
    kept: { get(): T; set(value: T): void },
    options: WaitOptions | undefined,
  ): Promise<T> {
    checkFunction(fn, 'change()');
    const make = async () => {
      const after = await fn(kept.get());
      caller.signal.throwIfAborted();
      kept.set(after);
      return after;
    };
    return this.run(caller, make, options, 'change()');
  }

  /** Who waits, and who comes, fails with ERR_NDSHM_CLOSED. */
  close(): void {
    this.#line.close();
    this.#holder.clear();
  }
}
