import { isUtf8 } from 'node:buffer';
import { isUint8Array } from 'node:util/types';
import { bytesInWords, type CodedError, stateError, wrongKind } from '../errors';

// A frame carries the messages that were sent in one turn of the event loop. In numbers of 32 bits, little-endian: bytes of
// the whole frame, of its JSON, the count of attachments, the bytes of each. Then the JSON, a list of the messages and,
// where there are attachments, one more item: the place of each. Then the attachments. A place is a path from that list to
// the 0 that stands for the bytes, so that no text or number of a message can be mistaken for an attachment.
const headBytes = 12;
const lengthBytes = 4;
const maxAttachments = 4096;

/** In place of a frame: what comes behind it is none. */
export const lastMark: Uint8Array = new Uint8Array(headBytes);

export interface FrameLimits {
  /** Of one frame with its attachments. */
  readonly maxMessageBytes: number;
  /** Of the JSON in it. */
  readonly maxJsonBytes: number;
}

/** What frames can say of their length at all. */
const maxFrameBytes = 2 ** 32 - 1;

type Place = (string | number)[];
type Container = Record<string | number, unknown>;

/** A frame that is being filled. */
interface Draft {
  readonly texts: string[];
  /** Of the texts, with a comma each. */
  textBytes: number;
  readonly attachments: Uint8Array[];
  attachmentBytes: number;
  readonly places: Place[];
  /** At most. */
  placeBytes: number;
}

const emptyDraft = (): Draft => ({
  texts: [],
  textBytes: 0,
  attachments: [],
  attachmentBytes: 0,
  places: [],
  placeBytes: 0,
});

/** Brackets around the list, and around the places with their comma. */
const bracketBytes = 5;
/** The brackets of a place, the number of its message, and commas. */
const placeOverhead = 16;

/** Makes frames of messages: trees of what JSON has, and Uint8Arrays. */
export class FrameWriter {
  readonly #limits: FrameLimits;
  /** Frames that are full, in pieces. */
  #pieces: Uint8Array[] = [];
  #draft = emptyDraft();

  constructor(limits: FrameLimits) {
    this.#limits = limits;
  }

  /**
   * Takes a message as it is now, except for the bytes in Uint8Arrays: those are read when they are sent. Returns how many
   * bytes it has. Errors: ERR_NDSHM_LIMIT, and those of JSON.stringify.
   */
  add(message: unknown): number {
    const holder = [message];
    const found = hasBytes(message) ? bytesIn(holder) : nothingFound;
    const text = jsonOf(holder, found);
    const size = { textBytes: Buffer.byteLength(text) + 1, attachmentBytes: 0, placeBytes: 0 };
    for (const { place, bytes } of found) {
      size.attachmentBytes += bytes.byteLength + lengthBytes;
      size.placeBytes += Buffer.byteLength(JSON.stringify(place)) + placeOverhead;
    }
    const excess = this.#excess(found.length, size.textBytes + size.placeBytes, size.attachmentBytes);
    if (excess !== undefined) throw stateError('ERR_NDSHM_LIMIT', `A message has ${excess}`);
    this.#makeRoom(found.length, size);
    const draft = this.#draft;
    for (const { place, bytes } of found) {
      place[0] = draft.texts.length;
      draft.places.push(place);
      draft.attachments.push(bytes);
    }
    draft.texts.push(text);
    draft.textBytes += size.textBytes;
    draft.attachmentBytes += size.attachmentBytes;
    draft.placeBytes += size.placeBytes;
    return size.textBytes + size.attachmentBytes;
  }

