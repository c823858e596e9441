import type { PeerId, UntilOptions } from '../lock/changes';
import { checkSignal, checkTimeout, Deadline, type SyncWaitOptions } from '../lock/deadline';
import { NamedState } from './named-state';

/** A step's answer when it cannot go on: until something changes, or one of these peers dies. */
export class Blocked {
  constructor(
    readonly by: readonly PeerId[],
    /** The step has stored something all the same, and others have to be told. */
    readonly changed = false,
  ) {}
}

export type Step<T> = () => T | Blocked;

/** A transaction that has not been able to end. */
interface Attempt {
  /** Runs the step, under the lock; what it is blocked by, or undefined if it is over. */
  readonly run: () => Blocked | undefined;
  readonly reject: (reason: unknown) => void;
  readonly unref: boolean;
  blockedBy: readonly PeerId[];
}

// How long what cannot wait waits for the lock itself, which nobody holds for longer than some microseconds. But on a
// busy machine one may lose its processor in the middle; only who was stopped there keeps it for longer than this.
const immediateMs = 1000;

/**
 * State that is changed in short, synchronous steps under its segment's exclusive lock, and waited for: Hoare's
 * monitor, across processes.
 *
 * A step runs again after every change until it is not Blocked; until then it stores nothing, unless it says so. Every
 * store that matters is ONE word: whatever process is killed between two of them leaves a valid state, and so the
 * abandoned mark of the lock needs no repair here.
 */
export class Monitor extends NamedState {
  readonly #attempts = new Set<Attempt>();
  #driving = false;
  #arrived = false;
  /** The version as this process's last step left it: any other one is a change that it has not seen. */
  #left = 0;
  /** For state of more than single words: runs under the lock if its last holder died inside, before anything else. */
  repair: (() => void) | undefined;

  /**
   * Runs `step` until it is not Blocked, and resolves with its result. Attempts of one process run in the order of
   * their calls. `giveUp` runs under the lock after the time was up or the signal aborted, before the rejection; but
   * before it the step runs once more, whose success then counts.
   */
  async transact<T>(step: Step<T>, options: UntilOptions = {}, giveUp?: () => void): Promise<T> {
    checkSignal(options.signal);
    checkTimeout(options.timeoutMs);
    this.check();
    if (this.#attempts.size === 0) {
      const entered = this.lock.tryEnterWrite();
      if (entered !== undefined) {
        const result = this.#inside(entered, step);
        if (!(result instanceof Blocked)) return result;
      }
    }
    return new Promise<T>((resolve, reject) => {
      const settle = () => {
        deadline.clear();
        this.#attempts.delete(attempt);
      };
      const attempt: Attempt = {
        run: () => {
          const result = step();
          if (result instanceof Blocked) return result;
          settle();
          resolve(result);
          return undefined;
        },
        reject: (reason) => {
          settle();
          reject(reason);
        },
        unref: options.unref === true,
        blockedBy: [],
      };
      const leave = (reason: unknown) => {
        settle();
        if (giveUp === undefined) reject(reason);
        else {
          const last = this.#once(lastly(step, giveUp));
          last.then(({ result }) => (result instanceof Blocked ? reject(reason) : resolve(result)), reject);
        }
        this.#lookAgain();
      };
      const deadline = new Deadline(
        options,
        (timeoutMs) => leave(this.lock.control.timeoutError('Waiting for', timeoutMs)),
        leave,
      );
      this.#attempts.add(attempt);
      this.#lookAgain();
    });
  }

  /** As transact(), but blocks the thread while it waits. */
  transactSync<T>(step: Step<T>, options: SyncWaitOptions = {}, giveUp?: () => void): T {
    const timeoutMs = checkTimeout(options.timeoutMs);
    const end = performance.now() + timeoutMs;
    this.check();
    try {
      for (;;) {
        const result = this.#inside(this.lock.enterWriteSync(Math.max(0, end - performance.now())), step);
        if (!(result instanceof Blocked)) return result;
        const seen = this.#left;
        const left = { timeoutMs: Math.max(0, end - performance.now()) };
        const changed = () => this.#hasChanged(seen, result.by) || undefined;
        this.changes.untilSync(changed, left, () => result.by);
      }
    } catch (error) {
      if (giveUp === undefined || this.closed) throw error;
      const result = this.attempt(lastly(step, giveUp));
      if (result === undefined) throw error;
      return result;
    }
  }

