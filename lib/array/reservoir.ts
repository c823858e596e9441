import { binding, type Failure, type Reservoir as NativeReservoir, type Segment } from '../binding';
import { bytesInWords, type CodedError, closedError, failureError, hasErrno, rangeError, stateError } from '../errors';
import { existsError } from './create';
import { specOf } from './dtype';
import { describeMember, type Membership, membership, removeOrphan } from './member';
import { formatHeader } from './npy';
import { busyError, patience } from './open';
import { checkOwner, isOpened, openFile } from './segment-file';
import type { SharedArray } from './shared-array';

const { layout } = binding;

export interface MapOptions {
  /** Writable, for everybody to see; else a private copy is made of each page that is written. */
  readonly shared: boolean;
  /** The range counts as read until the buffer is unmapped or collected. */
  readonly leased: boolean;
}

/**
 * A member of many pages that do not exist until they are filled. Ranges of it are filled, mapped, leased and given back
 * one by one. Offsets and lengths are in bytes, counted from the first element, and multiples of 4096 unless said otherwise.
 */
export class Reservoir {
  readonly #native: NativeReservoir;
  #faulted = false;
  #faultsSeen: number;
  #prefaultCount = 0;
  /** What waits for prefaulting, by the number that it was given. */
  readonly #prefaults = new Map<number, (failure: Failure | undefined) => void>();

