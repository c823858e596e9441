import { binding, type Failure, type Segment } from '../binding';
import { failureError, rangeError, stateError } from '../errors';
import type { DTypeSpec } from './dtype';
import { headerExtent, maxHeaderBytes, type NpyHeader, parseHeader } from './npy';

// What an opened file is, before anything of it is mapped.

export interface Facts {
  readonly size: number;
  readonly allocatedBytes: number;
  readonly owner: number;
  readonly permissions: number;
  readonly inode: number;
  readonly modifiedAtMs: number;
  /** Whether the owner is the user that this process runs as. */
  readonly owned: boolean;
}

export interface OpenedFile {
  readonly segment: Segment;
  readonly facts: Facts;
  /** The file's first bytes. In a buffer that the next openFile() uses again. */
  readonly start: Buffer;
}

const factsBuffer = new Float64Array(8);
// Most headers are 128 bytes or ours; one page holds any of a number dtype but the longest padding.
const startBuffer = Buffer.alloc(4096);

/** Opens by name or by descriptor. On failure nothing is open; otherwise the caller closes the segment. */
export function openFile(source: string | number, needWrite: boolean): OpenedFile | Failure {
  const segment = new binding.Segment();
  const count =
    typeof source === 'string'
      ? segment.open(source, needWrite, factsBuffer, startBuffer)
      : segment.openDescriptor(source, needWrite, factsBuffer, startBuffer);
  if (typeof count === 'number') return { segment, facts: factsInBuffer(), start: startBuffer.subarray(0, count) };
  segment.close(null);
  return count;
}

export const isOpened = (result: OpenedFile | Failure): result is OpenedFile => 'segment' in result;

export function factsOf(segment: Segment): Facts {
  segment.facts(factsBuffer);
  return factsInBuffer();
}

function factsInBuffer(): Facts {
  return {
    size: factsBuffer[0] as number,
    allocatedBytes: factsBuffer[1] as number,
    owner: factsBuffer[2] as number,
    permissions: factsBuffer[3] as number,
    inode: factsBuffer[5] as number,
    modifiedAtMs: factsBuffer[6] as number,
    owned: factsBuffer[7] === 1,
  };
}

export function checkOwner(name: string | null, { owner, owned }: Facts, allowForeignOwner: boolean): void {
  if (owned || allowForeignOwner) return;
  throw stateError(
    'ERR_NDSHM_FOREIGN_OWNER',
    `'${name}' belongs to user ${owner}, and this process runs as ${process.geteuid?.()}; pass allowForeignOwner: true if you trust that user`,
  );
}

/** The header of an opened file, judged by itself; checkExtent() judges it by the file's size. */
export function headerOf({ segment, start }: OpenedFile, who: string): NpyHeader {
  const extent = headerExtent(start, `'${who}'`);
  if (extent === undefined || extent.end <= start.length) return parseHeader(start, extent, `'${who}'`);
  const more = Buffer.alloc(maxHeaderBytes + 12);
  const count = segment.read(more, 0);
  if (typeof count !== 'number') throw failureError(count, { directory: binding.layout.directory, name: who });
  return parseHeader(more.subarray(0, count), extent, `'${who}'`);
}

/** The random id of a segment; null for files that are not of ndshm's making. */
export function idOf(segment: Segment, dataOffset: number, dataBytes: number): string | null {
  const control = segment.control(dataOffset, dataBytes);
  return control !== undefined && 'length' in control ? control[2] : null;
}

/** Tells a segment from any other under the same name; a plain .npy file also from its next content. */
export function identityOf(id: string | null, { inode, modifiedAtMs }: Facts): string {
  return id ?? `${inode}@${modifiedAtMs}`;
}

/** Throws unless the elements lie within the file and are aligned. */
export function checkExtent(
  who: string,
  spec: DTypeSpec,
  dataOffset: number,
  dataBytes: number,
  fileBytes: number,
): void {
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
