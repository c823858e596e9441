import { wrongKind } from '../../errors';
import { type Caller, orGone } from '../caller';

/**
 * Runs a caller's function between entering something and leaving it. Its result is waited for no longer than the caller is
 * there. `leave` is to do nothing if nothing is held any more: what a caller held that goes comes back by itself.
 */
export async function runInside<T>(
  caller: Caller,
  fn: () => T | Promise<T>,
  { enter, leave }: { enter: () => Promise<void>; leave: () => void },
): Promise<T> {
  checkFunction(fn, 'run()');
  await enter();
  try {
    caller.signal.throwIfAborted(); // since it was let in
    return await orGone(caller, fn());
  } finally {
    leave();
  }
}

export function checkFunction(fn: unknown, what: string): void {
  if (typeof fn !== 'function') throw wrongKind('a function', what, fn);
}
