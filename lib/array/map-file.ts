import { closeSync, constants, openSync } from 'node:fs';
import type { Segment } from '../binding';
import { failureError, stateError } from '../errors';
import { isOpened, openFile } from './segment-file';

export interface MappedFile {
  readonly buffer: ArrayBuffer;
  /** Whether pages of it were lost: the file was truncated. */
  readonly faulted: () => boolean;
  /** Detaches the buffer. */
  readonly unmap: () => void;
}

/** The first bytes of any file, mapped privately: a stray store reaches nobody. Unmapped when collected, if not before. */
export function mapFile(path: string, byteLength: number): MappedFile {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const file = openFile(fd, false);
    const failed = (failure: Parameters<typeof failureError>[0]) =>
      failureError(failure, { directory: '', name: path });
    if (!isOpened(file)) throw failed(file);
    const { segment, facts } = file;
    if (facts.size < byteLength) {
      segment.close(null);
      throw stateError('ERR_NDSHM_TRUNCATED', `'${path}' is ${facts.size} bytes long, and ${byteLength} were expected`);
    }
    const failure = segment.attach(1, 0, byteLength, true, false);
    const buffer = failure === undefined ? segment.buffer() : undefined;
    if (buffer !== undefined) {
      return { buffer, faulted: faultedOf(segment), unmap: () => segment.close(buffer) };
    }
    segment.close(null);
    if (failure !== undefined) throw failed(failure);
    throw stateError('ERR_NDSHM_TOO_LARGE', `'${path}' has more bytes than an ArrayBuffer holds in this runtime`);
  } finally {
    closeSync(fd);
  }
}

/** In a scope of its own: functions of one scope keep alive whatever any of them uses, here the buffer. */
const faultedOf = (segment: Segment) => (): boolean => segment.faulted();
