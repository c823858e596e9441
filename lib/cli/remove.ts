import { readdirSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { binding } from '../binding';
import { type CodedError, stateError } from '../errors';
import { ArrayTable, gc, list, type PrimitiveInfo, type SegmentInfo, Store, stat, unlink } from '../index';
import { matching, statNamed } from './names';
import { type FileUser, type Usage, usage } from './processes';
import { type Segment, withPrimitive } from './segments';
import { countInWords, printable } from './words';

// What may be removed, and how: for `rm`, and for the page of `serve`.

const { directory } = binding.layout;

export interface RemoveOptions {
  /** Though it is in use: whoever uses it keeps it, without a name. Default false. */
  readonly force?: boolean;
  /** Only say what would be removed; refuses what would be refused. Default false. */
  readonly dryRun?: boolean;
  /** For several names: as the processes were a moment ago. Default: looks now. */
  readonly processes?: Usage;
}

export interface Removed {
  readonly name: string;
  /** What went with it: a store's pages, a table's arrays. */
  readonly members: readonly string[];
  /** Of memory. Free when the last of the users has closed it. */
  readonly bytes: number;
  /** The visible processes that still have it. */
  readonly users: readonly number[];
}

/**
 * Removes what is under exactly this name: a store or table with all that belongs to it. Blocks for up to some seconds if
 * a process was stopped inside a store's lock.
 * Errors: ENOENT; EBUSY if somebody uses it (a peer of this process counts, too); EPERM if it is part of something else, as a
 * store's pages, or another user's; EACCES; ERR_NDSHM_BUSY if the name means another segment by now.
 */
export function remove(given: string, options: RemoveOptions = {}): Removed {
  const { force = false, dryRun = false, processes = usage() } = options;
  const segment = withPrimitive(statNamed(given));
  const { name } = segment;
  const members = membersOf(segment);
  const all = [segment, ...members];
  refuseMember(segment);
  refuseForeign(segment);
  const users = usersOf(all, processes);
  if (!force) refuseUsed(name, all, users);
  if (!dryRun) {
    end(segment);
    endMembers(members);
  }
  return {
    name,
    members: members.map((member) => member.name),
    bytes: all.reduce((bytes, { allocatedBytes }) => bytes + allocatedBytes, 0),
    users: users.map(({ pid }) => pid),
  };
}

/**
 * The names that a pattern of rm means. Never foreign files, nor what is being moved to its name, nor members, which go with
 * what they are part of, nor anything of another user.
 */
export function removable(pattern: string): string[] {
  const me = process.geteuid?.();
  const own = list({ leftovers: true }).filter(
    ({ kind, memberOf, uid }) => kind !== 'temporary' && memberOf === null && uid === me,
  );
  return matching(
    pattern,
    own.map(({ name }) => name),
  );
}

/** Of the same user: anybody can make a file that says it is a member. */
function membersOf({ name, uid }: SegmentInfo): SegmentInfo[] {
  return readdirSync(directory)
    .filter((each) => each.startsWith(`${name}.`))
    .flatMap((each) => statIfThere(each) ?? [])
    .filter((each) => each.memberOf === name && each.uid === uid);
}

function statIfThere(name: string): SegmentInfo | undefined {
  try {
    return stat(name);
  } catch {
    return undefined; // gone since it was listed, or nothing that could be a member
  }
}

// ---- what is refused ----

const refusal = (code: string, message: string): CodedError => Object.assign(new Error(message), { code });

function refuseMember({ name, memberOf, leftover }: SegmentInfo): void {
  if (memberOf === null || leftover || statIfThere(memberOf) === undefined) return;
  throw refusal('EPERM', `'${name}' is a part of '${memberOf}', and goes with it alone`);
}

/** Before anything is begun: a store is ended for everybody before its name is taken away. */
function refuseForeign({ name, uid }: SegmentInfo): void {
  const me = process.geteuid?.();
  const folder = statSync(directory);
  const isSticky = (folder.mode & 0o1000) !== 0;
  if (me === 0 || me === uid || me === folder.uid || !isSticky) return;
  throw refusal('EPERM', `'${printable(name)}' belongs to another user (uid ${uid}), who alone may remove it, or root`);
}

function usersOf(segments: readonly SegmentInfo[], processes: Usage): FileUser[] {
  const users = segments.flatMap(({ name }) => processes.of(name));
  return [...new Map(users.map((user) => [user.pid, user])).values()];
}

const mostTold = 3;

function refuseUsed(name: string, segments: readonly SegmentInfo[], users: readonly FileUser[]): void {
  const peers = segments.reduce((count, segment) => count + segment.peers.length, 0);
  if (peers === 0 && users.length === 0) return;
  const told = users.slice(0, mostTold).map(({ pid, command }) => `${pid} (${printable(command ?? '?').slice(0, 40)})`);
  const more = users.length > mostTold ? ` and ${users.length - mostTold} more` : '';
  const who =
    users.length > 0
      ? `${told.join(', ')}${more}`
      : `${countInWords(peers, 'peer')} in processes that cannot be seen from here`;
  throw refusal('EBUSY', `'${printable(name)}' is in use by ${who}`);
}

// ---- how it is removed ----

function end(segment: Segment): void {
  const { primitive } = segment;
  const hasMembers = primitive?.kind === 'Store' || primitive?.kind === 'ArrayTable';
  if (hasMembers && endForAll(segment, primitive)) return;
  refuseSuccessor(segment);
  unlinkName(segment.name);
}

/** Nobody has asked who uses what has come under the name since. */
function refuseSuccessor({ name, id }: SegmentInfo): void {
  const found = statIfThere(name);
  if (id === null || found === undefined || found.id === id) return;
  throw stateError('ERR_NDSHM_BUSY', `'${name}' has just been replaced by another segment; try again`);
}

/**
 * Tells its processes that it has ended. False if its words are damaged, or their lock is not to be had: then the names
 * alone can be taken away. Should it be gone by now, what this makes is gone at once.
 */
function endForAll(segment: SegmentInfo, { kind, facts }: PrimitiveInfo): boolean {
  const { name } = segment;
  try {
    const whole =
      kind === 'Store'
        ? Store.open(name, { allowForeignOwner: true, capacity: facts['capacityBytes'] as number })
        : ArrayTable.open(name, { allowForeignOwner: true, ephemeral: true });
    try {
      // What this has made itself nobody else has.
      if (stat(name).peers.length > 1) refuseSuccessor(segment);
      whole.unlink();
    } finally {
      whole.close();
    }
    return true;
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM', 'ERR_NDSHM_BUSY'].includes((error as CodedError).code)) throw error;
    return false;
  }
}

function unlinkName(name: string): void {
  try {
    unlink(name);
  } catch (error) {
    // Others choose names that ndshm does not allow.
    if ((error as CodedError).code !== 'ERR_NDSHM_INVALID_NAME') throw error;
    unlinkSync(join(directory, name));
  }
}

/** Those that have not gone with the whole: it was damaged, or they are in use. */
function endMembers(members: readonly SegmentInfo[]): void {
  const isThere = ({ name, id }: SegmentInfo) => statIfThere(name)?.id === id;
  // They are orphans. By this alone a store's folder on disk goes, too.
  if (members.some(isThere)) gc();
  for (const { name } of members.filter(isThere)) unlinkName(name);
}
