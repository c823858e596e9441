import { type CodedError, stateError } from '../errors';
import { type Heap, pageBytes, pagesFor } from './heap';
import { Field, field, isSealed, lengthOf, loadState, type Row, State, stateOf } from './rows';
import type { SpillFolder } from './spill';

/** The bytes of an object, where this process has them mapped. */
export interface MappedObject {
  readonly bytes: Uint8Array;
  readonly faulted: () => boolean;
  /** Detaches their buffer. */
  readonly unmap: () => void;
}

interface Known {
  readonly generation: number;
  readonly byteLength: number;
  readonly buffer: WeakRef<ArrayBuffer>;
  readonly faulted: () => boolean;
}

/** What get() gives: not this caller's alone, to be unmapped. */
type SharedObject = Omit<MappedObject, 'unmap'>;

// To map a large object again is dear, since V8 counts its bytes and collects garbage for it. So what was got last stays
// mapped for a moment: whoever gets the same object for each request maps it once.
const maxRecent = 8;
const recentMs = 1000;

/** Maps large objects: each once, for as long as anything refers to what was mapped, and a second longer. */
export class MappedObjects {
  readonly #heap: Heap;
  readonly #spill: () => SpillFolder | undefined;
  readonly #known = new Map<number, Known>();
  /** Of the reservoir. Made where it sees no buffer, which it would keep alive. */
  readonly #faulted: () => boolean;
  #sweepAt = 256;
  /** In the order of their last use. */
  readonly #recent = new Map<ArrayBuffer, { readonly row: Row; readonly generation: number }>();
  #usedSince = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(heap: Heap, spill: () => SpillFolder | undefined) {
    this.#heap = heap;
    this.#faulted = () => heap.pages.faulted;
    this.#spill = spill;
  }

  /** As this process has it mapped already, or maps it now. Undefined if the object is not, or no more, to be read. */
  get(row: Row, generation: number): SharedObject | undefined {
    const known = this.#known.get(row.id);
    if (known?.generation === generation) {
      const buffer = known.buffer.deref();
      // Of length 0: the caller has moved it elsewhere (transfer).
      if (buffer !== undefined && buffer.byteLength > 0) {
        if (!isSealed(loadState(row), generation)) return undefined;
        this.#remember(buffer, row, generation);
        return { bytes: new Uint8Array(buffer, 0, known.byteLength), faulted: known.faulted };
      }
    }
    // What has been deleted must not be in the way of the garbage that V8 is about to collect.
    for (const [each, of] of this.#recent) if (!isSealed(loadState(of.row), of.generation)) this.#recent.delete(each);
    const mapped = this.map(row, generation);
    if (mapped === undefined) return undefined;
    if (this.#known.size >= this.#sweepAt) this.#sweep();
    const { bytes, faulted } = mapped;
    const buffer = bytes.buffer as ArrayBuffer;
    this.#known.set(row.id, { generation, byteLength: bytes.byteLength, buffer: new WeakRef(buffer), faulted });
    this.#remember(buffer, row, generation);
    return mapped;
  }

  #remember(buffer: ArrayBuffer, row: Row, generation: number): void {
    this.#recent.delete(buffer);
    this.#recent.set(buffer, { row, generation });
    if (this.#recent.size > maxRecent) this.#recent.delete(this.#recent.keys().next().value as ArrayBuffer);
    this.#usedSince = true;
    this.#timer ??= setInterval(() => {
      if (this.#usedSince) this.#usedSince = false;
      else this.forgetRecent();
    }, recentMs).unref();
  }

  /** Lets go of what only this keeps mapped. */
  forgetRecent(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#recent.clear();
  }

  /** Whether there may be anything that is mapped, and garbage. */
  get hasMapped(): boolean {
    return this.#known.size > 0;
  }

  /** Maps it for this caller alone. */
  map(row: Row, generation: number): MappedObject | undefined {
    for (;;) {
      const word = loadState(row);
      if (!isSealed(word, generation)) return undefined;
      const byteLength = lengthOf(row);
      if (stateOf(word) === State.spilled) {
        const file = this.#mapSpilled(row.id, generation, byteLength);
        if (file !== undefined) return file;
        if (loadState(row) === word) {
          throw stateError(
            'ERR_NDSHM_CORRUPT_OBJECT',
            `Object ${row.id} was spilled, and its file is not there any more`,
          );
        }
        continue;
      }
      const start = field(row, Field.start);
      const count = pagesFor(byteLength);
      this.#heap.checkExtent(start, count);
      // The lease comes first, then another look: whoever deletes or spills it changes the state first and then looks for
      // leases. So one of the two sees the other.
      const { pages } = this.#heap;
      const buffer = pages.map(start * pageBytes, count * pageBytes, { shared: false, leased: true });
      const now = loadState(row);
      const isThere = now === word || (isSealed(now, generation) && stateOf(now) !== State.spilled);
      const unmap = () => pages.unmap(buffer);
      if (isThere) return { bytes: new Uint8Array(buffer, 0, byteLength), faulted: this.#faulted, unmap };
      unmap();
    }
  }

  #mapSpilled(object: number, generation: number, byteLength: number): MappedObject | undefined {
    const folder = this.#spill();
    try {
      const file = folder?.map(object, generation, byteLength);
      return file && { ...file, bytes: new Uint8Array(file.buffer, 0, byteLength) };
    } catch (error) {
      if ((error as CodedError).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  #sweep(): void {
    for (const [id, { buffer }] of this.#known) if (buffer.deref() === undefined) this.#known.delete(id);
    this.#sweepAt = Math.max(256, 2 * this.#known.size);
  }
}
