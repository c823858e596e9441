import { binding, type Failure, type Lock, type Segment } from '../binding';
import { type CodedError, closedError, type FailureSubject, failureError, stateError } from '../errors';

const { layout } = binding;
const { bits, words } = layout;

// Positions in the control block as an array of 32-bit words, which little-endian machines alone have in this order.
// Int32Array rather than Uint32Array: V8 keeps every value of it in a register.
export const writerAt = words.writer / 4;
export const versionAt = words.version / 4;
export const changeSignalAt = words.changeSignal / 4;
export const changeWaitersAt = words.changeWaiters / 4;
export const drainWaitsAt = words.drainWaits / 4;
const readerSlotsAt = words.readerSlots / 4;
const readerFlagAt = words.readerFlag / 4;
const generationAt = words.generation / 4;
const peerWords = layout.peerBytes / 4;
const segmentIdAt = 8; // ControlHeader.segmentId

/** On x64 a plain load after an atomic read-modify-write stays after it, and stores keep their order. */
const isStronglyOrdered = process.arch === 'x64';

/** A load that is ordered after the atomic operation before it. (V8 calls a function for Atomics.load: 10 ns.) */
export const loadAfter: (words: Int32Array, at: number) => number = isStronglyOrdered
  ? (array, at) => array[at] as number
  : (array, at) => Atomics.load(array, at);

/** Keeps plain loads and stores before it before those after it. */
export const fence: () => void = isStronglyOrdered ? () => {} : binding.fence;

/** Which attachment a lock belongs to, for messages and checks. */
export interface LockSubject {
  readonly segment: Segment;
  readonly failure: FailureSubject;
  /** As in "'prices' has no lock". */
  readonly who: string;
  /** Throws if closed, or if the file was truncated under its mappings. */
  check(): void;
}

/** The control block of one attachment, mapped: the words, and the native side of waiting on them. */
export class ControlWords {
  readonly native: Lock;
  readonly words: Int32Array;
  readonly slot: number;
  readonly flagAt: number;
  readonly canLock: boolean;
  closed = false;

  constructor(readonly subject: LockSubject) {
    subject.check();
    this.native = new binding.Lock(subject.segment);
    const buffer = this.native.open();
    if (buffer === undefined) {
      throw stateError(
        'ERR_NDSHM_NO_CONTROL',
        `${subject.who} has no lock words: it is a plain .npy file or raw memory, and not of ndshm's making`,
      );
    }
    if ('status' in buffer) throw failureError(buffer, subject.failure);
    this.words = new Int32Array(buffer);
    this.slot = this.native.slot();
    this.canLock = this.slot !== layout.readOnlyPeer;
    this.flagAt = readerFlagAt + this.slot * peerWords;
  }

  get generation(): number {
    return this.generationOf(this.slot);
  }

  generationOf(slot: number): number {
    return (this.words[generationAt + slot * peerWords] as number) >>> 0;
  }

  /** Odd while a writer is inside, or after one has died there; each completed write adds 2. */
  get version(): number {
    const { words } = this;
    for (;;) {
      const high = loadAfter(words, versionAt + 1);
      const low = Atomics.load(words, versionAt);
      // The other half may have been counted up between the two loads.
      if (loadAfter(words, versionAt + 1) === high) return (high >>> 0) * 2 ** 32 + (low >>> 0);
    }
  }

  /** Whether a writer has died inside, be it that somebody has buried it already or not. */
  hasDiedInside(): boolean {
    const { words, native } = this;
    const { version } = this;
    if (version % 2 === 0) return false;
    const word = Atomics.load(words, writerAt);
    const slot = (word & bits.owner) - 1;
    const isDead =
      (word & bits.abandoned) !== 0 ||
      (slot >= 0 && slot < layout.peerSlots && this.succeed(native.isDead(slot, this.generationOf(slot))));
    return isDead && this.version === version;
  }

  /** Whether any other attachment inside or on its way into a read lock has its flag up. After the word was taken. */
  anyReader(): boolean {
    const { words, slot } = this;
    for (let group = 0; group < 8; group++) {
      for (let bits = loadAfter(words, readerSlotsAt + group); bits !== 0; bits &= bits - 1) {
        const reader = group * 32 + 31 - Math.clz32(bits & -bits);
        if (reader !== slot && loadAfter(words, readerFlagAt + reader * peerWords) !== 0) return true;
      }
    }
    return false;
  }

  isSameSegment(other: ControlWords): boolean {
    for (let n = segmentIdAt; n < segmentIdAt + 4; n++) {
      if (this.words[n] !== other.words[n]) return false;
    }
    return true;
  }

  closedError(): CodedError {
    return closedError(this.subject.who);
  }

  timeoutError(what: string, timeoutMs: number): CodedError {
    return stateError('ERR_NDSHM_TIMEOUT', `${what} ${this.subject.who} took longer than ${timeoutMs} ms`);
  }

  /** Throws what a native call reported. */
  succeed<T>(outcome: T | Failure): T {
    if (typeof outcome === 'object' && outcome !== null && 'status' in outcome) throw this.errorOf(outcome);
    return outcome as T;
  }

  errorOf(failure: Failure): CodedError {
    return failureError(failure, this.subject.failure);
  }

  close(): void {
    this.closed = true;
    this.native.close(this.words.buffer as ArrayBuffer);
  }
}
