import type { DType } from '../array/dtype';
import { maxTensorsHeaderBytes } from '../array/file-kind';
import { checkedByteLength, maxDimensions } from '../array/shape';
import { type CodedError, stateError } from '../errors';

// The safetensors format: the length of the header (8 bytes, little-endian), the header (JSON), the data. Judged as the
// reference implementation does: the tensors fill the data without gaps or overlaps, and no key comes twice. The header is
// read by a parser of that one grammar: JSON.parse() would forget which keys came twice, and take any amount of memory for
// what is no header at all.

const lengthBytes = 8;
/** Where the data begin, so that the first tensor lies as well as in a file of numpy's. */
const alignment = 64;
/** More than any model has. Each costs two kilobytes of this process when it is opened. */
const maxTensors = 2 ** 17;
const metadataKey = '__metadata__';

const dtypeNames: Readonly<Record<string, DType>> = {
  BOOL: 'bool',
  I8: 'int8',
  U8: 'uint8',
  I16: 'int16',
  U16: 'uint16',
  I32: 'int32',
  U32: 'uint32',
  I64: 'int64',
  U64: 'uint64',
  F16: 'float16',
  F32: 'float32',
  F64: 'float64',
  C64: 'complex64',
};
const namesOfDTypes = new Map(Object.entries(dtypeNames).map(([name, dtype]) => [dtype, name]));
const bitsOf: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E5M2FNUZ: 8,
  F8_E4M3FNUZ: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** The dtype that elements of a safetensors dtype have here; undefined = there is none like it. */
export const dtypeOf = (name: string): DType | undefined => dtypeNames[name];
/** What safetensors calls it; undefined = it knows nothing like it. */
export const nameOfDType = (dtype: DType): string | undefined => namesOfDTypes.get(dtype);

export interface TensorPlace {
  /** As safetensors calls it. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** From the file's beginning. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface TensorsFile {
  /** In the order of the data. */
  readonly places: ReadonlyMap<string, TensorPlace>;
  readonly metadata: Readonly<Record<string, string>>;
}

const bad = (who: string, why: string): CodedError =>
  stateError('ERR_NDSHM_FORMAT', `'${who}' is not a valid safetensors file: ${why}`);

/** Reads the header of a file, whose bytes may be anything. */
export function readTensorsHeader(file: Uint8Array, who: string): TensorsFile {
  if (file.byteLength < lengthBytes) throw bad(who, 'it is shorter than 8 bytes');
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  if (headerBytes > maxTensorsHeaderBytes) throw bad(who, `its header claims ${headerBytes} bytes, more than 100 MB`);
  const dataOffset = lengthBytes + headerBytes;
  if (dataOffset > bytes.length) throw bad(who, 'it ends before its header does');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(lengthBytes, dataOffset));
  } catch (cause) {
    throw Object.assign(bad(who, 'its header is not UTF-8'), { cause });
  }
  const { places, metadata } = new HeaderReader(text, who, dataOffset).read();
  const inOrder = [...places].sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  let end = dataOffset;
  for (const [name, { byteOffset, byteLength }] of inOrder) {
    if (byteOffset !== end) throw bad(who, `the tensor ${quoted(name)} does not begin where the one before ends`);
    end += byteLength;
  }
  if (end !== bytes.length) throw bad(who, `its tensors reach to byte ${end}, and it is ${bytes.length} bytes long`);
  return { places: new Map(inOrder), metadata };
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 60));

class HeaderReader {
  #at = 0;
  readonly #places = new Map<string, TensorPlace>();
  #metadata: Record<string, string> | undefined;

  constructor(
    readonly text: string,
    readonly who: string,
    readonly dataOffset: number,
  ) {}

