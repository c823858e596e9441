import { ExtData, encode as pack } from '@msgpack/msgpack';

// The bytes of objects, written by hand as docs/format.md says, so that they may be wrong.

/** Stands for a special in a document. */
export function special(index: number): ExtData {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(index);
  return new ExtData(1, bytes);
}

export interface ObjectSpec {
  /** Root and specials, or msgpack of them. */
  readonly document: readonly unknown[] | Uint8Array;
  readonly buffers?: readonly Uint8Array[];
  /** What to say instead of the truth. */
  readonly lies?: {
    readonly magic?: string;
    readonly version?: number;
    readonly documentBytes?: number;
    readonly count?: number;
    readonly table?: readonly { readonly offset: bigint; readonly byteLength: bigint }[];
  };
}

const roundUp = (bytes: number) => Math.ceil(bytes / 64) * 64;

export function objectBytes({ document, buffers = [], lies = {} }: ObjectSpec): Uint8Array {
  const packed = document instanceof Uint8Array ? document : pack(document, { maxDepth: 1000 });
  const table = lies.table?.length ?? buffers.length;
  let end = roundUp(16 + 16 * table + packed.length);
  const offsets = buffers.map(({ length }) => {
    const offset = end;
    end = roundUp(end + length);
    return offset;
  });
  const object = Buffer.from(new ArrayBuffer(end));
  object.write(lies.magic ?? 'NDOB', 0, 'latin1');
  object.writeUInt32LE(lies.version ?? 1, 4);
  object.writeUInt32LE(lies.documentBytes ?? packed.length, 8);
  object.writeUInt32LE(lies.count ?? table, 12);
  const entries =
    lies.table ??
    buffers.map(({ length }, n) => ({ offset: BigInt(offsets[n] as number), byteLength: BigInt(length) }));
  entries.forEach(({ offset, byteLength }, n) => {
    object.writeBigUInt64LE(offset, 16 + 16 * n);
    object.writeBigUInt64LE(byteLength, 24 + 16 * n);
  });
  object.set(packed, 16 + 16 * table);
  buffers.forEach((bytes, n) => {
    object.set(bytes, offsets[n] as number);
  });
  return new Uint8Array(object.buffer);
}
