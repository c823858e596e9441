import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { binding } from '../binding';
import { type CodedError, failureError } from '../errors';
import { booleanOption, checkName, checkOptions } from '../options';
import type { DType } from './dtype';
import { kindOfForeign } from './file-kind';
import type { NpyHeader } from './npy';
import { type LockState, lockAndPeers, type PeerInfo } from './peers';
import { checkExtent, headerOf, isOpened, type OpenedFile, openFile } from './segment-file';
import type { Order } from './shape';

const { layout } = binding;

export interface SegmentInfo {
  readonly name: string;
  /**
   * 'array': made by ndshm. 'npy': a plain .npy file. 'table': an Arrow file, 'tensors': a safetensors file, as far as their
   * first bytes tell. 'temporary': a replacement on its way to its name, or what a crash on that way has left. 'foreign':
   * anything else.
   */
  readonly kind: 'array' | 'npy' | 'table' | 'tensors' | 'temporary' | 'foreign';
  readonly dtype: DType | null;
  readonly shape: readonly number[] | null;
  readonly order: Order | null;
  /** Bytes of the elements. */
  readonly nbytes: number | null;
  /** Length of the file, and how many bytes of memory it occupies. */
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  readonly uid: number;
  /** Permission bits, as in chmod. */
  readonly permissions: number;
  readonly modifiedAt: Date;
  readonly createdAt: Date | null;
  readonly ephemeral: boolean;
  /** Random id of the segment; another one after each replacement. */
  readonly id: string | null;
  readonly peers: readonly PeerInfo[];
  /** Null for what has no lock: files that are not of ndshm's making. */
  readonly lock: LockState | null;
  /** The segment that this one belongs to and is removed with, as a store's pages are; by name. */
  readonly memberOf: string | null;
  /** Left by a crash: gc() would remove it. */
  readonly leftover: boolean;
  /** Why the array cannot be opened, if it cannot. */
  readonly problem: { readonly code: string; readonly message: string } | null;
}

type Description = Pick<
  SegmentInfo,
  | 'kind'
  | 'dtype'
  | 'shape'
  | 'order'
  | 'nbytes'
  | 'createdAt'
  | 'ephemeral'
  | 'id'
  | 'peers'
  | 'lock'
  | 'memberOf'
  | 'problem'
>;

const nothing: Description = {
  kind: 'foreign',
  dtype: null,
  shape: null,
  order: null,
  nbytes: null,
  createdAt: null,
  ephemeral: false,
  id: null,
  peers: [],
  lock: null,
  memberOf: null,
  problem: null,
};

function describe(file: OpenedFile, name: string): Description {
  const { segment } = file;
  let header: NpyHeader;
  try {
    header = headerOf(file, name);
  } catch (error) {
    // Whatever does not begin like an .npy file is somebody else's business, not a problem.
    const { code, message } = error as CodedError;
    return file.start.toString('latin1', 0, 6) === '\x93NUMPY'
      ? { ...nothing, kind: 'npy', problem: { code, message } }
      : { ...nothing, kind: kindOfForeign(file.start, file.facts.size) };
  }
  const { spec, shape, order, dataOffset, dataBytes } = header;
  const array = { ...nothing, kind: 'npy' as const, dtype: spec.name, shape, order, nbytes: dataBytes };
  try {
    checkExtent(name, spec, dataOffset, dataBytes, file.facts.size);
    const control = segment.control(dataOffset, dataBytes);
    if (control === undefined) return array;
    if ('status' in control) throw failureError(control, { directory: layout.directory, name });
    const [flags, createdAtMs, id, parentId] = control;
    return {
      ...array,
      kind: 'array',
      createdAt: new Date(createdAtMs),
      ephemeral: (flags & layout.ephemeralFlag) !== 0,
      id,
      memberOf: parentId === null ? null : parentOf(name),
      ...lockAndPeers(segment, dataOffset, dataBytes, name),
    };
  } catch (error) {
    const { code, message } = error as CodedError;
    return { ...array, problem: { code, message } };
  }
}

/** A member's name is its parent's and two components more, each with its dot. */
const parentOf = (name: string): string => name.split('.').slice(0, -2).join('.');

