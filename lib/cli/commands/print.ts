import type { Command } from 'commander';
import { type CodedError, rangeError, typeError } from '../../errors';
import {
  type Element,
  inspect,
  type Nested,
  openTable,
  openTensors,
  type PrimitiveInfo,
  type SharedArray,
} from '../../index';
import { statNamed } from '../names';
import { none, note, type OutputOptions, print, table } from '../output';
import { addReadOptions, type ReadOptions, readArray } from '../read-array';
import { shapeInWords } from '../segments';
import { addSlice, labelOf, parseSlice } from '../slices';
import { style } from '../style';
import { countInWords, printable } from '../words';

interface PrintOptions extends OutputOptions, ReadOptions {
  readonly raw?: boolean;
}

export function define(command: Command): void {
  addReadOptions(addSlice(command.argument('<name>')))
    .option('--raw', 'of a primitive or a store: the words in which it keeps its state')
    .addHelpText(
      'after',
      `
Long arrays are summarised, as numpy does; 'ndshm save NAME -' prints every value. --json has all values: those of int64
and uint64 as strings, complex numbers as { re, im }; and NaN, Infinity and -Infinity as strings.`,
    )
    .action(async (name: string, slice: readonly string[], options: PrintOptions) => {
      const info = statNamed(name);
      const text = slice.join(' ');
      const isWhole = options.dtype === undefined && options.tensor === undefined;
      const primitive = info.kind === 'array' && options.raw !== true ? inspect(info.name) : null;
      if (primitive !== null) printPrimitive(info.name, primitive, text, options);
      else if (info.kind === 'table' && isWhole) printTable(info.name, text, options);
      else if (info.kind === 'tensors' && isWhole) printTensors(info.name, text, options);
      else await printArray(info.name, text, options);
    });
}

async function printArray(name: string, slice: string, options: PrintOptions): Promise<void> {
  const { value, consistent, warning } = await readArray(name, parseSlice(slice), options, (part) => ({
    dtype: part.dtype,
    shape: part.shape,
    // Only what is asked for: all the values may be many.
    values: options.json === true ? jsonValues(part) : [],
    text: options.json === true ? '' : part.toString(),
  }));
  const { dtype, shape, values, text } = value;
  if (warning !== null) note(`${name}: ${warning}`);
  print(options, { name, dtype, shape, consistent, values }, () => {
    const heading = `${labelOf(name, slice, options.tensor)}  ${dtype} ${shapeInWords(shape)}`;
    return `${style.dim(heading)}\n${text}`;
  });
}

type JsonValue = Nested<string | number | boolean | { readonly re: string | number; readonly im: string | number }>;

/** What a string of JavaScript can hold, and a reader of JSON bear. */
const mostJsonValues = 2 ** 24;

function jsonValues(part: SharedArray): JsonValue {
  if (part.size > mostJsonValues) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `${part.size} values are too many for JSON (at most ${mostJsonValues}); name a slice, or use ndshm save`,
    );
  }
  return jsonOf(part.toNested());
}

const jsonNumber = (value: number): string | number => (Number.isFinite(value) ? value : String(value));

function jsonOf(nested: Nested<Element>): JsonValue {
  if (Array.isArray(nested)) return (nested as readonly Nested<Element>[]).map(jsonOf);
  const element = nested as Element;
  if (typeof element === 'number') return jsonNumber(element);
  if (typeof element === 'bigint') return String(element);
  return typeof element === 'boolean' ? element : { re: jsonNumber(element.re), im: jsonNumber(element.im) };
}

function refuseSlice(what: string, slice: string): void {
  if (slice !== '') throw typeError('ERR_NDSHM_INVALID_ARGUMENT', `${what} has no slices, but one was given: ${slice}`);
}

