import { existsSync } from 'node:fs';
import { closeAtExit } from '../array/at-exit';
import { reap, reapMembers } from '../array/directory';
import { Reservoir } from '../array/reservoir';
import { SharedArray } from '../array/shared-array';
import { binding } from '../binding';
import { bytesInWords, closedError, rangeError, stateError } from '../errors';
import { checkName } from '../options';
import { Ledger } from '../sync/ledger';
import { Monitor } from '../sync/monitor';
import type { NamedOptions } from '../sync/named-state';
import { type Extent, Extents } from './extents';
import {
  type ChunkPlace,
  Field,
  field,
  generationOf,
  loadState,
  type MappedChunk,
  maxRowsInChunk,
  ownerOf,
  type Row,
  Rows,
  rowBytes,
  rowWords,
  State,
  setField,
  setState,
  stateOf,
} from './rows';

const pagesLabel = 'pages.0';
export const pageBytes = 4096;
export const pagesFor = (bytes: number): number => Math.ceil(bytes / pageBytes);

/** Class 0 has rows alone; class n has a slot of so many bytes beside each. */
export const slotSizes = [
  0, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768, 49_152,
  65_536,
] as const;
export const maxSlotBytes = 65_536;

// A chunk is as large as all before it of its class, within these bounds.
const minChunkBytes = 2 ** 16;
const maxChunkBytes = 2 ** 23;
const minSlots = 4;
const minPlainRows = 1024;
const maxPlainRows = 16_384;

const Word = { tick: 0, limbo: 1, ended: 2, ledger: 4 };
const rowsAt = Word.ledger + Ledger.words;
const extentsAt = rowsAt + Rows.words;
const stateWords = extentsAt + Extents.words;

export interface HeapSpec {
  /** As the name of the primitive in its segment. */
  readonly kind: string;
  /** How many pages may exist at a time; undefined = what it was made with. */
  readonly capacityPages: number | undefined;
  readonly otherwisePages: number;
  /** Takes away what a row stands for beside its pages. Under the lock; perhaps not for the first time. */
  readonly discard?: (row: Row) => void;
}

/**
 * Rows, and pages for what they stand for, in a named segment and its reservoir: what object store and array table have
 * in common. Whatever process is killed at whatever step, the rows' states stay true, and the rest is built anew.
 */
export class Heap {
  readonly name: string;
  readonly state: Monitor;
  readonly rows: Rows;
  readonly extents: Extents;
  readonly pages: Reservoir;
  /** The random id of the segment. */
  readonly id: string;
  readonly #writers: Ledger;
  readonly #spec: HeapSpec;
  readonly #ephemeral: boolean;
  readonly #forgetExit: () => void;
  /** What this process is making. */
  readonly #making = new Set<number>();
  /** What this process is spilling. */
  readonly #spilling = new Set<number>();
  #closed = false;

  constructor(name: string, spec: HeapSpec, options: NamedOptions) {
    const write = (pages: number) => bytesInWords(pages * pageBytes);
    const parameters = [{ name: 'capacity', given: spec.capacityPages, otherwise: spec.otherwisePages, write }];
    this.name = checkName(name);
    checkName(`${name}.${pagesLabel}`);
    this.#spec = spec;
    // One whose last process was killed has ended, though nobody has noticed yet.
    if (reap(name)) reapMembers(name);
    this.state = new Monitor(
      name,
      {
        kind: spec.kind,
        parameters,
        size: () => ({ words: stateWords }),
        init: (words, capacity) => extentsOf(words, capacity as number).rebuild([]),
        isAlive: (words) => words.length !== stateWords || Atomics.load(words, Word.ended) === 0,
      },
      options,
    );
    try {
      const { words, parameters: found, array } = this.state;
      if (words.length !== stateWords) throw this.#corrupt();
      const [capacityPages] = found as [number];
      const attachment = SharedArray.attachmentOf(array);
      this.id = attachment.id as string;
      this.#ephemeral = attachment.ephemeral;
      this.pages = Reservoir.openOrCreate(array, pagesLabel, totalPages(capacityPages) * pageBytes, options);
      this.extents = extentsOf(words, capacityPages);
      this.rows = new Rows(words, rowsAt, (place) => this.#map(place));
      this.#writers = new Ledger(this.state, Word.ledger);
    } catch (error) {
      this.state.close();
      throw error;
    }
    this.state.repair = () => this.#rebuild();
    this.#forgetExit = closeAtExit(this);
  }

  get closed(): boolean {
    return this.#closed || this.state.closed;
  }

  /** Throws if it was closed, or its name was taken away for good, or its file was damaged. */
  check(): void {
    this.state.check();
    if (this.pages.faulted) {
      throw stateError('ERR_NDSHM_TRUNCATED', `'${this.name}' lost pages: another process truncated its file`);
    }
    if (Atomics.load(this.state.words, Word.ended) !== 0) {
      throw stateError('ERR_NDSHM_CLOSED', `'${this.name}' has been unlinked, which ends it for everybody`);
    }
  }

  /** A number that grows with every use. */
  tick(): number {
    return Atomics.add(this.state.words, Word.tick, 1);
  }

  #map(place: ChunkPlace): MappedChunk {
    const slotBytes = slotSizes[place.class] ?? 0;
    const rowPages = pagesFor(place.count * rowBytes);
    const pages = rowPages + pagesFor(place.count * slotBytes);
    this.checkExtent(place.start, pages);
    const buffer = this.pages.map(place.start * pageBytes, pages * pageBytes, { shared: true, leased: false });
    return {
      ...place,
      rows: new Int32Array(buffer, 0, place.count * rowWords),
      slots: new Uint8Array(buffer, rowPages * pageBytes, place.count * slotBytes),
    };
  }

