import { type Command, Option } from 'commander';
import { type CodedError, stateError, typeError } from '../errors';
import {
  type DType,
  dtypes,
  open,
  openRaw,
  openTensors,
  type SegmentInfo,
  type SharedArray,
  type SliceItem,
} from '../index';
import { statNamed } from './names';
import { numberFrom, wholeNumberFrom } from './options';

export interface ReadOptions {
  /** Which one, if the segment is a file of tensors. */
  readonly tensor?: string;
  /** How long to look for a moment in which nobody writes, in seconds. Default 1. */
  readonly timeout?: number;
  readonly allowForeignOwner?: boolean;
  /** For raw memory: what it is to be read as. */
  readonly dtype?: DType;
  readonly shape?: readonly number[];
  /** Where the elements begin, in bytes. Default 0. */
  readonly offset?: number;
}

/** The options of every command that reads an array. */
export function addReadOptions(command: Command): Command {
  return command
    .option('--tensor <name>', 'which tensor, of a segment that has several')
    .addOption(
      new Option('--timeout <seconds>', 'how long to look for a moment in which nobody writes')
        .argParser(numberFrom(0))
        .default(1),
    )
    .option('--allow-foreign-owner', "read another user's array")
    .addOption(new Option('--dtype <dtype>', 'read raw memory, as elements of this dtype').choices(dtypes))
    .option('--shape <lengths>', "of raw memory: '100,3'", parseShape)
    .option('--offset <bytes>', 'of raw memory: where the elements begin', wholeNumberFrom(0));
}

/** '100,3', '100x3', '(100, 3)'. */
export function parseShape(text: string): number[] {
  const inside = text.replace(/^\s*[([](.*)[)\]]\s*$/, '$1').replace(/,\s*$/, '');
  return inside.split(/\s*[,x]\s*/).map((length) => wholeNumberFrom(0)(length.trim()));
}

export interface Reading<T> {
  readonly value: T;
  /** Whether it is from a moment in which nobody was writing. Null if that cannot be known: there is no lock. */
  readonly consistent: boolean | null;
  /** What people should know about it. */
  readonly warning: string | null;
}

/**
 * Has a function read an array, or a part of it, which it gets in mode 'r' and only for as long as it runs. It may run
 * several times, until no writer was inside meanwhile. No lock is taken; the array is attached while this goes on.
 * Errors: those of statNamed(), open() and slice(), and what `read` throws.
 */
export async function readArray<T>(
  name: string,
  slice: readonly SliceItem[],
  options: ReadOptions,
  read: (part: SharedArray) => T,
): Promise<Reading<T>> {
  const opened = openOrExplain(statNamed(name), options);
  try {
    const part = opened.array.slice(...slice);
    return await readWhole(part, 1000 * (options.timeout ?? 1), read);
  } finally {
    opened.close();
  }
}

interface Opened {
  readonly array: SharedArray;
  close(): void;
}

function openOrExplain(info: SegmentInfo, options: ReadOptions): Opened {
  try {
    return openNamed(info, options);
  } catch (error) {
    if ((error as CodedError).code !== 'ERR_NDSHM_FOREIGN_OWNER') throw error;
    throw stateError(
      'ERR_NDSHM_FOREIGN_OWNER',
      `'${info.name}' belongs to another user; --allow-foreign-owner reads it all the same`,
    );
  }
}

function openNamed({ name, kind, problem }: SegmentInfo, options: ReadOptions): Opened {
  const { tensor, allowForeignOwner = false, dtype, shape, offset } = options;
  if (dtype !== undefined) {
    const rest = { ...(shape === undefined ? {} : { shape }), ...(offset === undefined ? {} : { byteOffset: offset }) };
    return closing(openRaw(name, { allowForeignOwner, dtype, ...rest }));
  }
  if (kind === 'tensors') {
    if (tensor === undefined) throw whichTensor(name, allowForeignOwner);
    const file = openTensors(name, { allowForeignOwner, names: [tensor] });
    return { array: file.tensors[tensor] as SharedArray, close: () => file.close() };
  }
  if (kind === 'table') {
    throw typeError('ERR_NDSHM_INVALID_ARGUMENT', `'${name}' is an Arrow table, not an array; ndshm print shows it`);
  }
  if (tensor !== undefined) throw typeError('ERR_NDSHM_INVALID_ARGUMENT', `'${name}' is no file of tensors`);
  if (kind === 'foreign') {
    if (problem !== null) throw Object.assign(new Error(problem.message), { code: problem.code });
    throw typeError(
      'ERR_NDSHM_HEADER',
      `'${name}' is no array; --dtype (with --shape and --offset) reads it as raw memory`,
    );
  }
  return closing(open(name, { allowForeignOwner }));
}

const closing = (array: SharedArray): Opened => ({ array, close: () => array.close() });

function whichTensor(name: string, allowForeignOwner: boolean): Error {
  const file = openTensors(name, { allowForeignOwner, names: [] });
  const known = file.names.slice(0, 10).join(', ') + (file.names.length > 10 ? ', …' : '');
  file.close();
  return typeError('ERR_NDSHM_INVALID_ARGUMENT', `'${name}' holds several tensors; say which by --tensor: ${known}`);
}

async function readWhole<T>(part: SharedArray, timeoutMs: number, read: (part: SharedArray) => T): Promise<Reading<T>> {
  let last: { value: T } | undefined;
  const readOnce = (): T => {
    last = undefined;
    const value = read(part);
    last = { value };
    return value;
  };
  try {
    return { value: await part.snapshot(readOnce, { timeoutMs }), consistent: true, warning: null };
  } catch (error) {
    const { code } = error as CodedError;
    const said = warnings[code];
    if (said === undefined) throw error;
    return { value: last === undefined ? read(part) : last.value, ...said };
  }
}

type Judgement = Omit<Reading<unknown>, 'value'>;
const withoutLock: Judgement = { consistent: null, warning: null };

/** The failures of a snapshot that leave us with what is there. */
const warnings: Readonly<Record<string, Judgement>> = {
  ERR_NDSHM_NO_CONTROL: withoutLock,
  ERR_NDSHM_ANONYMOUS: withoutLock, // a tensor
  ERR_NDSHM_TIMEOUT: {
    consistent: false,
    warning: 'it was being written all the time (--timeout), so this may be of several moments',
  },
  ERR_NDSHM_ABANDONED: {
    consistent: false,
    warning: 'a process died while it was writing it, so this may be half-written',
  },
};
