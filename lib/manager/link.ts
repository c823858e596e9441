import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { bytesInWords, stateError } from '../errors';
import { Fifo } from '../pool/fifo';
import { emptyFrame, type FrameLimits, FrameReader, FrameWriter, lastMark } from './frames';
import type { Ring } from './ring';
import { type Turner, Turning } from './turning';

export interface LinkLimits extends FrameLimits {
  /** Bytes that were sent and that the other side has not taken yet. Beyond it the link ends. */
  readonly maxBufferedBytes: number;
  /**
   * For connections whose other side can vanish without a word: an empty frame is sent when nothing else was for so long,
   * and the link ends when nothing came for three times as long. null for those within one host.
   */
  readonly heartbeatMs: number | null;
}

/** How long what was sent before abort() may take. */
const farewellMs = 1000;
/** The doorbell: that one byte has come says all. */
const bell = new Uint8Array(1);
/** Heartbeats in a row that may be missing. A count, not a time: a process that was busy itself has heard nothing meanwhile. */
const maxSilentBeats = 3;

/**
 * A connection to another process as capnweb wants it: messages in both directions, in order. It goes over a stream and, once
 * both sides have a ring, through that; the stream then carries doorbells alone, and tells of the other side's end.
 *
 * Each direction changes over by itself: whoever has a ring sends `lastMark` as the last thing over the stream. So
 * the two sides need not call useRing() at the same time.
 */
export class Link implements Turner {
  readonly encodingLevel = 'jsonCompatibleWithBytes';
  /** Fulfilled when it is over, with the reason. */
  readonly ended: Promise<Error>;
  readonly stats = { sentBytes: 0, receivedBytes: 0, bells: 0 };
  readonly #stream: Duplex;
  readonly #limits: LinkLimits;
  readonly #writer: FrameWriter;
  readonly #reader: FrameReader;
  /** What the ring has had no room for. */
  readonly #waiting = new Fifo<Uint8Array>();
  #waitingBytes = 0;
  readonly #messages = new Fifo<unknown>();
  #receiver: { resolve: (message: unknown) => void; reject: (reason: Error) => void } | undefined;
  readonly #turning = new Turning(this);
  #ring: Ring | undefined;
  #ringReader: FrameReader | undefined;
  #error: Error | undefined;
  #settleEnded: (error: Error) => void = () => {};
  #isFlushing = false;
  readonly #flushLater = () => this.#flush();
  #isRef = true;
  #heartbeat: NodeJS.Timeout | undefined;
  #farewell: NodeJS.Timeout | undefined;
  #silentBeats = 0;
  #hasSent = false;

  constructor(stream: Duplex, limits: LinkLimits) {
    this.#stream = stream;
    this.#limits = limits;
    this.#writer = new FrameWriter(limits);
    this.#reader = new FrameReader(limits, (message) => this.#deliver(message));
    this.ended = new Promise((resolve) => {
      this.#settleEnded = resolve;
    });
    stream.on('data', (bytes: Buffer) => this.#heard(bytes));
    stream.on('error', (cause) => this.#lost(cause));
    stream.on('end', () => this.#lost());
    stream.on('close', () => this.#lost());
    if (limits.heartbeatMs !== null) this.#heartbeat = setInterval(() => this.#beat(), limits.heartbeatMs).unref();
    if (stream.destroyed || stream.readableEnded) this.#lost(stream.errored ?? undefined);
    else stream.resume();
  }

  // ---- out ----

  /**
   * Sends a message together with all others of this turn of the event loop. Returns about how many bytes it has. Bytes in it
   * must not change any more; all else may. After the end nothing happens. Errors: ERR_NDSHM_LIMIT, and then it is not sent.
   */
  send(message: unknown): number {
    if (this.#error !== undefined) return 0;
    const byteLength = this.#writer.add(message);
    if (!this.#isFlushing) {
      this.#isFlushing = true;
      process.nextTick(this.#flushLater); // runs when no microtask is left
    }
    return byteLength;
  }

  #flush(): void {
    this.#isFlushing = false;
    const pieces = this.#writer.take();
    if (pieces.length === 0 || this.#error !== undefined) return;
    this.#put(pieces);
  }

  #put(pieces: readonly Uint8Array[]): void {
    this.#hasSent = true;
    for (const { byteLength } of pieces) this.stats.sentBytes += byteLength;
    if (this.#ring === undefined) {
      this.#stream.cork();
      for (const piece of pieces) this.#stream.write(piece);
      this.#stream.uncork();
    } else {
      for (const piece of pieces) {
        this.#waiting.push(piece);
        this.#waitingBytes += piece.byteLength;
      }
      this.look();
    }
    const buffered = this.#waitingBytes + this.#stream.writableLength;
    if (buffered > this.#limits.maxBufferedBytes) {
      const message = `The other side does not take what it is sent: ${bytesInWords(buffered)} are waiting`;
      this.#end(stateError('ERR_NDSHM_LIMIT', message));
    } else {
      this.#stir();
    }
  }

  /** Into the ring what it has room for; whether it was anything. */
  #pour(ring: Ring): boolean {
    let hasPoured = false;
    for (;;) {
      const piece = this.#waiting.shift();
      if (piece === undefined) return hasPoured;
      const count = ring.write(piece);
      this.#waitingBytes -= count;
      hasPoured ||= count > 0;
      if (count === piece.byteLength) continue;
      this.#waiting.putBack(piece.subarray(count));
      return hasPoured;
    }
  }

  #beat(): void {
    if (!this.#hasSent) this.#put([emptyFrame()]);
    this.#hasSent = false;
    if (++this.#silentBeats > maxSilentBeats) this.#lost(new Error('Nothing has come for three heartbeats'));
  }

  // ---- in ----

  /** The next message; the link's error once it has ended and all are read. One call at a time. */
  receive(): Promise<unknown> {
    if (this.#messages.length > 0) return Promise.resolve(this.#messages.shift());
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject };
    });
  }

  #deliver(message: unknown): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    if (receiver === undefined) this.#messages.push(message);
    else receiver.resolve(message);
  }

  #heard(bytes: Buffer): void {
    this.#silentBeats = 0;
    if (this.#error === undefined && !this.#reader.isOver) this.#guarded(() => this.#read(this.#reader, bytes));
    this.look();
    this.#stir();
  }

  #read(reader: FrameReader, bytes: Buffer): void {
    this.stats.receivedBytes += bytes.length;
    reader.push(bytes);
  }

  /** What the other side does against the rules ends the link, and nothing else. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#end(error as Error);
    }
  }

  // ---- the ring ----

  /** From now on bytes go by the ring, which belongs to the link. The other side has to do the same with its side of it. */
  useRing(ring: Ring): void {
    this.#flush();
    if (this.#error !== undefined) {
      ring.close();
      return;
    }
    this.#stream.write(lastMark);
    this.#ring = ring;
    this.#ringReader = new FrameReader(this.#limits, (message) => this.#deliver(message));
    this.look();
    this.#stir();
  }

  /** Before `lastMark` there may still be messages in the stream, which come first. */
  get #readsRing(): boolean {
    return this.#reader.isOver && this.#error === undefined;
  }

