import { closeSync, createWriteStream, fstatSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Command, Option } from 'commander';
import { rangeError, stateError } from '../../errors';
import { anonymous, create, type DType, dtypes, load, type OnProgress, type SharedArray, stat } from '../../index';
import { readCsv } from '../csv-numbers';
import { addFormatOptions, type Format, type FormatOptions, formatOf } from '../formats';
import { Misuse, type OutputOptions, print } from '../output';
import { withProgress } from '../progress';
import { parseShape } from '../read-array';
import { shapeInWords } from '../segments';
import { bytesInWords, printable } from '../words';

interface LoadOptions extends OutputOptions, FormatOptions {
  readonly dtype?: DType;
  readonly shape?: readonly number[];
  readonly header?: boolean;
  readonly ifExists: 'fail' | 'replace';
}

export function define(command: Command): void {
  addFormatOptions(
    command.argument('<file>', "'-': standard input").argument('<name>'),
    "tab, ';', ',' or ' ', as it is found",
  )
    .addOption(new Option('--dtype <dtype>', 'of raw elements, and of csv (default: float64)').choices(dtypes))
    .option('--shape <lengths>', "of raw elements: '100,3' (default: one axis)", parseShape)
    .option('--header', 'of csv: the first row is a header (default: if there is no number in it)')
    .option('--no-header', 'of csv: the first row is data')
    .addOption(
      new Option('--if-exists <what>', "'replace' swaps the array atomically")
        .choices(['fail', 'replace'])
        .default('fail'),
    )
    .addHelpText(
      'after',
      `
The array appears under its name when it is complete, and stays until ndshm rm removes it.`,
    )
    .action(loadFile);
}

async function loadFile(file: string, name: string, options: LoadOptions): Promise<void> {
  const format = formatOf(file, options);
  if (format === 'npy' && (options.dtype ?? options.shape) !== undefined) {
    throw new Misuse('An npy file says itself which --dtype and --shape it has');
  }
  if (format === 'raw' && options.dtype === undefined) throw new Misuse('Raw elements need a --dtype');
  if (options.ifExists === 'fail') refuseExisting(name);
  const { array, header } = await withFile(file, (source) => loaders[format](source, name, options));
  const { dtype, shape, nbytes } = array;
  array.close();
  print(options, { name, file, dtype, shape, nbytes, header }, () => {
    const columns = header === null ? '' : `; columns: ${header.map(printable).join(', ')}`;
    return `Loaded ${file} as ${name}, ${dtype} ${shapeInWords(shape)}, ${bytesInWords(nbytes)}${columns}`;
  });
}

/** create() would find out too, but only after a long file has been read. */
function refuseExisting(name: string): void {
  try {
    stat(name);
  } catch {
    return; // not there, or create() says what is wrong
  }
  throw Object.assign(new Error(`'${name}' exists already; --if-exists replace swaps it`), { code: 'EEXIST' });
}

/** What comes through standard input is kept in a file for as long as it is read: its size has to be known. */
async function withFile<T>(file: string, read: (source: Source) => Promise<T>): Promise<T> {
  if (file !== '-') return read({ path: file, label: file });
  const folder = mkdtempSync(join(tmpdir(), 'ndshm-load-'));
  const path = join(folder, 'input');
  try {
    await pipeline(process.stdin, createWriteStream(path));
    return await read({ path, label: 'standard input' });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Source {
  readonly path: string;
  /** For messages. */
  readonly label: string;
}

interface Loaded {
  readonly array: SharedArray;
  /** Names of the columns, as a csv file may have them. */
  readonly header: readonly string[] | null;
}

type Load = (source: Source, name: string, options: LoadOptions) => Promise<Loaded>;

const loaders: Readonly<Record<Format, Load>> = { npy: loadNpy, raw: loadRaw, csv: loadCsv };

const publishing = ({ ifExists }: LoadOptions) => ({ ifExists: ifExists === 'replace' ? 'replace' : 'error' }) as const;

async function loadNpy({ path }: Source, name: string, options: LoadOptions): Promise<Loaded> {
  const array = withProgress(`Loading ${name} (MiB)`, statSync(path).size, (onProgress) =>
    load(name, path, { ...publishing(options), ...(onProgress === undefined ? {} : { onProgress }) }),
  );
  return { array, header: null };
}

async function loadRaw({ path, label }: Source, name: string, options: LoadOptions): Promise<Loaded> {
  const dtype = options.dtype as DType;
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const shape = shapeOfRaw(label, size, dtype, options.shape);
    const array = withProgress(`Loading ${name} (MiB)`, size, (onProgress) =>
      create(name, { ...publishing(options), dtype, shape, init: ({ data }) => readInto(data, fd, label, onProgress) }),
    );
    return { array, header: null };
  } finally {
    closeSync(fd);
  }
}

function shapeOfRaw(
  label: string,
  size: number,
  dtype: DType,
  asked: readonly number[] | undefined,
): readonly number[] {
  const one = anonymous({ dtype, shape: 1 });
  const { itemsize } = one;
  one.close();
  const shape = asked ?? [Math.floor(size / itemsize)];
  const wanted = shape.reduce((bytes, length) => bytes * length, itemsize);
  if (wanted === size) return shape;
  throw rangeError(
    'ERR_NDSHM_SHAPE',
    `${label} has ${size} bytes, but ${dtype} ${shapeInWords(shape)} takes ${wanted}`,
  );
}

const blockBytes = 16 * 2 ** 20;

function readInto(data: ArrayBufferView, fd: number, label: string, onProgress?: OnProgress): void {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  for (let done = 0; done < bytes.length; ) {
    const count = readSync(fd, bytes, done, Math.min(blockBytes, bytes.length - done), done);
    if (count === 0) throw stateError('ERR_NDSHM_TRUNCATED', `${label} became shorter while it was read`);
    done += count;
    onProgress?.(done, bytes.length);
  }
}

async function loadCsv({ path, label }: Source, name: string, options: LoadOptions): Promise<Loaded> {
  const { dtype = 'float64', shape: asked, delimiter, header: hasHeader } = options;
  if (asked !== undefined) throw new Misuse('A csv file has the shape of its rows; --shape is for raw elements');
  const { rows, columns, pieces, header } = await withProgress(
    `Reading ${label} (MiB)`,
    statSync(path).size,
    (onProgress) => readCsv(path, { label, dtype, delimiter, header: hasHeader, onProgress }),
  );
  if (rows === 0) throw stateError('ERR_NDSHM_FORMAT', `${label} holds no numbers`);
  const array = create(name, {
    ...publishing(options),
    dtype,
    shape: columns === 1 ? [rows] : [rows, columns],
    init({ data }) {
      let at = 0;
      for (const piece of pieces) {
        (data as Float64Array).set(piece as Float64Array, at);
        at += piece.length;
      }
    },
  });
  return { array, header };
}
