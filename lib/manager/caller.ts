/** Whoever calls the methods of hosted objects: one connection. */
export interface Caller {
  readonly id: number;
  /** Aborts when the connection has ended; the reason is an Error. */
  readonly signal: AbortSignal;
}

/** The hosting process itself, which outlives its objects. */
export const localCaller: Caller = { id: 0, signal: new AbortController().signal };

let current = localCaller;

/**
 * Whose call runs now. Inside a method that is known only until its first `await`: whatever runs later, and whatever no
 * connection has called, is the hosting process's own.
 */
export const callerNow = (): Caller => current;

/** Runs the synchronous part of a call. (An AsyncLocalStorage would know the rest as well, but slows all promises down.) */
export function asCaller<T>(caller: Caller, fn: () => T): T {
  const before = current;
  current = caller;
  try {
    return fn();
  } finally {
    current = before;
  }
}

type OnGone = (reason: unknown) => void;

const waiting = new WeakMap<Caller, Set<OnGone>>();

/**
 * Calls back when the caller's connection has ended, at once if it has; returns how to say that this is not needed any more.
 * One listener for each caller: to add and remove one costs more than the calls that need it, and Node warns of many.
 */
export function onGone(caller: Caller, callback: OnGone): () => void {
  const { signal } = caller;
  if (signal.aborted) {
    callback(signal.reason);
    return () => {};
  }
  const callbacks = waiting.get(caller) ?? new Set<OnGone>();
  if (!waiting.has(caller)) {
    waiting.set(caller, callbacks);
    const callAll = () => {
      for (const each of callbacks) each(signal.reason);
    };
    signal.addEventListener('abort', callAll, { once: true });
  }
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}

/** The promise, unless the caller goes before. */
export async function orGone<T>(caller: Caller, promise: T | Promise<T>): Promise<T> {
  let forget = () => {};
  const gone = new Promise<never>((_, reject) => {
    forget = onGone(caller, reject);
  });
  try {
    return await Promise.race([promise, gone]);
  } finally {
    forget();
  }
}
