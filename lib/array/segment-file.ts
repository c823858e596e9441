import { binding, type Segment } from '../binding';
import { failureError, rangeError, stateError } from '../errors';
import type { DTypeSpec } from './dtype';
import { headerExtent, maxHeaderBytes, type NpyHeader, parseHeader } from './npy';

// What an opened file is, before anything of it is mapped.

export interface Facts {
  readonly size: number;
  readonly allocatedBytes: number;
  readonly owner: number;
  readonly permissions: number;
  readonly links: number;
  readonly inode: number;
  readonly modifiedAtMs: number;
}

const factsBuffer = new Float64Array(8);
export function factsOf(segment: Segment): Facts {
  segment.facts(factsBuffer);
  const [size, allocatedBytes, owner, permissions, links, inode, modifiedAtMs] = factsBuffer as unknown as number[];
  return { size, allocatedBytes, owner, permissions, links, inode, modifiedAtMs } as Facts;
}

export function checkOwner(name: string | null, owner: number, allowForeignOwner: boolean): void {
  const self = process.geteuid?.() ?? owner;
  if (owner === self || allowForeignOwner) return;
  throw stateError(
    'ERR_NDSHM_FOREIGN_OWNER',
    `'${name}' belongs to user ${owner}, and this process runs as ${self}; pass allowForeignOwner: true if you trust that user`,
  );
}

// Most headers are 128 bytes or ours; one page holds any of a number dtype but the longest padding.
const headerBuffer = Buffer.alloc(4096);

/** Reads and judges the header of an opened segment. */
export function readHeader(segment: Segment, who: string): NpyHeader {
  const read = (into: Buffer): Buffer => {
    const count = segment.read(into, 0);
    if (typeof count !== 'number') throw failureError(count, { directory: binding.layout.directory, name: who });
    return into.subarray(0, count);
  };
  let bytes = read(headerBuffer);
  const extent = headerExtent(bytes, `'${who}'`);
  if (extent !== undefined && extent.end > bytes.length) bytes = read(Buffer.alloc(maxHeaderBytes + 12));
  return parseHeader(bytes, `'${who}'`);
}

/** Throws unless the elements lie within the file and are aligned. */
export function checkExtent(who: string, spec: DTypeSpec, dataOffset: number, dataBytes: number, fileBytes: number): void {
  if (dataOffset + dataBytes > fileBytes) {
    throw stateError(
      'ERR_NDSHM_TRUNCATED',
      `'${who}' is ${fileBytes} bytes long, but its elements would reach to byte ${dataOffset + dataBytes}`,
    );
  }
  const alignment = spec.itemBytes / spec.lanes;
  if (dataOffset % alignment !== 0) {
    throw rangeError(
      'ERR_NDSHM_ALIGNMENT',
      `The elements of '${who}' start at byte ${dataOffset}, which is no multiple of ${alignment}; open as uint8 and copy`,
    );
  }
}

