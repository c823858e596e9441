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

// How long what cannot wait waits for the lock itself, which nobody holds for longer than some microseconds unless he was
// stopped in the middle.
const immediateMs = 5;

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

  /**
   * Runs `step` until it is not Blocked, and resolves with its result. Attempts of one process run in the order of
   * their calls. `giveUp` runs under the lock after the time was up or the signal aborted, before the rejection.
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
        this.#giveUp(giveUp).then(() => reject(reason), reject);
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
        const seen = this.#completed();
        const left = { timeoutMs: Math.max(0, end - performance.now()) };
        const changed = () => this.#completed() !== seen || this.#anyDead(result.by) || undefined;
        this.changes.untilSync(changed, left, () => result.by);
      }
    } catch (error) {
      // Not waited for: whoever stops the process inside the lock would stop us too.
      if (!this.closed) this.#giveUp(giveUp).catch(() => {});
      throw error;
    }
  }

  /** Runs `step` once; undefined if it is Blocked. */
  attempt<T>(step: Step<T>): T | undefined {
    this.check();
    const entered = this.lock.tryEnterWrite() ?? this.lock.enterWriteSync(immediateMs);
    const result = this.#inside(entered, step);
    return result instanceof Blocked ? undefined : result;
  }

  /**
   * Runs a function that only reads, without the lock. It sees one consistent state unless writers come too fast, and
   * then, as all states are valid, parts of states that follow each other.
   */
  look<T>(read: () => T): T {
    this.check();
    for (let tries = 0; ; tries++) {
      const before = this.lock.control.version;
      const result = read();
      if (this.lock.control.version === before || tries === 100) return result;
    }
  }

  #inside<T>(abandoned: boolean, step: Step<T>): T | Blocked {
    let unchanged = !abandoned;
    try {
      const result = step();
      if (!(result instanceof Blocked) || result.changed) unchanged = false;
      return result;
    } finally {
      this.lock.leaveWrite(unchanged);
    }
  }

  async #giveUp(giveUp: (() => void) | undefined): Promise<void> {
    if (giveUp !== undefined) await this.#once(giveUp);
  }

  /** Runs the step once, as soon as the lock is to be had. */
  #once<T>(step: Step<T>): Promise<T | Blocked> {
    return new Promise<T | Blocked>((resolve, reject) => {
      this.lock.enterWriteThen((abandoned) => {
        try {
          resolve(this.#inside(abandoned, step));
        } catch (error) {
          reject(error);
        }
      }, reject);
    });
  }

  #completed(): number {
    const { version } = this.lock.control;
    return version - (version % 2);
  }

  #anyDead(peers: readonly PeerId[]): boolean {
    return peers.some((peer) => this.isDead(peer));
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
        await this.#once(() => this.#runAll());
        if (this.#attempts.size === 0) break;
        const seen = this.#completed();
        const watched = () => [...this.#attempts].flatMap(({ blockedBy }) => blockedBy);
        await this.changes.until(
          () => this.#arrived || this.#completed() !== seen || this.#anyDead(watched()) || undefined,
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
