import { stateError } from '../errors';
import type { PeerId } from '../lock/changes';

/**
 * What a row stands for. A row's first word is its generation and its state; a store to that one word is what publishes,
 * deletes and spills.
 */
export const State = {
  free: 0,
  /** Its owner fills it. Nobody else looks. */
  making: 1,
  live: 2,
  /** Deleted, but somebody still reads it: its pages wait for that. */
  limbo: 3,
  /** As live, while its owner copies it to disk. */
  spilling: 4,
  /** On disk alone. */
  spilled: 5,
  /** Its generations are used up. */
  retired: 6,
} as const;
export type StateNumber = (typeof State)[keyof typeof State];

const stateBits = 4;
/** Of rows that a caller knows by a handle of one safe integer: 24 bits, beside the 29 of a row's number. */
export const maxGeneration = 2 ** 24 - 1;

export const stateOf = (word: number): StateNumber => (word & (2 ** stateBits - 1)) as StateNumber;
export const generationOf = (word: number): number => word >>> stateBits;
/** Whether an object of this generation is there to be read. */
export function isSealed(word: number, generation: number): boolean {
  const state = stateOf(word);
  return (
    generationOf(word) === generation && (state === State.live || state === State.spilling || state === State.spilled)
  );
}
export const wordOf = (generation: number, state: StateNumber): number => (generation << stateBits) | state | 0;

/** Words of a row, a cache line. */
export const Field = {
  state: 0,
  next: 1,
  lengthLow: 2,
  lengthHigh: 3,
  start: 4,
  pages: 5,
  ownerSlot: 6,
  ownerGeneration: 7,
  lastUse: 8,
  pid: 9,
  createdAtSeconds: 10,
  /** 1 = some of its pages may be missing. */
  partial: 11,
} as const;
export const rowWords = 16;
export const rowBytes = 4 * rowWords;

/** Rows of chunk c have the numbers from c · 2^17 on. */
const chunkBits = 17;
export const maxRowsInChunk = 2 ** chunkBits;
export const maxChunks = 4096;

// A chunk in the directory: which class of rows, where in the reservoir, how many rows, how many of them were ever used.
const Chunk = { class: 0, start: 1, rows: 2, touched: 3 };
const chunkWords = 4;
// For each class: the first free row + 1; the newest chunk + 1, the only one that may have rows never used.
export const maxClasses = 32;
const Word = { chunks: 0, heads: 1, newest: 1 + maxClasses, directory: 1 + 2 * maxClasses };

/** A chunk as this process has it mapped. */
export interface MappedChunk {
  readonly class: number;
  readonly start: number;
  readonly count: number;
  readonly rows: Int32Array;
  /** The slots of a class that has any. */
  readonly slots: Uint8Array;
}

export interface ChunkPlace {
  readonly class: number;
  readonly start: number;
  readonly count: number;
}

/** A row, where its words lie. */
export interface Row {
  readonly id: number;
  readonly chunk: MappedChunk;
  /** Index within its chunk. */
  readonly index: number;
  /** Index of its first word in chunk.rows. */
  readonly at: number;
}

/**
 * A table of rows that grows by chunks, with a list of free rows for each class. States are the truth, and are read
 * without a lock; lists change under the lock, and are built anew from the states after somebody died under it.
 */
export class Rows {
  static readonly words = Word.directory + maxChunks * chunkWords;

  readonly #words: Int32Array;
  readonly #base: number;
  readonly #map: (place: ChunkPlace) => MappedChunk;
  readonly #chunks: MappedChunk[] = [];

  /** `map` maps a chunk, or throws where that would not lie within the reservoir. */
  constructor(words: Int32Array, base: number, map: (place: ChunkPlace) => MappedChunk) {
    this.#words = words;
    this.#base = base;
    this.#map = map;
  }

  get chunkCount(): number {
    const count = Atomics.load(this.#words, this.#base + Word.chunks);
    if (count < 0 || count > maxChunks) throw corrupt();
    return count;
  }

  #entry(chunk: number): number {
    return this.#base + Word.directory + chunk * chunkWords;
  }

  placeOf(chunk: number): ChunkPlace {
    const at = this.#entry(chunk);
    const [kind, start, count] = this.#words.subarray(at, at + 3) as unknown as [number, number, number];
    if (kind < 0 || kind >= maxClasses || start < 0 || count < 1 || count > maxRowsInChunk) throw corrupt();
    return { class: kind, start, count };
  }

  chunk(number: number): MappedChunk {
    const known = this.#chunks[number];
    if (known !== undefined) return known;
    const mapped = this.#map(this.placeOf(number));
    this.#chunks[number] = mapped;
    return mapped;
  }

