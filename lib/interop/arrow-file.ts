import { type ArrowBlock, ArrowMetadata, messageKinds } from '../codec/arrow-metadata';
import { typeError } from '../errors';

// An Arrow file is a stream between two magics, followed by a footer that says where its messages are. apache-arrow's own
// writer of files leaves the schema out of that stream and aligns buffers to 8 bytes; readers that go by the stream, or that
// want whole cache lines, need what is made here.

export const arrowMagic: readonly number[] = [...Buffer.from('ARROW1')];
export const continuation = 0xffff_ffff;
/** Before each message: the continuation and its length. Also the magic at the beginning, padded. */
export const prefixBytes = 8;
/** The length of the footer and the magic. */
export const footerEndBytes = 10;
const alignment = 64;
const metadataVersion5 = 4;

const roundUp = (bytes: number, to = alignment): number => Math.ceil(bytes / to) * to;

interface Piece {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export interface ArrowFileLayout {
  readonly byteLength: number;
  /** What is not zero. */
  readonly pieces: readonly Piece[];
}

/** A stream as apache-arrow writes it, as a file. The stream's bytes become part of it, and are changed for that. */
export function layOutArrowFile(stream: Uint8Array): ArrowFileLayout {
  const pieces: Piece[] = [{ at: 0, bytes: Uint8Array.from(arrowMagic) }];
  const dictionaries: ArrowBlock[] = [];
  const batches: ArrowBlock[] = [];
  const begun = new Set<bigint>();
  let schema: ArrowMetadata | undefined;
  let columns: readonly number[] = [];
  let at = prefixBytes;
  for (const { metadata, body } of messagesOf(stream)) {
    columns = metadata.checkMessage(columns);
    const metadataBytes = roundUp(at + prefixBytes + metadata.view.byteLength) - at;
    const block = { offset: at, metadataBytes, bodyBytes: spreadBuffers(metadata, body, at + metadataBytes, pieces) };
    pieces.push(
      { at, bytes: prefix(metadataBytes - prefixBytes) },
      { at: at + prefixBytes, bytes: bytesOf(metadata.view) },
    );
    at += metadataBytes + block.bodyBytes;
    if (metadata.kind === messageKinds.recordBatch) batches.push(block);
    else if (metadata.kind === messageKinds.dictionaryBatch) dictionaries.push(block);
    else schema = metadata;
    if (metadata.kind === messageKinds.dictionaryBatch) checkDictionary(metadata, begun);
  }
  if (schema === undefined) throw broken('it has no schema');
  const footer = footerOf(schema, dictionaries, batches);
  const footerAt = at + prefixBytes;
  const end = new Uint8Array(footerEndBytes);
  new DataView(end.buffer).setInt32(0, footer.byteLength, true);
  end.set(arrowMagic, 4);
  const footerEnd = footerAt + footer.byteLength;
  pieces.push({ at, bytes: prefix(0) }, { at: footerAt, bytes: footer }, { at: footerEnd, bytes: end });
  return { byteLength: footerEnd + footerEndBytes, pieces };
}

const broken = (why: string): Error =>
  typeError('ERR_NDSHM_INVALID_ARGUMENT', `apache-arrow cannot write the table: ${why}`);

function checkDictionary({ dictionary: { id, isDelta } }: ArrowMetadata, begun: Set<bigint>): void {
  if (!isDelta && begun.has(id)) {
    throw typeError(
      'ERR_NDSHM_INVALID_ARGUMENT',
      'The batches of the table have different dictionaries for the same column, which an Arrow file cannot have; make them with one dictionary, or as plain text',
    );
  }
  begun.add(id);
}

const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function prefix(length: number): Uint8Array {
  const bytes = new Uint8Array(prefixBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, continuation, true);
  view.setInt32(4, length, true);
  return bytes;
}

function* messagesOf(stream: Uint8Array): Iterable<{ metadata: ArrowMetadata; body: Uint8Array }> {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  for (let at = 0; at < stream.byteLength; ) {
    const length = view.getInt32(at + 4, true);
    if (length === 0) return;
    const start = at + prefixBytes;
    const metadata = new ArrowMetadata(new DataView(stream.buffer, stream.byteOffset + start, length), broken);
    const body = start + length;
    const { bodyLengthAt } = metadata;
    at = body + (bodyLengthAt === 0 ? 0 : Number(metadata.view.getBigInt64(bodyLengthAt, true)));
    yield { metadata, body: stream.subarray(body, at) };
  }
}

/** Gives each buffer of a batch a place that is aligned, and tells the metadata; how long the body is then. */
function spreadBuffers(
  { view, buffersAt, bodyLengthAt }: ArrowMetadata,
  body: Uint8Array,
  bodyAt: number,
  pieces: Piece[],
): number {
  let end = 0;
  for (const place of buffersAt) {
    const start = Number(view.getBigInt64(place, true));
    const bytes = body.subarray(start, start + Number(view.getBigInt64(place + 8, true)));
    view.setBigInt64(place, BigInt(end), true);
    if (bytes.byteLength > 0) pieces.push({ at: bodyAt + end, bytes });
    end = roundUp(end + bytes.byteLength);
  }
  if (bodyLengthAt !== 0) view.setBigInt64(bodyLengthAt, BigInt(end), true);
  return end;
}

/**
 * A FlatBuffer of the table Footer (Arrow's File.fbs) by hand: one vtable, the table, two vectors of blocks, and for its
 * schema the whole schema message, since tables point to each other relatively and so may be moved together.
 */
function footerOf(
  schema: ArrowMetadata,
  dictionaries: readonly ArrowBlock[],
  batches: readonly ArrowBlock[],
): Uint8Array {
  const vtableAt = 4;
  const vtable = [12, 20, 4, 8, 12, 16]; // its size, the table's, and where there: version, schema, dictionaries, batches
  const tableAt = vtableAt + 2 * vtable.length;
  const dictionariesAt = tableAt + 20;
  const blockBytes = 24;
  const firstBlockAt = dictionariesAt + 4; // a multiple of 8, as for each structure with a 64-bit number
  const batchesAt = firstBlockAt + blockBytes * dictionaries.length + 4;
  const messageAt = batchesAt + 4 + blockBytes * batches.length;
  const bytes = new Uint8Array(messageAt + schema.view.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, tableAt, true);
  for (const [n, entry] of vtable.entries()) view.setUint16(vtableAt + 2 * n, entry, true);
  view.setInt32(tableAt, tableAt - vtableAt, true);
  view.setInt16(tableAt + 4, metadataVersion5, true);
  const point = (from: number, to: number) => view.setUint32(from, to - from, true);
  point(tableAt + 8, messageAt + schema.schemaAt);
  point(tableAt + 12, dictionariesAt);
  point(tableAt + 16, batchesAt);
  const writeBlocks = (vectorAt: number, blocks: readonly ArrowBlock[]) => {
    view.setUint32(vectorAt, blocks.length, true);
    blocks.forEach(({ offset, metadataBytes, bodyBytes }, n) => {
      const block = vectorAt + 4 + blockBytes * n;
      view.setBigInt64(block, BigInt(offset), true);
      view.setInt32(block + 8, metadataBytes, true);
      view.setBigInt64(block + 16, BigInt(bodyBytes), true);
    });
  };
  writeBlocks(dictionariesAt, dictionaries);
  writeBlocks(batchesAt, batches);
  bytes.set(bytesOf(schema.view), messageAt);
  return bytes;
}
