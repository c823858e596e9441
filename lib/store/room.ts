import { gc } from '../array/directory';
import { bytesInWords, type CodedError, stateError } from '../errors';
import type { Extent } from './extents';
import { collectGarbage } from './garbage';
import { type Heap, pageBytes, pagesFor } from './heap';
import type { MappedObjects } from './mapped';
import { Field, field, generationOf, lengthOf, loadState, type Row, State, setField, setState, stateOf } from './rows';
import { removeFile, type SpillFolder, spillError } from './spill';

/** A row of this process's making, and its pages. */
export interface Claim {
  readonly row: Row;
  readonly extent: Extent | undefined;
}

/** So much is made ready in the background at a time. */
const prefaultBytes = 2 ** 25;
/** Buffers that are garbage are unmapped in a turn of the event loop of their own. (put() gives it these, putSync() cannot.) */
const turnsUntilUnmapped = 3;

/** Finds room for new objects, and makes some where there is none: what is free, and then what was used longest ago. */
export class Room {
  readonly #heap: Heap;
  readonly #spill: () => SpillFolder | undefined;
  readonly #mapped: MappedObjects;
  /** How many free pages are to be kept ready. */
  readonly #readyPages: number;
  #prefaulting = false;

  constructor(heap: Heap, spill: () => SpillFolder | undefined, mapped: MappedObjects, readyBytes: number) {
    this.#heap = heap;
    this.#spill = spill;
    this.#mapped = mapped;
    this.#readyPages = Math.floor(readyBytes / pageBytes);
  }

