import { bytesInWords } from '../words';
import { type Check, fail, howToEnlarge, ok, warn } from './check';
import type { Folder, Machine } from './machine';

// From linux/magic.h.
const tmpfs = 0x01021994;
const ramfs = 0x858458f6;
const dockersDefault = 64 * 2 ** 20;

/** The folder in which all segments are. */
export function checkSharedMemory(machine: Machine): Check[] {
  const folder = machine.folder('/dev/shm');
  if (folder === null) {
    const advice = '`mount -t tmpfs -o mode=1777 tmpfs /dev/shm`; in a container take a runtime that provides it';
    return [fail('/dev/shm', 'not there', advice)];
  }
  return [kind(folder), size(folder), fill(folder), files(folder), permissions(folder)];
}

function kind({ fileSystem }: Folder): Check {
  if (fileSystem === tmpfs) return ok('/dev/shm', 'a tmpfs');
  if (fileSystem === ramfs) return warn('/dev/shm', 'a ramfs', 'It has no limit: what does not fit ends processes');
  return warn(
    '/dev/shm',
    `not in memory (file system type 0x${fileSystem.toString(16)})`,
    'Arrays would be written to disk: `mount -t tmpfs -o mode=1777 tmpfs /dev/shm`',
  );
}

function size({ totalBytes }: Folder): Check {
  if (totalBytes === 0) return ok('size', 'no limit');
  if (totalBytes > dockersDefault) return ok('size', bytesInWords(totalBytes));
  const found = bytesInWords(totalBytes);
  return warn('size', totalBytes === dockersDefault ? `${found}, Docker's default` : found, howToEnlarge);
}

function fill({ totalBytes, freeBytes }: Folder): Check {
  if (totalBytes === 0) return ok('in use', 'of any amount');
  const used = totalBytes - freeBytes;
  const percent = Math.floor((100 * used) / totalBytes);
  const found = `${bytesInWords(used)} (${percent} %), ${bytesInWords(freeBytes)} free`;
  const advice = '`ndshm ls --sort size` shows what takes the most, `ndshm gc` removes what crashes have left';
  if (freeBytes === 0) return fail('in use', found, advice);
  return percent >= 80 ? warn('in use', found, advice) : ok('in use', found);
}

function files({ totalFiles, freeFiles }: Folder): Check {
  if (totalFiles === 0) return ok('files', 'any number');
  const found = `${totalFiles - freeFiles} of at most ${totalFiles}`;
  const advice = '`ndshm ls` shows what there is; `mount -o remount,nr_inodes=… /dev/shm` allows more';
  if (freeFiles === 0) return fail('files', found, advice);
  return freeFiles < totalFiles / 10 ? warn('files', found, advice) : ok('files', found);
}

function permissions({ permissions, refusal }: Folder): Check {
  const bits = permissions.toString(8);
  if (refusal === 'EROFS') {
    return fail(
      'permissions',
      'mounted read-only',
      '`mount -o remount,rw /dev/shm`; containers: no read-only volume there',
    );
  }
  if (refusal !== null) {
    return fail('permissions', `${bits}: this user may not make segments (${refusal})`, '`chmod 1777 /dev/shm`');
  }
  const open = (permissions & 0o002) !== 0;
  if (open && (permissions & 0o1000) === 0) {
    return warn(
      'permissions',
      `${bits}: not sticky`,
      "Any user may remove any other user's segments: `chmod 1777 /dev/shm`",
    );
  }
  return ok('permissions', `${bits}: ${open ? 'every user' : 'this user'} may make segments`);
}
