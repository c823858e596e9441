import { type OpenOptions, openRaw } from '../array/open';
import { SharedArray } from '../array/shared-array';
import { checkedToTable, isArrowTable, tableToBytes } from '../codec/arrow';
import { type CodedError, stateError, wrongKind } from '../errors';
import { checkOptions } from '../options';
import { layOutArrowFile } from './arrow-file';
import { checkArrowFile } from './arrow-file-check';
import { checkNaming, type PutOptions, publishFile, putKeys } from './plain-file';

/**
 * Puts a Table of `apache-arrow` into shared memory under a name, as an uncompressed Arrow IPC file whose buffers are
 * aligned to 64 bytes: a copy, complete before it has its name. Every Arrow library maps it as it is:
 * `pyarrow.ipc.open_file(pyarrow.memory_map('/dev/shm/NAME'))`. It has no lock, and stays until unlink(). Blocks while it
 * copies; takes the table's bytes once more while it does.
 * Errors: EEXIST, ENOSPC, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_INVALID_ARGUMENT (also for batches with different dictionaries
 * for one column), ERR_NDSHM_UNSUPPORTED if `apache-arrow` is not installed. Source of the format: Arrow's
 * 'Columnar format', 'IPC file format'.
 * @example
 * const arrow = require('apache-arrow');
 * ndshm.putTable('trades', arrow.tableFromArrays({ price: Float64Array.of(1.5, 2.5), n: Int32Array.of(7, 8) }));
 * ndshm.unlink('trades');
 */
export function putTable(name: string, table: object, options?: PutOptions): void {
  const naming = checkNaming(name, checkOptions(options, putKeys, 'putTable()'));
  if (typeof table !== 'object' || table === null || !isArrowTable(table)) {
    throw wrongKind('a Table of apache-arrow', 'the table', table);
  }
  const { byteLength, pieces } = layOutArrowFile(tableToBytes(table));
  publishFile(naming, byteLength, (bytes) => {
    for (const piece of pieces) bytes.set(piece.bytes, piece.at);
  });
}

export type OpenTableOptions = Pick<OpenOptions, 'allowForeignOwner'>;

/**
 * Opens an Arrow IPC file in /dev/shm, whoever put it there, as a Table of `apache-arrow` whose columns are views on the
 * mapped pages: nothing is copied. The pages are mapped privately, so that a stray store into a column reaches nobody. The
 * mapping ends with close(), or is collected with the last column. Looks at the metadata of each batch, and does not block.
 * Errors: ENOENT, EACCES, ERR_NDSHM_FORMAT for what is no Arrow file or is compressed, ERR_NDSHM_FOREIGN_OWNER,
 * ERR_NDSHM_TOO_LARGE, ERR_NDSHM_UNSUPPORTED if `apache-arrow` is not installed.
 * @example
 * const arrow = require('apache-arrow');
 * ndshm.putTable('trades', arrow.tableFromArrays({ price: Float64Array.of(1.5, 2.5) }));
 * const trades = ndshm.openTable('trades');
 * console.log(trades.table.getChild('price').get(1)); // 2.5
 * trades.close();
 * ndshm.unlink('trades');
 */
export function openTable<T extends object = object>(name: string, options?: OpenTableOptions): SharedTable<T> {
  const file = openRaw(name, { ...checkOptions(options, ['allowForeignOwner'], 'openTable()'), dtype: 'uint8' });
  try {
    return new SharedTable<T>(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** An open Arrow file. Made by openTable(). */
export class SharedTable<T extends object = object> {
  readonly name: string;
  readonly #file: SharedArray<'uint8'>;
  readonly #table: T;

  /** @internal */
  constructor(file: SharedArray<'uint8'>) {
    this.name = file.name as string;
    this.#file = file;
    checkArrowFile(file.data, this.name);
    try {
      this.#table = checkedToTable(file.data) as T;
    } catch (cause) {
      // What apache-arrow itself refuses: a type that it does not know, say. That it is not there has a code of ours.
      if ('code' in (cause as Partial<CodedError>)) throw cause;
      const why = (cause as Error).message;
      throw Object.assign(stateError('ERR_NDSHM_FORMAT', `apache-arrow cannot read '${this.name}': ${why}`), { cause });
    }
  }

  /** The arrow.Table. Errors: ERR_NDSHM_CLOSED, ERR_NDSHM_TRUNCATED. */
  get table(): T {
    SharedArray.attachmentOf(this.#file).check();
    return this.#table;
  }

  get closed(): boolean {
    return this.#file.closed;
  }

  /** Unmaps the file: columns that somebody still has have length 0 from now on. May be called again. */
  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
