import {
  closeSync,
  createWriteStream,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * The path of the regular file that there is, or can be: what may be replaced by a rename. Links are followed. Undefined for
 * '-' (standard output), devices and pipes: these are written to as they are.
 */
export function replaceablePath(path: string): string | undefined {
  if (path === '-') return undefined;
  const found: Stats | undefined = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return path;
  return found.isFile() || found.isDirectory() ? realpathSync(path) : undefined;
}

/** Writes beside the path and renames: nobody sees half a file, and a failure leaves what there was. Blocks. */
export function replaceFile(path: string, chunks: Iterable<Uint8Array>): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const fd = openSync(temporary, 'wx');
  try {
    try {
      for (const chunk of chunks) {
        for (let done = 0; done < chunk.length; ) done += writeSync(fd, chunk, done);
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** To '-' (standard output), a device or a pipe. */
export async function stream(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const from = Readable.from(chunks, { objectMode: false });
  if (path === '-') await pipeline(from, process.stdout, { end: false });
  else await pipeline(from, createWriteStream(path));
}
