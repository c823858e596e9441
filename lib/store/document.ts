import { Decoder, Encoder, ExtensionCodec } from '@msgpack/msgpack';

// An object's document: msgpack of [root, special 0, special 1, …]. Whatever msgpack cannot say is a special, and where it
// belongs stands its number. So references may be shared or go in circles, and nothing lies deep.

/** Stands for a special in the tree. */
export class SpecialRef {
  constructor(readonly index: number) {}
}

/** The extension type of such a number: 4 bytes, little-endian. */
const specialType = 1;
const numberBytes = new Uint8Array(4);
/** How many were met since decodeDocument() began. */
let refs = 0;

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
  decode: (bytes) => {
    if (bytes.length !== 4) throw new RangeError(`Expected 4 bytes of a special's number but found ${bytes.length}`);
    refs++;
    const [a, b, c, d] = bytes as unknown as [number, number, number, number];
    return new SpecialRef((a | (b << 8) | (c << 16) | (d << 24)) >>> 0);
  },
});

/** Containers within containers, at most; deeper ones are specials. */
export const maxDepth = 32;

const encoder = new Encoder({ extensionCodec, maxDepth: 2 * maxDepth });

export const encodeDocument = (document: readonly unknown[]): Uint8Array => encoder.encode(document);

// A length that a hostile document claims is room that is taken before its elements are looked for: no more elements
// than bytes.
const decoderFor = (byteLength: number): Decoder =>
  new Decoder({
    extensionCodec,
    maxArrayLength: byteLength,
    maxMapLength: byteLength,
    maxStrLength: byteLength,
    maxBinLength: byteLength,
    maxExtLength: byteLength,
  });
const usualBytes = 2 ** 16;
const usualDecoder = decoderFor(usualBytes);

/** The document may be anything, and this may throw anything, if the bytes are not one. */
export function decodeDocument(bytes: Uint8Array): { readonly document: unknown; readonly hasRefs: boolean } {
  refs = 0;
  const document = (bytes.byteLength <= usualBytes ? usualDecoder : decoderFor(bytes.byteLength)).decode(bytes);
  return { document, hasRefs: refs > 0 };
}
