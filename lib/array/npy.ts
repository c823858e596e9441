import { typeError } from '../errors';
import { type DTypeSpec, specOfDescr } from './dtype';
import { checkedByteLength, maxDimensions, type Order } from './shape';

// The .npy format (numpy.lib.format): magic, version, header length, a Python dict literal padded with spaces, data.
// Read as data by a strict parser of that one grammar: nothing is evaluated.

export interface NpyHeader {
  readonly spec: DTypeSpec;
  readonly order: Order;
  readonly shape: readonly number[];
  /** Where the elements start, and how many bytes they are. */
  readonly dataOffset: number;
  readonly dataBytes: number;
}

const magic = '\x93NUMPY';
/** Bytes before the dict: magic, version, and a length of 2 bytes (version 1.0) or 4 (2.0 and 3.0). */
const prefixBytes = { 1: 10, 2: 12, 3: 12 } as const;
/** A header without structured dtypes needs a few hundred bytes; numpy refuses to parse more than 10,000. */
export const maxHeaderBytes = 10_000;

/** A version 1.0 header of exactly `headerBytes` bytes. */
export function formatHeader(spec: DTypeSpec, order: Order, shape: readonly number[], headerBytes: number): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const dict = `{'descr': '${spec.descr}', 'fortran_order': ${order === 'F' ? 'True' : 'False'}, 'shape': ${tuple}, }`;
  const bytes = Buffer.alloc(headerBytes, ' ', 'latin1');
  bytes.write(`${magic}\x01\x00`, 0, 'latin1');
  bytes.writeUInt16LE(headerBytes - prefixBytes[1], 8);
  bytes.write(dict, prefixBytes[1], 'latin1');
  bytes.write('\n', headerBytes - 1, 'latin1');
  return bytes;
}

const bad = (who: string, why: string): TypeError =>
  typeError('ERR_NDSHM_HEADER', `${who} has no valid .npy header: ${why}`);

/** Where the dict starts and the elements begin. */
export interface HeaderExtent {
  readonly dict: number;
  readonly end: number;
}

/** Undefined if `bytes` does not start like an .npy file at all. */
export function headerExtent(bytes: Buffer, who: string): HeaderExtent | undefined {
  if (bytes.length < prefixBytes[1] || bytes.toString('latin1', 0, magic.length) !== magic) return undefined;
  const version = bytes[6] as 1 | 2 | 3;
  const dict = prefixBytes[version];
  if (dict === undefined || bytes[7] !== 0) throw bad(who, `unknown version ${version}.${bytes[7]}`);
  if (bytes.length < dict) throw bad(who, 'it ends before its header does');
  const end = dict + (version === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8));
  if (end - dict > maxHeaderBytes) {
    throw bad(who, `its header claims ${end - dict} bytes; a header of numbers has at most ${maxHeaderBytes}`);
  }
  return { dict, end };
}

/** Parses the header of an .npy file of which `bytes` is the beginning, up to its extent's end at least. */
export function parseHeader(bytes: Buffer, extent: HeaderExtent | undefined, who: string): NpyHeader {
  if (extent === undefined) throw bad(who, 'it does not start with \\x93NUMPY; for raw memory use openRaw()');
  if (bytes.length < extent.end) throw bad(who, 'it ends before its header does');
  const { descr, fortran, shape } = parseDict(bytes, extent, who);
  const spec = specOfDescr(descr);
  return {
    spec,
    order: fortran ? 'F' : 'C',
    shape: Object.freeze(shape),
    dataOffset: extent.end,
    dataBytes: checkedByteLength(shape, spec.itemBytes),
  };
}

// What numpy writes for a dtype of ours, in that order, matched at once; any other legal spelling is read below.
const canonical = /^\{'descr': '([^'\\]*)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}$/;
const padding = Buffer.alloc(maxHeaderBytes, ' ');

/** The end of the dict if nothing but spaces and one line break follow: a look at 4,000 bytes without a loop here. */
function endOfDict(bytes: Buffer, { end }: HeaderExtent, start: number): number | undefined {
  const brace = bytes.indexOf('}', start, 'latin1') + 1;
  const padded = brace > 0 && brace < end && bytes[end - 1] === 0x0a;
  return padded && bytes.compare(padding, 0, end - 1 - brace, brace, end - 1) === 0 ? brace : undefined;
}

