import { closeAtExit } from '../array/at-exit';
import { type CreateOptions, createMember } from '../array/create';
import { unlink } from '../array/directory';
import type { DType } from '../array/dtype';
import { describeMember } from '../array/member';
import { open, patience } from '../array/open';
import { isOpened, openFile } from '../array/segment-file';
import type { Order } from '../array/shape';
import type { SharedArray } from '../array/shared-array';
import { binding } from '../binding';
import { type CodedError, failureError, hasErrno, rangeError, stateError, wrongKind } from '../errors';
import { checkName, checkOptions, type Mode } from '../options';
import { type NamedOptions, namedKeys } from '../sync/named-state';
import { Heap } from './heap';
import { generationOf, loadState, maxGeneration, type Row, State, stateOf, wordOf } from './rows';

export interface TableArrayOptions<D extends DType = DType> {
  /** Default 'C'. */
  readonly order?: Order;
  /** Called with the new array, all zeros, before anybody can get it. If it throws, nothing is left. */
  readonly init?: (array: SharedArray<D>) => void;
}

export interface GetArrayOptions {
  /** Default 'r+'. */
  readonly mode?: Mode;
}

// A handle: the generation, and the number of the row, which has 29 bits.
const rowNumbers = 2 ** 29;
// Rows are all that the heap holds here: some 2^24 of them at most.
const heapPages = 2 ** 18;

/**
 * A table of arrays by integer handle, valid in every process that opens the table: shared, writable, with locks. Handles
 * of freed arrays are never those of others: each use of a place in the table has a generation of its own. The table grows
 * as long as there is memory.
 *
 * Arrays live until freeArray(), or until the table ends: with unlink(), or if it is ephemeral with its last process.
 * Whatever process dies at whatever step, an array is there whole or not at all.
 * Errors of all methods: ERR_NDSHM_CLOSED.
 * @example
 * const table = ndshm.ArrayTable.open('particles', { ephemeral: true });
 * const handle = table.createArray([1000, 3], 'float64'); // a number, for any process
 * const positions = table.getArray(handle);
 * positions.set([0, 0], 1.5);
 * positions.close();
 * table.freeArray(handle);
 * table.close();
 */
export class ArrayTable {
  readonly name: string;
  readonly #heap: Heap;
  readonly #allowForeignOwner: boolean;

