import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { stateError, typeError, wrongKind } from '../errors';
import { checkOptions } from '../options';
import { create, type PublishOptions } from './create';
import { formatHeader, headerExtent, maxHeaderBytes, type NpyHeader, parseHeader } from './npy';
import { open } from './open';
import { SharedArray } from './shared-array';

/** Called with bytes done and bytes in all, at the start, about every 64 MiB, and at the end. */
export type OnProgress = (doneBytes: number, totalBytes: number) => void;

export interface LoadOptions extends PublishOptions {
  readonly onProgress?: OnProgress;
}

const blockBytes = 64 * 2 ** 20;

/**
 * Creates an array from an .npy file on disk; complete before it has its name. Returns it in mode 'r+'. Blocks while
 * it reads. Errors: the file system's, ERR_NDSHM_HEADER, ERR_NDSHM_TRUNCATED, and those of create().
 * @example
 * ndshm.fromArray('digits', [3, 1, 4]).close();
 * ndshm.save('digits', 'digits.npy');
 * ndshm.load('digits', 'digits.npy', { ifExists: 'replace' }).close();
 * ndshm.unlink('digits');
 */
export function load(name: string, path: string | URL, options?: LoadOptions): SharedArray {
  const { onProgress, ...publishOptions } = checkOptions(
    options,
    ['onProgress', 'ifExists', 'ephemeral', 'allowForeignOwner'],
    'load()',
  );
  checkProgress(onProgress);
  const fd = openSync(path, 'r');
  try {
    const header = readFileHeader(fd, String(path));
    const { spec, shape, order, dataOffset, dataBytes } = header;
    return create(name, {
      ...publishOptions,
      shape,
      order,
      dtype: spec.name,
      init(array) {
        const { data } = array;
        const bytes = new Uint8Array(data.buffer, data.byteOffset, dataBytes);
        onProgress?.(0, dataBytes);
        for (let done = 0; done < dataBytes; ) {
          const count = readSync(fd, bytes, done, Math.min(blockBytes, dataBytes - done), dataOffset + done);
          if (count === 0) throw stateError('ERR_NDSHM_TRUNCATED', `${String(path)} became shorter while it was read`);
          done += count;
          onProgress?.(done, dataBytes);
        }
      },
    });
  } finally {
    closeSync(fd);
  }
}

function readFileHeader(fd: number, path: string): NpyHeader {
  const start = Buffer.alloc(maxHeaderBytes + 12);
  const bytes = start.subarray(0, readSync(fd, start, 0, start.length, 0));
  const header = parseHeader(bytes, headerExtent(bytes, path), path);
  const { size } = fstatSync(fd);
  if (header.dataOffset + header.dataBytes > size) {
    throw stateError(
      'ERR_NDSHM_TRUNCATED',
      `${path} is ${size} bytes long, but its elements would reach to byte ${header.dataOffset + header.dataBytes}`,
    );
  }
  return header;
}

export interface SaveOptions {
  readonly onProgress?: OnProgress;
}

/**
 * Writes an array, given by name or as it is, to an .npy file on disk. Written beside the target and renamed over it:
 * the file is never half there; links are followed. Fortran order is kept; views with gaps are written in C order. Blocks
 * while it writes. Errors: the file system's, ERR_NDSHM_INVALID_ARGUMENT for a device or pipe, and those of open().
 */
export function save(source: string | SharedArray, path: string, options?: SaveOptions): void {
  const { onProgress } = checkOptions(options, ['onProgress'], 'save()');
  checkProgress(onProgress);
  if (typeof path !== 'string') throw wrongKind('a path', 'save()', path);
  if (typeof source === 'string') {
    const array = open(source);
    try {
      save(array, path, options);
      return;
    } finally {
      array.close();
    }
  }
  if (!(source instanceof SharedArray)) throw wrongKind('a name or a SharedArray', 'save()', source);
  const inOrder = source.isCContiguous || source.isFContiguous;
  const data = inOrder ? source.data : source.toTypedArray();
  const order = source.isCContiguous || !inOrder ? 'C' : 'F';
  const { spec } = SharedArray.attachmentOf(source).spec;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const header = formatHeader(spec, order, source.shape, 128 * Math.ceil((128 + 20 * source.ndim) / 128));
  const target = replaceablePath(path);
  const temporary = `${target}.${process.pid}.tmp`;
  const fd = openSync(temporary, 'wx');
  try {
    try {
      writeSync(fd, header);
      onProgress?.(0, bytes.length);
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(fd, bytes, done, Math.min(blockBytes, bytes.length - done));
        onProgress?.(done, bytes.length);
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, target);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
}

/** Where links lead to. A rename would put a file in the place of /dev/null, too. */
function replaceablePath(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return path;
  if (found.isFile() || found.isDirectory()) return realpathSync(path);
  throw typeError('ERR_NDSHM_INVALID_ARGUMENT', `Expected a regular file for save() but received ${path}`);
}

function checkProgress(onProgress: unknown): void {
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw wrongKind('a function', 'onProgress', onProgress);
}
