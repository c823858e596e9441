import { stateError } from '../errors';
import { checkArrowStream } from './arrow-check';

// Arrow is the caller's to install: it is looked for when the first table comes along.

/** An arrow.Table; its types are the caller's, too. */
type Table = object;

interface Arrow {
  tableToIPC(table: Table, type: 'stream'): Uint8Array;
  tableFromIPC(bytes: Uint8Array): Table;
}
let arrow: Arrow | undefined;

function load(): Arrow {
  if (arrow !== undefined) return arrow;
  try {
    arrow = require('apache-arrow') as Arrow;
  } catch (cause) {
    const message = "The object holds an Arrow table, and 'apache-arrow' is not installed: npm install apache-arrow";
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
export const tableToBytes = (table: Table): Uint8Array => load().tableToIPC(table, 'stream');

/** A table whose columns are views on these bytes, which may be anything. */
export function bytesToTable(bytes: Uint8Array): Table {
  checkArrowStream(bytes);
  return load().tableFromIPC(bytes);
}
