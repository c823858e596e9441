import { anonymous } from '../array/create';
import { SharedArray } from '../array/shared-array';
import { binding } from '../binding';
import type { Encoded } from '../codec/encode';
import { hasBuffers } from '../codec/object-format';
import type { Changes } from '../lock/changes';

// A lane's memory, in words of 32 bits. First words that are written by one side each, on cache lines of their own:
// `posted`, how many entries of the ring the pool has written; `head`, how many of them workers have looked at; `closing`,
// whether workers are to leave when there is nothing left; `hungry`, whether the pool waits for free cells. Then the ring, whose entries are numbers of cells, and the cells.
// Counts go on past 2^32, which the ring's length has to divide.
const Word = { posted: 0, head: 16, closing: 32, hungry: 33, ring: 48 };
const cellWords = 1024;
const Cell = {
  /** Status in 4 bits, and the worker that it belongs to. */
  state: 0,
  function: 1,
  functionObject: 2,
  functionGeneration: 3,
  flags: 4,
  /** What the payload is, of `Form`. */
  form: 5,
  object: 6,
  objectGeneration: 7,
  /** Which item the worker is at, and since when. */
  item: 8,
  startedMs: 9,
  batch: 10,
  payload: 16,
};

/**
 * free → ready → claimed → done → free. Ready cells that are given up become withdrawn, and done by whichever worker passes
 * them; claimed ones become condemned, and free when their worker has been killed.
 */
export const Status = { free: 0, ready: 1, claimed: 2, done: 3, condemned: 4, withdrawn: 5 } as const;

/** What lies in a cell. */
export const Flag = {
  /** Of a request: each item is a list of arguments, not the one argument. */
  spread: 1,
  /** The function is a class, each item a list of arguments; what it constructs is the worker's actor from now on. */
  construct: 2,
  /** Each item is a list: the name of a method of the actor, and arguments. */
  method: 4,
  /** Some arguments are references: the payload says which, after the items. */
  references: 8,
  /** The items after one that fails have their turn as well. */
  goOn: 16,
  /** Say at which time each item begins. */
  timed: 32,
  /** Of an outcome: some items have failed; the payload says which, after the values. */
  failed: 64,
} as const;

const statusBits = 4;
export const maxWorkerNumber = 2 ** 27 - 1;
const stateOf = (status: number, worker: number): number => (worker << statusBits) | status;

/** A payload is an encoded object in the cell; or one in the store; or from here on so many numbers in the cell. */
const Form = { encoded: 0, stored: 1, numbers: 2 };

/** Payloads of up to so many bytes lie in the cell. */
export const inlineBytes = 4 * (cellWords - Cell.payload);
const inlineNumbers = inlineBytes / 8;

/** Some numbers and nothing else, which need not be encoded. */
export const isNumbers = (items: readonly unknown[]): items is readonly number[] =>
  items.length <= inlineNumbers && items.every((item) => typeof item === 'number');

/** Where an object lies in the pool's store. */
export interface StoredAt {
  readonly object: number;
  readonly generation: number;
}

/** What is put into a cell; an encoded one has to be small enough. */
export type Sent = Encoded | StoredAt | readonly number[];
/** What is found there. */
export type Received = Uint8Array | StoredAt | readonly number[];

export interface Request {
  /** Its number in this pool, and where the store has its description. */
  readonly function: number;
  readonly described: StoredAt;
  readonly flags: number;
  /**
   * Tasks of one batch are waited for together: as long as a worker goes on with the next one of it, the pool need not be
   * woken. 0 = of none.
   */
  readonly batch: number;
}

const clockMs = 2 ** 31 - 1;

/** By a clock that all processes share, never 0: after 25 days it begins anew. */
export const nowMs = (): number => (binding.monotonicMs() % clockMs) + 1;

/** Also where it began anew meanwhile. */
export const msSince = (time: number): number => (nowMs() - time + clockMs) % clockMs;

/**
 * Memory by which a pool hands out tasks and its workers answer. A cell is request and response at once. The pool fills
 * cells and posts them in a ring; any worker claims a posted cell by ONE compare-and-swap of its state, which thereby says
 * whose it is: what a killed worker had is found by looking. It lies in memory without a name, so nothing of it is left.
 *
 * L1: the pool writes free cells, and turns them ready; a worker writes cells that it has claimed, and turns them done; only
 * the pool turns cells free. L2: who changes a state has written all else before, and atomics keep that order. L3: ring
 * entries may be out of date (whoever claimed the cell died before moving the head on, or came by an earlier entry), so they
 * are hints: only the cell's state counts, and whoever finds an entry without a ready cell moves the head on.
 */
