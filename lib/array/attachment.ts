import { constants } from 'node:buffer';
import { binding, type Failure, type ModeNumber, type Segment } from '../binding';
import {
  bytesInWords,
  type CodedError,
  closedError,
  failureError,
  stateError,
  typeError,
  wasReplaced,
} from '../errors';
import { Changes } from '../lock/changes';
import { ControlWords } from '../lock/control-words';
import { RwLock } from '../lock/rw-lock';
import { Versions } from '../lock/versions';
import type { Mode } from '../options';
import { closeAtExit } from './at-exit';
import type { Data, DTypeSpec } from './dtype';
import { factsOf, identityOf, idOf } from './segment-file';
import type { Order } from './shape';

const modeNumbers: Record<Mode, ModeNumber> = { r: 1, 'r+': 2, c: 3 };

// For debugging: a stray store into a read-only array ends the process where it happens, instead of being kept private.
const guardReadOnly = process.env['NDSHM_GUARD'] === '1';

export interface AttachmentSpec {
  /** null = anonymous. */
  readonly name: string | null;
  readonly mode: Mode;
  readonly spec: DTypeSpec;
  readonly shape: readonly number[];
  readonly order: Order;
  readonly dataOffset: number;
  readonly dataBytes: number;
  /** Attached by openRaw(): there is no header to go by, and no control block. */
  readonly raw: boolean;
}

/** Part of a buffer that somebody else has mapped, and unmaps. */
export interface Excerpt {
  readonly buffer: ArrayBuffer;
  readonly byteOffset: number;
  /** Whether any page of it was lost. */
  readonly faulted: () => boolean;
  /** As in "'prices' has been closed". */
  readonly who: string;
}

/**
 * One process's or thread's hold on a segment: the mapped bytes as one buffer, shared by an array and all its views.
 * Closed once, by the array that opened it.
 */
export class Attachment {
  readonly #memory: Segment | Excerpt;
  readonly #buffer: ArrayBuffer;
  #closed = false;
  #faultsSeen: number;
  #id: string | null | undefined; // undefined = not asked for yet
  readonly #forgetExit: (() => void) | undefined;
  #control: ControlWords | undefined;
  #lock: RwLock | undefined;
  #changes: Changes | undefined;
  #versions: Versions | undefined;

  private constructor(
    readonly spec: AttachmentSpec,
    memory: Segment | Excerpt,
  ) {
    this.#memory = memory;
    this.#faultsSeen = binding.faults[0] as number;
    if (!(memory instanceof binding.Segment)) {
      this.#buffer = memory.buffer;
      return;
    }
    const segment = memory;
    const buffer = segment.buffer();
    if (buffer === undefined) {
      segment.close(null);
      if (spec.dataBytes > constants.MAX_LENGTH) throw this.#tooLarge();
      throw stateError('ERR_NDSHM_UNSUPPORTED', 'This runtime does not allow buffers over memory outside its heap');
    }
    this.#buffer = buffer;
    this.#forgetExit = segment.ephemeral() ? closeAtExit(this) : undefined;
  }

  /** Maps an opened segment as `spec` says. Closes it on failure, whose value tells whether to open again. */
  static attach(segment: Segment, spec: AttachmentSpec): Attachment | Failure {
    const failure = segment.attach(modeNumbers[spec.mode], spec.dataOffset, spec.dataBytes, spec.raw, guardReadOnly);
    if (failure !== undefined) {
      segment.close(null);
      return failure;
    }
    return new Attachment(spec, segment);
  }

  /** Of a segment that allocate() has made and mapped already. */
  static ofNew(segment: Segment, spec: AttachmentSpec): Attachment {
    return new Attachment(spec, segment);
  }

  /** Of what is mapped already. It has no segment of its own, and so no name, peers or lock. */
  static within(excerpt: Excerpt, spec: Omit<AttachmentSpec, 'name' | 'dataOffset' | 'raw'>): Attachment {
    return new Attachment({ ...spec, name: null, dataOffset: 0, raw: true }, excerpt);
  }