function printPrimitive(name: string, { kind, facts }: PrimitiveInfo, slice: string, options: PrintOptions): void {
  refuseSlice(`A ${kind}`, slice);
  print(options, { name, kind, facts }, () => {
    const told = Object.entries(facts).map(([fact, value]) => `${fact} ${String(value)}`);
    return `${name} is a ${kind}${told.length === 0 ? '' : `: ${told.join(', ')}`}\n${style.dim(`(not an array of values; --raw prints its words, ndshm who ${name} shows who uses it)`)}`;
  });
}

interface TensorInfo {
  readonly name: string;
  /** Null: a dtype that ndshm does not know. */
  readonly dtype: string | null;
  readonly shape: readonly number[] | null;
  readonly problem: string | null;
}

function printTensors(name: string, slice: string, options: PrintOptions): void {
  refuseSlice('A file of tensors', slice);
  const { allowForeignOwner = false } = options;
  const file = openTensors(name, { allowForeignOwner, names: [] });
  const { names, metadata } = file;
  file.close();
  const tensors = names.map((tensor) => tensorInfo(name, tensor, allowForeignOwner));
  print(options, { name, metadata, tensors }, () => {
    const rows = tensors.map(({ name, dtype, shape, problem }) => [
      printable(name),
      dtype ?? none,
      shape === null ? printable(problem ?? '') : shapeInWords(shape),
    ]);
    const said = Object.entries(metadata).map(([key, value]) => `\n${printable(`${key}: ${value}`)}`);
    return `${table(['TENSOR', 'DTYPE', 'SHAPE'], rows)}${said.join('')}`;
  });
}

/** Each by itself: one that cannot be mapped does not hide the others. */
function tensorInfo(name: string, tensor: string, allowForeignOwner: boolean): TensorInfo {
  try {
    const file = openTensors(name, { allowForeignOwner, names: [tensor] });
    const { dtype, shape } = file.tensors[tensor] as SharedArray;
    file.close();
    return { name: tensor, dtype, shape, problem: null };
  } catch (error) {
    return { name: tensor, dtype: null, shape: null, problem: (error as CodedError).code };
  }
}

/** What of a Table of apache-arrow is used here. */
interface ArrowTable {
  readonly numRows: number;
  readonly schema: {
    readonly fields: readonly {
      readonly name: string;
      readonly type: { toString(): string };
      readonly nullable: boolean;
    }[];
  };
  slice(begin: number, end: number): Iterable<{ toArray(): readonly unknown[] }>;
}

const rowsShown = 10;

function printTable(name: string, slice: string, options: PrintOptions): void {
  refuseSlice('A table', slice);
  const file = openTable<ArrowTable & object>(name, { allowForeignOwner: options.allowForeignOwner ?? false });
  try {
    const { numRows, schema } = file.table;
    const columns = schema.fields.map(({ name, type, nullable }) => ({ name, type: String(type), nullable }));
    const rows = Array.from(file.table.slice(0, rowsShown), (row) => Array.from(row.toArray(), cellOf));
    print(options, { name, rows: numRows, columns, first: rows }, () => {
      const head = columns.map(({ name, type }) => printable(`${name}: ${type}`));
      const rest = numRows > rows.length ? `\n… ${countInWords(numRows - rows.length, 'more row')}` : '';
      return `${style.dim(`${name}  ${countInWords(numRows, 'row')}`)}\n${table(
        head,
        rows.map((row) =>
          row.map((cell) => (typeof cell === 'number' ? cell : cell === null ? none : shortened(String(cell)))),
        ),
      )}${rest}`;
    });
  } finally {
    file.close();
  }
}

/** As in JSON; what has a text of its own, like apache-arrow's structs and lists, by that. */
const cellOf = (cell: unknown): string | number | boolean | null =>
  typeof cell === 'number'
    ? jsonNumber(cell)
    : typeof cell === 'boolean' || cell === null || cell === undefined
      ? (cell ?? null)
      : `${cell as string}`;

const shortened = (text: string): string => {
  const shown = printable(text);
  return shown.length > 60 ? `${shown.slice(0, 59)}…` : shown;
};