  /** The words may hold anything: throws unless these pages lie within the reservoir. */
  checkExtent(start: number, pages: number): void {
    if (start < 0 || pages < 1 || start + pages > this.extents.totalPages) {
      throw this.#corrupt();
    }
  }

  #corrupt(): Error {
    return stateError('ERR_NDSHM_CONTROL_CORRUPT', `'${this.name}' has been overwritten; make it anew`);
  }

  // ---- making: each call under the lock by itself ----

  /**
   * A row of a class in state making, ours, with as many pages; undefined if the capacity does not allow it now.
   * Errors: ENOSPC where the rows themselves do not fit into memory.
   */
  take(kind: number, pages: number, holesOnly = false): { row: Row; extent: Extent | undefined } | undefined {
    return this.state.quietly(() => {
      const isFirst = this.#writers.mine() === 0;
      // The dead may have left more than rows; and who had our slot before us is forgotten once we have an entry there.
      if (isFirst || this.#spec.discard !== undefined) this.#recover();
      // Says that there may be rows of our making to look for when we have died.
      if (isFirst) this.#writers.setMine(1);
      const { me } = this.state;
      let row = this.rows.take(kind, me);
      if (row === undefined) {
        this.#recover();
        row = this.rows.take(kind, me);
      }
      if (row === undefined) {
        if (!this.#grow(kind)) return undefined;
        row = this.rows.take(kind, me) as Row;
      }
      this.#making.add(row.id);
      if (pages === 0) return { row, extent: undefined };
      const extent = this.#takeExtent(pages, holesOnly);
      if (extent === undefined) {
        this.#making.delete(row.id);
        this.rows.free(row);
        return undefined;
      }
      setField(row, Field.start, extent.start);
      setField(row, Field.pages, extent.pages);
      return { row, extent };
    });
  }

  #takeExtent(pages: number, holesOnly = false): Extent | undefined {
    const take = () => this.extents.take(pages, holesOnly);
    return take() ?? (this.reclaim() ? take() : undefined);
  }

  #grow(kind: number): boolean {
    const slotBytes = slotSizes[kind] ?? 0;
    const before = this.rows.rowsOf(kind);
    const count =
      slotBytes === 0
        ? Math.min(Math.max(before, minPlainRows), maxPlainRows)
        : Math.min(
            Math.max(
              minSlots,
              Math.floor(Math.min(Math.max(before * slotBytes, minChunkBytes), maxChunkBytes) / slotBytes),
            ),
            maxRowsInChunk,
          );
    const rowPages = pagesFor(count * rowBytes);
    const extent = this.#takeExtent(rowPages + pagesFor(count * slotBytes));
    if (extent === undefined) return false;
    let added = false;
    try {
      if (extent.warm) this.pages.write(extent.start * pageBytes, new Uint8Array(rowPages * pageBytes));
      else this.pages.fill(extent.start * pageBytes, extent.pages * pageBytes, null);
      added = this.rows.add({ class: kind, start: extent.start, count });
    } finally {
      if (!added) this.giveUp(extent);
    }
    if (!added) throw rangeError('ERR_NDSHM_FULL', `'${this.name}' has as many objects as there are numbers for`);
    return true;
  }

  /** Any process finds it from now on. */
  publish(row: Row): void {
    this.#making.delete(row.id);
    setState(row, generationOf(loadState(row)), State.live);
    this.state.changes.notify();
  }

  /** Nobody will ever find it; its pages may not all be there. */
  abandon(row: Row): void {
    this.state.quietly(() => this.#abandon(row));
    this.state.changes.notify();
  }

  /** Its pages may still be written to: by a draft that nobody closed, or by a thread that prefaults them. */
  #abandon(row: Row): void {
    this.#spec.discard?.(row);
    setField(row, Field.partial, 1);
    this.retire(row);
  }

  // ---- under the lock ----

  /** Pages that are whole: they stay, to be used again. */
  release(extent: { readonly start: number; readonly pages: number }): void {
    if (!this.extents.give({ ...extent, warm: true })) this.giveUp(extent);
  }

  /** Pages of which some may be missing: all go back to the system. */
  giveUp({ start, pages }: { readonly start: number; readonly pages: number }): void {
    this.pages.punch(start * pageBytes, pages * pageBytes);
    if (!this.extents.give({ start, pages, warm: false })) this.extents.usedPages -= pages;
  }

  /** Gives a row up whose pages nobody looks at. */
  drop(row: Row): void {
    this.#making.delete(row.id);
    const extent = { start: field(row, Field.start), pages: field(row, Field.pages) };
    if (extent.pages > 0) {
      this.checkExtent(extent.start, extent.pages);
      if (field(row, Field.partial) === 0) this.release(extent);
      else this.giveUp(extent);
    }
    this.rows.free(row);
  }

  /** Ends an object whose pages somebody may still read: they wait for that. */
  retire(row: Row): void {
    this.#making.delete(row.id);
    setState(row, generationOf(loadState(row)), State.limbo);
    // Readers lease first and look at the state then: whoever leases from now on lets go again.
    if (this.isMapped(row)) {
      setField(row, Field.next, Atomics.load(this.state.words, Word.limbo));
      Atomics.store(this.state.words, Word.limbo, row.id + 1);
    } else {
      this.drop(row);
    }
  }

  /** It stays readable meanwhile. */
  beginSpilling(row: Row): void {
    const { slot, generation } = this.state.me;
    setField(row, Field.ownerSlot, slot);
    setField(row, Field.ownerGeneration, generation | 0);
    setState(row, generationOf(loadState(row)), State.spilling);
    this.#spilling.add(row.id);
  }

  /** It is live again; false if it has been deleted meanwhile. */
  endSpilling(row: Row): boolean {
    if (!this.#spilling.delete(row.id)) return false;
    const word = loadState(row);
    if (stateOf(word) !== State.spilling) return false;
    setState(row, generationOf(word), State.live);
    return true;
  }

  /** Ends what has no pages of the heap's, but something that discard() takes away. */
  end(row: Row): void {
    const generation = generationOf(loadState(row));
    setState(row, generation, State.limbo); // whoever dies from here on leaves the rest to #rebuild()
    try {
      this.#end(row);
    } catch (error) {
      setState(row, generation, State.live);
      throw error;
    }
  }

  #end(row: Row): void {
    this.#spec.discard?.(row);
    this.rows.free(row);
  }

  #isLeased(row: Row): boolean {
    const start = field(row, Field.start);
    const pages = field(row, Field.pages);
    this.checkExtent(start, pages);
    return this.pages.isLeased(start * pageBytes, pages * pageBytes);
  }

  /** Whether anybody has it mapped. */
  isMapped(row: Row): boolean {
    return field(row, Field.pages) > 0 && this.#isLeased(row);
  }

  /** Takes back what the dead were making, and what nobody reads any more; whether that was anything. */
  reclaim(): boolean {
    const recovered = this.#recover();
    let left = 0;
    let reclaimed = false;
    const { words } = this.state;
    for (let next = words[Word.limbo] as number; next !== 0; ) {
      const row = this.rows.row(next - 1);
      if (row === undefined || stateOf(loadState(row)) !== State.limbo) break; // overwritten: nobody's any more
      next = field(row, Field.next);
      if (this.#isLeased(row)) {
        setField(row, Field.next, left);
        left = row.id + 1;
      } else {
        this.drop(row);
        reclaimed = true;
      }
    }
    words[Word.limbo] = left;
    return reclaimed || recovered;
  }

  /** What a dead peer was making is nobody's. Looks at all rows, but only if somebody who made any has died. */
  #recover(): boolean {
    // First, since others may die while we look at the rows. If we die there, #rebuild() looks at all of them.
    if (!this.#writers.bury()) return false;
    this.#recoverRows();
    return true;
  }

  #recoverRows(): void {
    for (const row of this.rows.all()) {
      const word = loadState(row);
      const state = stateOf(word);
      if (state !== State.making && state !== State.spilling) continue;
      if (!this.state.isDead(ownerOf(row))) continue;
      if (state === State.spilling) setState(row, generationOf(word), State.live);
      else this.#abandon(row);
    }
    this.state.changes.notify();
  }

  /** Somebody died under the lock: everything but the rows' states is built anew. */
  #rebuild(): void {
    const inUse: { start: number; pages: number }[] = [];
    for (let number = 0; number < this.rows.chunkCount; number++) {
      const { start, count, class: kind } = this.rows.placeOf(number);
      inUse.push({ start, pages: pagesFor(count * rowBytes) + pagesFor(count * (slotSizes[kind] ?? 0)) });
    }
    let limbo = 0;
    for (const row of this.rows.all()) {
      const state = stateOf(loadState(row));
      const pages = field(row, Field.pages);
      if (state === State.free || state === State.retired || row.chunk.class !== 0) continue;
      if (pages === 0) {
        if (state === State.limbo) this.#end(row);
        continue;
      }
      if (state === State.spilled) {
        // Whoever spilled it died before its pages were free: somebody may have leased them just before.
        if (this.#isLeased(row)) {
          setState(row, generationOf(loadState(row)), State.live);
        } else {
          setField(row, Field.pages, 0);
          continue;
        }
      }
      inUse.push({ start: field(row, Field.start), pages });
      if (state !== State.limbo) continue;
      setField(row, Field.next, limbo);
      limbo = row.id + 1;
    }
    this.rows.relink();
    this.state.words[Word.limbo] = limbo;
    // What is in the holes may be half of something.
    for (const { start, pages } of this.extents.rebuild(inUse)) {
      this.pages.punch(start * pageBytes, pages * pageBytes);
    }
    this.#recoverRows();
  }

  // ---- the end ----

  /** May be called again. The last peer of an ephemeral one takes all of it away. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#forgetExit();
    try {
      if (!this.state.closed) this.#leave();
    } catch {
      // The words are damaged, or their lock is held for too long: what we leave is what the dead leave.
    }
    this.state.close();
    this.pages.close();
    // While the name is there so are other peers; and to look at each member takes long if there are many.
    if (this.#ephemeral && !existsSync(`${binding.layout.directory}${this.name}`)) reapMembers(this.name);
  }

  #leave(): void {
    this.state.quietly(() => {
      for (const id of this.#making) this.#abandon(this.rows.row(id) as Row);
      for (const id of this.#spilling) this.endSpilling(this.rows.row(id) as Row);
      this.#writers.setMine(0);
    });
    this.state.changes.notify();
  }

  /** Ends it for everybody: what others have mapped stays with them until they let go. */
  unlink(): void {
    if (this.closed) throw closedError(`'${this.name}'`);
    Atomics.store(this.state.words, Word.ended, 1); // nobody begins anything from here on
    try {
      this.state.quietly(() => {
        for (const row of this.rows.all()) if (stateOf(loadState(row)) === State.live) this.#spec.discard?.(row);
      });
    } catch {
      // The words are damaged, or a name is not ours to take away: orphans from here on, for gc().
    }
    this.state.changes.notify();
    this.state.unlink();
    reapMembers(this.name);
  }
}

// More than may exist at a time, since what is free lies in pieces. Holes cost nothing.
const totalPages = (capacityPages: number): number => Math.min(4 * capacityPages + 2 ** 16, 2 ** 31 - 1);
const extentsOf = (words: Int32Array, capacityPages: number): Extents =>
  new Extents(words, extentsAt, totalPages(capacityPages), capacityPages);
