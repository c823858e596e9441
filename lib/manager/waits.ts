import { stateError } from '../errors';
import { checkSignal, checkTimeout, Deadline, type WaitOptions, waitKeys } from '../lock/deadline';
import { checkOptions } from '../options';
import { type Caller, onGone } from './caller';

/** Does what is waited for and gives a result, or changes nothing and gives undefined: not yet. To throw ends the wait. */
type Step<T> = () => T | undefined;

interface Waiter {
  /** Takes the step; false if it has to wait, and so has whoever comes after it. */
  readonly advance: () => boolean;
  readonly fail: (reason: unknown) => void;
}

/**
 * Callers that wait for the same, the first to come first. Each is let go in one synchronous step, and then it has what it
 * waited for: a caller whose time is up, whose signal has aborted or whose connection has ended takes no step any more.
 */
export class Line {
  readonly #waiters = new Set<Waiter>();
  #closed: Error | undefined;

  /** How many wait. */
  get length(): number {
    return this.#waiters.size;
  }

  /** What the step gives if nobody waits. Errors: the reason of a caller that has gone, ERR_NDSHM_CLOSED. */
  attempt<T>(caller: Caller, step: Step<T>): T | undefined {
    if (this.#closed !== undefined) throw this.#closed;
    caller.signal.throwIfAborted();
    return this.#waiters.size === 0 ? step() : undefined;
  }

  /**
   * Resolves with what the step gives, now or when advance() comes to it. `givenUp`: called when the wait ends
   * from outside.
   * Errors: ERR_NDSHM_TIMEOUT, the signal's reason, that of a caller that has gone, ERR_NDSHM_CLOSED.
   */
  async wait<T>(
    caller: Caller,
    step: Step<T>,
    options: WaitOptions | undefined,
    what: string,
    givenUp = () => {},
  ): Promise<T> {
    const { signal, timeoutMs } = checkOptions(options, waitKeys, what);
    checkSignal(signal);
    checkTimeout(timeoutMs);
    const now = this.attempt(caller, step);
    if (now !== undefined) return now;
    return new Promise<T>((resolve, reject) => {
      const end = () => {
        this.#waiters.delete(waiter);
        deadline.clear();
        forget();
      };
      const waiter: Waiter = {
        advance: () => {
          // Its own turn to leave is about to come, in this very turn of the event loop.
          if (caller.signal.aborted || signal?.aborted === true) return true;
          try {
            const value = step();
            if (value === undefined) return false;
            end();
            resolve(value);
          } catch (error) {
            waiter.fail(error);
          }
          return true;
        },
        fail: (reason) => {
          end();
          reject(reason);
        },
      };
      const leave = (reason: unknown) => {
        waiter.fail(reason);
        givenUp();
        this.advance(); // it may have been in the way of the next one
      };
      const late = (ms: number) => leave(stateError('ERR_NDSHM_TIMEOUT', `${what} took longer than ${ms} ms`));
      const deadline = new Deadline({ signal, timeoutMs }, late, leave);
      const forget = onGone(caller, leave);
      this.#waiters.add(waiter);
    });
  }

  /** Lets those go who can, up to the first who cannot; after whatever may have made it possible. */
  advance(): void {
    for (const waiter of this.#waiters) if (!waiter.advance()) return;
  }

  /** Who waits, and who comes, fails with ERR_NDSHM_CLOSED. */
  close(): void {
    this.#closed = stateError('ERR_NDSHM_CLOSED', 'The object has been closed: nobody refers to it any more');
    for (const waiter of this.#waiters) waiter.fail(this.#closed);
  }
}
