import { Encoder, ExtensionCodec } from '@msgpack/msgpack';

// An object's document: msgpack of [root, special 0, special 1, …]. Whatever msgpack cannot say is a special, and where it
// belongs stands its number. So parts may be shared or go in circles, and nothing lies deep. document-reader.ts reads it.

/** Stands for a special in the tree that is encoded. */
export class SpecialRef {
  constructor(readonly index: number) {}
}

/** Its tag, and what it is made of. */
export type Special = [tag: string, ...parts: unknown[]];

/** The extension type of a special's number: 4 bytes, little-endian. */
export const specialType = 1;
const numberBytes = new Uint8Array(4);

const extensionCodec = new ExtensionCodec();
extensionCodec.register({
  type: specialType,
  encode: (value) => {
    if (!(value instanceof SpecialRef)) return null;
    const { index } = value;
    numberBytes[0] = index;
    numberBytes[1] = index >>> 8;
    numberBytes[2] = index >>> 16;
    numberBytes[3] = index >>> 24;
    return numberBytes; // copied at once
  },
  decode: () => {
    throw new TypeError('Documents are read by DocumentReader');
  },
});

/** Containers within containers, at most; deeper ones are specials. */
export const maxDepth = 32;

const newEncoder = () => new Encoder({ extensionCodec, maxDepth: 2 * maxDepth });
let encoder = newEncoder();
/** An encoder whose own buffer has grown beyond this is let go. */
const keptBytes = 2 ** 20;

/** The bytes are the encoder's own, and valid until the next call. */
export function encodeDocument(document: readonly unknown[]): Uint8Array {
  const bytes = encoder.encodeSharedRef(document);
  if (bytes.byteLength > keptBytes) encoder = newEncoder();
  return bytes;
}