  read(): TensorsFile {
    if (!this.text.startsWith('{')) throw this.#bad('its header does not begin with {');
    this.#members((key) => {
      if (key === metadataKey) this.#readMetadata();
      else this.#readPlace(key);
    });
    this.#skipSpace();
    if (this.#at < this.text.length) throw this.#bad('something follows its header');
    return { places: this.#places, metadata: this.#metadata ?? {} };
  }

  #readMetadata(): void {
    if (this.#metadata !== undefined) throw this.#bad(`the key ${metadataKey} comes twice`);
    const metadata = Object.create(null) as Record<string, string>;
    this.#members((key) => {
      if (key in metadata) throw this.#bad(`the metadata ${quoted(key)} come twice`);
      metadata[key] = this.#string();
    });
    this.#metadata = Object.freeze(metadata);
  }

  #readPlace(name: string): void {
    if (this.#places.has(name)) throw this.#bad(`the tensor ${quoted(name)} comes twice`);
    if (this.#places.size === maxTensors) throw this.#bad(`it has more than ${maxTensors} tensors`);
    const found: { dtype?: string; shape?: number[]; data_offsets?: number[] } = {};
    this.#members((key) => {
      if (Object.hasOwn(found, key)) throw this.#bad(`the tensor ${quoted(name)} has its ${quoted(key)} twice`);
      if (key === 'dtype') found.dtype = this.#string();
      else if (key === 'shape') found.shape = this.#integers(maxDimensions);
      else if (key === 'data_offsets') found.data_offsets = this.#integers(2);
      else throw this.#bad(`the tensor ${quoted(name)} has an unknown key ${quoted(key)}`);
    });
    const { dtype, shape, data_offsets: [begin, end] = [] } = found;
    if (dtype === undefined || shape === undefined || begin === undefined || end === undefined) {
      throw this.#bad(`the tensor ${quoted(name)} lacks its dtype, shape or data_offsets`);
    }
    const bits = Object.hasOwn(bitsOf, dtype) ? bitsOf[dtype] : undefined;
    if (bits === undefined) throw this.#bad(`the tensor ${quoted(name)} has the unknown dtype ${quoted(dtype)}`);
    if (8 * (end - begin) !== this.#count(shape, bits)) {
      throw this.#bad(
        `the tensor ${quoted(name)} has ${end - begin} bytes, which is not what its shape and dtype need`,
      );
    }
    this.#places.set(name, { dtype, shape, byteOffset: this.dataOffset + begin, byteLength: end - begin });
  }

  #count(shape: readonly number[], bits: number): number {
    try {
      return checkedByteLength(shape, bits);
    } catch (cause) {
      throw Object.assign(this.#bad('a tensor has more elements than can be counted'), { cause });
    }
  }

  #members(visit: (key: string) => void): void {
    this.#expect('{');
    if (this.#accept('}')) return;
    do {
      const key = this.#string();
      this.#expect(':');
      visit(key);
    } while (this.#accept(','));
    this.#expect('}');
  }

  #integers(atMost: number): number[] {
    const found: number[] = [];
    this.#expect('[');
    if (this.#accept(']')) return found;
    do {
      if (found.length === atMost) throw this.#bad(`a list has more than ${atMost} numbers`);
      found.push(this.#integer());
    } while (this.#accept(','));
    this.#expect(']');
    return found;
  }

  #integer(): number {
    this.#skipSpace();
    const pattern = /(?:0|[1-9]\d{0,15})(?![\d.eE])/y;
    pattern.lastIndex = this.#at;
    const digits = pattern.exec(this.text)?.[0] ?? '';
    this.#at += digits.length;
    const value = Number(digits);
    if (digits === '' || !Number.isSafeInteger(value)) throw this.#unexpected('a whole number that can be counted');
    return value;
  }

  #string(): string {
    this.#expect('"');
    const start = this.#at;
    let end = start;
    for (let escapes = 1; escapes % 2 === 1; end++) {
      end = this.text.indexOf('"', end);
      if (end < 0) throw this.#bad('a string in its header does not end');
      for (escapes = 0; this.text[end - 1 - escapes] === '\\'; escapes++);
    }
    this.#at = end;
    let value: string;
    try {
      value = JSON.parse(this.text.slice(start - 1, end)) as string;
    } catch (cause) {
      throw Object.assign(this.#bad('a string in its header is not JSON'), { cause });
    }
    if (!value.isWellFormed()) throw this.#bad('a string in its header is not Unicode');
    return value;
  }

  #skipSpace(): void {
    const pattern = /[ \t\n\r]*/y;
    pattern.lastIndex = this.#at;
    pattern.exec(this.text);
    this.#at = pattern.lastIndex;
  }

  #accept(symbol: string): boolean {
    this.#skipSpace();
    if (this.text[this.#at] !== symbol) return false;
    this.#at++;
    return true;
  }

  #expect(symbol: string): void {
    if (!this.#accept(symbol)) throw this.#unexpected(`'${symbol}'`);
  }

  #unexpected(expected: string): CodedError {
    return this.#bad(`expected ${expected} in its header at ${quoted(this.text.slice(this.#at, this.#at + 40))}`);
  }

  #bad(why: string): CodedError {
    return bad(this.who, why);
  }
}

export interface NewTensor {
  readonly name: string;
  /** As safetensors calls it. */
  readonly dtype: string;
  readonly itemBytes: number;
  readonly shape: readonly number[];
}

/** The bytes that a file of these tensors begins with, and where each of them lies, by their order here. */
export function layOutTensors(
  tensors: readonly NewTensor[],
  metadata: Readonly<Record<string, string>> | undefined,
): { head: Uint8Array; byteOffsets: readonly number[]; fileBytes: number } {
  // The larger elements first, as the reference does: so each tensor is aligned, since there may be no gaps.
  const order = [...tensors.keys()].sort((a, b) => itemBytesAt(tensors, b) - itemBytesAt(tensors, a));
  const header = Object.create(null) as Record<string, unknown>;
  if (metadata !== undefined) header[metadataKey] = metadata;
  const begins = new Array<number>(tensors.length);
  let end = 0;
  for (const index of order) {
    const { name, dtype, itemBytes, shape } = tensors[index] as NewTensor;
    const begin = end;
    end += checkedByteLength(shape, itemBytes);
    begins[index] = begin;
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const dataOffset = alignment * Math.ceil((lengthBytes + json.length) / alignment);
  const head = Buffer.alloc(dataOffset, ' ');
  head.writeBigUInt64LE(BigInt(dataOffset - lengthBytes), 0);
  head.set(json, lengthBytes);
  return { head, byteOffsets: begins.map((begin) => dataOffset + begin), fileBytes: dataOffset + end };
}

const itemBytesAt = (tensors: readonly NewTensor[], index: number): number => (tensors[index] as NewTensor).itemBytes;
