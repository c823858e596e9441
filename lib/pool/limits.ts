import { checkSignal, checkTimeout } from '../lock/deadline';
import { checkOptions, integerIn } from '../options';
import { Flag } from './lane';

export interface CallOptions {
  /** Ends the call, which rejects with the signal's reason; what runs is killed with its worker. */
  readonly signal?: AbortSignal;
  /**
   * How long one call of the function may take from its start in a worker, in milliseconds; then its worker is killed.
   * Default: for ever.
   */
  readonly timeoutMs?: number;
  /**
   * How often a task is tried again whose worker died or took too long. Its function has to be idempotent then. What a
   * function throws is not tried again. Default 0.
   */
  readonly retries?: number;
}

const callKeys = ['signal', 'timeoutMs', 'retries'] as const;
const maxRetries = 1000;

/** Checked call options. */
export interface Limits {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly retries: number;
}

export function checkLimits<O extends CallOptions>(
  options: O | undefined,
  otherKeys: readonly (keyof O & string)[],
  what: string,
): Limits {
  const {
    signal,
    timeoutMs,
    retries = 0,
  } = checkOptions<CallOptions>(options, [...callKeys, ...otherKeys] as (typeof callKeys)[number][], what);
  checkSignal(signal);
  return { signal, timeoutMs: checkTimeout(timeoutMs), retries: integerIn(retries, 0, maxRetries, 'retries') };
}

/** What a worker has to know of them. */
export const flagsOf = ({ timeoutMs }: Limits): number => (timeoutMs < Number.POSITIVE_INFINITY ? Flag.timed : 0);

/** Calls back when the signal aborts, at once if it has; returns how to say that this is not needed any more. */
export function onAbort(signal: AbortSignal | undefined, abort: (reason: unknown) => void): () => void {
  if (signal === undefined) return () => {};
  const listener = () => abort(signal.reason);
  if (signal.aborted) listener();
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** The promise, unless the signal aborts before. */
export async function orAborted<T>(signal: AbortSignal | undefined, promise: T | Promise<T>): Promise<T> {
  let forget = () => {};
  const aborted = new Promise<never>((_, reject) => {
    forget = onAbort(signal, reject);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    forget();
  }
}