  /** What would be too much for one frame, in words. */
  #excess(count: number, listBytes: number, attachmentBytes: number): string | undefined {
    const { maxJsonBytes, maxMessageBytes } = this.#limits;
    const jsonBytes = listBytes + bracketBytes;
    const whole = headBytes + jsonBytes + attachmentBytes;
    const advice = 'send less at a time, pass large arrays as SharedArray, or raise';
    if (count > maxAttachments) return `${count} arrays of bytes, and may have ${maxAttachments}: send less at a time`;
    if (jsonBytes > maxJsonBytes) {
      return `${bytesInWords(jsonBytes)} beside arrays of bytes, and may have ${bytesInWords(maxJsonBytes)}: ${advice} maxJsonBytes`;
    }
    if (whole > Math.min(maxMessageBytes, maxFrameBytes)) {
      return `${bytesInWords(whole)}, and may have ${bytesInWords(maxMessageBytes)}: ${advice} maxMessageBytes`;
    }
    return undefined;
  }

  /** Begins a new frame where this one has no room for what comes. */
  #makeRoom(count: number, size: Pick<Draft, 'textBytes' | 'attachmentBytes' | 'placeBytes'>): void {
    const { attachments, textBytes, attachmentBytes, placeBytes } = this.#draft;
    const listBytes = textBytes + placeBytes + size.textBytes + size.placeBytes;
    if (this.#excess(attachments.length + count, listBytes, attachmentBytes + size.attachmentBytes) !== undefined) {
      this.#finish();
    }
  }

  /** The frames of all messages so far, in pieces to be sent in this order. */
  take(): Uint8Array[] {
    if (this.#draft.texts.length > 0) this.#finish();
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces;
  }

  #finish(): void {
    const { texts, textBytes, attachments, places } = this.#draft;
    this.#draft = emptyDraft();
    let jsonBytes = 1 + textBytes;
    if (places.length > 0) {
      const text = JSON.stringify(places);
      texts.push(text);
      jsonBytes += Buffer.byteLength(text) + 1;
    }
    this.#pieces.push(headOf(`[${texts.join()}]`, jsonBytes, attachments));
    for (const bytes of attachments) if (bytes.byteLength > 0) this.#pieces.push(bytes);
  }
}

/** A frame without messages. */
export const emptyFrame = (): Uint8Array => headOf('[]', 2, []);

/** All of a frame but the attachments' bytes. */
function headOf(json: string, jsonBytes: number, attachments: readonly Uint8Array[]): Uint8Array {
  const jsonAt = headBytes + lengthBytes * attachments.length;
  const head = Buffer.allocUnsafe(jsonAt + jsonBytes);
  let total = head.length;
  let at = headBytes;
  for (const { byteLength } of attachments) {
    at = head.writeUInt32LE(byteLength, at);
    total += byteLength;
  }
  head.writeUInt32LE(total, 0);
  head.writeUInt32LE(jsonBytes, 4);
  head.writeUInt32LE(attachments.length, 8);
  head.write(json, jsonAt);
  return head;
}

interface Found {
  /** Begins with the message's number. */
  readonly place: Place;
  readonly holder: Container;
  readonly key: string | number;
  readonly bytes: Uint8Array;
}

const nothingFound: readonly Found[] = [];

/** Most messages have none, and this is the quicker way to know it. */
function hasBytes(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) if (hasBytes(value[n])) return true;
    return false;
  }
  if (isUint8Array(value)) return true;
  for (const key in value) if (hasBytes((value as Container)[key])) return true;
  return false;
}

/** In the only item of the list. */
function bytesIn(list: unknown[]): Found[] {
  const found: Found[] = [];
  const path: Place = [];
  const look = (holder: Container | unknown[], key: string | number): void => {
    const value = (holder as Container)[key];
    if (typeof value !== 'object' || value === null) return;
    path.push(key);
    if (isUint8Array(value)) found.push({ place: path.slice(), holder: holder as Container, key, bytes: value });
    else lookIn(value as Container);
    path.pop();
  };
  const lookIn = (holder: Container): void => {
    if (Array.isArray(holder)) for (let n = 0; n < holder.length; n++) look(holder, n);
    else for (const key of Object.keys(holder)) look(holder, key);
  };
  look(list, 0);
  return found;
}

