import { type ArrowBlock, ArrowMetadata, messageKinds } from '../codec/arrow-metadata';
import { stateError } from '../errors';
import { arrowMagic, continuation, footerEndBytes, prefixBytes } from './arrow-file';

/**
 * Throws unless apache-arrow can read these bytes of a file, which may be anything, without copying them and in room that
 * is in proportion to them.
 */
export function checkArrowFile(bytes: Uint8Array, who: string): void {
  const wrong = (why: string): Error =>
    stateError('ERR_NDSHM_FORMAT', `'${who}' is not an Arrow file that can be mapped: ${why}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    checkParts(view, wrong);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw Object.assign(wrong('its metadata leads out of itself'), { cause: error });
  }
}

function checkParts(view: DataView, wrong: (why: string) => Error): void {
  const isMagic = (at: number) => arrowMagic.every((byte, n) => view.getUint8(at + n) === byte);
  const end = view.byteLength - footerEndBytes;
  if (end < prefixBytes || !isMagic(0) || !isMagic(end + 4)) throw wrong('it does not begin and end with ARROW1');
  const footerBytes = view.getInt32(end, true);
  const footerAt = end - footerBytes;
  if (footerBytes <= 0 || footerAt < prefixBytes) throw wrong('its footer is longer than the file');
  const { columns, dictionaries, batches } = new ArrowMetadata(part(view, footerAt, footerBytes), wrong).checkFooter();
  const blocks = [
    ...dictionaries.map((block) => ({ ...block, kind: messageKinds.dictionaryBatch })),
    ...batches.map((block) => ({ ...block, kind: messageKinds.recordBatch })),
  ].sort((a, b) => a.offset - b.offset);
  let at = prefixBytes;
  for (const block of blocks) {
    // One after the other, as all writers have them: what is named twice would be read twice.
    if (block.offset < at) throw wrong('two of its messages overlap');
    checkBlock(view, block, columns, wrong);
    at = block.offset + block.metadataBytes + block.bodyBytes;
    if (at > footerAt) throw wrong('a message reaches into the footer');
  }
}

function checkBlock(
  view: DataView,
  { offset, metadataBytes, bodyBytes, kind }: ArrowBlock & { readonly kind: number },
  columns: readonly number[],
  wrong: (why: string) => Error,
): void {
  // What is not aligned would be copied.
  if (offset % 8 !== 0 || metadataBytes % 8 !== 0) throw wrong('a message is not aligned to 8 bytes');
  if (view.getUint32(offset, true) !== continuation) throw wrong('a message does not begin as one');
  const length = view.getInt32(offset + 4, true);
  if (length <= 0 || prefixBytes + length !== metadataBytes) throw wrong('a message is not as long as the footer says');
  const message = new ArrowMetadata(part(view, offset + prefixBytes, length), wrong);
  message.checkMessage(columns);
  if (message.kind !== kind) throw wrong('a message is not of the kind that the footer says');
  if (message.bodyBytes !== bodyBytes) throw wrong('a body is not as long as the footer says');
  if (message.isCompressed) throw wrong('it is compressed; write it without compression');
  for (const place of message.buffersAt) {
    const start = Number(message.view.getBigInt64(place, true));
    const byteLength = Number(message.view.getBigInt64(place + 8, true));
    if (start < 0 || byteLength < 0 || start + byteLength > bodyBytes) throw wrong('a buffer does not lie in its body');
    if (start % 8 !== 0) throw wrong('a buffer is not aligned to 8 bytes');
  }
}

const part = (view: DataView, at: number, byteLength: number): DataView =>
  new DataView(view.buffer, view.byteOffset + at, byteLength);
