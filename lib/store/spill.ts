import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createMember } from '../array/create';
import { beforeReaping, stat } from '../array/directory';
import { type MappedFile, mapFile } from '../array/map-file';
import { describeMember, membership } from '../array/member';
import { isOpened, openFile } from '../array/segment-file';
import type { SharedArray } from '../array/shared-array';
import { binding } from '../binding';
import { failureError, hasErrno, stateError } from '../errors';

// Objects that were put on disk: a folder for each store, a file for each object. The folder's name says which store of
// which /dev/shm of which boot, so that whoever comes later knows whether it is still anybody's.
const folderPattern = /^ndshm-[0-9a-f]{8}-[0-9a-f]+-([0-9a-f]{32})-(.+)$/;
const filePattern = /^\d+\.\d+(\.[0-9a-f]{16})?$/;
const label = 'spill.0';
const sliceBytes = 2 ** 23;
const longestPath = 4096;

function folderName(id: string, name: string): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').slice(0, 8);
  return `ndshm-${boot}-${statSync(binding.layout.directory).dev.toString(16)}-${id}-${name}`;
}

/** Where a store puts the objects that do not fit into memory. */
export class SpillFolder {
  private constructor(readonly path: string) {}

  /** The store's folder, as whoever made the store said; undefined = it has none. */
  static of(parent: SharedArray): SpillFolder | undefined {
    const { name, memberOf } = membership(parent, label);
    const note = readNote(name);
    // What an earlier store of the name has left is not this one's.
    return note?.memberOf === memberOf ? new SpillFolder(note.path) : undefined;
  }

  /** Makes the store's folder in `directory`, and removes what stores that have ended left there. */
  static make(parent: SharedArray, id: string, directory: string): SpillFolder {
    removeOrphans(directory);
    const path = join(directory, folderName(id, parent.name as string));
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const bytes = Buffer.from(path);
    // A member, so that gc() finds the folder when the store has died.
    createMember(parent, label, {
      shape: bytes.length,
      dtype: 'uint8',
      ifExists: 'replace',
      init: (array) => array.copyFrom(bytes),
    }).close();
    return new SpillFolder(path);
  }

  #file(object: number, generation: number): string {
    return join(this.path, `${object}.${generation}`);
  }

  /** Writes to a file that nobody looks for, until keep(); returns its path. */
  *write(object: number, generation: number, bytes: Uint8Array): Generator<void, string> {
    const path = `${this.#file(object, generation)}.${randomBytes(8).toString('hex')}`;
    const fd = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW, 0o600);
    let written = false;
    try {
      for (let at = 0; at < bytes.byteLength; ) {
        if (at > 0) yield;
        at += writeSync(fd, bytes, at, Math.min(sliceBytes, bytes.byteLength - at));
      }
      written = true;
      return path;
    } finally {
      closeSync(fd);
      if (!written) removeFile(path);
    }
  }

  keep(path: string, object: number, generation: number): void {
    renameSync(path, this.#file(object, generation));
  }

  /** The object, mapped from disk: read when it is looked at. */
  map(object: number, generation: number, byteLength: number): MappedFile {
    return mapFile(this.#file(object, generation), byteLength);
  }

  remove(object: number, generation: number): void {
    removeFile(this.#file(object, generation));
  }
}

/** What cannot be removed goes with the folder. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already, or the folder is not what it was: nothing that concerns the store's objects.
  }
}

/** What the member that names the folder says; undefined if there is none. */
function readNote(name: string): { readonly path: string; readonly memberOf: string | null } | undefined {
  const file = openFile(name, false);
  if (!isOpened(file)) {
    if (hasErrno(file, 'ENOENT')) return undefined;
    throw failureError(file, { directory: binding.layout.directory, name });
  }
  try {
    const { header, memberOf } = describeMember(file, name);
    const path = Buffer.alloc(Math.min(header.dataBytes, longestPath));
    file.segment.read(path, header.dataOffset);
    return { path: path.toString(), memberOf };
  } finally {
    file.segment.close(null);
  }
}

/** Only what is named as a store's folder, and in it only what is named as its files: the path may be anybody's words. */
function removeFolder(path: string): void {
  if (!folderPattern.test(path.slice(path.lastIndexOf('/') + 1))) return;
  try {
    for (const file of readdirSync(path)) if (filePattern.test(file)) removeFile(join(path, file));
    rmdirSync(path);
  } catch {
    // Gone, no folder, not ours to remove, or somebody else's things are in it: what cannot be removed is no memory.
  }
}

function removeOrphans(directory: string): void {
  mkdirSync(directory, { recursive: true });
  for (const folder of readdirSync(directory)) {
    const [, id, name] = folderPattern.exec(folder) ?? [];
    if (id === undefined || name === undefined || folder !== folderName(id, name)) continue;
    if (idOf(name) !== id) removeFolder(join(directory, folder));
  }
}

function idOf(name: string): string | null {
  try {
    return stat(name).id;
  } catch {
    return null;
  }
}

beforeReaping((name) => {
  if (!name.endsWith(`.${label}`)) return undefined;
  try {
    const note = readNote(name);
    return note === undefined ? undefined : () => removeFolder(note.path);
  } catch {
    return undefined; // not a member of ours after all
  }
});

export const spillError = (cause: unknown, path: string): Error =>
  Object.assign(
    stateError('ERR_NDSHM_CAPACITY', `The store is full, and cannot spill to '${path}': ${String(cause)}`),
    {
      cause,
    },
  );
