import { availableProcessors } from '../pool/processors';

/** What looks for itself whether something has come, as long as that is likely. */
export interface Turner {
  /** Whether it is worth while to go on looking for some time after something has come. */
  readonly lingers: boolean;
  /** Takes what has come; whether there was anything. Must not throw. */
  look(): boolean;
  /** From now on it wants to be told; false if something has come just now, and it has to look again. */
  rest(): boolean;
}

/**
 * How long to look in vain. To be woken by the other side takes 50 to 100 µs in a sleeping process, on each side; by then
 * most answers are there. With one processor the other side cannot do anything meanwhile.
 */
let lingerMs: number | undefined;
const defaultLingerMs = 1;

const turners = new Map<Turner, number>();
let isTurning = false;

/** `turner` looks in each turn of the event loop from now on, until nothing has come for a while. */
export function stir(turner: Turner): void {
  lingerMs ??= availableProcessors() > 1 ? defaultLingerMs : 0;
  turners.set(turner, performance.now() + lingerMs);
  if (isTurning) return;
  isTurning = true;
  setImmediate(turn);
}

export function forget(turner: Turner): void {
  turners.delete(turner);
}

// One for all of the process: the event loop turns once for however many there are.
function turn(): void {
  const now = performance.now();
  for (const [turner, untilMs] of turners) {
    if (turner.look()) turners.set(turner, now + (lingerMs as number));
    else if ((now >= untilMs || !turner.lingers) && turner.rest()) turners.delete(turner);
  }
  isTurning = turners.size > 0;
  if (isTurning) setImmediate(turn);
}