  /** Runs `step` once; undefined if it is Blocked. */
  attempt<T>(step: Step<T>): T | undefined {
    this.check();
    const result = this.#inside(this.#enterAtOnce(), step);
    return result instanceof Blocked ? undefined : result;
  }

  /** Whether the data was abandoned. */
  #enterAtOnce(): boolean {
    return this.lock.tryEnterWrite() ?? this.lock.enterWriteSync(immediateMs);
  }

  /** Runs `step`, which changes nothing that anybody waits for. */
  quietly<T>(step: () => T): T {
    this.check();
    const abandoned = this.#enterAtOnce();
    let repaired = false;
    try {
      if (abandoned) this.repair?.();
      repaired = abandoned;
      return step();
    } finally {
      this.lock.leaveWrite(!repaired);
    }
  }

  #inside<T>(abandoned: boolean, step: Step<T>): T | Blocked {
    const inside = this.lock.control.version;
    let unchanged = true;
    try {
      if (abandoned) this.repair?.();
      unchanged = !abandoned;
      const result = step();
      if (!(result instanceof Blocked) || result.changed) unchanged = false;
      return result;
    } finally {
      this.#left = unchanged ? inside - 1 : inside + 1;
      this.lock.leaveWrite(unchanged);
    }
  }

  /** Runs the step once, as soon as the lock is to be had; its result, and the version that it left. */
  #once<T>(step: Step<T>): Promise<{ result: T | Blocked; left: number }> {
    return new Promise((resolve, reject) => {
      this.lock.enterWriteThen((abandoned) => {
        try {
          resolve({ result: this.#inside(abandoned, step), left: this.#left });
        } catch (error) {
          reject(error);
        }
      }, reject);
    });
  }

  /** Whether there is a reason to look again: a new version, or somebody's death, be it in the middle of a step. */
  #hasChanged(seen: number, by: readonly PeerId[]): boolean {
    const { control } = this.lock;
    const { version } = control;
    return version - (version % 2) !== seen || control.hasDiedInside() || by.some((peer) => this.isDead(peer));
  }

  /** Somebody has come or gone. */
  #lookAgain(): void {
    this.#arrived = true;
    if (this.#driving) this.changes.look();
    else if (this.#attempts.size > 0) void this.#drive();
  }

  /** Runs all attempts again after every change, in one stay under the lock, until none is left. */
  async #drive(): Promise<void> {
    this.#driving = true;
    try {
      while (this.#attempts.size > 0) {
        this.#arrived = false;
        const { left: seen } = await this.#once(() => this.#runAll());
        if (this.#attempts.size === 0) break;
        this.check(); // it may have been closed since
        const watched = () => [...this.#attempts].flatMap(({ blockedBy }) => blockedBy);
        await this.changes.until(
          () => this.#arrived || this.#hasChanged(seen, watched()) || undefined,
          { unref: [...this.#attempts].every(({ unref }) => unref) },
          watched,
        );
      }
    } catch (error) {
      for (const attempt of this.#attempts) attempt.reject(error);
    } finally {
      this.#driving = false;
    }
  }

  /** Until a round changes nothing: what a later attempt stores may be what an earlier one waits for. */
  #runAll(): Blocked | undefined {
    let everChanged = false;
    for (let changed = true; changed; ) {
      changed = false;
      for (const attempt of this.#attempts) {
        try {
          const blocked = attempt.run();
          if (blocked !== undefined) attempt.blockedBy = blocked.by;
          changed ||= blocked === undefined || blocked.changed;
        } catch (error) {
          attempt.reject(error);
        }
      }
      everChanged ||= changed;
    }
    return everChanged ? undefined : new Blocked([]);
  }
}

function lastly<T>(step: Step<T>, giveUp: () => void): Step<T> {
  return () => {
    const result = step();
    if (!(result instanceof Blocked)) return result;
    giveUp();
    return new Blocked([], true);
  };
}
