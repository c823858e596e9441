import { AsyncLocalStorage } from 'node:async_hooks';
import type { ControlWords } from './control-words';

export type Access = 'read' | 'write';

/** A lock that the code running now holds, and those around it. */
interface Held {
  readonly control: ControlWords;
  readonly access: Access;
  readonly around: Held | undefined;
  /** What was begun inside, and not awaited (a timer, a listener), goes on in this context when it is over. */
  over: boolean;
}

const held = new AsyncLocalStorage<Held>();

// Before Node 24 an AsyncLocalStorage in use makes each promise of the whole process several times as dear. So it goes out
// of use when nothing has been held for a while.
const idleMs = 1000;
let holding = 0;
let heldLately = false;
let timer: NodeJS.Timeout | undefined;

function rest(): void {
  timer = undefined;
  if (holding > 0) return; // the end of the last hold begins anew
  if (heldLately) restLater();
  else held.disable();
}

function restLater(): void {
  heldLately = false;
  timer ??= setTimeout(rest, idleMs).unref();
}

/** Runs `fn`, and all that it awaits, as code that holds a lock. */
export async function runHolding<T>(control: ControlWords, access: Access, fn: () => T | PromiseLike<T>): Promise<T> {
  let around = held.getStore();
  while (around?.over === true) around = around.around; // or a chain of timers would link to all holds before it
  const hold: Held = { control, access, around, over: false };
  holding++;
  try {
    return await held.run(hold, fn);
  } finally {
    hold.over = true;
    holding--;
    heldLately = true;
    if (holding === 0 && timer === undefined) restLater();
  }
}

/** How the code running now holds the lock of this segment, be it by this attachment or another one. */
export function heldByCaller(control: ControlWords): Access | undefined {
  for (let hold = held.getStore(); hold !== undefined; hold = hold.around) {
    if (!hold.over && !hold.control.closed && (hold.control === control || hold.control.isSameSegment(control)))
      return hold.access;
  }
  return undefined;
}
