import { stateError } from '../errors';
import type { PeerId } from '../lock/changes';
import type { NamedState } from './named-state';

// Words of the table: notifications given so far, entries ever used, then the entries. `uses` of an entry is twice the
// number of notifications that were used there, plus one while somebody waits.
const Table = { notified: 0, extent: 1, entries: 2 };
const entryWords = 4;
const Entry = { slot: 0, generation: 1, ticket: 2, uses: 3 };
const most = 1024;
const mask = 2 ** 31 - 1; // both counts wrap around there

interface Waiter {
  readonly entry: number;
  readonly peer: PeerId;
  readonly ticket: number;
}

/**
 * Who waits for notifications, oldest first, and how many of them are notified: the oldest so many as notifications
 * have been given and not used. So a notification goes over to the next one by itself when a waiter dies, and each step
 * is one store: waiting (uses + 1), giving up (uses - 1), using a notification (uses + 1), notifying (notified + n).
 *
 * Changed only under the condition's lock. Looking is safe at any time, though only under the lock it is exact.
 */
export class Waiters {
  static readonly words = Table.entries + entryWords * most;

  readonly #state: Pick<NamedState, 'name' | 'words' | 'me' | 'isDead'>;

  constructor(state: Pick<NamedState, 'name' | 'words' | 'me' | 'isDead'>) {
    this.#state = state;
  }

  #load(entry: number, field: number): number {
    return Atomics.load(this.#state.words, Table.entries + entry * entryWords + field);
  }

  #store(entry: number, field: number, value: number): void {
    Atomics.store(this.#state.words, Table.entries + entry * entryWords + field, value);
  }

  get #extent(): number {
    return Math.min(Atomics.load(this.#state.words, Table.extent), most); // the words may hold anything
  }

  /** Notifications that have not been used. */
  get #notified(): number {
    let notified = Atomics.load(this.#state.words, Table.notified);
    for (let entry = 0; entry < this.#extent; entry++) notified -= this.#load(entry, Entry.uses) >>> 1;
    return notified & mask;
  }

  /** Everybody who waits, oldest first, be they alive or dead. */
  #waiting(): Waiter[] {
    const waiting: Waiter[] = [];
    for (let entry = 0; entry < this.#extent; entry++) {
      if ((this.#load(entry, Entry.uses) & 1) === 0) continue;
      const peer = { slot: this.#load(entry, Entry.slot), generation: this.#load(entry, Entry.generation) >>> 0 };
      waiting.push({ entry, peer, ticket: this.#load(entry, Entry.ticket) });
    }
    return waiting.sort((a, b) => a.ticket - b.ticket);
  }

  /** Those of them who live. Asks the kernel once about each process. */
  #living(waiting: readonly Waiter[]): Waiter[] {
    const verdicts = new Map<string, boolean>();
    return waiting.filter(({ peer }) => {
      const id = `${peer.slot} ${peer.generation}`;
      const dead = verdicts.get(id) ?? this.#state.isDead(peer);
      verdicts.set(id, dead);
      return !dead;
    });
  }

  /** The slots of the living who wait, oldest first. */
  slots(): number[] {
    return this.#living(this.#waiting()).map(({ peer }) => peer.slot);
  }

  /**
   * Removes the dead. A notification that nobody is left for is none: it must not wake who waits later.
   * Who lives and waits, oldest first, and how many of them are notified.
   */
  #tidy(): { notified: number; waiting: Waiter[] } {
    const all = this.#waiting();
    const waiting = this.#living(all);
    if (waiting.length < all.length) {
      for (const each of all) if (!waiting.includes(each)) this.leave(each.entry);
    }
    const notified = this.#notified;
    const excess = Math.max(notified - waiting.length, 0);
    if (excess > 0) Atomics.sub(this.#state.words, Table.notified, excess);
    return { notified: notified - excess, waiting };
  }

  /** Enters a new waiter, behind all others. */
  add(): number {
    const { waiting } = this.#tidy();
    const taken = new Set(waiting.map((each) => each.entry));
    let entry = 0;
    while (taken.has(entry)) entry++;
    if (entry === most) {
      throw stateError('ERR_NDSHM_FULL', `${most} wait for the condition '${this.#state.name}' already`);
    }
    const { words, me } = this.#state;
    const last = waiting.at(-1);
    this.#store(entry, Entry.slot, me.slot);
    this.#store(entry, Entry.generation, me.generation);
    this.#store(entry, Entry.ticket, last === undefined ? 0 : last.ticket + 1);
    if (entry >= this.#extent) Atomics.store(words, Table.extent, entry + 1);
    this.#store(entry, Entry.uses, this.#load(entry, Entry.uses) + 1);
    return entry;
  }

  /** Notifies the `n` oldest that are not notified yet, or as many as there are; whether there were any. */
  notify(n: number): boolean {
    const { notified, waiting } = this.#tidy();
    const more = Math.min(n, waiting.length - notified);
    if (more > 0) Atomics.add(this.#state.words, Table.notified, more);
    return more > 0;
  }

  /** Without the lock: whether this waiter is notified; if not, whose death might make it so. */
  look(entry: number): 'notified' | readonly PeerId[] {
    const notified = this.#notified;
    if (notified === 0) return [];
    const waiting = this.#waiting();
    const older = waiting.slice(
      0,
      Math.max(
        waiting.findIndex((each) => each.entry === entry),
        0,
      ),
    );
    if (older.length < notified) return 'notified';
    const living = this.#living(older);
    return living.length < notified ? 'notified' : living.map((each) => each.peer);
  }

  /** Uses the waiter's notification, with which it is no waiter any more; false if it has none. */
  use(entry: number): boolean {
    const { notified, waiting } = this.#tidy();
    const place = waiting.findIndex((each) => each.entry === entry);
    if (place < 0) {
      throw stateError('ERR_NDSHM_CONTROL_CORRUPT', `A waiter of the condition '${this.#state.name}' was overwritten`);
    }
    if (place >= notified) return false;
    this.#store(entry, Entry.uses, this.#load(entry, Entry.uses) + 1);
    return true;
  }

  /** Ends the wait of a waiter that has no notification. */
  leave(entry: number): void {
    this.#store(entry, Entry.uses, this.#load(entry, Entry.uses) - 1);
  }
}
