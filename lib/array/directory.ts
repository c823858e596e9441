import { readdirSync } from 'node:fs';
import { binding, type Segment } from '../binding';
import { type CodedError, failureError } from '../errors';
import { booleanOption, checkName, checkOptions, type Mode, modes } from '../options';
import type { DType } from './dtype';
import { kindOfForeign } from './file-kind';
import type { NpyHeader } from './npy';
import { checkExtent, headerOf, isOpened, type OpenedFile, openFile } from './segment-file';
import type { Order } from './shape';

const { layout } = binding;

/** One living attachment of a segment. */
export interface PeerInfo {
  /** Null for peers that may not write; they are counted as one. */
  readonly slot: number | null;
  readonly mode: Mode;
  /** As the peer itself sees it: in another pid namespace the number means another process. */
  readonly pid: number | null;
  readonly tid: number | null;
  readonly attachedAt: Date | null;
}

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
  /** Why the array cannot be opened, if it cannot. */
  readonly problem: { readonly code: string; readonly message: string } | null;
}

type Description = Pick<
  SegmentInfo,
  'kind' | 'dtype' | 'shape' | 'order' | 'nbytes' | 'createdAt' | 'ephemeral' | 'id' | 'peers' | 'problem'
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
    const [flags, createdAtMs, id] = control;
    return {
      ...array,
      kind: 'array',
      createdAt: new Date(createdAtMs),
      ephemeral: (flags & layout.ephemeralFlag) !== 0,
      id,
      peers: peersOf(segment, dataOffset, dataBytes, name),
    };
  } catch (error) {
    const { code, message } = error as CodedError;
    return { ...array, problem: { code, message } };
  }
}

function peersOf(segment: Segment, dataOffset: number, dataBytes: number, name: string): PeerInfo[] {
  const rows = segment.peers(dataOffset, dataBytes);
  if (!Array.isArray(rows)) throw failureError(rows, { directory: layout.directory, name });
  return rows.map(([slot, mode, pid, tid, attachedAtMs]) => ({
    slot: slot < layout.peerSlots ? slot : null,
    mode: modes[mode - 1] ?? 'r',
    pid: pid === 0 ? null : pid,
    tid: tid === 0 ? null : tid,
    attachedAt: attachedAtMs === 0 ? null : new Date(attachedAtMs),
  }));
}

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
    };
  } finally {
    segment.close(null);
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
  /** Also what is of kind 'foreign'. Default false. */
  readonly foreign?: boolean;
}

/** All arrays, tables and tensors in /dev/shm, by name. Reaps what crashes have left before it looks. */
export function list(options?: ListOptions): SegmentInfo[] {
  const { foreign } = checkOptions(options, ['foreign'], 'list()');
  const all = booleanOption(foreign, 'foreign');
  gc();
  const found: SegmentInfo[] = [];
  for (const name of names()) {
    let info: SegmentInfo;
    try {
      info = inspectName(name);
    } catch {
      continue; // gone since we looked, not a regular file, or not ours to read
    }
    if (all || info.kind !== 'foreign') found.push(info);
  }
  return found;
}

// Regular files only: opening a FIFO, even to look at it, wakes whoever waits at its other end.
function names(): string[] {
  const entries = readdirSync(layout.directory, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isFile() ? [entry.name] : [])).sort();
}

/**
 * Removes what crashes have left: ephemeral segments without a living peer, and replacements that never got their
 * name. Returns the names removed. Never touches a segment with a living peer, or one that is not ephemeral.
 */
export function gc(): string[] {
  return names().filter(reap);
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
