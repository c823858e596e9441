import { type Caller, onGone } from '../caller';

interface Entry<H> {
  held: H;
  readonly forget: () => void;
}

/** What each caller holds of an object. It comes back when the caller's connection ends. */
export class Holders<H> {
  readonly #entries = new Map<Caller, Entry<H>>();
  readonly #onEnd: (held: H) => void;

  /** `onEnd` is given what a caller held that has gone, and that is held no longer. */
  constructor(onEnd: (held: H) => void) {
    this.#onEnd = onEnd;
  }

  /** How many hold something. */
  get size(): number {
    return this.#entries.size;
  }

  get(caller: Caller): H | undefined {
    return this.#entries.get(caller)?.held;
  }

  /** The caller has to be there still, which Line sees to. */
  set(caller: Caller, held: H): void {
    const entry = this.#entries.get(caller);
    if (entry !== undefined) {
      entry.held = held;
      return;
    }
    const forget = onGone(caller, () => {
      const last = this.delete(caller);
      if (last !== undefined) this.#onEnd(last);
    });
    this.#entries.set(caller, { held, forget });
  }

  /** Gives what it held. */
  delete(caller: Caller): H | undefined {
    const entry = this.#entries.get(caller);
    if (entry === undefined) return undefined;
    this.#entries.delete(caller);
    entry.forget();
    return entry.held;
  }

  /** Nobody holds anything any more. */
  clear(): void {
    for (const caller of this.#entries.keys()) this.delete(caller);
  }
}
