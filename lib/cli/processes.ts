import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { binding } from '../binding';
import type { Mode, PeerInfo } from '../index';

// Who uses a file of /dev/shm, by what the kernel tells in /proc: also those who are no peers, as numpy with a memmap.

const { directory } = binding.layout;

export interface FileUser {
  readonly pid: number;
  /** As the process sees it: another number if it is in a pid namespace of its own, as in a container. */
  readonly ownPid: number;
  readonly command: string | null;
  readonly how: 'mapped' | 'open';
  readonly mode: Mode;
}

export interface Usage {
  /** Every visible process but this one that has this very file mapped or open, be it a peer or not. */
  of(name: string): FileUser[];
  /** How many processes may not be looked into: other users'. */
  readonly hidden: number;
}

/** The command line of a process; null if there is none with this pid. */
export function commandOf(pid: number): string | null {
  const line = contentOf(pid, 'cmdline')?.replaceAll('\0', ' ').trim();
  // Empty for zombies and the kernel's own.
  return line === '' ? `[${contentOf(pid, 'comm')?.trim() ?? ''}]` : (line ?? null);
}

/** As usage().of(name). For several names one usage() is cheaper. */
export const usersOf = (name: string): FileUser[] => usage().of(name);

/** The process of a peer among the users of its segment; undefined if it cannot be told for certain. */
export function processOf({ pid }: PeerInfo, users: readonly FileUser[]): FileUser | undefined {
  const [first, ...others] = users.filter(({ ownPid }) => ownPid === pid);
  return others.length === 0 ? first : undefined;
}

type Use = Pick<FileUser, 'how' | 'mode'>;

/** Looks through all processes, once. What comes and goes meanwhile may be missed. */
export function usage(): Usage {
  const { dev } = statSync(directory);
  const byInode = new Map<number, FileUser[]>();
  let hidden = 0;
  for (const pid of pids()) {
    const uses = usesBy(pid, dev);
    if (uses === undefined && contentOf(pid, 'cmdline')) hidden += 1;
    for (const [inode, use] of uses ?? []) {
      const user = { pid, ownPid: ownPidOf(pid), command: commandOf(pid), ...use };
      byInode.set(inode, [...(byInode.get(inode) ?? []), user]);
    }
  }
  return {
    of(name) {
      const inode = lstatSync(join(directory, name), { throwIfNoEntry: false })?.ino;
      return inode === undefined ? [] : (byInode.get(inode) ?? []);
    },
    hidden,
  };
}

const pids = (): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid);

/** The files of a device that a process uses, by inode; undefined if it may not be looked into, or is gone. */
function usesBy(pid: number, device: number): Map<number, Use> | undefined {
  const maps = contentOf(pid, 'maps');
  if (maps === undefined) return undefined;
  const uses = new Map<number, Use>();
  for (const [inode, mode] of openFilesOf(pid, device)) uses.set(inode, { how: 'open', mode });
  for (const [inode, mode] of mappingsIn(maps, device)) {
    const known = uses.get(inode);
    const keeps = known?.how === 'mapped' && strength(known.mode) >= strength(mode);
    if (!keeps) uses.set(inode, { how: 'mapped', mode });
  }
  return uses;
}

const strength = (mode: Mode): number => ['r', 'c', 'r+'].indexOf(mode);

function* mappingsIn(maps: string, device: number): Generator<[inode: number, mode: Mode]> {
  // proc(5): address, permissions, offset, device, inode. The device as makedev(3) makes it.
  const major = ((device >>> 8) & 0xfff).toString(16).padStart(2, '0');
  const minor = ((device & 0xff) | ((device >>> 12) & 0xfff00)).toString(16).padStart(2, '0');
  const line = new RegExp(`^\\S+ .(.).(.) \\S+ ${major}:${minor} (\\d+)`, 'gm');
  for (const [, write, sharing, inode] of maps.matchAll(line)) {
    yield [Number(inode), write !== 'w' ? 'r' : sharing === 's' ? 'r+' : 'c'];
  }
}

function* openFilesOf(pid: number, device: number): Generator<[inode: number, mode: Mode]> {
  for (const fd of descriptorsOf(pid)) {
    const file = fileBehind(`/proc/${pid}/fd/${fd}`);
    if (file?.dev !== device) continue;
    // In octal; the lowest two bits are how it was opened: 0 = for reading.
    const flags = /^flags:\s*(\d+)/m.exec(contentOf(pid, `fdinfo/${fd}`) ?? '')?.[1];
    yield [file.ino, Number.parseInt(flags ?? '0', 8) % 4 === 0 ? 'r' : 'r+'];
  }
}

function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    return []; // gone meanwhile
  }
}

function fileBehind(link: string): Stats | undefined {
  try {
    // No other files: one on a network that is gone would keep us waiting. Which of them it is the path does not tell:
    // what was made without a name shows none for ever. (Where it is mounted elsewhere, mappings tell.)
    return readlinkSync(link).startsWith(directory) ? statSync(link) : undefined;
  } catch {
    return undefined;
  }
}

/** The last of its pids, which go from our namespace to its own. */
const ownPidOf = (pid: number): number => Number(/^NSpid:.*\t(\d+)$/m.exec(contentOf(pid, 'status') ?? '')?.[1] ?? pid);

function contentOf(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined; // not ours to read, or gone
  }
}
