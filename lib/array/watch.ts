import { watch as watchDirectory } from 'node:fs';
import { binding } from '../binding';
import { type CodedError, failureError, wrongKind } from '../errors';
import { checkName, checkOptions, type Mode } from '../options';
import type { DType } from './dtype';
import { open } from './open';
import { checkExtent, headerOf, identityOf, idOf, isOpened, openFile } from './segment-file';
import { SharedArray } from './shared-array';

export interface WatchOptions {
  /** In which mode to open each new array. Default 'r'. */
  readonly mode?: Mode;
  readonly allowForeignOwner?: boolean;
  /** The array that the caller has already: whatever replaced it before the watch began is given at once. */
  readonly since?: SharedArray;
  /** Ends the iteration with an AbortError. */
  readonly signal?: AbortSignal;
  /** Whether the watch alone keeps the process running. Default true. */
  readonly persistent?: boolean;
}

/**
 * An async iterator of replacements: gives the array, newly opened, each time the name comes to mean another segment,
 * be it by `ifExists: 'replace'`, by unlink and create, or by numpy saving a file there (given once it is complete). Replacements that follow each other faster than the caller
 * asks give the latest one alone. The watch begins with the call. The caller closes what it is given.
 * Uses inotify, as fs.watch does. Errors: those of open(); where the name is missing or incomplete it waits.
 * @example
 * let prices = ndshm.fromArray('prices', [1, 2]);
 * const watch = ndshm.watch('prices', { since: prices });
 * ndshm.fromArray('prices', [3, 4], { ifExists: 'replace' }).close();
 * for await (const next of watch) {
 *   prices.close();
 *   prices = next;
 *   break;
 * }
 * prices.close();
 * ndshm.unlink('prices');
 */
export function watch<D extends DType = DType>(
  name: string,
  options?: WatchOptions,
): AsyncIterableIterator<SharedArray<D>> {
  checkName(name);
  const { since, signal, persistent, ...how } = checkOptions(
    options,
    ['mode', 'allowForeignOwner', 'since', 'signal', 'persistent'],
    'watch()',
  );
  if (since !== undefined && !(since instanceof SharedArray)) throw wrongKind('a SharedArray', 'since', since);
  signal?.throwIfAborted();

  let wake: () => void = () => {};
  let failed: unknown;
  let ended = false;
  const watcher = watchDirectory(binding.layout.directory, { persistent: persistent ?? true }, (_event, file) => {
    if (file === name || file === null) notice();
  });
  let noticed = true;
  const notice = () => {
    noticed = true;
    wake();
  };
  const end = (reason?: unknown) => {
    ended = true;
    failed ??= reason;
    watcher.close();
    signal?.removeEventListener('abort', abort);
    wake();
  };
  const abort = () => end(signal?.reason);
  watcher.on('error', end);
  signal?.addEventListener('abort', abort);

  // Looked up after the watch began: between the two nothing can be missed.
  let known: string | undefined;
  try {
    known = since === undefined ? identify(name) : SharedArray.attachmentOf(since).identity;
  } catch (error) {
    end(); // or the watcher would keep the process running
    throw error;
  }

  const next = async (): Promise<IteratorResult<SharedArray<D>, undefined>> => {
    for (;;) {
      if (failed !== undefined) throw failed;
      if (ended) return { done: true, value: undefined };
      if (noticed) {
        noticed = false;
        // Looked at without attaching: an attachment writes to the file, which would be noticed here again.
        const identity = identify(name);
        if (identity === undefined || identity === known) continue;
        const array = ifThere(() => open<D>(name, how));
        if (array === undefined) continue;
        known = SharedArray.attachmentOf(array as SharedArray).identity;
        return { done: false, value: array };
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  // One call at a time, in order, as an async generator would.
  let last: Promise<unknown> = Promise.resolve();
  return {
    next: () => {
      const turn = last.then(next, next);
      last = turn.catch(() => end());
      return turn;
    },
    return: async () => {
      end();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

// What ndshm makes is there whole or not at all; numpy's save() shows a file while it still writes it.
const notYet = ['ENOENT', 'ERR_NDSHM_HEADER', 'ERR_NDSHM_TRUNCATED'];

function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (notYet.includes((error as CodedError).code)) return undefined;
    throw error;
  }
}

function identify(name: string): string | undefined {
  return ifThere(() => {
    const file = openFile(name, false);
    if (!isOpened(file)) throw failureError(file, { directory: binding.layout.directory, name });
    try {
      const { spec, dataOffset, dataBytes } = headerOf(file, name);
      checkExtent(name, spec, dataOffset, dataBytes, file.facts.size);
      return identityOf(idOf(file.segment, dataOffset, dataBytes), file.facts);
    } finally {
      file.segment.close(null);
    }
  });
}