  /** When nobody looks at any row any more. */
  unmap(unmap: (buffer: ArrayBuffer) => void): void {
    for (const { rows } of this.#chunks.splice(0)) unmap(rows.buffer as ArrayBuffer);
  }

  /** Undefined if there is no such row. */
  row(id: number): Row | undefined {
    const number = id >>> chunkBits;
    if (number >= this.#chunks.length && number >= this.chunkCount) return undefined;
    const chunk = this.chunk(number);
    const index = id & (maxRowsInChunk - 1);
    return index < chunk.count ? { id, chunk, index, at: index * rowWords } : undefined;
  }

  /** All rows that were ever used. */
  *all(): Generator<Row> {
    const count = this.chunkCount;
    for (let number = 0; number < count; number++) {
      const chunk = this.chunk(number);
      const touched = Math.min(this.#words[this.#entry(number) + Chunk.touched] as number, chunk.count);
      for (let index = 0; index < touched; index++) {
        yield { id: number * maxRowsInChunk + index, chunk, index, at: index * rowWords };
      }
    }
  }

  /** How many rows of a class there are. */
  rowsOf(kind: number): number {
    let sum = 0;
    for (let number = 0; number < this.chunkCount; number++) {
      const place = this.placeOf(number);
      if (place.class === kind) sum += place.count;
    }
    return sum;
  }

  // ---- under the lock ----

  /** A free row, made its owner's; undefined if the class needs another chunk. */
  take(kind: number, owner: PeerId): Row | undefined {
    const words = this.#words;
    const headAt = this.#base + Word.heads + kind;
    const head = words[headAt] as number;
    let row: Row;
    if (head !== 0) {
      const found = this.row(head - 1);
      if (found === undefined || found.chunk.class !== kind) throw corrupt();
      row = found;
      if (stateOf(row.chunk.rows[row.at] as number) !== State.free) throw corrupt();
    } else {
      const newest = (words[this.#base + Word.newest + kind] as number) - 1;
      if (newest < 0) return undefined;
      const chunk = this.chunk(newest);
      const touchedAt = this.#entry(newest) + Chunk.touched;
      const index = words[touchedAt] as number;
      if (chunk.class !== kind || index < 0) throw corrupt();
      if (index >= chunk.count) return undefined;
      row = { id: newest * maxRowsInChunk + index, chunk, index, at: index * rowWords };
      words[touchedAt] = index + 1;
    }
    const { rows } = row.chunk;
    rows[row.at + Field.ownerSlot] = owner.slot;
    rows[row.at + Field.ownerGeneration] = owner.generation | 0;
    rows[row.at + Field.pid] = process.pid;
    rows[row.at + Field.pages] = 0;
    rows[row.at + Field.partial] = 0;
    rows[row.at + Field.createdAtSeconds] = Math.floor(Date.now() / 1000) | 0;
    rows[row.at + Field.lengthLow] = 0;
    rows[row.at + Field.lengthHigh] = 0;
    setState(row, generationOf(rows[row.at] as number), State.making);
    if (head !== 0) words[headAt] = rows[row.at + Field.next] as number;
    return row;
  }

  /** Ends a row's generation: nobody finds it any more, and somebody else may have it. Its pages are the caller's care. */
  free(row: Row): void {
    const generation = generationOf(row.chunk.rows[row.at] as number) + 1;
    if (generation > maxGeneration) setState(row, maxGeneration, State.retired);
    else setState(row, generation, State.free);
    this.#link(row);
  }

  #link(row: Row): void {
    const { rows } = row.chunk;
    if (stateOf(rows[row.at] as number) !== State.free) return;
    const headAt = this.#base + Word.heads + row.chunk.class;
    rows[row.at + Field.next] = this.#words[headAt] as number;
    this.#words[headAt] = row.id + 1;
  }

  /** Notes a new chunk, whose rows are all zeros; false if the directory is full. */
  add(place: ChunkPlace): boolean {
    const number = this.chunkCount;
    if (number === maxChunks) return false;
    const at = this.#entry(number);
    this.#words[at + Chunk.class] = place.class;
    this.#words[at + Chunk.start] = place.start;
    this.#words[at + Chunk.rows] = place.count;
    this.#words[at + Chunk.touched] = 0;
    // What it takes to be one. Whoever dies before this has not made it, and its pages are free after the rebuild.
    Atomics.store(this.#words, this.#base + Word.chunks, number + 1);
    this.#words[this.#base + Word.newest + place.class] = number + 1;
    return true;
  }

  /** The lists, from the states. */
  relink(): void {
    this.#words.fill(0, this.#base + Word.heads, this.#base + Word.directory);
    for (let number = 0; number < this.chunkCount; number++) {
      this.#words[this.#base + Word.newest + this.placeOf(number).class] = number + 1;
    }
    for (const row of this.all()) this.#link(row);
  }
}

export const loadState = ({ chunk, at }: Row): number => Atomics.load(chunk.rows, at);

export function setState({ chunk, at }: Row, generation: number, state: StateNumber): void {
  Atomics.store(chunk.rows, at, wordOf(generation, state));
}

export const field = ({ chunk, at }: Row, name: number): number => chunk.rows[at + name] as number;

export function setField({ chunk, at }: Row, name: number, value: number): void {
  chunk.rows[at + name] = value;
}

export const lengthOf = (row: Row): number =>
  (field(row, Field.lengthLow) >>> 0) + (field(row, Field.lengthHigh) >>> 0) * 2 ** 32;

export function setLength(row: Row, byteLength: number): void {
  setField(row, Field.lengthLow, byteLength | 0);
  setField(row, Field.lengthHigh, Math.floor(byteLength / 2 ** 32));
}

export const ownerOf = (row: Row): PeerId => ({
  slot: field(row, Field.ownerSlot),
  generation: field(row, Field.ownerGeneration) >>> 0,
});

const corrupt = (): Error =>
  stateError('ERR_NDSHM_CONTROL_CORRUPT', 'The rows of the store have been overwritten; make it anew');