  get #segment(): Segment {
    const memory = this.#memory;
    if (memory instanceof binding.Segment) return memory;
    throw typeError('ERR_NDSHM_ANONYMOUS', `${memory.who} has no segment of its own; copy it into a named array`);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether the segment belongs to its peers. */
  get ephemeral(): boolean {
    return this.#segment.ephemeral();
  }

  /** All elements, in memory order. */
  data(): Data {
    const { spec, dataBytes } = this.spec;
    const length = (dataBytes / spec.itemBytes) * spec.lanes;
    try {
      const memory = this.#memory;
      return spec.over(this.#buffer, 'byteOffset' in memory ? memory.byteOffset : 0, length);
    } catch (cause) {
      this.close();
      throw Object.assign(this.#tooLarge(), { cause });
    }
  }

  #tooLarge(): CodedError {
    return stateError(
      'ERR_NDSHM_TOO_LARGE',
      `${this.who} has ${bytesInWords(this.spec.dataBytes)}, more than a typed array holds in this runtime (${process.version}); Node 22 and later take more`,
    );
  }

  get who(): string {
    if ('who' in this.#memory) return this.#memory.who;
    return this.spec.name === null ? 'an anonymous array' : `'${this.spec.name}'`;
  }

  /** The random id of the segment; null for files that are not of our making. */
  get id(): string | null {
    if (this.#id === undefined) {
      const { raw, dataOffset, dataBytes } = this.spec;
      this.#id = raw ? null : idOf(this.#segment, dataOffset, dataBytes);
    }
    return this.#id;
  }

  get identity(): string {
    return identityOf(this.id, factsOf(this.#segment));
  }

  /** Whether pages were lost because the file was truncated. */
  get faulted(): boolean {
    return this.#memory.faulted();
  }

  get faultsSeen(): number {
    return this.#faultsSeen;
  }

  /** Throws if closed, or if the file was truncated under the mapping. */
  check(): void {
    if (this.#closed) throw closedError(this.who);
    if ((binding.faults[0] as number) === this.#faultsSeen) return;
    if (this.#memory.faulted()) {
      throw stateError(
        'ERR_NDSHM_TRUNCATED',
        `${this.who} lost pages: another process truncated the file, or there was no room for a page of it; what was lost reads as zero`,
      );
    }
    this.#faultsSeen = binding.faults[0] as number; // somebody else's
  }

  /** The control block, mapped when first asked for. Errors: ERR_NDSHM_NO_CONTROL. */
  get control(): ControlWords {
    this.#control ??= new ControlWords({
      segment: this.#segment,
      failure: { directory: binding.layout.directory, name: this.spec.name },
      who: this.who,
      check: () => this.check(),
    });
    return this.#control;
  }

  get lock(): RwLock {
    this.#lock ??= new RwLock(this.control);
    return this.#lock;
  }

  get changes(): Changes {
    this.#changes ??= new Changes(this.control);
    return this.#changes;
  }

  get versions(): Versions {
    this.#versions ??= new Versions(this.control, this.changes);
    return this.#versions;
  }

  publish(name: string, replace: boolean): Failure | undefined {
    return this.#segment.publish(name, replace);
  }

  /** A descriptor for a child process to inherit. */
  shareDescriptor(): number {
    const fd = this.#segment.share();
    if (typeof fd !== 'number') throw failureError(fd, { directory: binding.layout.directory, name: this.spec.name });
    return fd;
  }

  unlink(): void {
    const { name } = this.spec;
    if (name === null) throw typeError('ERR_NDSHM_ANONYMOUS', 'An anonymous array has no name to unlink');
    const failure = this.#segment.unlink();
    if (failure === undefined) return;
    if (wasReplaced(failure)) {
      throw stateError('ERR_NDSHM_STALE_HANDLE', `The name '${name}' means another array by now; it was left alone`);
    }
    throw failureError(failure, { directory: binding.layout.directory, name });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#forgetExit?.();
    // Waits end before what they wait on is unmapped.
    this.#lock?.close();
    this.#changes?.close();
    this.#control?.close();
    if (this.#memory instanceof binding.Segment) this.#memory.close(this.#buffer);
  }
}
