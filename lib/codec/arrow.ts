import { dirname, join } from 'node:path';
import { stateError, typeError } from '../errors';
import { checkArrowStream } from './arrow-check';

// Arrow is the caller's to install: it is looked for when the first table comes along.

/** An arrow.Table; its types are the caller's, too. */
type Table = object;

interface Arrow {
  readonly Table: { readonly prototype: object };
  tableToIPC(table: Table, type: 'stream'): Uint8Array;
  /** A stream or a file. */
  tableFromIPC(bytes: Uint8Array): Table;
}
let arrow: Arrow | undefined;

function load(): Arrow {
  if (arrow !== undefined) return arrow;
  try {
    arrow = require('apache-arrow') as Arrow;
  } catch (cause) {
    const message = "This is an Arrow table, and 'apache-arrow' is not installed: npm install apache-arrow";
    throw Object.assign(stateError('ERR_NDSHM_UNSUPPORTED', message), { cause });
  }
  return arrow;
}

/** By its looks: whoever made it may have loaded another copy of the library than we would. */
export function isArrowTable(value: object): value is Table {
  if (!('schema' in value && 'batches' in value && Array.isArray(value.batches))) return false;
  const Class = value.constructor as unknown;
  return typeof Class === 'function' && (Class as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === 'Table';
}

/** Its IPC stream. */
export function tableToBytes(table: Table): Uint8Array {
  for (const each of [load, loadModules]) {
    const library = each();
    if (library !== undefined && isOf(library, table)) return library.tableToIPC(table, 'stream');
  }
  throw typeError(
    'ERR_NDSHM_INVALID_ARGUMENT',
    "The Arrow table was made with another copy of 'apache-arrow' than the one that ndshm finds; install one for both",
  );
}

/** By its chain of prototypes: the library's own `instanceof` takes tables of other copies, which its writer then spoils. */
const isOf = ({ Table }: Arrow, table: Table): boolean => Object.prototype.isPrototypeOf.call(Table.prototype, table);

/** The copy that programs of ES modules have. */
function loadModules(): Arrow | undefined {
  try {
    return require(join(dirname(require.resolve('apache-arrow')), 'Arrow.node.mjs')) as Arrow;
  } catch {
    return undefined; // a runtime that cannot require() them, or a version without them
  }
}

/** A table whose columns are views on these bytes, which may be anything. */
export function bytesToTable(bytes: Uint8Array): Table {
  checkArrowStream(bytes);
  return checkedToTable(bytes);
}

/** A table whose columns are views on these bytes of a stream or a file, which have been checked. */
export const checkedToTable = (bytes: Uint8Array): Table => load().tableFromIPC(bytes);
