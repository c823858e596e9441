import { type OnProgress, progressBar } from '../index';

const least = 64 * 2 ** 20;

/**
 * Runs something, or starts it, that reports how far it has come; with a progress bar on standard error if there is much to
 * do: 64 Mi bytes or elements.
 */
export function withProgress<T>(title: string, total: number, run: (onProgress?: OnProgress) => T): T {
  if (total < least) return run();
  const bar = progressBar(title);
  const mebi = (count: number) => Math.floor(count / 2 ** 20);
  let result: T | undefined;
  try {
    result = run((done, all) => bar({ done: mebi(done), total: mebi(all) }));
  } finally {
    if (!(result instanceof Promise)) bar.stop();
  }
  return result instanceof Promise ? (result.finally(() => bar.stop()) as T) : result;
}
