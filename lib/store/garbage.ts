import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** undefined = not looked for yet; null = this runtime has none. */
let collect: (() => void) | null | undefined;

function find(): (() => void) | null {
  const { gc } = globalThis;
  if (gc !== undefined) return () => gc();
  try {
    setFlagsFromString('--expose-gc');
    const found: unknown = runInNewContext('gc');
    setFlagsFromString('--no-expose-gc');
    return typeof found === 'function' ? () => found() : null;
  } catch {
    return null;
  }
}

/**
 * Collects garbage now, where the runtime can; false if it cannot. For when memory is short that only the garbage
 * collector gives back: it counts the bytes of this process, and does not know that others wait for them.
 */
export function collectGarbage(): boolean {
  collect ??= find();
  collect?.();
  return collect !== null;
}