function parseDict(
  bytes: Buffer,
  extent: HeaderExtent,
  who: string,
): { descr: string; fortran: boolean; shape: number[] } {
  const brace = endOfDict(bytes, extent, extent.dict);
  const match = brace === undefined ? null : canonical.exec(bytes.toString('latin1', extent.dict, brace));
  if (match !== null) {
    const [, descr, fortran, tuple] = match as unknown as [string, string, string, string];
    return { descr, fortran: fortran === 'True', shape: parseTuple(tuple, who) };
  }
  const scan = new Scanner(bytes.toString('latin1', extent.dict, extent.end), who);
  const found: { descr?: string; fortran?: boolean; shape?: number[] } = {};
  scan.expect('{');
  while (!scan.accept('}')) {
    const key = scan.string();
    scan.expect(':');
    if (key === 'descr' && found.descr === undefined) {
      found.descr = scan.descr();
    } else if (key === 'fortran_order' && found.fortran === undefined) {
      found.fortran = scan.boolean();
    } else if (key === 'shape' && found.shape === undefined) {
      found.shape = parseTuple(scan.tuple(), who);
    } else {
      throw bad(who, `unexpected key '${key.slice(0, 40)}'`);
    }
    if (!scan.accept(',')) {
      scan.expect('}');
      break;
    }
  }
  scan.end();
  const { descr, fortran, shape } = found;
  if (descr === undefined || fortran === undefined || shape === undefined) {
    throw bad(who, "it needs the keys 'descr', 'fortran_order' and 'shape'");
  }
  return { descr, fortran, shape };
}

/** The inside of a tuple of lengths: '', '3,' or '3, 4', with or without a last comma (needed for one length). */
function parseTuple(inside: string, who: string): number[] {
  if (inside.trim() === '') {
    if (inside.includes('\n')) throw bad(who, 'a line break inside the shape');
    return [];
  }
  const parts = inside.split(',');
  if (parts.length === 1) throw bad(who, 'the shape is not a tuple');
  if ((parts[parts.length - 1] as string).trim() === '') parts.pop();
  if (parts.length > maxDimensions) throw bad(who, `more than ${maxDimensions} dimensions`);
  return parts.map((part) => {
    const digits = part.trim();
    if (!/^(0|[1-9]\d*)$/.test(digits))
      throw bad(who, `the shape has ${JSON.stringify(digits.slice(0, 40))} for a length`);
    const length = Number(digits);
    if (!Number.isSafeInteger(length)) throw bad(who, `a length of ${digits.slice(0, 40)} is more than can be counted`);
    return length;
  });
}

/** Reads the few Python literals that a header may have, with spaces between them. */
class Scanner {
  #at = 0;

  constructor(
    readonly text: string,
    readonly who: string,
  ) {
    // Leading spaces would be an indented expression, which Python refuses too.
    if (!text.startsWith('{')) throw bad(who, 'the header is not a dict');
  }

  #match(pattern: RegExp, what: string): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.text);
    if (match === null)
      throw bad(this.who, `expected ${what} at ${JSON.stringify(this.text.slice(this.#at, this.#at + 40))}`);
    this.#at = pattern.lastIndex;
    return match[1] ?? match[2] ?? '';
  }

  accept(symbol: string): boolean {
    const pattern = / */y;
    pattern.lastIndex = this.#at;
    pattern.exec(this.text);
    if (!this.text.startsWith(symbol, pattern.lastIndex)) return false;
    this.#at = pattern.lastIndex + symbol.length;
    return true;
  }

  expect(symbol: string): void {
    if (!this.accept(symbol)) this.#match(/(?!)/y, `'${symbol}'`);
  }

  string(): string {
    return this.#match(/ *(?:'([\x20-\x7e]*?)'|"([\x20-\x7e]*?)")/y, 'a string');
  }

  descr(): string {
    const at = this.#at;
    if (this.accept('[') || this.accept('(') || this.accept('{')) {
      throw typeError('ERR_NDSHM_DTYPE', `${this.who} has a structured dtype, which cannot be mapped`);
    }
    this.#at = at;
    const text = this.string();
    if (text.includes('\\')) throw bad(this.who, 'an escape in a string');
    return text;
  }

  boolean(): boolean {
    return this.#match(/ *(True|False)\b/y, 'True or False') === 'True';
  }

  tuple(): string {
    return this.#match(/ *\(([\d, ]*)\)/y, 'a tuple of lengths');
  }

  end(): void {
    // Spaces after a line break would be an indented line, which Python refuses.
    this.#match(/ *\n*$/y, 'the end of the header');
  }
}
