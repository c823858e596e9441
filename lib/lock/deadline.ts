import { rangeError, wrongKind } from '../errors';

/** For waits that block the thread. */
export interface SyncWaitOptions {
  /** How long to wait at most, in milliseconds; then ERR_NDSHM_TIMEOUT. Default: for ever. 0 = not at all. */
  readonly timeoutMs?: number | undefined;
}

export interface WaitOptions extends SyncWaitOptions {
  /** Ends the wait; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const syncWaitKeys = ['timeoutMs'] as const;
export const waitKeys = [...syncWaitKeys, 'signal'] as const;

/** How long a blocking native call may take, so that a worker thread that is to end does so soon. */
export const blockingSliceMs = 50;

export function checkTimeout(timeoutMs: unknown): number {
  if (timeoutMs === undefined) return Number.POSITIVE_INFINITY;
  if (typeof timeoutMs !== 'number') throw wrongKind('a number of milliseconds', 'timeoutMs', timeoutMs);
  if (!(timeoutMs >= 0)) {
    throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `Expected 0 or more for timeoutMs but received ${timeoutMs}`);
  }
  return timeoutMs;
}

// setTimeout() takes no more, and fires at once beyond.
const longestTimerMs = 2 ** 31 - 1;

/** The end of an asynchronous wait from outside: calls back once, when the time is up or the signal aborts. */
export class Deadline {
  #timer: NodeJS.Timeout | undefined;
  #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;

  constructor(options: WaitOptions, onTimeout: (timeoutMs: number) => void, onAbort: (reason: unknown) => void) {
    const { timeoutMs, signal } = options;
    if (timeoutMs !== undefined && checkTimeout(timeoutMs) <= longestTimerMs) {
      this.#timer = setTimeout(() => {
        this.clear();
        onTimeout(timeoutMs);
      }, timeoutMs);
    }
    if (signal !== undefined) {
      this.#signal = signal;
      this.#onAbort = () => {
        this.clear();
        onAbort(signal.reason);
      };
      signal.addEventListener('abort', this.#onAbort, { once: true });
    }
  }

  clear(): void {
    clearTimeout(this.#timer);
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

export function checkSignal(signal: unknown): void {
  if (signal === undefined) return;
  if (!(signal instanceof AbortSignal) && typeof (signal as AbortSignal | null)?.addEventListener !== 'function') {
    throw wrongKind('an AbortSignal', 'signal', signal);
  }
  (signal as AbortSignal).throwIfAborted();
}
