import { binding } from '../binding';

/** What looks for itself whether something has come, as long as that is likely. */
export interface Turner {
  /** Whether it is worth while to keep the event loop turning at all. */
  readonly lingers: boolean;
  /** Takes what has come; whether there was anything. Must not throw. */
  look(): boolean;
  /** From now on it wants to be told; false if something has come just now, and it has to look again. Must not throw. */
  rest(): boolean;
}

/**
 * How long to look in vain. To be woken by the other side takes 50 to 100 µs in a sleeping process, on each side; by then most
 * answers are there. Who looks in vain lets others have the processor, so that the other side, where it is on the same one,
 * is not kept from answering: with that it is worth while also with a single processor.
 */
const lingerMs = 0.2;
/**
 * If giving the processor away takes longer than this, somebody else than the other side had use for it, for a whole slice of
 * the scheduler's; whoever turns then uses up its share in vain, and waits for more such slices. So for the next while it is
 * not done. (Less than this is the other side's own work: collecting garbage, compiling.)
 */
const crowdedMs = 1.5;
const calmMs = 100;

let calmUntil = 0;
const turning = new Set<Turning>();
let isTurning = false;

/** One for all of the process: the event loop turns once for however many there are. */
function turn(): void {
  const now = performance.now();
  let isIdle = true;
  for (const each of turning) {
    const step = each.turn(now);
    if (step === 'busy') isIdle = false;
    if (step === 'rests') turning.delete(each);
  }
  isTurning = turning.size > 0;
  if (!isTurning) return;
  if (isIdle) {
    binding.yieldProcessor();
    const after = performance.now();
    if (after - now > crowdedMs) calmUntil = after + calmMs;
  }
  setImmediate(turn);
}

/** Has its turner look in each turn of the event loop for a while, and then rest. */
export class Turning {
  readonly #turner: Turner;
  #untilMs = 0;

  constructor(turner: Turner) {
    this.#turner = turner;
  }

  /** Something was sent or has come, so that an answer is likely. */
  stir(): void {
    this.#linger(performance.now());
    turning.add(this);
    if (isTurning) return;
    isTurning = true;
    setImmediate(turn);
  }

  stop(): void {
    turning.delete(this);
  }

  #linger(now: number): void {
    this.#untilMs = now < calmUntil ? now : now + lingerMs;
  }

  turn(now: number): 'busy' | 'idle' | 'rests' {
    if (this.#turner.look()) {
      this.#linger(now);
      return 'busy';
    }
    const mayRest = now >= this.#untilMs || now < calmUntil || !this.#turner.lingers;
    return mayRest && this.#turner.rest() ? 'rests' : 'idle';
  }
}
