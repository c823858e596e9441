import { ArrowMetadata } from './arrow-metadata';
import { corrupt } from './object-format';

const continuation = 0xffff_ffff;

/** Throws unless apache-arrow can read these bytes, which may be anything, in room that is in proportion to them. */
export function checkArrowStream(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let columns: readonly number[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    if (view.getUint32(at, true) !== continuation) throw wrong('a message does not begin as one');
    const length = view.getInt32(at + 4, true);
    if (length === 0) return;
    const start = at + 8;
    if (length < 0 || length > bytes.byteLength - start) throw wrong('a message is longer than the rest');
    const message = new ArrowMetadata(new DataView(bytes.buffer, bytes.byteOffset + start, length), wrong);
    columns = message.checkMessage(columns);
    at = start + length + message.bodyBytes;
    if (at > bytes.byteLength) throw wrong('a body is longer than the rest');
  }
}

const wrong = (why: string) => corrupt(`its Arrow stream cannot be read: ${why}`);
