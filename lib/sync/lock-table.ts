import type { PeerId } from '../lock/changes';
import type { Monitor } from './monitor';
import type { StateSpec } from './named-state';
import type { Description, Still } from './still';

// The requests of the Web Locks API, of all processes, in the words of a monitor. Everything here runs under its lock,
// isHeld() excepted.
//
//   words: [ last ticket, high | low ] [ state of entry 0 ] [ state of entry 1 ] … [ entry 0 ] [ entry 1 ] …
//   entry: mode | slot | generation | pid | ticket, high | ticket, low | hash of the name | length of the name
//   bytes: [ name of entry 0, UTF-16 ] [ name of entry 1 ] …
//
// The states lie together because every step looks through all of them.
//
// T1  An entry counts by its state alone: free, pending or held. All else in it is stored before, and a change of state
//     is one store. Whoever is killed between two stores leaves a table in which every request is whole.
// T2  A ticket is never given twice in the life of the segment, and tickets order the requests: an entry and a ticket
//     mean one request for ever.
// T3  Whoever changes anything under a name grants what has become grantable, to other processes too (the
//     specification's "process the lock request queue"). Between two transactions nothing grantable is pending, unless
//     somebody was killed inside one; then those who waited for the dead do it.

export type LockMode = 'exclusive' | 'shared';

export const capacity = 1024;
/** In UTF-16 code units. */
export const longestName = 255;

const nameBytes = 2 * (longestName + 1);
const statesAt = 2;
const entriesAt = statesAt + capacity;
/** Of an entry: the offset of each word. */
const Word = { mode: 0, slot: 1, generation: 2, pid: 3, ticketHigh: 4, ticketLow: 5, nameHash: 6, nameLength: 7 };
const entryWords = 8;
const State = { free: 0, pending: 1, held: 2 };
const modes: readonly LockMode[] = ['exclusive', 'shared'];

export const lockTableSpec: StateSpec = {
  kind: 'LockManager',
  size: () => ({ words: entriesAt + capacity * entryWords, bytes: capacity * nameBytes }),
};

/** A name as the table has it. In UTF-16, not UTF-8: a name is any string, lone surrogates included. */
export interface LockKey {
  readonly units: Buffer;
  readonly hash: number;
}

export function keyOf(name: string): LockKey {
  const units = Buffer.from(name, 'utf16le');
  let hash = 0x811c9dc5; // FNV-1a
  for (const byte of units) hash = Math.imul(hash ^ byte, 0x01000193);
  return { units, hash };
}

/** One request: where it is, and the ticket by which it is told from later ones in the same place. */
export interface Place {
  readonly entry: number;
  readonly ticket: number;
}

/** A request that stands in another's way, as it was seen. */
export interface Obstacle extends Place {
  readonly state: number;
  readonly peer: PeerId;
}

export interface RequestInfo {
  readonly state: 'held' | 'pending';
  readonly name: string;
  readonly mode: LockMode;
  readonly peer: PeerId;
  readonly pid: number;
}

export class LockTable {
  readonly #monitor: Pick<Monitor, 'words' | 'bytes' | 'me' | 'isDead'>;
  readonly #words: Int32Array;
  readonly #states: Int32Array;
  readonly #names: Buffer;
  #changes = 0;

