import { Encoder, ExtData } from '@msgpack/msgpack';

// An object's document: msgpack of [root, special 0, special 1, …]. Whatever msgpack cannot say is a special, and where it
// belongs stands its number. So parts may be shared or go in circles, and nothing lies deep. document-reader.ts reads it.

/** The extension type of a special's number: 4 bytes, little-endian. */
export const specialType = 1;

/** Stands for a special in the tree that is encoded. */
export class SpecialRef extends ExtData {
  constructor(readonly index: number) {
    super(specialType, Uint8Array.of(index, index >>> 8, index >>> 16, index >>> 24));
  }
}

/** Containers within containers, at most; deeper ones are specials. */
export const maxDepth = 32;

const newEncoder = () => new Encoder({ maxDepth: 2 * maxDepth });
let encoder = newEncoder();
/** An encoder whose own buffer has grown beyond this is let go. */
const keptBytes = 2 ** 20;

/** The bytes are the encoder's own, and valid until the next call. */
export function encodeDocument(document: readonly unknown[]): Uint8Array {
  const bytes = encoder.encodeSharedRef(document);
  if (bytes.byteLength > keptBytes) encoder = newEncoder();
  return bytes;
}
