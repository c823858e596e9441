import { AsyncLocalStorage } from 'node:async_hooks';
import type { ControlWords } from './control-words';

export type Access = 'read' | 'write';

/** A lock that the code running now holds, and those around it. */
interface Held {
  readonly control: ControlWords;
  readonly access: Access;
  readonly around: Held | undefined;
}

const held = new AsyncLocalStorage<Held>();

/** Runs `fn`, and all that it awaits, as code that holds a lock. */
export function runHolding<T>(control: ControlWords, access: Access, fn: () => T): T {
  return held.run({ control, access, around: held.getStore() }, fn);
}

/** How the code running now holds the lock of this segment, be it by this attachment or another one. */
export function heldByCaller(control: ControlWords): Access | undefined {
  for (let hold = held.getStore(); hold !== undefined; hold = hold.around) {
    if (!hold.control.closed && (hold.control === control || hold.control.isSameSegment(control))) return hold.access;
  }
  return undefined;
}
