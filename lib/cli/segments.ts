import { statfsSync } from 'node:fs';
import { binding } from '../binding';
import { inspect, type LockState, list, type PrimitiveInfo, type SegmentInfo } from '../index';
import { none } from './output';
import { style } from './style';
import { bytesInWords } from './words';

// What is in shared memory, as the commands show it. Nothing is attached, locked or removed.

export interface Segment extends SegmentInfo {
  /** The named primitive, store or table that it is; null for any other. */
  readonly primitive: PrimitiveInfo | null;
}

/** Everything in /dev/shm, also what is foreign and what crashes have left; by name. */
export const allSegments = (): Segment[] => list({ foreign: true, leftovers: true }).map(withPrimitive);

export function withPrimitive(info: SegmentInfo): Segment {
  return { ...info, primitive: info.kind === 'array' ? inspected(info.name) : null };
}

function inspected(name: string): PrimitiveInfo | null {
  try {
    return inspect(name);
  } catch {
    return null; // gone since it was listed, or under a name that no primitive can have
  }
}

/** '?' for what may not be read. */
export const kindOf = ({ kind, primitive, problem }: Segment): string =>
  kind === 'foreign' && problem !== null ? '?' : (primitive?.kind ?? kind);

/** The state of a lock; that somebody died inside stands out. */
export function stateInWords(state: LockState['state'] | null): string {
  return state === 'abandoned' ? style.red(state) : (state ?? none);
}

/** As numpy writes it: '(3, 4)', '(3,)', '()'. */
export function shapeInWords(shape: readonly number[] | null): string {
  if (shape === null) return none;
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
}

/** The file system that all of it is on. */
export function memory(): { usedBytes: number; totalBytes: number } {
  const { blocks, bfree, bsize } = statfsSync(binding.layout.directory);
  return { usedBytes: (blocks - bfree) * bsize, totalBytes: blocks * bsize };
}

/** '/dev/shm: 3 MiB of 64 MiB used'. */
export function memoryInWords(): string {
  const { usedBytes, totalBytes } = memory();
  return `/dev/shm: ${bytesInWords(usedBytes)} of ${bytesInWords(totalBytes)} used`;
}