/** Of the only item of the list, with 0 in place of bytes. */
function jsonOf(list: readonly unknown[], found: readonly Found[]): string {
  // A replacer function would be asked about everything, and about what has a toJSON (Buffer) too late.
  for (const { holder, key } of found) holder[key] = 0;
  try {
    const text = JSON.stringify(list[0]) as string | undefined;
    if (text === undefined) throw wrongKind('a value that JSON has', 'a message', list[0]);
    return text;
  } finally {
    for (const { holder, key, bytes } of found) holder[key] = bytes;
  }
}

type Part = 'head' | 'lengths' | 'json' | 'attachment';

/** Up to here a part is given its memory at once, and from here on as it comes. */
const trustedBytes = 2 ** 20;

/**
 * Finds the messages in a row of bytes, however that is cut. What it allocates is in proportion to what has come, not to what
 * a frame promises.
 */
export class FrameReader {
  readonly #limits: FrameLimits;
  readonly #onMessage: (message: unknown) => void;
  /** The part that comes next, and its length. */
  #part: Part = 'head';
  #wanted = headBytes;
  /** What has come of it, if it has not come at once. */
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;
  // The frame that is being read.
  #bodyBytes = 0;
  #jsonBytes = 0;
  #lengths: number[] = [];
  #messages: unknown[] = [];
  #places: unknown[] = [];
  #attached = 0;
  #isOver = false;

  constructor(limits: FrameLimits, onMessage: (message: unknown) => void) {
    this.#limits = limits;
    this.#onMessage = onMessage;
  }