  constructor(monitor: Pick<Monitor, 'words' | 'bytes' | 'me' | 'isDead'>) {
    const { words, bytes } = monitor;
    this.#monitor = monitor;
    this.#words = words;
    this.#states = words.subarray(statesAt, entriesAt);
    this.#names = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How many states this process has changed. */
  get changes(): number {
    return this.#changes;
  }

  /** Enters a request, held at once where it can be; undefined = the table is full. */
  request(key: LockKey, mode: LockMode): Place | undefined {
    this.advance(key);
    return this.#enter(key, mode, this.#isGrantable(key, mode) ? State.held : State.pending);
  }

  /** Enters a request if it can be held at once; null = it cannot. */
  requestIfAvailable(key: LockKey, mode: LockMode): Place | null | undefined {
    this.advance(key);
    return this.#isGrantable(key, mode) ? this.#enter(key, mode, State.held) : null;
  }

  /** Takes the lock from whoever holds it. A thief killed half-way leaves it to those who wait. */
  steal(key: LockKey): Place | undefined {
    for (const entry of this.#entriesOf(key)) {
      if (this.#states[entry] === State.held) this.#setState(entry, State.free);
    }
    return this.#enter(key, 'exclusive', State.held);
  }

  /** May be asked without the lock: nobody but a thief takes a held lock from the living, and tickets tell (T2). */
  isHeld(place: Place): boolean {
    return this.#is(place, State.held);
  }

  /** Takes a request back, or releases its lock; false if it was gone already, stolen. */
  remove(key: LockKey, place: Place): boolean {
    if (!this.#is(place, State.pending) && !this.#is(place, State.held)) return false;
    this.#setState(place.entry, State.free);
    this.advance(key);
    return true;
  }

  /** Grants what can be granted under this name, and buries the dead that would hinder it. */
  advance(key: LockKey): void {
    const entries = this.#entriesOf(key);
    const inState = (state: number) => entries.filter((entry) => this.#states[entry] === state);
    const waiting = inState(State.pending);
    const holding = inState(State.held).filter((entry) => !this.#bury(entry));
    for (const entry of waiting) {
      if (this.#bury(entry)) continue;
      if (!this.#fits(this.#mode(entry), holding)) return;
      this.#setState(entry, State.held);
      holding.push(entry);
    }
  }

  /**
   * What a pending request waits for: the one before it in the queue or, first of it, the holders. Each in the queue
   * watches the one before it alone; so the death of any is noticed, and nobody looks through the whole queue.
   */
  obstaclesOf(key: LockKey, place: Place): Obstacle[] {
    const entries = this.#entriesOf(key);
    const ahead = entries.findLast(
      (entry) => this.#ticket(entry) < place.ticket && this.#states[entry] === State.pending && !this.#bury(entry),
    );
    // Of any ticket: a thief's is later.
    const holding = entries.filter((entry) => this.#states[entry] === State.held);
    return (ahead === undefined ? holding : [ahead]).map((entry) => ({
      entry,
      ticket: this.#ticket(entry),
      state: this.#states[entry] as number,
      peer: this.#peer(entry),
    }));
  }

  /** Whether all of them are still what they were. */
  stand(obstacles: readonly Obstacle[]): boolean {
    return obstacles.every((each) => this.#is(each, each.state) && !this.#isDead(each.peer));
  }

  /** The requests of the living, in the order in which they were made. */
  list(): RequestInfo[] {
    return this.#inOrder(this.#used())
      .filter((entry) => !this.#isDead(this.#peer(entry)))
      .map((entry) => ({
        state: this.#states[entry] === State.held ? 'held' : 'pending',
        name: this.#nameAt(entry).toString('utf16le'),
        mode: this.#mode(entry),
        peer: this.#peer(entry),
        pid: this.#word(entry, Word.pid),
      }));
  }

  /** After advance(): whoever is pending wants the lock alone, or waits for somebody who has or wants it alone. */
  #isGrantable(key: LockKey, mode: LockMode): boolean {
    return this.#fits(mode, this.#entriesOf(key));
  }

  #fits(mode: LockMode, others: readonly number[]): boolean {
    return others.length === 0 || (mode === 'shared' && others.every((entry) => this.#mode(entry) === 'shared'));
  }

  #enter(key: LockKey, mode: LockMode, state: number): Place | undefined {
    const entry = this.#freeEntry();
    if (entry === undefined) return undefined;
    const at = entriesAt + entry * entryWords;
    const ticket = this.#nextTicket();
    const { slot, generation } = this.#monitor.me;
    this.#words[at + Word.mode] = modes.indexOf(mode);
    this.#words[at + Word.slot] = slot;
    this.#words[at + Word.generation] = generation;
    this.#words[at + Word.pid] = process.pid;
    this.#words[at + Word.ticketHigh] = ticket / 2 ** 32;
    this.#words[at + Word.ticketLow] = ticket % 2 ** 32;
    this.#words[at + Word.nameHash] = key.hash;
    this.#words[at + Word.nameLength] = key.units.length;
    this.#names.set(key.units, entry * nameBytes);
    this.#setState(entry, state); // T1
    return { entry, ticket };
  }

  /** The dead are buried where they lie only when somebody needs their name, or their room. */
  #freeEntry(): number | undefined {
    let entry = this.#states.indexOf(State.free);
    if (entry === -1) {
      for (const used of this.#used()) this.#bury(used);
      entry = this.#states.indexOf(State.free);
    }
    return entry === -1 ? undefined : entry;
  }

  /** The high word first: whoever dies between the two leaves a ticket that is too high, never one given before (T2). */
  #nextTicket(): number {
    let high = (this.#words[0] as number) >>> 0;
    let low = (this.#words[1] as number) >>> 0;
    if (low === 2 ** 32 - 1) Atomics.store(this.#words, 0, ++high);
    low = (low + 1) >>> 0;
    Atomics.store(this.#words, 1, low);
    return high * 2 ** 32 + low;
  }

  #bury(entry: number): boolean {
    if (!this.#isDead(this.#peer(entry))) return false;
    this.#setState(entry, State.free);
    return true;
  }

  /** Asked of oneself hundreds of times where hundreds of callers of one process wait for each other. */
  #isDead(peer: PeerId): boolean {
    const { slot, generation } = this.#monitor.me;
    return (peer.slot !== slot || peer.generation !== generation) && this.#monitor.isDead(peer);
  }

  #used(): number[] {
    const entries = [];
    for (let entry = 0; entry < capacity; entry++) {
      if (this.#states[entry] !== State.free) entries.push(entry);
    }
    return entries;
  }

  #entriesOf({ hash, units }: LockKey): number[] {
    const entries = this.#used().filter(
      (entry) => this.#word(entry, Word.nameHash) === hash && this.#nameAt(entry).equals(units),
    );
    return this.#inOrder(entries);
  }

  #inOrder(entries: number[]): number[] {
    return entries.sort((a, b) => this.#ticket(a) - this.#ticket(b));
  }

  #is(place: Place, state: number): boolean {
    return this.#states[place.entry] === state && this.#ticket(place.entry) === place.ticket;
  }

  #word(entry: number, word: number): number {
    return this.#words[entriesAt + entry * entryWords + word] as number;
  }

  #setState(entry: number, state: number): void {
    Atomics.store(this.#states, entry, state);
    this.#changes++;
  }

  #ticket(entry: number): number {
    return (this.#word(entry, Word.ticketHigh) >>> 0) * 2 ** 32 + (this.#word(entry, Word.ticketLow) >>> 0);
  }

  #peer(entry: number): PeerId {
    return { slot: this.#word(entry, Word.slot) >>> 0, generation: this.#word(entry, Word.generation) >>> 0 };
  }

  #mode(entry: number): LockMode {
    return modes[this.#word(entry, Word.mode)] ?? 'exclusive';
  }

  #nameAt(entry: number): Buffer {
    const length = Math.min(Math.max(this.#word(entry, Word.nameLength), 0), nameBytes);
    return this.#names.subarray(entry * nameBytes, entry * nameBytes + length);
  }
}

export function describeLockManager(still: Still): Description {
  const requests = new LockTable(still).list();
  const held = requests.filter(({ state }) => state === 'held').length;
  return {
    facts: { held, pending: requests.length - held },
    claims: requests.map(({ state, name, mode, peer }) => {
      const what = `${JSON.stringify(name)} (${mode})`;
      return { slot: peer.slot, holds: state === 'held' ? what : null, waitsFor: state === 'held' ? null : what };
    }),
  };
}