export class Lane {
  /** Changes when cells are posted. */
  readonly array: SharedArray<'int32'>;
  /** Changes when cells are done. */
  readonly doneArray: SharedArray<'int32'>;
  readonly cells: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #numbers: Float64Array;
  /** Of each cell. */
  readonly #payloads: Buffer[];
  readonly #firstCell: number;

  private constructor(array: SharedArray<'int32'>, doneArray: SharedArray<'int32'>, cells: number) {
    this.array = array;
    this.doneArray = doneArray;
    this.cells = cells;
    this.#words = array.data;
    this.#bytes = new Uint8Array(array.data.buffer, array.data.byteOffset, array.data.byteLength);
    this.#numbers = new Float64Array(array.data.buffer, array.data.byteOffset, Math.floor(array.size / 2));
    this.#firstCell = firstCellOf(cells);
    this.#payloads = Array.from({ length: cells }, (_, cell) =>
      Buffer.from(array.data.buffer, 4 * this.#at(cell, Cell.payload) + array.data.byteOffset, inlineBytes),
    );
  }

  /** `cells` has to be a power of two. */
  static make(cells: number): Lane {
    const doneArray = anonymous({ shape: 1, dtype: 'int32' });
    try {
      return new Lane(anonymous({ shape: firstCellOf(cells) + cells * cellWords, dtype: 'int32' }), doneArray, cells);
    } catch (error) {
      doneArray.close();
      throw error;
    }
  }

  /** In a worker: what the pool has made, inherited. */
  static of(array: SharedArray, doneArray: SharedArray, cells: number): Lane {
    return new Lane(array as SharedArray<'int32'>, doneArray as SharedArray<'int32'>, cells);
  }

  get posts(): Changes {
    return SharedArray.attachmentOf(this.array).changes;
  }

  get outcomes(): Changes {
    return SharedArray.attachmentOf(this.doneArray).changes;
  }

  close(): void {
    this.array.close();
    this.doneArray.close();
  }

