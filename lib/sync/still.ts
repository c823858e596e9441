import type { PeerId } from '../lock/changes';

/** The state of a named primitive as it was a moment ago: a copy, for looking. */
export interface Still {
  readonly name: string;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** What it was made with. */
  readonly parameters: Int32Array;
  /** Nobody. */
  readonly me: PeerId;
  /** Whether it had left by then. */
  isDead(peer: PeerId): boolean;
}

/** What a peer has of a primitive, or waits for, beside its lock. */
export interface Claim {
  readonly slot: number;
  readonly holds: string | null;
  readonly waitsFor: string | null;
}

/** What a primitive is like. */
export interface Description {
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
  readonly claims: readonly Claim[];
}