  private constructor(name: string, options: NamedOptions) {
    this.name = checkName(name);
    checkName(`${name}.${rowNumbers - 1}.${maxGeneration}`); // the longest that an array of it may be called
    this.#allowForeignOwner = options.allowForeignOwner === true;
    const discard = (row: Row) => this.#unlink(this.#nameOf(row, loadState(row)));
    this.#heap = new Heap(
      name,
      { kind: 'ArrayTable', capacityPages: undefined, otherwisePages: heapPages, discard },
      options,
    );
  }

  /**
   * Opens the table of this name, or makes it. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if the name means something else, and those of create().
   */
  static open(name: string, options?: NamedOptions): ArrayTable {
    return new ArrayTable(name, checkOptions(options, namedKeys, 'ArrayTable.open()'));
  }

  get closed(): boolean {
    return this.#heap.closed;
  }

  #nameOf(row: Row, word: number): string {
    return `${this.name}.${labelOf(row, word)}`;
  }

  /** Whether the name is that of an array of this very table: of an earlier one, or anything else, it may be, too. */
  #isMember(name: string): boolean {
    const file = openFile(name, false);
    if (!isOpened(file)) {
      if (hasErrno(file, 'ENOENT')) return false;
      throw failureError(file, { directory: binding.layout.directory, name });
    }
    try {
      return describeMember(file, name).memberOf === this.#heap.id;
    } catch {
      return false;
    } finally {
      file.segment.close(null);
    }
  }

  #unlink(name: string): void {
    try {
      if (this.#isMember(name)) unlink(name);
    } catch (error) {
      if ((error as CodedError).code !== 'ENOENT') throw error;
    }
  }

  /**
   * Makes an array of zeros and returns its handle, a safe integer that means it in every process. Blocks for as long as
   * create() does. Errors: those of create(), ERR_NDSHM_FULL.
   */
  createArray<D extends DType = 'float64'>(
    shape: number | readonly number[],
    dtype?: D,
    options?: TableArrayOptions<D>,
  ): number {
    const { order, init } = checkOptions(options, ['order', 'init'], 'createArray()');
    const heap = this.#heap;
    let begun = false;
    const begin = (array: SharedArray<D>) => {
      begun = true;
      init?.(array);
    };
    const spec = {
      shape,
      ...(dtype === undefined ? {} : { dtype }),
      ...(order === undefined ? {} : { order }),
      ...(init === undefined ? {} : { init: typeof init === 'function' ? begin : init }),
    };
    for (let attempt = 1; ; attempt++) {
      heap.check();
      const row = heap.take(0, 0)?.row;
      if (row === undefined) {
        throw rangeError('ERR_NDSHM_FULL', `The table '${this.name}' has no room for more arrays`);
      }
      try {
        return this.#make(row, spec);
      } catch (error) {
        // The name may be that of an earlier table's array, which somebody still has open: the row's next one is another.
        if ((error as CodedError).code !== 'EEXIST' || begun || attempt === patience) throw error;
      }
    }
  }

  #make<D extends DType>(row: Row, spec: CreateOptions<D>): number {
    const heap = this.#heap;
    const word = loadState(row); // once the row is published others may free it
    let made = false;
    try {
      createMember(heap.state.array, labelOf(row, word), spec).close();
      heap.check(); // init() may have closed the table
      made = true;
    } finally {
      if (!made && heap.closed) this.#unlink(this.#nameOf(row, word));
      else if (!made) heap.abandon(row);
    }
    heap.publish(row);
    return handleOf(row, word);
  }

  /**
   * Opens the array of a handle, in any process that has the table open; the caller closes it. Does not block.
   * Errors: ERR_NDSHM_STALE_HANDLE if it has been freed, and those of open().
   */
  getArray<D extends DType = DType>(handle: number, options?: GetArrayOptions): SharedArray<D> {
    const { mode = 'r+' } = checkOptions(options, ['mode'], 'getArray()');
    const { row, word } = this.#find(handle);
    const name = this.#nameOf(row, word);
    if (loadState(row) !== word) throw this.#staleError(handle);
    let array: SharedArray<D>;
    try {
      array = open<D>(name, { mode, allowForeignOwner: this.#allowForeignOwner });
    } catch (error) {
      if ((error as CodedError).code === 'ENOENT') throw this.#staleError(handle);
      throw error;
    }
    let isOurs = false;
    try {
      // The table's own name may mean another table by now, with arrays of the same names.
      isOurs = this.#isMember(name);
    } finally {
      if (!isOurs) array.close();
    }
    if (!isOurs) throw this.#staleError(handle);
    closeAtExit(array); // before the table, which leaves alone what anybody has open
    return array;
  }

  /**
   * Frees the array: nobody gets it any more, and its place may be another's. Whoever has it open keeps it; its memory is
   * free when the last one has closed it. Errors: ERR_NDSHM_STALE_HANDLE if it has been freed before.
   */
  freeArray(handle: number): void {
    const { row, word } = this.#find(handle);
    const freed = this.#heap.state.quietly(() => {
      if (loadState(row) !== word) return false;
      this.#heap.end(row);
      return true;
    });
    if (!freed) throw this.#staleError(handle);
  }

  /** Whether getArray() would give the array now. */
  has(handle: number): boolean {
    const found = this.#lookUp(handle);
    return found !== undefined && loadState(found.row) === found.word;
  }

  /** The handles of all arrays, in no order. */
  handles(): number[] {
    this.#heap.check();
    return [...this.#heap.rows.all()].flatMap((row) => {
      const word = loadState(row);
      return stateOf(word) === State.live ? [handleOf(row, word)] : [];
    });
  }

  #find(handle: number): { row: Row; word: number } {
    const found = this.#lookUp(handle);
    if (found === undefined) throw this.#staleError(handle);
    return found;
  }

  /** Its place, and what is to be found there; undefined if there is no such place. */
  #lookUp(handle: unknown): { row: Row; word: number } | undefined {
    if (typeof handle !== 'number') throw wrongKind('a handle, as createArray() gives it,', 'handle', handle);
    if (!Number.isSafeInteger(handle) || handle < 0) {
      throw rangeError(
        'ERR_NDSHM_OUT_OF_RANGE',
        `Expected a handle, as createArray() gives it, but received ${handle}`,
      );
    }
    this.#heap.check();
    const row = this.#heap.rows.row(handle % rowNumbers);
    return row && { row, word: wordOf(Math.floor(handle / rowNumbers), State.live) };
  }

  #staleError(handle: number): CodedError {
    return stateError('ERR_NDSHM_STALE_HANDLE', `The table '${this.name}' has no array ${handle}: it has been freed`);
  }

  /** Lets go of the table. Arrays that getArray() gave stay open. May be called again. */
  close(): void {
    this.#heap.close();
  }

  /** Ends the table for everybody, and takes all its arrays' names away. Whoever has one of them open keeps it. */
  unlink(): void {
    this.#heap.unlink();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const handleOf = (row: Row, word: number): number => generationOf(word) * rowNumbers + row.id;
const labelOf = (row: Row, word: number): string => `${row.id}.${generationOf(word)}`;
