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

/** slot, mode, pid, tid, attachedAtMs */
export type PeerRow = readonly [number, number, number, number, number];

/** `Mode` of native/core/layout.h: 1 = 'r', 2 = 'r+', 3 = 'c'. */
export type ModeNumber = 1 | 2 | 3;

export declare class Segment {
  /** Makes a complete segment without a name. `header` is `layout.headerBytes` long, `source` dataBytes. */
  allocate(
    header: Uint8Array,
    dataBytes: number,
    flags: number,
    source: Uint8Array | null,
    anonymous: boolean,
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
  /** flags, createdAtMs, segment id in hex; undefined = no control block. */
  control(dataOffset: number, dataBytes: number): readonly [number, number, string] | undefined | Failure;
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

export interface Layout {
  readonly version: number;
  readonly pageBytes: number;
  readonly headerBytes: number;
  readonly controlBytes: number;
  readonly peerSlots: number;
  readonly ephemeralFlag: number;
  readonly directory: string;
  readonly temporaryPrefix: string;
}

export interface Binding {
  readonly Segment: typeof Segment;
  readonly layout: Layout;
  /** One word that grows with every bus error survived in this process. */
  readonly faults: Uint32Array;
  unlink(name: string): Failure | undefined;
  reap(name: string): boolean | Failure;
}
