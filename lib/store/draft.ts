import type { DType } from '../array/dtype';
import { excerpt } from '../array/excerpt';
import type { Order } from '../array/shape';
import { SharedArray } from '../array/shared-array';
import type { Encoded } from '../codec/encode';
import { stateError } from '../errors';
import { type Heap, pageBytes, pagesFor } from './heap';
import type { ObjectRef } from './object-ref';
import { Field, field, type Row } from './rows';

/** What a draft does when it ends. */
export interface DraftEnd {
  readonly publish: (row: Row, byteLength: number) => void;
  readonly abandon: (row: Row) => void;
}

/**
 * An array of the store that is still being filled: its memory is the object's own, so that sealing it copies nothing.
 * Made by store.createArray().
 */
export class Draft<D extends DType = DType> {
  /**
   * The array to fill, in mode 'r+'. What is in it at first is whatever was in this memory before, as numpy.empty.
   * Closed by seal() and close().
   */
  readonly array: SharedArray<D>;
  /** May be passed on before the object is sealed: wait() waits for that. */
  readonly ref: ObjectRef;
  readonly #heap: Heap;
  readonly #row: Row;
  readonly #buffer: ArrayBuffer;
  readonly #layout: Encoded;
  readonly #end: DraftEnd;
  #state: 'open' | 'sealed' | 'closed' = 'open';

  /** @internal */
  constructor(
    heap: Heap,
    row: Row,
    ref: ObjectRef,
    layout: Encoded,
    elements: { dtype: D; shape: readonly number[]; order: Order },
    end: DraftEnd,
  ) {
    this.#heap = heap;
    this.#row = row;
    this.ref = ref;
    this.#layout = layout;
    this.#end = end;
    const [part] = layout.buffers;
    // Leased as a reader's: should the caller have moved the memory to another buffer (transfer), its pages are not used
    // again as long as that lives.
    const pages = pagesFor(layout.byteLength);
    this.#buffer = heap.pages.map(this.#start, pages * pageBytes, { shared: true, leased: true });
    const who = `The draft of object ${ref.object} in '${ref.store}'`;
    const byteOffset = part?.offset ?? layout.byteLength;
    const memory = { buffer: this.#buffer, byteOffset, faulted: () => heap.pages.faulted, who };
    this.array = excerpt(memory, { ...elements, mode: 'r+' }) as SharedArray<D>;
  }

  get #start(): number {
    return field(this.#row, Field.start) * pageBytes;
  }

  /**
   * Makes the object visible, as it is: from now on nobody changes it, and get() gives it as a SharedArray. Costs the same
   * for any size. Does not block. Errors: ERR_NDSHM_CLOSED if the draft was sealed or closed before.
   */
  seal(): ObjectRef {
    if (this.#state !== 'open') throw stateError('ERR_NDSHM_CLOSED', `The draft was ${this.#state} before`);
    this.#heap.check();
    SharedArray.attachmentOf(this.array).check();
    this.#finish('sealed');
    this.#heap.pages.write(this.#start, this.#layout.head);
    this.#end.publish(this.#row, this.#layout.byteLength);
    return this.ref;
  }

  /** Throws the object away, unless it has been sealed. May be called again. */
  close(): void {
    if (this.#state !== 'open') return;
    this.#finish('closed');
    if (!this.#heap.closed) this.#end.abandon(this.#row);
  }

  #finish(state: 'sealed' | 'closed'): void {
    this.#state = state;
    this.array.close();
    this.#heap.pages.unmap(this.#buffer);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