  look(): boolean {
    const ring = this.#ring;
    if (ring === undefined) return false;
    let isBusy = false;
    this.#guarded(() => {
      isBusy = this.#exchange(ring);
    });
    if (this.#error !== undefined && this.#waiting.length === 0) this.#hangUp();
    return isBusy;
  }

  #exchange(ring: Ring): boolean {
    ring.wake();
    const hasPoured = this.#pour(ring);
    const bytes = this.#readsRing ? ring.read() : undefined;
    // Before the messages are looked at: it can go on meanwhile. What has not left the stream yet is a bell itself.
    if (ring.mustWake() && this.#stream.writableLength === 0) {
      this.stats.bells++;
      this.#stream.write(bell);
    }
    if (bytes !== undefined) this.#read(this.#ringReader as FrameReader, bytes);
    return hasPoured || bytes !== undefined;
  }

  rest(): boolean {
    let mayRest = true;
    this.#guarded(() => {
      mayRest = this.#ring?.rest({ bytes: this.#readsRing, room: this.#waiting.length > 0 }) ?? true;
    });
    return mayRest;
  }

  // ---- turning ----

  // Over a stream as well: that the event loop turns saves the wake-up, which is the larger part of a message's time.
  #stir(): void {
    if (this.#limits.heartbeatMs !== null) return;
    if (this.#error === undefined || this.#ring !== undefined) this.#turning.stir();
  }

  /** Who does not keep the process going leaves it in peace. */
  get lingers(): boolean {
    return this.#isRef;
  }

  /** The event loop goes on as long as the link is not over. So it is at first. */
  ref(): void {
    this.#isRef = true;
    (this.#stream as Partial<Socket>).ref?.();
  }

  unref(): void {
    this.#isRef = false;
    (this.#stream as Partial<Socket>).unref?.();
  }

  // ---- the end ----

  /** Ends the link after what was sent before. `reason` is what receive() is rejected with. */
  abort(reason: unknown): void {
    this.#flush();
    const error = reason instanceof Error ? reason : stateError('ERR_NDSHM_MANAGER_LOST', `Ended: ${String(reason)}`);
    if (!this.#settle(error)) return;
    this.#stir(); // until the ring has taken all
    this.#farewell = setTimeout(() => this.#close(), farewellMs).unref();
    if (this.#waiting.length === 0) this.#hangUp();
  }

  /** The stream is over. */
  #lost(cause?: Error): void {
    this.look(); // what the other side has left in the ring
    const error = stateError(
      'ERR_NDSHM_MANAGER_LOST',
      'The connection has ended: the other process has ended or closed it',
    );
    this.#end(cause === undefined ? error : Object.assign(error, { cause }));
  }

  #end(error: Error): void {
    this.#settle(error);
    this.#close();
  }

  /** False if it was over already. */
  #settle(error: Error): boolean {
    if (this.#error !== undefined) return false;
    this.#error = error;
    clearInterval(this.#heartbeat);
    this.#receiver?.reject(error);
    this.#receiver = undefined;
    this.#settleEnded(error);
    return true;
  }

  /** Nothing is left to be sent but what is in the stream. */
  #hangUp(): void {
    this.#leaveRing();
    this.#stream.end();
  }

  #close(): void {
    clearTimeout(this.#farewell);
    this.#leaveRing();
    this.#stream.destroy();
  }

  #leaveRing(): void {
    this.#turning.stop();
    this.#ring?.close();
    this.#ring = undefined;
  }
}
