import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs';
import { type InfoRecord, parse } from 'csv-parse';
import { type CodedError, stateError } from '../errors';
import { anonymous, type Complex, type Data, type DType, type OnProgress } from '../index';

export interface CsvOptions {
  /** What messages call the file. */
  readonly label: string;
  readonly dtype: DType;
  /** Default: whichever of tab, ';', ',' and ' ' the first line has. ' ' means any number of them. */
  readonly delimiter?: string | undefined;
  /** Whether the first row is a header. Default: if not one of its fields is a number. */
  readonly header?: boolean | undefined;
  /** Bytes read, and in all. */
  readonly onProgress?: OnProgress | undefined;
}

export interface CsvNumbers {
  readonly rows: number;
  readonly columns: number;
  readonly header: readonly string[] | null;
  /** The elements row by row, in pieces. */
  readonly pieces: readonly Data[];
}

interface Row {
  readonly record: readonly string[];
  readonly info: InfoRecord;
}

/**
 * Reads a file of numbers. Lines that begin with '#' and empty ones are left out, as by numpy.loadtxt. Errors: the file
 * system's; ERR_NDSHM_FORMAT and ERR_NDSHM_OUT_OF_RANGE with the line, where it is ragged or a field does not fit.
 */
export async function readCsv(path: string, options: CsvOptions): Promise<CsvNumbers> {
  const { label, dtype, delimiter = delimiterOf(path), onProgress } = options;
  const { size } = statSync(path);
  const file = createReadStream(path);
  const rows = parse({
    bom: true,
    comment: '#',
    comment_no_infix: true,
    delimiter,
    info: true,
    relax_column_count: true, // we say it with the line
    skip_empty_lines: true,
    trim: delimiter.trim() !== '',
  });
  const numbers = new Numbers(label, dtype);
  let header: readonly string[] | null = null;
  let begun = false;
  onProgress?.(0, size);
  file.on('error', (error) => rows.destroy(error));
  try {
    for await (const { record, info } of file.pipe(rows) as AsyncIterable<Row>) {
      const fields = delimiter === ' ' ? record.filter((field) => field !== '') : record;
      if (begun || !isHeader(fields, dtype, options.header)) numbers.addRow(fields, info.lines);
      else header = fields;
      begun = true;
      if (info.records % reportEvery === 0) onProgress?.(file.bytesRead, size);
    }
  } finally {
    file.destroy();
  }
  onProgress?.(size, size);
  return { header, ...numbers.end() };
}

const reportEvery = 4096;

function isHeader(record: readonly string[], dtype: DType, asked: boolean | undefined): boolean {
  return asked ?? record.every((field) => field === '' || parsers[dtype](field) === undefined);
}

/** As the first line with data has it. */
function delimiterOf(path: string): string {
  const start = Buffer.alloc(2 ** 16);
  const fd = openSync(path, 'r');
  try {
    const text = start.toString('utf8', 0, readSync(fd, start));
    const first = text.split(/\r?\n/).find((line) => line.trim() !== '' && !line.startsWith('#')) ?? '';
    return ['\t', ';', ',', ' '].find((each) => first.trim().includes(each)) ?? ',';
  } finally {
    closeSync(fd);
  }
}

const pieceLength = 2 ** 16;

/** The elements so far: each goes through an array, which checks it as it checks all. */
class Numbers {
  #rows = 0;
  #columns = 0;
  #filled = 0;
  readonly #pieces: Data[] = [];
  readonly #piece;
  readonly #parse: Parse;

  constructor(
    readonly label: string,
    readonly dtype: DType,
  ) {
    this.#piece = anonymous({ dtype, shape: pieceLength });
    this.#parse = parsers[dtype];
  }

  addRow(fields: readonly string[], line: number): void {
    if (this.#rows === 0) this.#columns = fields.length;
    if (fields.length !== this.#columns) {
      const expected = `${this.#columns} ${this.#columns === 1 ? 'number' : 'numbers'}`;
      throw stateError(
        'ERR_NDSHM_FORMAT',
        `${this.label}, line ${line}: expected ${expected} as before but found ${fields.length}`,
      );
    }
    fields.forEach((field, column) => {
      const value = this.#parse(field);
      const where = () => `${this.label}, line ${line}, column ${column + 1}`;
      if (value === undefined) {
        throw stateError(
          'ERR_NDSHM_FORMAT',
          `${where()}: ${JSON.stringify(field.slice(0, 40))} is not a ${this.dtype}`,
        );
      }
      try {
        this.#piece.set(this.#filled, value);
      } catch (error) {
        const coded = error as CodedError;
        throw Object.assign(coded, { message: `${where()}: ${coded.message}` });
      }
      this.#filled++;
      if (this.#filled === pieceLength) this.#flush();
    });
    this.#rows++;
  }

  #flush(): void {
    const filled = this.#piece.slice(`:${this.#filled}`);
    this.#pieces.push(filled.toTypedArray());
    this.#filled = 0;
  }

  end(): Omit<CsvNumbers, 'header'> {
    this.#flush();
    this.#piece.close();
    return { rows: this.#rows, columns: this.#columns, pieces: this.#pieces };
  }
}

/** Undefined for what is no such number. */
type Parse = (text: string) => number | bigint | boolean | Complex | undefined;

const real = '(?:(?:\\d+\\.?\\d*|\\.\\d+)(?:e[+-]?\\d+)?|nan|inf(?:inity)?)';
const realPattern = new RegExp(`^[+-]?${real}$`, 'i');
const complexPattern = new RegExp(`^\\(?(?:([+-]?${real})(?:([+-]${real})j)?|([+-]?${real})j)\\)?$`, 'i');

function numberIn(text: string): number {
  const value = Number(text);
  if (!Number.isNaN(value) || /nan/i.test(text)) return value;
  return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

const parseInteger: Parse = (text) => (realPattern.test(text) ? numberIn(text) : undefined);
const parseBigInteger: Parse = (text) => (/^[+-]?\d+$/.test(text) ? BigInt(text.replace('+', '')) : undefined);
/** Nothing at all is a missing number. */
const parseFloating: Parse = (text) => (text === '' ? Number.NaN : parseInteger(text));
const parseBoolean: Parse = (text) => booleans[text.toLowerCase()];
const parseComplex: Parse = (text) => {
  const match = complexPattern.exec(text);
  if (match === null) return undefined;
  const [, re = '0', im = '0', onlyIm = im] = match;
  return { re: numberIn(re), im: numberIn(onlyIm) };
};

const booleans: Readonly<Record<string, boolean>> = { '0': false, '1': true, false: false, true: true };

const parsers: Readonly<Record<DType, Parse>> = {
  bool: parseBoolean,
  int8: parseInteger,
  uint8: parseInteger,
  int16: parseInteger,
  uint16: parseInteger,
  int32: parseInteger,
  uint32: parseInteger,
  int64: parseBigInteger,
  uint64: parseBigInteger,
  float16: parseFloating,
  float32: parseFloating,
  float64: parseFloating,
  complex64: parseComplex,
  complex128: parseComplex,
};
