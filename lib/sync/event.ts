import { type SyncWaitOptions, syncWaitKeys, type WaitOptions, waitKeys } from '../lock/deadline';
import { checkOptions } from '../options';
import { type NamedOptions, NamedState, namedKeys } from './named-state';
import { Primitive } from './primitive';
import type { Description, Still } from './still';

const flag = 0; // grows by one at every change; odd = set

/**
 * A flag that processes wait for, by name: threading.Event of Python. Nothing is held, so that nothing is lost with a
 * process that dies. No lock is taken: while nobody waits, set() and clear() cost tens of nanoseconds.
 * Errors of all methods: ERR_NDSHM_CLOSED.
 * @example
 * const ready = new ndshm.Event('ready', { ephemeral: true });
 * setTimeout(() => ready.set(), 10); // mostly another process does that
 * await ready.wait({ timeoutMs: 1000 });
 * ready.close();
 */
export class Event extends Primitive {
  /**
   * Opens the event of this name, or makes it, not set. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if the name means something else, and those of open().
   */
  constructor(name: string, options?: NamedOptions) {
    super(
      new NamedState(
        name,
        { kind: 'Event', size: () => ({ words: 1 }) },
        checkOptions(options, namedKeys, 'new Event()'),
      ),
    );
  }

  #load(): number {
    this.state.check();
    return Atomics.load(this.state.words, flag);
  }

  /** Whether it is set now. */
  get isSet(): boolean {
    return (this.#load() & 1) === 1;
  }

  /** Sets it. Everybody who waits at this moment goes on, even if it is cleared at once. */
  set(): void {
    const before = this.#load();
    // Should it fail, somebody else has changed it meanwhile: set by them, or set and cleared, which came after ours.
    if ((before & 1) === 0) Atomics.compareExchange(this.state.words, flag, before, (before + 1) | 0);
    this.state.changes.notify();
  }

  /** Clears it: from now on wait() waits. */
  clear(): void {
    const before = this.#load();
    if ((before & 1) === 1) Atomics.compareExchange(this.state.words, flag, before, (before + 1) | 0);
  }

  /**
   * Resolves once it is set, at once if it is. Does not block the thread.
   * Errors: ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason, ERR_NDSHM_CLOSED.
   */
  async wait(options?: WaitOptions): Promise<void> {
    await this.state.changes.until(this.#setSince(this.#load()), checkOptions(options, waitKeys, 'wait()'));
  }

  /** wait(), but blocking the thread. */
  waitSync(options?: SyncWaitOptions): void {
    this.state.changes.untilSync(this.#setSince(this.#load()), checkOptions(options, syncWaitKeys, 'waitSync()'));
  }

  #setSince(start: number): () => true | undefined {
    return () => {
      const now = this.#load();
      return (now & 1) === 1 || now !== start || undefined;
    };
  }
}

export function describeEvent({ words }: Still): Description {
  return { facts: { isSet: ((words[flag] as number) & 1) === 1 }, claims: [] };
}
