import { binding } from '../binding';
import type { PeerId } from '../lock/changes';
import type { NamedState } from './named-state';

const { peerSlots } = binding.layout;

// The words of a ledger: a bit for each slot whose entry may count, so that nobody scans all of them; the entries.
const mapWords = peerSlots / 32;
const entryWords = 3;
const Entry = { generation: 0, epoch: 1, count: 2 };

type LedgerState = Pick<NamedState, 'words' | 'me' | 'isDead'>;

/**
 * How many of something each peer has: one entry per slot of the peer table. An entry counts for as long as its peer
 * lives; what the dead had is nobody's. A primitive that ends all entries at once does so by counting in another epoch.
 *
 * Changed only under the state's lock, and each change is one store to `count`: whoever dies before it has changed
 * nothing. Reading is safe at any time.
 */
export class Ledger {
  static readonly words = mapWords + entryWords * peerSlots;

  readonly #state: LedgerState;
  readonly #base: number;

  constructor(state: LedgerState, base: number) {
    this.#state = state;
    this.#base = base;
  }

  #at(slot: number, field: number): number {
    return this.#base + mapWords + slot * entryWords + field;
  }

  #load(slot: number, field: number): number {
    return Atomics.load(this.#state.words, this.#at(slot, field));
  }

  #store(slot: number, field: number, value: number): void {
    Atomics.store(this.#state.words, this.#at(slot, field), value);
  }

  /** Stores a count; the bit is up before it counts, and down only after. */
  #count(slot: number, count: number): void {
    const { words } = this.#state;
    const at = this.#base + (slot >>> 5);
    const bit = 1 << (slot & 31);
    if (count !== 0) Atomics.or(words, at, bit);
    this.#store(slot, Entry.count, count);
    if (count === 0) Atomics.and(words, at, ~bit);
  }

  /** The slots whose entries count in this epoch. */
  #slots(epoch: number): number[] {
    const slots: number[] = [];
    for (let n = 0; n < mapWords; n++) {
      for (let bits = Atomics.load(this.#state.words, this.#base + n); bits !== 0; bits &= bits - 1) {
        const slot = 32 * n + 31 - Math.clz32(bits & -bits);
        if (this.#load(slot, Entry.epoch) === epoch && this.#load(slot, Entry.count) !== 0) slots.push(slot);
      }
    }
    return slots;
  }

  #peerOf(slot: number): PeerId {
    return { slot, generation: this.#load(slot, Entry.generation) >>> 0 };
  }

  #isMine(epoch: number): boolean {
    const { slot, generation } = this.#state.me;
    return this.#peerOf(slot).generation === generation && this.#load(slot, Entry.epoch) === epoch;
  }

  /** What this attachment has. */
  mine(epoch = 0): number {
    const { slot } = this.#state.me;
    return this.#isMine(epoch) ? this.#load(slot, Entry.count) : 0;
  }

  setMine(count: number, epoch = 0): void {
    const { slot, generation } = this.#state.me;
    if (!this.#isMine(epoch)) {
      // First nothing, then mine: at no moment is what the slot's last holder had taken for ours.
      this.#count(slot, 0);
      this.#store(slot, Entry.generation, generation);
      this.#store(slot, Entry.epoch, epoch);
    }
    this.#count(slot, count);
  }

  /** All that is entered, whether by the living or by the dead. */
  sum(epoch = 0): number {
    let sum = 0;
    for (const slot of this.#slots(epoch)) sum += this.#load(slot, Entry.count);
    return sum;
  }

  /** Everybody else who has something. */
  others(epoch = 0): PeerId[] {
    const { me } = this.#state;
    return this.#slots(epoch)
      .map((slot) => this.#peerOf(slot))
      .filter((peer) => peer.slot !== me.slot || peer.generation !== me.generation);
  }

  /** What the living have. Asks the kernel about each. */
  living(epoch = 0): number {
    return this.sum(epoch) - this.#dead(epoch).reduce((sum, { slot }) => sum + this.#load(slot, Entry.count), 0);
  }

  /** Which slots have how much, of the living. */
  holders(epoch = 0): { slot: number; count: number }[] {
    return this.#slots(epoch)
      .filter((slot) => !this.#state.isDead(this.#peerOf(slot)))
      .map((slot) => ({ slot, count: this.#load(slot, Entry.count) }));
  }

  /** Drops the entries of the dead; whether there were any. */
  bury(epoch = 0): boolean {
    const dead = this.#dead(epoch);
    for (const { slot } of dead) this.#count(slot, 0);
    return dead.length > 0;
  }

  #dead(epoch: number): PeerId[] {
    return this.others(epoch).filter((peer) => this.#state.isDead(peer));
  }
}
