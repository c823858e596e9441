import { type Special, specialType } from './document';
import { corrupt } from './object-format';

// Reads the msgpack of a document whose bytes may be anything. No library is asked to: MessagePack's own takes room for as
// many elements as a list claims to have, for lists within lists (4 GB for 50 KB), and lets any depth, key and extension
// pass. This one takes room for what is there, and takes the few kinds that documents are made of.

/** What a part of the document lies in. */
export type Container = Record<string | number, unknown>;

/** Where in the document a special belongs. */
export class Place {
  constructor(
    readonly index: number,
    readonly container: Container,
    readonly key: string | number,
  ) {}
}

export interface Document {
  /** Holds the root, which may be a special. */
  readonly holder: { root: unknown } & Container;
  readonly specials: readonly Special[];
}

/** Deeper documents are refused, so that reading them needs no more than a bounded stack. Python packs 511 at most. */
const maxNesting = 512;

export class DocumentReader {
  /** Of all specials that are referred to, in the order of the document. */
  readonly places: Place[] = [];

  // TypeScript's `private` instead of #private: these are read for every byte.
  constructor(
    private readonly bytes: Buffer,
    private at: number,
    private readonly end: number,
  ) {}

  /** Where a special belongs is a Place, which is also in `places`. */
  read(): Document {
    const count = this.listLength(this.byte());
    if (count === 0) throw corrupt('its document is empty');
    const holder: Container = {};
    holder['root'] = this.value(holder, 'root', 0);
    const specials: Special[] = [];
    while (specials.length < count - 1) specials.push(this.special());
    if (this.at !== this.end) throw corrupt('its document ends early');
    return { holder: holder as Document['holder'], specials };
  }

  private special(): Special {
    const count = this.listLength(this.byte());
    if (count === 0) throw corrupt('a special is empty');
    const special: Special = [this.key()];
    while (special.length < count) {
      special.push(this.value(special as unknown as Container, special.length, 1));
    }
    return special;
  }

  private value(container: Container, key: string | number, depth: number): unknown {
    const head = this.byte();
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 0x100;
    if (head < 0x90) return this.map(head & 0x0f, depth);
    if (head < 0xa0) return this.list(head & 0x0f, depth);
    if (head < 0xc0) return this.text(head & 0x1f);
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.binary(this.byte());
      case 0xc5:
        return this.binary(this.uint16());
      case 0xc6:
        return this.binary(this.uint32());
      case 0xca:
        return this.bytes.readFloatBE(this.take(4));
      case 0xcb:
        return this.bytes.readDoubleBE(this.take(8));
      case 0xcc:
        return this.byte();
      case 0xcd:
        return this.uint16();
      case 0xce:
        return this.uint32();
      case 0xcf:
        return this.int64(this.uint32());
      case 0xd0:
        return this.bytes.readInt8(this.take(1));
      case 0xd1:
        return this.bytes.readInt16BE(this.take(2));
      case 0xd2:
        return this.bytes.readInt32BE(this.take(4));
      case 0xd3:
        return this.int64(this.bytes.readInt32BE(this.take(4)));
      case 0xd6:
        return this.place(container, key);
      case 0xdc:
        return this.list(this.uint16(), depth);
      case 0xdd:
        return this.list(this.uint32(), depth);
      case 0xde:
        return this.map(this.uint16(), depth);
      case 0xdf:
        return this.map(this.uint32(), depth);
      default:
        return this.text(this.textLength(head));
    }
  }

  /** Where the next so many bytes begin. */
  private take(count: number): number {
    const { at } = this;
    if (count > this.end - at) throw corrupt('its document ends within a value');
    this.at = at + count;
    return at;
  }

  private byte(): number {
    return this.bytes[this.take(1)] as number;
  }

  private uint16(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  private uint32(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  private int64(high: number): number | bigint {
    const low = this.uint32();
    const value = high * 2 ** 32 + low;
    return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) + BigInt(low);
  }

  private listLength(head: number): number {
    if (head >= 0x90 && head < 0xa0) return head & 0x0f;
    if (head === 0xdc) return this.uint16();
    if (head === 0xdd) return this.uint32();
    throw corrupt('its document, or a special, is not a list');
  }

  private textLength(head: number): number {
    if (head >= 0xa0 && head < 0xc0) return head & 0x1f;
    if (head === 0xd9) return this.byte();
    if (head === 0xda) return this.uint16();
    if (head === 0xdb) return this.uint32();
    throw corrupt(`its document has the byte 0x${head.toString(16)} where it has no meaning`);
  }

  private text(length: number): string {
    const start = this.take(length);
    return this.bytes.toString('utf8', start, start + length);
  }

  private binary(length: number): Uint8Array {
    const start = this.take(length);
    return new Uint8Array(this.bytes.subarray(start, start + length));
  }

  private place(container: Container, key: string | number): Place {
    const type = this.byte();
    if (type !== specialType) throw corrupt(`its document has an extension of unknown type ${type}`);
    const place = new Place(this.bytes.readUInt32LE(this.take(4)), container, key);
    this.places.push(place);
    return place;
  }

  private list(count: number, depth: number): unknown[] {
    if (depth === maxNesting) throw corrupt(`its document is nested more than ${maxNesting} deep`);
    // Grows as elements come, whatever their number is said to be.
    const list: unknown[] = [];
    for (let n = 0; n < count; n++) list.push(this.value(list as unknown as Container, n, depth + 1));
    return list;
  }

  private map(count: number, depth: number): Container {
    if (depth === maxNesting) throw corrupt(`its document is nested more than ${maxNesting} deep`);
    const map: Container = {};
    for (let n = 0; n < count; n++) {
      const key = this.key();
      // Assigned to, it would be the prototype. Objects with such a key are written as entries.
      if (key === '__proto__') throw corrupt('its document has the key __proto__');
      map[key] = this.value(map, key, depth + 1);
    }
    return map;
  }

  private key(): string {
    const length = this.textLength(this.byte());
    const start = this.take(length);
    return length <= maxKnownKeyBytes
      ? knownKey(this.bytes, start, length)
      : this.bytes.toString('utf8', start, start + length);
  }
}

// The same few keys come in most objects. Taking a string that is there already is three times as fast as making one.
interface KnownKey {
  readonly bytes: readonly number[];
  readonly text: string;
}
const maxKnownKeyBytes = 24;
/** Each key has two places where it may be. */
const knownKeys = new Array<KnownKey | undefined>(1024);

function knownKey(bytes: Buffer, start: number, length: number): string {
  let hash = length;
  for (let n = start; n < start + length; n++) hash = Math.imul(hash ^ (bytes[n] as number), 0x0100_0193); // FNV
  const first = (hash ^ (hash >>> 15)) & (knownKeys.length - 1);
  const second = first ^ 1;
  for (let slot = first; ; slot = second) {
    const known = knownKeys[slot];
    if (known !== undefined && isSame(known.bytes, bytes, start, length)) return known.text;
    if (slot === second) break;
  }
  const text = bytes.toString('utf8', start, start + length);
  knownKeys[second] = knownKeys[first];
  knownKeys[first] = { bytes: Array.from(bytes.subarray(start, start + length)), text };
  return text;
}

function isSame(known: readonly number[], bytes: Buffer, start: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let n = 0; n < length; n++) if (known[n] !== bytes[start + n]) return false;
  return true;
}