  #at(cell: number, field: number): number {
    return this.#firstCell + cell * cellWords + field;
  }

  // ---- the pool's side ----

  /** Writes a request into a free cell, with its payload: bytes, or where the store has them. */
  fill(cell: number, { function: number, described, flags, batch }: Request, payload: Sent): void {
    const words = this.#words;
    const at = this.#at(cell, 0);
    words[at + Cell.function] = number;
    words[at + Cell.functionObject] = described.object;
    words[at + Cell.functionGeneration] = described.generation;
    words[at + Cell.item] = 0;
    words[at + Cell.startedMs] = 0;
    words[at + Cell.batch] = batch;
    this.#put(cell, flags, payload);
  }

  #put(cell: number, flags: number, payload: Sent): void {
    const words = this.#words;
    const at = this.#at(cell, 0);
    words[at + Cell.flags] = flags;
    if (Array.isArray(payload)) {
      words[at + Cell.form] = Form.numbers + payload.length;
      this.#numbers.set(payload, (at + Cell.payload) / 2);
    } else if ('object' in payload) {
      words[at + Cell.form] = Form.stored;
      words[at + Cell.object] = payload.object;
      words[at + Cell.objectGeneration] = payload.generation;
    } else {
      const { head, buffers } = payload as Encoded;
      words[at + Cell.form] = Form.encoded;
      const start = 4 * (at + Cell.payload);
      this.#bytes.set(head, start);
      for (const { offset, bytes } of buffers) this.#bytes.set(bytes, start + offset);
    }
  }

  /** Whether a cell can be posted now. Not, in theory: after many entries out of date, until a worker has passed them. */
  get hasRoom(): boolean {
    const words = this.#words;
    return ((words[Word.posted] as number) - Atomics.load(words, Word.head)) >>> 0 < entriesFor(this.cells);
  }

  /** Makes a filled cell the next one that workers claim. They have to be told by posts.notify(). */
  post(cell: number): void {
    const words = this.#words;
    const posted = words[Word.posted] as number;
    words[this.#entryAt(posted)] = cell;
    Atomics.store(words, this.#at(cell, Cell.state), stateOf(Status.ready, 0));
    Atomics.store(words, Word.posted, (posted + 1) | 0);
  }

  #entryAt(position: number): number {
    return Word.ring + ((position >>> 0) % entriesFor(this.cells));
  }

  status(cell: number): number {
    return Atomics.load(this.#words, this.#at(cell, Cell.state)) & (2 ** statusBits - 1);
  }

  /** Whose it is, or was. */
  workerOf(cell: number): number {
    return Atomics.load(this.#words, this.#at(cell, Cell.state)) >>> statusBits;
  }

  /** Gives a cell up that no worker has claimed yet; false if one has. It is done once a worker has passed it. */
  withdraw(cell: number): boolean {
    return this.#change(cell, stateOf(Status.ready, 0), stateOf(Status.withdrawn, 0));
  }

  /** Its worker will neither finish it nor claim another one: it is to be killed. False if it is not at it. */
  condemn(cell: number): boolean {
    const worker = this.workerOf(cell);
    return this.#change(cell, stateOf(Status.claimed, worker), stateOf(Status.condemned, worker));
  }

  free(cell: number): void {
    Atomics.store(this.#words, this.#at(cell, Cell.state), stateOf(Status.free, 0));
  }

  itemOf(cell: number): number {
    return this.#words[this.#at(cell, Cell.item)] as number;
  }

  /** 0 = it has not begun, or does not say so. */
  startedMsOf(cell: number): number {
    return Atomics.load(this.#words, this.#at(cell, Cell.startedMs));
  }

  /** Workers leave when there is nothing left. They have to be told by posts.notify(). */
  closing(): void {
    Atomics.store(this.#words, Word.closing, 1);
  }

  /** Whether the pool has more tasks than cells, and so has to be woken for each that is done. */
  setHungry(isHungry: boolean): void {
    const word = isHungry ? 1 : 0;
    if (this.#words[Word.hungry] !== word) Atomics.store(this.#words, Word.hungry, word);
  }

  // ---- a worker's side ----

  get isHungry(): boolean {
    return Atomics.load(this.#words, Word.hungry) !== 0;
  }

  /** The oldest posted cell, which is this worker's from now on; undefined if there is none. */
  claim(worker: number): number | undefined {
    const words = this.#words;
    for (;;) {
      const head = Atomics.load(words, Word.head);
      if (head === Atomics.load(words, Word.posted)) return undefined;
      const cell = words[this.#entryAt(head)] as number;
      const isClaimed = this.#change(cell, stateOf(Status.ready, 0), stateOf(Status.claimed, worker));
      const isPassed = !isClaimed && this.#change(cell, stateOf(Status.withdrawn, 0), stateOf(Status.done, worker));
      Atomics.compareExchange(words, Word.head, head, (head + 1) | 0); // if we die before it, the next one does it
      if (isClaimed) return cell;
      if (isPassed) this.outcomes.notify();
    }
  }

  get isClosing(): boolean {
    return Atomics.load(this.#words, Word.closing) !== 0;
  }

  request(cell: number): Request {
    const words = this.#words;
    const at = this.#at(cell, 0);
    return {
      function: words[at + Cell.function] as number,
      described: {
        object: words[at + Cell.functionObject] as number,
        generation: words[at + Cell.functionGeneration] as number,
      },
      flags: this.flags(cell),
      batch: this.batch(cell),
    };
  }

  batch(cell: number): number {
    return this.#words[this.#at(cell, Cell.batch)] as number;
  }

  begin(cell: number, item: number, timed: boolean): void {
    this.#words[this.#at(cell, Cell.item)] = item;
    if (timed) Atomics.store(this.#words, this.#at(cell, Cell.startedMs), nowMs());
  }

  /** Puts the outcome in place of the request; false if the pool has given the cell up, and us with it. */
  finish(cell: number, worker: number, flags: number, payload: Sent): boolean {
    this.#put(cell, flags, payload);
    return this.#change(cell, stateOf(Status.claimed, worker), stateOf(Status.done, worker));
  }

  // ---- both ----

  flags(cell: number): number {
    return this.#words[this.#at(cell, Cell.flags)] as number;
  }

  /** The bytes in the cell, to be read before it is anybody else's; or where the store has them. */
  payload(cell: number): Received {
    const words = this.#words;
    const at = this.#at(cell, 0);
    const form = words[at + Cell.form] as number;
    if (form >= Form.numbers) {
      const start = (at + Cell.payload) / 2;
      return Array.from(this.#numbers.subarray(start, start + form - Form.numbers));
    }
    if (form === Form.stored) {
      return { object: words[at + Cell.object] as number, generation: words[at + Cell.objectGeneration] as number };
    }
    const payload = this.#payloads[cell] as Buffer;
    return hasBuffers(payload) ? new Uint8Array(payload) : payload;
  }

  #change(cell: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#words, this.#at(cell, Cell.state), from, to) === from;
  }
}

const entriesFor = (cells: number): number => 2 * cells;

/** Cells begin at a cache line. */
const firstCellOf = (cells: number): number => Math.ceil((Word.ring + entriesFor(cells)) / 16) * 16;