function inspectName(name: string): SegmentInfo {
  const file = openFile(name, false);
  if (!isOpened(file)) throw failureError(file, { directory: layout.directory, name });
  const { segment, facts } = file;
  try {
    const description = describe(file, name);
    return {
      name,
      ...description,
      kind: name.startsWith(layout.temporaryPrefix) ? 'temporary' : description.kind,
      fileBytes: facts.size,
      allocatedBytes: facts.allocatedBytes,
      uid: facts.owner,
      permissions: facts.permissions,
      modifiedAt: new Date(facts.modifiedAtMs),
      leftover: isLeftover(name),
    };
  } finally {
    segment.close(null);
  }
}

const isLeftover = (name: string): boolean => binding.isLeftover(name) === true;

/** What everybody may know of a file that is not ours to read. */
function outsideOf(name: string, { code, message }: CodedError): SegmentInfo | undefined {
  try {
    const { size, blocks, uid, mode, mtime } = lstatSync(join(layout.directory, name));
    return {
      name,
      ...nothing,
      fileBytes: size,
      allocatedBytes: 512 * blocks,
      uid,
      permissions: mode & 0o7777,
      modifiedAt: mtime,
      leftover: false,
      problem: { code, message },
    };
  } catch {
    return undefined; // gone since we looked
  }
}

/**
 * What is under this name: kind, dtype, shape, size, owner, living peers. Attaches nothing and disturbs nobody.
 * Errors: ENOENT, EACCES, ERR_NDSHM_INVALID_NAME.
 */
export function stat(name: string): SegmentInfo {
  return inspectName(checkName(name));
}

export interface ListOptions {
  /** Also what is of kind 'foreign', and what may not be read. Default false. */
  readonly foreign?: boolean;
  /** Also what crashes have left, which is removed otherwise. Default false. */
  readonly leftovers?: boolean;
}

/** All arrays, tables and tensors in /dev/shm, by name. Reaps what crashes have left before it looks. */
export function list(options?: ListOptions): SegmentInfo[] {
  const { foreign, leftovers } = checkOptions(options, ['foreign', 'leftovers'], 'list()');
  const all = booleanOption(foreign, 'foreign');
  if (!booleanOption(leftovers, 'leftovers')) gc();
  const found: SegmentInfo[] = [];
  for (const name of names()) {
    let info: SegmentInfo | undefined;
    try {
      info = inspectName(name);
    } catch (error) {
      // Otherwise gone since we looked, or not a regular file any more.
      if ((error as CodedError).code === 'EACCES') info = outsideOf(name, error as CodedError);
    }
    if (info !== undefined && (all || info.kind !== 'foreign')) found.push(info);
  }
  return found;
}

// Regular files only: opening a FIFO, even to look at it, wakes whoever waits at its other end.
function names(): string[] {
  const entries = readdirSync(layout.directory, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isFile() ? [entry.name] : [])).sort();
}

export interface GcOptions {
  /** Only say what would be removed. Default false. */
  readonly dryRun?: boolean;
}

/**
 * Removes what crashes have left: ephemeral segments without a living peer, and replacements that never got their
 * name. Returns the names removed. Never touches a segment with a living peer, or one that is not ephemeral.
 */
export function gc(options?: GcOptions): string[] {
  const { dryRun } = checkOptions(options, ['dryRun'], 'gc()');
  return names().filter(booleanOption(dryRun, 'dryRun') ? isLeftover : reap);
}

/** Looks at what may be reaped; what it returns runs if it was. */
type BeforeReaping = (name: string) => (() => void) | undefined;
const lookers: BeforeReaping[] = [];
/** For what a segment has outside of shared memory. */
export function beforeReaping(look: BeforeReaping): void {
  lookers.push(look);
}

/** Removes one of the names that gc() removes; whether it was one. */
export function reap(name: string): boolean {
  const after = lookers.map((look) => look(name));
  if (binding.reap(name) !== true) return false;
  for (const each of after) each?.();
  return true;
}

/** Removes what belonged to a segment, if that is gone and nobody has it open. */
export function reapMembers(name: string): void {
  for (const member of names()) if (member.startsWith(`${name}.`)) reap(member);
}

let reaped = false;
/** gc(), the first time that this process (or thread) makes something. */
export function reapOnce(): void {
  if (reaped) return;
  reaped = true;
  try {
    gc();
  } catch {
    // Not allowed to read the folder (Deno, Node's permission model): somebody else will reap.
  }
}

/**
 * Removes the name. Whoever has the array open keeps it; the memory is free when the last one has closed it.
 * Errors: ENOENT, EACCES, EPERM.
 */
export function unlink(name: string): void {
  const failure = binding.unlink(checkName(name));
  if (failure !== undefined) throw failureError(failure, { directory: layout.directory, name });
}