  /** Whether `lastMark` has come. What is pushed from then on is ignored. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Keeps nothing of `bytes`. Errors: ERR_NDSHM_PROTOCOL, and then it can read no more. */
  push(bytes: Buffer): void {
    let at = 0;
    while (!this.#isOver) {
      const there = bytes.length - at;
      if (this.#gathered === undefined && there >= this.#wanted) {
        const start = at;
        at += this.#wanted;
        this.#take(bytes, start, false);
        continue;
      }
      if (there === 0) return;
      const end = at + Math.min(there, this.#wanted - this.#gatheredBytes);
      const gathered = this.#gather(bytes.subarray(at, end));
      if (this.#gatheredBytes < this.#wanted) return;
      at = end;
      this.#gathered = undefined;
      this.#gatheredBytes = 0;
      this.#take(gathered, 0, true);
    }
  }

  #gather(bytes: Buffer): Buffer {
    const count = this.#gatheredBytes + bytes.length;
    let gathered = this.#gathered;
    if (gathered === undefined || gathered.length < count) {
      const length = Math.min(this.#wanted, Math.max(count, trustedBytes, 2 * (gathered?.length ?? 0)));
      const larger = Buffer.from(new ArrayBuffer(length));
      if (gathered !== undefined) larger.set(gathered.subarray(0, this.#gatheredBytes));
      gathered = larger;
    }
    gathered.set(bytes, this.#gatheredBytes);
    this.#gathered = gathered;
    this.#gatheredBytes = count;
    return gathered;
  }

  #want(part: Part, byteLength: number): void {
    this.#part = part;
    this.#wanted = byteLength;
  }

  /** The part lies at `at` in `bytes`. `isOwn`: `bytes` is the part alone, and nobody else's. */
  #take(bytes: Buffer, at: number, isOwn: boolean): void {
    if (this.#part === 'head') this.#takeHead(bytes, at);
    else if (this.#part === 'lengths') this.#takeLengths(bytes, at);
    else if (this.#part === 'json') this.#takeJson(bytes, at);
    else this.#takeAttachment(bytes, at, isOwn);
  }

  #takeHead(bytes: Buffer, at: number): void {
    const total = bytes.readUInt32LE(at);
    const jsonBytes = bytes.readUInt32LE(at + 4);
    const count = bytes.readUInt32LE(at + 8);
    if (total === 0 && jsonBytes === 0 && count === 0) {
      this.#isOver = true;
      return;
    }
    const { maxMessageBytes, maxJsonBytes } = this.#limits;
    if (total < headBytes || total > maxMessageBytes || jsonBytes > maxJsonBytes || count > maxAttachments) {
      throw broken(`a frame of ${total} bytes with ${jsonBytes} of JSON and ${count} attachments`);
    }
    this.#bodyBytes = total - headBytes;
    this.#jsonBytes = jsonBytes;
    this.#want('lengths', lengthBytes * count);
  }

  #takeLengths(bytes: Buffer, at: number): void {
    this.#lengths = [];
    let sum = this.#wanted + this.#jsonBytes;
    for (let each = at; each < at + this.#wanted; each += lengthBytes) {
      const length = bytes.readUInt32LE(each);
      this.#lengths.push(length);
      sum += length;
    }
    if (sum !== this.#bodyBytes) throw broken(`parts of ${sum} bytes in a frame that has ${this.#bodyBytes}`);
    this.#want('json', this.#jsonBytes);
  }

  #takeJson(bytes: Buffer, at: number): void {
    const list = parse(bytes, at, at + this.#wanted);
    if (!Array.isArray(list)) throw broken('JSON that is no list');
    this.#messages = list;
    this.#attached = 0;
    if (this.#lengths.length > 0) {
      const places: unknown = list.pop();
      if (!Array.isArray(places) || places.length !== this.#lengths.length) throw broken('attachments without a place');
      this.#places = places;
    }
    this.#goOn();
  }

  #takeAttachment(bytes: Buffer, at: number, isOwn: boolean): void {
    // Always at the start of a buffer of its own: what is decoded from it may need any alignment.
    const attachment = isOwn
      ? new Uint8Array(bytes.buffer as ArrayBuffer)
      : new Uint8Array(bytes.subarray(at, at + this.#wanted));
    attach(this.#messages, this.#places[this.#attached], attachment);
    this.#attached++;
    this.#goOn();
  }

  /** With the next attachment, or the next frame. */
  #goOn(): void {
    const length = this.#lengths[this.#attached];
    if (length !== undefined) {
      this.#want('attachment', length);
      return;
    }
    this.#want('head', headBytes);
    const messages = this.#messages;
    this.#messages = [];
    for (const message of messages) this.#onMessage(message);
  }
}

const broken = (what: string): CodedError => stateError('ERR_NDSHM_PROTOCOL', `The other side sent ${what}`);

function parse(bytes: Buffer, start: number, end: number): unknown {
  const text = bytes.toString('utf8', start, end);
  // What is no UTF-8 becomes this character, which may as well have been sent.
  if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, end))) throw broken('JSON that is no UTF-8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw Object.assign(broken('what is no JSON'), { cause });
  }
}

/** Follows a path of the other side's through what it has sent: nothing but what is there is looked at. */
function attach(messages: unknown[], place: unknown, bytes: Uint8Array): void {
  let holder: unknown;
  let key: unknown;
  let value: unknown = messages;
  for (const step of Array.isArray(place) ? (place as unknown[]) : []) {
    holder = value;
    key = step;
    value = itemOf(holder, key);
  }
  if (value !== 0) throw broken('an attachment for a place that does not wait for it');
  (holder as Container)[key as string | number] = bytes;
}

/** Of a list one of its items, of an object what it has itself; else undefined. */
function itemOf(holder: unknown, key: unknown): unknown {
  const isKey = typeof key === (Array.isArray(holder) ? 'number' : 'string');
  const isHolder = typeof holder === 'object' && holder !== null;
  if (!isKey || !isHolder || !Object.hasOwn(holder, key as string | number)) return undefined;
  return (holder as Container)[key as string | number];
}
