import { binding } from '../binding';
import { rangeError, stateError } from '../errors';
import type { Changes } from './changes';
import { type ControlWords, fence, writerAt } from './control-words';
import { checkSignal, checkTimeout, type SyncWaitOptions, type WaitOptions } from './deadline';
import { settled } from './hold';

const { bits } = binding.layout;

/**
 * Reading without the lock, by the version that writers count up (a seqlock), and waiting for it to change.
 * Of the lock's words it only reads; so a peer without write permission can do it too.
 */
export class Versions {
  constructor(
    readonly control: ControlWords,
    readonly changes: Changes,
  ) {}

  get version(): number {
    return this.control.version;
  }

  /** Resolves with the version of a write that was completed after `since`. */
  changed(since: number | undefined, options: WaitOptions): Promise<number> {
    const after = since ?? this.#completed();
    if (!Number.isSafeInteger(after)) {
      throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `Expected a version for since but received ${String(since)}`);
    }
    const look = () => (this.#completed() > after ? this.#completed() : undefined);
    return this.changes.until(look, options, undefined, 'Waiting for a change of');
  }

  async snapshot<T>(fn: () => T, options: WaitOptions): Promise<T> {
    const timeoutMs = checkTimeout(options.timeoutMs);
    const end = performance.now() + timeoutMs;
    for (;;) {
      const left = Math.max(0, end - performance.now());
      const wait = { signal: options.signal, timeoutMs: left };
      const before = await this.changes.until(this.#even, wait, this.#owner, 'A snapshot of');
      const result = this.#consistent(before, fn);
      if (result !== undefined) return result.value;
      // Writers are too fast for it now. They may go on for long, and the event loop has more to do.
      await new Promise(setImmediate);
      checkSignal(options.signal);
      if (performance.now() >= end) throw this.control.timeoutError('A snapshot of', timeoutMs);
    }
  }

  snapshotSync<T>(fn: () => T, options: SyncWaitOptions): T {
    const timeoutMs = checkTimeout(options.timeoutMs);
    const end = performance.now() + timeoutMs;
    for (;;) {
      const left = Math.max(0, end - performance.now());
      const before = this.changes.untilSync(this.#even, { timeoutMs: left }, this.#owner, 'A snapshot of');
      const result = this.#consistent(before, fn);
      if (result !== undefined) return result.value;
      if (performance.now() >= end) throw this.control.timeoutError('A snapshot of', timeoutMs);
    }
  }

  /** What `fn` returns, if no write began while it ran. What it throws may come of half-written data. */
  #consistent<T>(before: number, fn: () => T): { value: T } | undefined {
    let outcome: { value: T } | { thrown: unknown };
    fence();
    try {
      outcome = { value: settled(fn()) };
    } catch (thrown) {
      outcome = { thrown };
    }
    if (this.control.closed) throw this.control.closedError();
    // L6: the function's loads come before this look at the version.
    fence();
    if (this.control.version !== before) return undefined;
    if ('thrown' in outcome) throw outcome.thrown;
    return outcome;
  }

  #completed(): number {
    const { version } = this.control;
    return version - (version % 2);
  }

  readonly #even = (): number | undefined => {
    const { version } = this.control;
    if (version % 2 === 0) return version;
    if (!this.control.hasDiedInside()) return undefined;
    throw stateError(
      'ERR_NDSHM_ABANDONED',
      `A process died while it was writing ${this.control.subject.who}, which may be half-written, and nobody has repaired it yet`,
    );
  };

  // A writer that dies says nothing.
  readonly #owner = () => {
    const slot = (Atomics.load(this.control.words, writerAt) & bits.owner) - 1;
    if (slot < 0 || slot >= binding.layout.peerSlots) return [];
    return [{ slot, generation: this.control.generationOf(slot) }];
  };
}
