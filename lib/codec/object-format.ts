import { type CodedError, stateError } from '../errors';

// The bytes of an object (docs/format.md): a header, the table of buffers, the msgpack document, the buffers.
const magic = 0x424f_444e; // 'NDOB'
const version = 1;
const headerBytes = 16;
const entryBytes = 16;
const alignment = 64;
/** Buffers of so many bytes begin at a page. */
export const pageAlignedFrom = 2 ** 20;
const pageBytes = 4096;

const roundUp = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

export interface BufferPlace {
  /** From the object's beginning. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface ObjectLayout {
  readonly byteLength: number;
  /** What lies at the beginning: header, table and document. */
  readonly head: Uint8Array;
  readonly offsets: readonly number[];
}

/** Where the buffers of an object with this document lie. */
export function layOut(document: Uint8Array, byteLengths: readonly number[]): ObjectLayout {
  const documentAt = headerBytes + entryBytes * byteLengths.length;
  const head = Buffer.allocUnsafe(documentAt + document.byteLength);
  head.writeUInt32LE(magic, 0);
  head.writeUInt32LE(version, 4);
  head.writeUInt32LE(document.byteLength, 8);
  head.writeUInt32LE(byteLengths.length, 12);
  head.set(document, documentAt);
  const offsets: number[] = [];
  let end = head.byteLength;
  let entry = headerBytes;
  for (const byteLength of byteLengths) {
    const offset = roundUp(end, byteLength >= pageAlignedFrom ? pageBytes : alignment);
    writeUint64(head, entry, offset);
    writeUint64(head, entry + 8, byteLength);
    offsets.push(offset);
    end = offset + byteLength;
    entry += entryBytes;
  }
  return { byteLength: end, head, offsets };
}

/** Where the parts of an object lie, whose bytes may be anything. */
export interface ObjectParts {
  readonly bytes: Buffer;
  readonly documentAt: number;
  readonly documentEnd: number;
  readonly buffers: readonly BufferPlace[];
}

/** Whether there are arrays among the parts of an object, which would be views on its bytes. */
export const hasBuffers = (object: Buffer): boolean => object.readUInt32LE(12) !== 0;

export function readLayout(object: Uint8Array): ObjectParts {
  const bytes = Buffer.isBuffer(object) ? object : Buffer.from(object.buffer, object.byteOffset, object.byteLength);
  if (bytes.length < headerBytes || bytes.readUInt32LE(0) !== magic) throw corrupt('it does not begin as one');
  const found = bytes.readUInt32LE(4);
  if (found !== version) throw corrupt(`it is of version ${found}, and this ndshm reads version ${version}`);
  const documentBytes = bytes.readUInt32LE(8);
  const count = bytes.readUInt32LE(12);
  const documentAt = headerBytes + entryBytes * count;
  const documentEnd = documentAt + documentBytes;
  if (documentEnd > bytes.length) throw corrupt('it ends before its document does');
  const buffers: BufferPlace[] = [];
  for (let entry = headerBytes; entry < documentAt; entry += entryBytes) {
    const offset = readUint64(bytes, entry);
    const byteLength = readUint64(bytes, entry + 8);
    if (offset % alignment !== 0 || offset < documentEnd || !(offset + byteLength <= bytes.length)) {
      throw corrupt(`its buffer ${buffers.length} does not lie within it`);
    }
    buffers.push({ offset, byteLength });
  }
  return { bytes, documentAt, documentEnd, buffers };
}

function writeUint64(into: Buffer, at: number, value: number): void {
  into.writeUInt32LE(value % 2 ** 32, at);
  into.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

const readUint64 = (bytes: Buffer, at: number): number => bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;

export const corrupt = (why: string): CodedError =>
  stateError('ERR_NDSHM_CORRUPT_OBJECT', `These are not the bytes of an object: ${why}`);