  /** A row of a class with as many pages. Errors: ERR_NDSHM_CAPACITY, ENOSPC. */
  *claim(kind: number, pages: number): Generator<void, Claim> {
    for (;;) {
      try {
        const claim = this.#heap.take(kind, pages);
        if (claim !== undefined) return claim;
      } catch (error) {
        if (!isFull(error) || !(yield* this.relieve())) throw error;
        continue;
      }
      if (pages > this.#heap.extents.capacityPages || !(yield* this.relieve())) throw this.#capacityError(pages);
    }
  }

  /** Gives something back to the system, or to be used again; false if there is nothing more. */
  *relieve(): Generator<void, boolean> {
    const { state, extents } = this.#heap;
    const freed = state.quietly(() => {
      if (this.#heap.reclaim()) return true;
      const unused = extents.takeWarmest();
      if (unused === undefined) return false;
      this.#heap.giveUp(unused);
      return true;
    });
    return freed || gc().length > 0 || (yield* this.#collect()) || (yield* this.#spillOne());
  }

  /** Whether anything was free once this process had let go of what it does not use any more. */
  *#collect(): Generator<void, boolean> {
    this.#mapped.forgetRecent();
    if (!this.#mapped.hasMapped) return false;
    yield; // what a WeakRef has shown in this turn is not garbage before the next
    if (!collectGarbage()) return false;
    for (let turn = 0; turn < turnsUntilUnmapped; turn++) {
      yield;
      if (this.#heap.state.quietly(() => this.#heap.reclaim())) return true;
    }
    return false;
  }

  /** Puts the object that was used longest ago, and that nobody has mapped, on disk; false if there is none. */
  *#spillOne(): Generator<void, boolean> {
    const folder = this.#spill();
    if (folder === undefined) return false;
    const { state, pages } = this.#heap;
    const row = state.quietly(() => this.#leastRecentlyUsed());
    if (row === undefined) return false;
    const generation = generationOf(loadState(row));
    const start = field(row, Field.start);
    const byteLength = lengthOf(row);
    let buffer: ArrayBuffer | undefined;
    let file: string | undefined;
    try {
      buffer = pages.map(start * pageBytes, pagesFor(byteLength) * pageBytes, { shared: false, leased: false });
      file = yield* folder.write(row.id, generation, new Uint8Array(buffer, 0, byteLength));
    } catch (cause) {
      throw spillError(cause, folder.path);
    } finally {
      if (buffer !== undefined) pages.unmap(buffer);
      // After close() it is live again already.
      const kept = !state.closed && state.quietly(() => this.#endSpilling(row, generation, folder, file));
      if (!kept && file !== undefined) removeFile(file);
    }
    return true;
  }

  /** Under the lock. Whether it is on disk from now on: it may have been deleted, or leased, meanwhile. */
  #endSpilling(row: Row, generation: number, folder: SpillFolder, file: string | undefined): boolean {
    if (!this.#heap.endSpilling(row)) return false;
    if (file === undefined) return false;
    folder.keep(file, row.id, generation);
    const extent = { start: field(row, Field.start), pages: field(row, Field.pages) };
    // Readers lease first and look at the state then.
    setState(row, generation, State.spilled);
    if (this.#heap.isMapped(row)) {
      setState(row, generation, State.live);
      folder.remove(row.id, generation);
      return false;
    }
    setField(row, Field.pages, 0); // from here on they are nobody's, whoever dies
    this.#heap.release(extent);
    return true;
  }

  /** Under the lock: it is being spilled from now on. */
  #leastRecentlyUsed(): Row | undefined {
    const { rows, state } = this.#heap;
    const now = Atomics.load(state.words, 0);
    let oldest: Row | undefined;
    let age = -1;
    for (const row of rows.all()) {
      if (stateOf(loadState(row)) !== State.live || field(row, Field.pages) === 0) continue;
      const unused = (now - field(row, Field.lastUse)) >>> 0;
      if (unused <= age || this.#heap.isMapped(row)) continue;
      oldest = row;
      age = unused;
    }
    if (oldest === undefined) return undefined;
    this.#heap.beginSpilling(oldest);
    return oldest;
  }

  /** Makes free pages ready on a thread of its own, up to what was asked for at open(); never at anybody's cost. */
  prefault(): void {
    if (this.#prefaulting || this.#readyPages === 0) return;
    this.#prefaulting = true;
    void this.#prefaultAll().finally(() => {
      this.#prefaulting = false;
    });
  }

  async #prefaultAll(): Promise<void> {
    const { state, extents, pages } = this.#heap;
    const stepPages = Math.min(prefaultBytes / pageBytes, this.#readyPages);
    while (!this.#heap.closed && extents.warmPages + stepPages <= this.#readyPages) {
      const claim = this.#heap.take(0, stepPages, true);
      if (claim?.extent === undefined) return;
      const { row, extent } = claim;
      let filled = false;
      try {
        await pages.prefault(extent.start * pageBytes, extent.pages * pageBytes);
        filled = true;
      } catch {
        return; // no room for what is a favour: the next put will say so, if it has to
      } finally {
        // After close() its pages wait for the thread to end, as for a reader.
        if (!this.#heap.closed) {
          if (filled) state.quietly(() => this.#heap.drop(row));
          else this.#heap.abandon(row);
        }
      }
    }
  }

  #capacityError(pages: number): CodedError {
    const { extents, name } = this.#heap;
    const inWords = (count: number) => bytesInWords(count * pageBytes);
    return stateError(
      'ERR_NDSHM_CAPACITY',
      `${inWords(pages)} wanted, and of the ${inWords(extents.capacityPages)} of the store '${name}' ` +
        `${inWords(extents.usedPages)} are held: ${this.#holders()}. ` +
        (this.#spill() === undefined
          ? 'Delete objects, or give it more capacity or a spillDir'
          : 'Nothing more can be spilled: delete objects, or let go of what is mapped'),
    );
  }

  /** Who holds how much. */
  #holders(): string {
    const { state, rows } = this.#heap;
    const byPid = new Map<number, { pages: number; objects: number; mapped: number }>();
    let small = 0;
    const count = () => {
      for (const row of rows.all()) {
        const held = stateOf(loadState(row));
        if (held === State.free || held === State.retired || held === State.spilled) continue;
        if (row.chunk.class !== 0) {
          small++;
          continue;
        }
        const pid = field(row, Field.pid);
        const sum = byPid.get(pid) ?? { pages: 0, objects: 0, mapped: 0 };
        sum.pages += field(row, Field.pages);
        sum.objects++;
        if (this.#heap.isMapped(row)) sum.mapped++;
        byPid.set(pid, sum);
      }
    };
    state.quietly(count);
    const most = [...byPid].sort(([, a], [, b]) => b.pages - a.pages);
    const texts = most
      .slice(0, 5)
      .map(
        ([pid, sum]) =>
          `${bytesInWords(sum.pages * pageBytes)} in ${sum.objects} objects that process ${pid} put (${sum.mapped} mapped)`,
      );
    if (most.length > 5) texts.push(`${most.length - 5} processes more`);
    return [...texts, `${small} small objects`].join(', ');
  }
}

export const isFull = (error: unknown): boolean => (error as Partial<CodedError>).code === 'ENOSPC';
