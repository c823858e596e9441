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
  readonly buffers: readonly BufferPlace[];
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
  let end = head.byteLength;
  const buffers = byteLengths.map((byteLength, n) => {
    const offset = roundUp(end, byteLength >= pageAlignedFrom ? pageBytes : alignment);
    writeUint64(head, headerBytes + entryBytes * n, offset);
    writeUint64(head, headerBytes + entryBytes * n + 8, byteLength);
    end = offset + byteLength;
    return { offset, byteLength };
  });
  return { byteLength: end, head, buffers };
}

/** The document and the buffers of an object, whose bytes may be anything. */
export function readLayout(object: Uint8Array): { document: Uint8Array; buffers: readonly BufferPlace[] } {
  const bytes = Buffer.from(object.buffer, object.byteOffset, object.byteLength);
  if (bytes.length < headerBytes || bytes.readUInt32LE(0) !== magic) throw corrupt('it does not begin as one');
  const found = bytes.readUInt32LE(4);
  if (found !== version) throw corrupt(`it is of version ${found}, and this ndshm reads version ${version}`);
  const count = bytes.readUInt32LE(12);
  const documentAt = headerBytes + entryBytes * count;
  const documentEnd = documentAt + bytes.readUInt32LE(8);
  if (documentEnd > bytes.length) throw corrupt('it ends before its document does');
  const buffers = new Array<BufferPlace>(count);
  for (let n = 0; n < count; n++) {
    const offset = readUint64(bytes, headerBytes + entryBytes * n);
    const byteLength = readUint64(bytes, headerBytes + entryBytes * n + 8);
    if (offset % alignment !== 0 || offset < documentEnd || !(offset + byteLength <= bytes.length)) {
      throw corrupt(`its buffer ${n} does not lie within it`);
    }
    buffers[n] = { offset, byteLength };
  }
  return { document: bytes.subarray(documentAt, documentEnd), buffers };
}

function writeUint64(into: Buffer, at: number, value: number): void {
  into.writeUInt32LE(value % 2 ** 32, at);
  into.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

const readUint64 = (bytes: Buffer, at: number): number => bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;

export const corrupt = (why: string): CodedError =>
  stateError('ERR_NDSHM_CORRUPT_OBJECT', `These are not the bytes of an object: ${why}`);
