// The whole native surface, as lib/binding.ts loads it. Positional arguments, checked before the call; failures come
// back as values and become errors in lib/errors.ts. Documentation of behaviour: native/core/*.h.

export interface Failure {
  /** `Status` of native/core/result.h. */
  readonly status: number;
  readonly errno: number;
  readonly syscall: string;
  readonly found: number;
  readonly expected: number;
}

/** slot, mode, pid, tid, attachedAtMs, generation, readerFlag, waitingFor */
export type PeerRow = readonly [number, number, number, number, number, number, number, number];

/** `Mode` of native/core/layout.h: 1 = 'r', 2 = 'r+', 3 = 'c'. */
export type ModeNumber = 1 | 2 | 3;

export declare class Segment {
  /**
   * Makes a complete segment without a name. `header` is `layout.headerBytes` long, null = a plain file: nothing but the
   * data, no peers. `source`: dataBytes. `sparse`: the elements are neither reserved nor mapped. `memberOf`: the 16 bytes of
   * its parent's id.
   */
  allocate(
    header: Uint8Array | null,
    dataBytes: number,
    flags: number,
    source: Uint8Array | null,
    anonymous: boolean,
    sparse: boolean,
    memberOf: Uint8Array | null,
  ): Failure | undefined;
  publish(name: string, replace: boolean): Failure | undefined;

  /** Fills `facts` and `header` (with the file's beginning); how many bytes of it there were. */
  open(name: string, needWrite: boolean, facts: Float64Array, header: Uint8Array): number | Failure;
  openDescriptor(fd: number, needWrite: boolean, facts: Float64Array, header: Uint8Array): number | Failure;
  /** size, allocatedBytes, owner, permissions, links, inode, modifiedAtMs, owned by this user (0 or 1), as when opened */
  facts(into: Float64Array): void;
  read(into: Uint8Array, offset: number): number | Failure;
  attach(
    mode: ModeNumber,
    dataOffset: number,
    dataBytes: number,
    foreign: boolean,
    guard: boolean,
  ): Failure | undefined;

  /** A new ArrayBuffer over the mapped elements; to be called once. Undefined where the runtime forbids that, or so many bytes. */
  buffer(): ArrayBuffer | undefined;
  /** flags, createdAtMs, segment id in hex, that of the segment it is a member of; undefined = no control block. */
  control(
    dataOffset: number,
    dataBytes: number,
  ): readonly [number, number, string, string | null] | undefined | Failure;
  peers(dataOffset: number, dataBytes: number): PeerRow[] | Failure;
  /** A new descriptor of the same file, for a child process; the caller closes it. */
  share(): number | Failure;
  /** Takes the name away if it still means this segment. */
  unlink(): Failure | undefined;
  faulted(): boolean;
  ephemeral(): boolean;
  /** Idempotent. Unmaps if this buffer, the one buffer() made, could be detached; else its finalizer will. */
  close(buffer: ArrayBuffer | null): void;
}

/** `Access` of native/core/rwlock.h. 3 = to write, with the word taken already: wait for the readers inside. */
export type AccessNumber = 1 | 2 | 3;
/**
 * `Entry` of native/core/rwlock.h: 0 = not yet, 1 = inside, 2 = inside, and the data may be half-written, 3 = not yet, but
 * the word is taken: go on with access 3.
 */
export type EntryNumber = 0 | 1 | 2 | 3;
/** `Change` of native/core/rwlock.h: 0 = not yet, 1 = changed, 2 = a watched peer has died. */
export type ChangeNumber = 0 | 1 | 2;

