import { randomBytes } from 'node:crypto';
import type { Attachment } from '../array/attachment';
import { create } from '../array/create';
import { type ArrayHandle, attach } from '../array/handle';
import { SharedArray } from '../array/shared-array';
import { type CodedError, stateError } from '../errors';

// The memory of a ring: words of 32 bits, each on cache lines of its own, and then the bytes of both directions. Side 0 has
// made it, side 1 has attached it. Positions count bytes, on past 2^32, which the length of a direction divides.
const Word = {
  magic: 0,
  /** Whether side 1 is there. */
  attached: 1,
  /** Of each direction, named after the side that writes it: how many bytes that one has written, and the other one read. */
  written: [32, 64],
  read: [96, 128],
  /** What each side wants to be told of, of `Wish`. */
  wishes: [160, 192],
} as const;
const headBytes = 1024;
const directionBytes = 2 ** 16;
const magic = 0x0152_444e; // NDR, and the layout's version
const shape = headBytes + 2 * directionBytes;

const Wish = { bytes: 1, room: 2 };
type Side = 0 | 1;

const namePattern = /^manager-\d+-[0-9a-f]{16}$/;
/** A chunk is looked at before anything else is read, so one place for all rings of the thread is enough. */
let copied: Buffer | undefined;

/**
 * One side of two rows of bytes in shared memory, one for each direction, between two processes.
 *
 * R1: of each direction one side writes `written` and the bytes, the other one `read`; each goes by its own copy of its own
 * position. R2: bytes are stored before `written` is, and copied before `read` is stored; atomics keep that order. R3: a
 * side that wants to rest stores its wishes first and then looks whether they are fulfilled already; the other side stores
 * a position first and then looks at the wishes. All four are sequentially consistent, so at least one of the two sees
 * the other's store, and no wake-up is lost. R4: a wish is taken by an exchange, so it is answered once. R5: whoever dies
 * after taking it ends the stream by its death, which wakes the other side as well. R6: what the other side has
 * stored may be anything: a position is checked before it is used, bytes are copied before they are looked at.
 */
export class Ring {
  readonly #array: SharedArray<'uint8'>;
  readonly #attachment: Attachment;
  readonly #words: Int32Array;
  readonly #side: Side;
  readonly #out: Uint8Array;
  readonly #in: Uint8Array;
  /** Our own positions. */
  #written = 0;
  #read = 0;
  /** The last that is known of how much the other side has read. */
  #readByOther = 0;
  /** What was done that the other side may wish for, of `Wish`. */
  #done = 0;
  #hasWishes = false;
  #isUnlinked = false;

  private constructor(array: SharedArray<'uint8'>, side: Side) {
    this.#array = array;
    this.#attachment = SharedArray.attachmentOf(array);
    this.#side = side;
    const { buffer, byteOffset } = array.data;
    const rowOf = (writer: number) =>
      new Uint8Array(buffer, byteOffset + headBytes + writer * directionBytes, directionBytes);
    this.#words = new Int32Array(buffer, byteOffset, headBytes / 4);
    this.#out = rowOf(side);
    this.#in = rowOf(1 - side);
  }

  /** Undefined where there is no room for it, or no shared memory. */
  static make(): Ring | undefined {
    const name = `manager-${process.pid}-${randomBytes(8).toString('hex')}`;
    try {
      const array = create(name, { shape, dtype: 'uint8', ephemeral: true });
      const ring = new Ring(array, 0);
      ring.#words[Word.magic] = magic;
      return ring;
    } catch {
      return undefined; // the stream alone will do
    }
  }