  private constructor(
    segment: Segment,
    readonly name: string,
    readonly byteLength: number,
  ) {
    this.#faultsSeen = binding.faults[0] as number;
    this.#native = new binding.Reservoir(segment, layout.headerBytes, byteLength);
    this.#native.onPrefaulted = (number, failure) => {
      this.#prefaults.get(number)?.(failure);
      this.#prefaults.delete(number);
    };
  }

  /**
   * Opens the member `PARENT.LABEL`, of whatever length it is, or makes it if it is missing or an orphan of an earlier
   * parent. Errors: ENOSPC, EMFILE, EEXIST if the name is that of something else, ERR_NDSHM_FOREIGN_OWNER, ERR_NDSHM_BUSY
   * also if the parent's name has come to mean another segment.
   */
  static openOrCreate(
    parent: SharedArray,
    label: string,
    byteLength: number,
    { allowForeignOwner = false }: { readonly allowForeignOwner?: boolean } = {},
  ): Reservoir {
    const member = membership(parent, label);
    const { name } = member;
    const subject = { directory: layout.directory, name };
    for (let attempt = 0; attempt < patience; attempt++) {
      const file = openFile(name, true);
      if (isOpened(file)) {
        try {
          checkOwner(name, file.facts, allowForeignOwner);
          const { header, memberOf } = describeMember(file, name);
          if (memberOf === null || header.dataOffset !== layout.headerBytes) throw existsError(name);
          if (memberOf === member.memberOf) return new Reservoir(file.segment, name, header.dataBytes);
        } finally {
          file.segment.close(null);
        }
        removeOrphan(name);
      } else if (hasErrno(file, 'ENOENT')) {
        const failure = make(member, byteLength);
        if (failure !== undefined && !hasErrno(failure, 'EEXIST')) throw failureError(failure, subject);
      } else {
        throw failureError(file, subject);
      }
    }
    throw busyError(name);
  }

  /**
   * Makes pages of holes: reserved for certain, with `source` in them, and zeros behind it. Blocks for as long as that
   * takes. Errors: ENOSPC, and then they are holes again.
   */
  fill(offset: number, byteLength: number, source: Uint8Array | null): void {
    this.#checkPages(offset, byteLength);
    if (source !== null && source.byteLength > byteLength) throw this.#outside(offset, source.byteLength);
    this.#check(this.#native.fill(offset, byteLength, source), byteLength);
  }

  /** Into pages that exist; any offset and length. Blocks. */
  write(offset: number, source: Uint8Array): void {
    this.#checkBytes(offset, source.byteLength);
    this.#check(this.#native.write(offset, source));
  }

  /**
   * fill() with zeros on a thread of its own, which does not keep the process alive. Errors: ENOSPC, ERR_NDSHM_CLOSED if
   * close() came first; then the pages are holes again.
   */
  async prefault(offset: number, byteLength: number): Promise<void> {
    this.#checkPages(offset, byteLength);
    const number = this.#prefaultCount++;
    this.#check(this.#native.prefault(number, offset, byteLength));
    const failure = await new Promise<Failure | undefined>((settle) => this.#prefaults.set(number, settle));
    if (failure !== undefined && hasErrno(failure, 'ECANCELED')) throw closedError(`'${this.name}'`);
    this.#check(failure, byteLength);
  }

  /** Gives the pages back to the system: they read as zeros from now on, for whoever has them mapped. */
  punch(offset: number, byteLength: number): void {
    this.#checkPages(offset, byteLength);
    this.#check(this.#native.punch(offset, byteLength));
  }

  /** A new buffer over a range. Errors: ENOMEM, ERR_NDSHM_TOO_LARGE. */
  map(offset: number, byteLength: number, { shared, leased }: MapOptions): ArrayBuffer {
    this.#checkPages(offset, byteLength);
    const buffer = this.#native.map(offset, byteLength, shared, leased);
    if (buffer !== undefined && 'status' in buffer) throw this.#error(buffer, byteLength);
    if (buffer !== undefined) return buffer;
    throw stateError(
      'ERR_NDSHM_TOO_LARGE',
      `This runtime (${process.version}) takes no buffer over ${bytesInWords(byteLength)} of memory outside its heap`,
    );
  }

  /** Detaches a buffer that map() made, unmaps it and ends its lease. */
  unmap(buffer: ArrayBuffer): void {
    this.#native.unmap(buffer);
  }

  /** Whether this or any other process has a lease on any of these pages. */
  isLeased(offset: number, byteLength: number): boolean {
    this.#checkPages(offset, byteLength);
    const leased = this.#native.isLeased(offset, byteLength);
    if (typeof leased !== 'boolean') throw this.#error(leased);
    return leased;
  }

  /** Whether pages were lost, because another process truncated the file; what was lost reads as zeros. */
  get faulted(): boolean {
    const faults = binding.faults[0] as number;
    if (faults === this.#faultsSeen) return this.#faulted;
    this.#faultsSeen = faults;
    this.#faulted = this.#native.faulted();
    return this.#faulted;
  }

  /** Buffers mapped before stay valid, and leased, until they are unmapped or collected. May be called again. */
  close(): void {
    this.#native.close();
  }

  #checkBytes(offset: number, byteLength: number): void {
    if (!(offset >= 0 && offset + byteLength <= this.byteLength)) throw this.#outside(offset, byteLength);
  }

  #checkPages(offset: number, byteLength: number): void {
    this.#checkBytes(offset, byteLength);
    const { pageBytes } = layout;
    if (byteLength <= 0 || offset % pageBytes !== 0 || byteLength % pageBytes !== 0) {
      throw this.#outside(offset, byteLength);
    }
  }

  #outside(offset: number, byteLength: number): CodedError {
    return rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `${byteLength} bytes from byte ${offset} on are not a range of the ${this.byteLength} bytes of '${this.name}'`,
    );
  }

  #check(failure: Failure | undefined, wantedBytes?: number): void {
    if (failure !== undefined) throw this.#error(failure, wantedBytes);
  }

  #error(failure: Failure, wantedBytes?: number): CodedError {
    const subject = { directory: layout.directory, name: this.name };
    return failureError(failure, wantedBytes === undefined ? subject : { ...subject, wantedBytes });
  }
}

/** Makes the segment under its name. */
function make({ name, memberOf }: Membership, byteLength: number): Failure | undefined {
  const header = formatHeader(specOf('uint8'), 'C', [byteLength], layout.headerBytes);
  const segment = new binding.Segment();
  try {
    return (
      segment.allocate(header, byteLength, 0, null, false, true, Buffer.from(memberOf, 'hex')) ??
      segment.publish(name, false)
    );
  } finally {
    segment.close(null);
  }
}