/** The lock of an attached segment. After open() succeeded and before close(), in one thread. */
export declare class Lock {
  constructor(segment: Segment);
  /** The control block's words, mapped; to be called once. Undefined = the segment has none. */
  open(): ArrayBuffer | Failure | undefined;
  /** This attachment's; `layout.readOnlyPeer` if it may not write, which then can only look and await changes. */
  slot(): number;
  registerReader(): void;
  /** Blocks. Only while nothing is held, and no enterLater() pending. `comesAgain`: another call goes on with it. */
  enter(access: AccessNumber, timeoutMs: number, comesAgain: boolean): EntryNumber | Failure;
  /** Returns at once; onEntered is called later. One at a time. */
  enterLater(access: AccessNumber): Failure | undefined;
  onEntered: (entry: EntryNumber | Failure) => void;
  /** Ends enterLater(), whose outcome it returns: it may have entered already. onEntered is not called. */
  stopEntering(): EntryNumber | Failure | undefined;
  leaveWrite(clearAbandoned: boolean): Failure | undefined;
  wakeDrainer(): void;
  /** Watches for some microseconds at most, and not at all where that has not been worth while: whether it changed. */
  changesSoon(signal: number): boolean;
  /** Blocks. `watched`: slot and generation by turns. */
  awaitChange(signal: number, watched: Uint32Array, timeoutMs: number): ChangeNumber | Failure;
  /** Returns at once; onChange is called later. One at a time. */
  awaitChangeLater(signal: number, watched: Uint32Array, keepsAlive: boolean): Failure | undefined;
  onChange: (change: ChangeNumber | Failure) => void;
  /** Whether the event loop goes on for awaitChangeLater(). */
  keepAwaiting(keepsAlive: boolean): void;
  stopAwaiting(): ChangeNumber | Failure | undefined;
  /** Wakes so many of those who sleep, all of them unless told otherwise; each other one looks after 0.1 s at the latest. */
  notifyChange(atMost?: number): void;
  isDead(slot: number, generation: number): boolean | Failure;
  /** Leaves whatever is held as this attachment's death would. */
  abandon(): void;
  /** Ends all waits; their callbacks are not called. */
  close(words: ArrayBuffer): void;
}

/** Over the elements of a segment that was made sparse. Offsets and lengths: native/core/reservoir.h. */
export declare class Reservoir {
  /** Takes an opened segment's descriptor; that one is closed by it. */
  constructor(segment: Segment, dataOffset: number, dataBytes: number);
  fill(offset: number, byteLength: number, source: Uint8Array | null): Failure | undefined;
  write(offset: number, source: Uint8Array): Failure | undefined;
  /** Returns at once; onPrefaulted is called later, with the same number. Does not keep the event loop alive. */
  prefault(number: number, offset: number, byteLength: number): Failure | undefined;
  onPrefaulted: (number: number, failure: Failure | undefined) => void;
  punch(offset: number, byteLength: number): Failure | undefined;
  /** Undefined where the runtime forbids such buffers, or so many bytes. */
  map(offset: number, byteLength: number, shared: boolean, leased: boolean): ArrayBuffer | Failure | undefined;
  /** Nothing happens if the buffer's memory has moved on to another one. */
  unmap(buffer: ArrayBuffer): void;
  isLeased(offset: number, byteLength: number): boolean | Failure;
  faulted(): boolean;
  /** Idempotent. */
  close(): void;
}

export interface Layout {
  readonly version: number;
  readonly pageBytes: number;
  readonly headerBytes: number;
  readonly controlBytes: number;
  readonly peerSlots: number;
  readonly peerBytes: number;
  readonly ephemeralFlag: number;
  readonly readOnlyPeer: number;
  /** Where words lie in the control block, in bytes; those of a peer for slot 0. */
  readonly words: {
    readonly writer: number;
    readonly version: number;
    readonly changeSignal: number;
    readonly changeWaiters: number;
    readonly drainWaits: number;
    readonly readerSlots: number;
    readonly readerFlag: number;
    readonly generation: number;
  };
  readonly bits: {
    readonly owner: number;
    readonly readers: number;
    readonly abandoned: number;
    readonly watches: number;
  };
  readonly directory: string;
  readonly temporaryPrefix: string;
}

export interface Binding {
  readonly Segment: typeof Segment;
  readonly Lock: typeof Lock;
  readonly Reservoir: typeof Reservoir;
  /** A full memory fence. */
  readonly fence: () => void;
  readonly layout: Layout;
  /** One word that grows with every bus error survived in this process. */
  readonly faults: Uint32Array;
  unlink(name: string): Failure | undefined;
  reap(name: string): boolean | Failure;
  /** Whether reap() would remove it. */
  isLeftover(name: string): boolean | Failure;
  /** Ends this process, in the midst of anything, so long after the other end of this socket is closed. */
  endWithParent(socket: number, store: string | null, graceMs: number): Failure | undefined;
  /** For loops that wait: whoever else is to run on this processor does. Less than 1 µs if nobody is. */
  yieldProcessor(): void;
  /** Of any descriptor, whoever opened it. */
  closeDescriptor(fd: number): void;
  /** Whole milliseconds by the host's clock: those of Bun and Deno begin with the process. */
  monotonicMs(): number;
}
