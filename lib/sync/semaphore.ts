import { rangeError } from '../errors';
import { type SyncWaitOptions, syncWaitKeys, type WaitOptions, waitKeys } from '../lock/deadline';
import { booleanOption, checkOptions, integerIn } from '../options';
import { Ledger } from './ledger';
import { Blocked, Monitor } from './monitor';
import { type NamedOptions, namedKeys } from './named-state';
import { Primitive } from './primitive';
import type { Description, Still } from './still';

export interface SemaphoreOptions extends NamedOptions {
  /** Permits at first, default 1. If the semaphore exists: has to be what it was made with, where given. */
  readonly value?: number;
  /** Refuse to release what is not held, as BoundedSemaphore of Python does. Default false. */
  readonly bounded?: boolean;
  /**
   * What a process holds comes back when it closes the semaphore or ends, in whatever way (SEM_UNDO of semop(2)).
   * Default true. With false nobody holds anything, as in Python and POSIX: acquire() takes one permit away and
   * release() adds one. That is for counting what some make and others use up.
   */
  readonly undo?: boolean;
}

const flagOf = (value: unknown, what: string) => (value === undefined ? value : Number(booleanOption(value, what)));

const flagText = (value: number) => String(value === 1);

const total = 0; // permits, free and held; the ledger of who holds how many begins behind it
const most = 2 ** 31 - 1;

/**
 * A number of permits by name: Semaphore and BoundedSemaphore of Python's multiprocessing. A permit belongs to the
 * process (exactly: to this attachment) that acquired it, and comes back by itself if that process dies.
 *
 * Callers of one process get permits in the order of their calls; among processes there is no order, as in Python.
 * Errors of all methods: ERR_NDSHM_CLOSED.
 * @example
 * const licences = new ndshm.Semaphore('licences', { value: 3, ephemeral: true });
 * await licences.run(async () => {
 *   console.log(licences.value); // 2
 * });
 * licences.close();
 */
export class Semaphore extends Primitive<Monitor> {
  readonly #initial: number;
  readonly #bounded: boolean;
  readonly #undo: boolean;
  readonly #held: Ledger;

  /**
   * Opens the semaphore of this name, or makes it. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if it was made with other options or the name means something else,
   * ERR_NDSHM_OUT_OF_RANGE for a value below 0 or above 2^31 - 1, and those of open().
   */
  constructor(name: string, options?: SemaphoreOptions) {
    const given = checkOptions(options, ['value', 'bounded', 'undo', ...namedKeys], 'new Semaphore()');
    const { value, bounded, undo, ...named } = given;
    const parameters = [
      { name: 'value', given: value === undefined ? value : integerIn(value, 0, most, 'value'), otherwise: 1 },
      { name: 'bounded', given: flagOf(bounded, 'bounded'), otherwise: 0, write: flagText },
      { name: 'undo', given: flagOf(undo, 'undo'), otherwise: 1, write: flagText },
    ];
    const init = (words: Int32Array, initial: number) => {
      words[total] = initial;
    };
    super(new Monitor(name, { kind: 'Semaphore', parameters, size: () => ({ words: 1 + Ledger.words }), init }, named));
    const [initial, isBounded, undoes] = this.state.parameters as [number, number, number];
    this.#initial = initial;
    this.#bounded = isBounded === 1;
    this.#undo = undoes === 1;
    this.#held = new Ledger(this.state, 1);
  }

  get #total(): number {
    return Atomics.load(this.state.words, total);
  }

  /** Permits that are free now, as sem_getvalue(3); others may have changed it by the time it is looked at. */
  get value(): number {
    this.state.check();
    return Math.max(this.#total - this.#held.living(), 0);
  }

  /**
   * Takes a permit; waits for one without blocking the thread.
   * Errors: ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason.
   */
  async acquire(options?: WaitOptions): Promise<void> {
    await this.state.transact(this.#take, checkOptions(options, waitKeys, 'acquire()'));
  }

  /** acquire(), but blocking the thread. */
  acquireSync(options?: SyncWaitOptions): void {
    this.state.transactSync(this.#take, checkOptions(options, syncWaitKeys, 'acquireSync()'));
  }

  /** Takes a permit if one is free now; whether it did. */
  tryAcquire(): boolean {
    return this.state.attempt(this.#take) === true;
  }

  /**
   * Gives back `n` permits. What is more than this process holds adds to the semaphore's permits, as in Python; if it is
   * bounded that is ERR_NDSHM_OUT_OF_RANGE, and nothing is released. Does not block.
   */
  release(n = 1): void {
    integerIn(n, 1, most, 'the number of permits to release');
    this.state.attempt(() => {
      const mine = this.#held.mine();
      const back = Math.min(n, mine);
      const limit = this.#bounded ? this.#initial : most;
      if (this.#total + n - back > limit) throw this.#tooMany(n, mine);
      // In this order: who dies in between holds them still, and they come back as what the dead held.
      if (n > back) Atomics.store(this.state.words, total, this.#total + n - back);
      if (back > 0) this.#held.setMine(mine - back);
      return true;
    });
  }

  /** Runs a function with a permit and gives its result. Waits and fails as acquire() does. */
  async run<T>(fn: () => T | Promise<T>, options?: WaitOptions): Promise<T> {
    await this.acquire(options);
    try {
      return await fn();
    } finally {
      if (!this.closed) this.release();
    }
  }

  /** run() with a function that returns no promise, blocking the thread. */
  runSync<T>(fn: () => T, options?: SyncWaitOptions): T {
    this.acquireSync(options);
    try {
      return fn();
    } finally {
      if (!this.closed) this.release();
    }
  }

  // Each way to take a permit is one store: to the count of what this attachment holds, or to the total.
  readonly #take = (): true | Blocked => {
    if (this.#total <= this.#held.sum() && !(this.#held.bury() && this.#total > this.#held.sum())) {
      return new Blocked(this.#held.others());
    }
    if (this.#undo) this.#held.setMine(this.#held.mine() + 1);
    else Atomics.store(this.state.words, total, this.#total - 1);
    return true;
  };

  #tooMany(n: number, mine: number): RangeError {
    const why = this.#bounded
      ? `this process holds ${mine}, and it is bounded`
      : `a semaphore has at most ${most} permits`;
    return rangeError('ERR_NDSHM_OUT_OF_RANGE', `Cannot release ${n} of the semaphore '${this.name}': ${why}`);
  }
}

export function describeSemaphore(still: Still): Description {
  const [initial, bounded, undo] = still.parameters as unknown as [number, number, number];
  const held = new Ledger(still, total + 1);
  const value = Math.max((still.words[total] as number) - held.living(), 0);
  return {
    facts: { value, initial, bounded: bounded === 1, undo: undo === 1 },
    claims: held
      .holders()
      .map(({ slot, count }) => ({ slot, holds: count === 1 ? '1 permit' : `${count} permits`, waitsFor: null })),
  };
}