  /**
   * What make() has made in another process, as its handle says. Undefined where it cannot be had: on another host, of
   * another user, or if it is anything else than a ring without a second side.
   */
  static attach(handle: unknown): Ring | undefined {
    let array: SharedArray | undefined;
    try {
      array = attach(handle as ArrayHandle, { mode: 'r+' });
      if (isRing(array)) {
        const ring = new Ring(array, 1);
        if (Atomics.compareExchange(ring.#words, Word.attached, 0, 1) === 0) return ring;
      }
    } catch {
      // Whatever it is, the stream alone will do.
    }
    array?.close();
    return undefined;
  }

  get handle(): ArrayHandle {
    return this.#array.handle;
  }

  /** Takes the name away, so that nothing is left of it whatever happens from now on. Once is enough. */
  unlink(): void {
    if (this.#isUnlinked) return;
    this.#isUnlinked = true;
    this.#array.unlink();
  }

  close(): void {
    this.#array.close();
  }

  // ---- out ----

  /** How many of the bytes were taken, from their beginning. */
  write(bytes: Uint8Array): number {
    let room = this.#room();
    if (room < bytes.length) {
      this.#look();
      room = this.#room();
    }
    const count = Math.min(bytes.length, room);
    if (count === 0) return 0;
    const at = this.#written & (directionBytes - 1);
    const first = Math.min(count, directionBytes - at);
    this.#out.set(first === bytes.length ? bytes : bytes.subarray(0, first), at);
    if (first < count) this.#out.set(bytes.subarray(first, count));
    this.#written = (this.#written + count) | 0;
    Atomics.store(this.#words, Word.written[this.#side], this.#written); // R2
    this.#done |= Wish.bytes;
    return count;
  }

  #room(): number {
    return directionBytes - ((this.#written - this.#readByOther) >>> 0);
  }

  #look(): void {
    const read = Atomics.load(this.#words, Word.read[this.#side]);
    this.#check();
    if ((this.#written - read) >>> 0 > directionBytes) throw corrupt();
    this.#readByOther = read;
  }

  // ---- in ----

  /** All that is there, copied to where it stays until any ring is read again. Undefined if there is nothing. */
  read(): Buffer | undefined {
    const count = this.#unread();
    if (count === 0) return undefined;
    const at = this.#read & (directionBytes - 1);
    const first = Math.min(count, directionBytes - at);
    copied ??= Buffer.allocUnsafeSlow(directionBytes);
    copied.set(this.#in.subarray(at, at + first));
    if (first < count) copied.set(this.#in.subarray(0, count - first), first);
    this.#check();
    this.#read = (this.#read + count) | 0;
    Atomics.store(this.#words, Word.read[other(this.#side)], this.#read); // R2
    this.#done |= Wish.room;
    return copied.subarray(0, count);
  }

  #unread(): number {
    const count = (Atomics.load(this.#words, Word.written[other(this.#side)]) - this.#read) >>> 0;
    this.#check();
    if (count > directionBytes) throw corrupt();
    return count;
  }

  /** After what was read: lost pages read as zeros, which can pass for positions and for `lastMark`. */
  #check(): void {
    this.#attachment.check();
  }

  // ---- both ----

  /** Whether the other side rests, and wished for something that was done since the last call. It has to be woken then. */
  mustWake(): boolean {
    const done = this.#done;
    this.#done = 0;
    const at = Word.wishes[other(this.#side)];
    return (Atomics.load(this.#words, at) & done) !== 0 && Atomics.exchange(this.#words, at, 0) !== 0; // R3, R4
  }

  /** Wishes to be woken when there are bytes, or room; false if there are, and then nothing is wished for. */
  rest(wants: { readonly bytes: boolean; readonly room: boolean }): boolean {
    Atomics.store(this.#words, Word.wishes[this.#side], (wants.bytes ? Wish.bytes : 0) | (wants.room ? Wish.room : 0));
    this.#hasWishes = true;
    if (wants.room) this.#look();
    const mayRest = !(wants.bytes && this.#unread() > 0) && !(wants.room && this.#room() > 0); // R3
    if (!mayRest) this.wake();
    return mayRest;
  }

  /** It looks for itself again. */
  wake(): void {
    if (!this.#hasWishes) return;
    this.#hasWishes = false;
    Atomics.store(this.#words, Word.wishes[this.#side], 0);
  }
}

const other = (side: Side): Side => (side === 0 ? 1 : 0);

/** An array of that form by chance, or by somebody's intent, is not written to: it has no `magic`. */
function isRing(array: SharedArray): array is SharedArray<'uint8'> {
  const isLike = array.dtype === 'uint8' && array.base === null && array.shape.length === 1 && array.shape[0] === shape;
  if (!isLike || array.name === null || !namePattern.test(array.name)) return false;
  const { buffer, byteOffset } = (array as SharedArray<'uint8'>).data;
  return byteOffset % 4 === 0 && new Int32Array(buffer, byteOffset, 1)[Word.magic] === magic;
}

const corrupt = (): CodedError =>
  stateError('ERR_NDSHM_PROTOCOL', 'The other side has written a position into the shared memory that cannot be');
