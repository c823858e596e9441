import { binding, type Failure, type Segment } from '../binding';
import {
  type CodedError,
  type FailureSubject,
  failureError,
  hasErrno,
  rangeError,
  stateError,
  typeError,
  wasReplaced,
  wrongKind,
} from '../errors';
import { booleanOption, checkName, checkOptions, integerIn, type Mode, modes, oneOf } from '../options';
import { Attachment, type AttachmentSpec } from './attachment';
import { gc, reapOnce } from './directory';
import { type DType, type DTypeSpec, type DTypes, specOf, specOfTypedArray } from './dtype';
import { inferDType, type Nested, nestedShape } from './nested';
import { formatHeader } from './npy';
import { checkExtent, checkOwner, type Facts, factsOf, readHeader } from './segment-file';
import { SharedArray } from './shared-array';
import { checkedByteLength, checkShape, type Order, sizeOf } from './shape';

const { layout } = binding;

export type IfExists = 'error' | 'open' | 'replace';
const ifExistsChoices = ['error', 'open', 'replace'] as const;

/** What create() and its like have in common. */
export interface PublishOptions {
  /**
   * If the name exists: 'error' (default) throws EEXIST; 'open' opens it in mode 'r+' if shape, dtype and order agree
   * (else ERR_NDSHM_MISMATCH); 'replace' swaps it atomically: whoever has the old array keeps it, whoever opens the
   * name from then on gets the new one, and at no moment is there none.
   */
  readonly ifExists?: IfExists;
  /** The segment belongs to its peers: the last one to close it takes its name away, and so does gc() after a crash. */
  readonly ephemeral?: boolean;
  /** Let `ifExists` open or replace a segment of another user. */
  readonly allowForeignOwner?: boolean;
}

export interface CreateOptions<D extends DType = DType> extends PublishOptions {
  readonly shape: number | readonly number[];
  /** Default 'float64'. */
  readonly dtype?: D;
  /** Default 'C'. */
  readonly order?: Order;
  /**
   * Called with the new array, all zeros, before it has its name: nobody sees it half filled. If it throws, nothing
   * is left. Not called where ifExists: 'open' finds the array.
   */
  readonly init?: (array: SharedArray<D>) => void;
}

const publishKeys = ['ifExists', 'ephemeral', 'allowForeignOwner'] as const;

/** What a new segment shall hold. */
interface Draft {
  readonly spec: DTypeSpec;
  readonly shape: readonly number[];
  readonly order: Order;
  /** The elements' bytes in memory order; null = zeros. */
  readonly source: Uint8Array | null;
  readonly init?: ((array: SharedArray) => void) | undefined;
}

function headerOf(draft: Draft): { header: Uint8Array; dataBytes: number } {
  return {
    dataBytes: checkedByteLength(draft.shape, draft.spec.itemBytes),
    header: formatHeader(draft.spec, draft.order, draft.shape, layout.headerBytes),
  };
}

/** A complete segment without a name, filled by `draft`. */
function allocate(draft: Draft, name: string | null, ephemeral: boolean): Attachment {
  const { header, dataBytes } = headerOf(draft);
  const subject: FailureSubject = { directory: layout.directory, name, wantedBytes: dataBytes };
  const flags = ephemeral ? layout.ephemeralFlag : 0;
  const attempt = (): Segment | Failure => {
    const segment = new binding.Segment();
    return segment.allocate(header, dataBytes, flags, draft.source, name === null) ?? segment;
  };
  let made = attempt();
  // What crashes have left may be all that is in the way.
  if ('status' in made && hasErrno(made, 'ENOSPC') && gc().length > 0) made = attempt();
  if ('status' in made) throw failureError(made, subject);
  const { spec, shape, order } = draft;
  const attachment = Attachment.ofNew(made, {
    name,
    mode: 'r+',
    spec,
    shape,
    order,
    dataOffset: layout.headerBytes,
    dataBytes,
    raw: false,
  });
  if (draft.init !== undefined) {
    try {
      draft.init(new SharedArray(attachment));
    } catch (error) {
      attachment.close();
      throw error;
    }
    if (attachment.closed) throw stateError('ERR_NDSHM_CLOSED', 'The array was closed by its own init function');
  }
  return attachment;
}

/** Allocates, fills and names a segment, as `options` say what to do about an existing one. */
function publish(name: string, draft: Draft, options: PublishOptions): SharedArray {
  const ifExists = options.ifExists === undefined ? 'error' : oneOf(options.ifExists, ifExistsChoices, 'ifExists');
  const ephemeral = booleanOption(options.ephemeral, 'ephemeral');
  const allowForeignOwner = booleanOption(options.allowForeignOwner, 'allowForeignOwner');
  reapOnce();
  for (let attempt = 0; attempt < patience; attempt++) {
    // Looked up before the work of filling; the link or rename at the end is what decides.
    const existing = new binding.Segment();
    const missing = existing.open(name, false);
    const { owner } = factsOf(existing);
    existing.close(null);
    if (missing === undefined) {
      if (ifExists === 'error') throw existsError(name);
      checkOwner(name, owner, allowForeignOwner);
      if (ifExists === 'open') {
        const opened = openExisting(name, draft, allowForeignOwner);
        if (opened === undefined) continue;
        return opened;
      }
    } else if (!hasErrno(missing, 'ENOENT')) {
      if (ifExists === 'error' && isTaken(missing)) throw existsError(name);
      throw failureError(missing, { directory: layout.directory, name });
    }
    const attachment = allocate(draft, name, ephemeral);
    // Before it has its name: an array that is too large for this runtime leaves nothing.
    const array = new SharedArray(attachment);
    const failure = attachment.publish(name, ifExists === 'replace');
    if (failure === undefined) return array;
    attachment.close();
    if (ifExists === 'open' && hasErrno(failure, 'EEXIST')) continue; // somebody was faster: open theirs
    throw failureError(failure, { directory: layout.directory, name });
  }
  throw busyError(name);
}

const patience = 100;
const busyError = (name: string): CodedError =>
  stateError('ERR_NDSHM_BUSY', `The name '${name}' keeps being replaced or removed; try again`);
const existsError = (name: string): CodedError =>
  failureError(
    { status: 1, errno: 17, syscall: 'linkat', found: 0, expected: 0 },
    { directory: layout.directory, name },
  );

/** The name exists, though not as a file that we could open. */
const isTaken = (failure: Failure): boolean =>
  ['EACCES', 'EPERM', 'ELOOP', 'ENODEV', 'ENXIO', 'EISDIR'].some((code) => hasErrno(failure, code));

/** Undefined if the name has gone meanwhile. */
function openExisting(name: string, draft: Draft, allowForeignOwner: boolean): SharedArray | undefined {
  let array: SharedArray;
  try {
    array = open(name, { mode: 'r+', allowForeignOwner });
  } catch (error) {
    if ((error as CodedError).code === 'ENOENT') return undefined;
    throw error;
  }
  const found = SharedArray.attachmentOf(array).spec;
  const same =
    found.spec === draft.spec &&
    found.shape.join() === draft.shape.join() &&
    (found.order === draft.order || draft.shape.length < 2);
  if (same) return array;
  array.close();
  throw stateError(
    'ERR_NDSHM_MISMATCH',
    `'${name}' exists with dtype ${found.spec.name}, shape (${found.shape.join(', ')}), order ${found.order}; ` +
      `asked for ${draft.spec.name}, (${draft.shape.join(', ')}), ${draft.order}`,
  );
}

/**
 * Creates an array of zeros under a name and returns it in mode 'r+'. The memory is reserved: a full /dev/shm is
 * ENOSPC here, never a fault later. Blocks for as long as the pages take to fill (docs/performance.md), no longer.
 * Errors: EEXIST, ENOSPC, EMFILE, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_SHAPE, ERR_NDSHM_DTYPE, ERR_NDSHM_MISMATCH.
 * @example
 * const prices = ndshm.create('prices', { shape: [1000, 3], dtype: 'float64', ephemeral: true });
 * prices.set([7, 2], 42);
 * prices.close();
 */
export function create<D extends DType = 'float64'>(name: string, options: CreateOptions<D>): SharedArray<D> {
  checkName(name);
  const { shape, dtype, order, init, ...rest } = checkOptions(
    options,
    ['shape', 'dtype', 'order', 'init', ...publishKeys],
    'create()',
  );
  if (init !== undefined && typeof init !== 'function') throw wrongKind('a function', 'init', init);
  const draft: Draft = {
    ...draftGeometry(shape, dtype, order),
    source: null,
    init: init as ((array: SharedArray) => void) | undefined,
  };
  return publish(name, draft, rest) as SharedArray<D>;
}

function draftGeometry(shape: unknown, dtype: unknown, order: unknown): { spec: DTypeSpec; shape: readonly number[]; order: Order } {
  return {
    spec: specOf(dtype ?? 'float64'),
    shape: checkShape(shape),
    order: order === undefined ? 'C' : oneOf(order, ['C', 'F'], 'order'),
  };
}

export interface FromArrayOptions<D extends DType = DType> extends PublishOptions {
  /** Default: the typed array's own; for nested arrays float64, bool, int64 (bigints) or complex128, by the elements. */
  readonly dtype?: D;
  /** For typed arrays; default: one dimension. The elements are in C order. */
  readonly shape?: number | readonly number[];
  readonly order?: Order;
}

/** The dtype that a source has by itself. */
export type DTypeOf<T> = T extends SharedArray<infer D> ? D
  : T extends ArrayBufferView
    ? { [D in DType]: DTypes[D]['data'] extends T ? (D extends 'bool' | 'complex64' | 'complex128' ? never : D) : never }[DType]
    : DType;

/**
 * Creates an array from a typed array, a SharedArray or nested arrays, as a copy; complete before it has its name.
 * Returns it in mode 'r+'. Errors: as for create(), and ERR_NDSHM_OUT_OF_RANGE for an element outside the dtype.
 * @example
 * const labels = ndshm.fromArray('labels', new Uint8Array([7, 2, 1, 0]), { ephemeral: true });
 * const identity = ndshm.fromArray('identity', [[1, 0], [0, 1]], { dtype: 'float32', ephemeral: true });
 * labels.close();
 * identity.close();
 */
export function fromArray<D extends DType>(
  name: string,
  source: ArrayBufferView | SharedArray | Nested<unknown>,
  options: FromArrayOptions<D> & { readonly dtype: D },
): SharedArray<D>;
export function fromArray<T extends ArrayBufferView | SharedArray | Nested<unknown>>(
  name: string,
  source: T,
  options?: FromArrayOptions,
): SharedArray<DTypeOf<T>>;
export function fromArray(
  name: string,
  source: ArrayBufferView | SharedArray | Nested<unknown>,
  options?: FromArrayOptions,
): SharedArray {
  checkName(name);
  const { dtype, shape, order, ...rest } = checkOptions(options, ['dtype', 'shape', 'order', ...publishKeys], 'fromArray()');
  const typed = specOfTypedArray(source);
  const isShared = source instanceof SharedArray;
  if (!isShared && typed === undefined && !Array.isArray(source) && typeof source === 'object') {
    throw wrongKind('a typed array, a SharedArray or nested arrays', 'the source', source);
  }
  const whole = isShared ? source.shape : typed !== undefined ? [(source as Uint8Array).length] : nestedShape(source);
  const type = dtype ?? (isShared ? source.dtype : (typed?.name ?? inferDType(source, whole)));
  const geometry = draftGeometry(shape ?? whole, type, order);
  // Both complex dtypes take typed arrays of alternating re and im.
  const entries = typed === undefined ? 1 : geometry.spec.lanes;
  const count = sizeOf(whole) / entries;
  const given = shape === undefined && entries === 2 ? { ...geometry, shape: Object.freeze([count]) } : geometry;
  if (sizeOf(given.shape) !== count) {
    throw rangeError('ERR_NDSHM_SHAPE', `A source of ${count} elements does not fill the shape (${given.shape.join(', ')})`);
  }
  // The bytes as they are, where that is what is asked for: copied by native code into fresh pages.
  const bytewise =
    typed !== undefined &&
    (typed === given.spec || (given.spec.lanes === 2 && typed.kind === 'float' && typed.itemBytes * 2 === given.spec.itemBytes)) &&
    (given.order === 'C' || given.shape.length < 2);
  const draft: Draft = bytewise
    ? { ...given, source: bytesOf(source as ArrayBufferView) }
    : { ...given, source: null, init: (array) => fillFrom(array, source, isShared || typed !== undefined ? undefined : whole) };
  return publish(name, draft, rest);
}

function fillFrom(array: SharedArray, source: unknown, nested: readonly number[] | undefined): void {
  const target = nested === undefined || nested.join() === array.shape.join() ? array : array.reshape(nested);
  if (source instanceof SharedArray && source.shape.join() !== array.shape.join()) {
    array.copyFrom(source.toTypedArray() as ArrayBufferView);
  } else {
    target.copyFrom(source as ArrayBufferView);
  }
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

export interface AnonymousOptions<D extends DType = DType> {
  readonly shape: number | readonly number[];
  readonly dtype?: D;
  readonly order?: Order;
}

/**
 * Creates an array without any name, on a memfd. Only children started with fork({ share }) can have it; it is gone
 * with the last process that holds it. Errors: as for create().
 * @example
 * const scratch = ndshm.anonymous({ shape: [1000], dtype: 'int32' });
 * ndshm.fork('./worker.js', [], { share: { scratch } }).on('exit', () => scratch.close());
 */
export function anonymous<D extends DType = 'float64'>(options: AnonymousOptions<D>): SharedArray<D> {
  const { shape, dtype, order } = checkOptions(options, ['shape', 'dtype', 'order'], 'anonymous()');
  return new SharedArray(allocate({ ...draftGeometry(shape, dtype, order), source: null }, null, false)) as SharedArray<D>;
}

/** Opens, has `describe` say what is to be mapped, and attaches; again if the name was replaced meanwhile. */
function openSegment(
  name: string | null,
  openIt: (segment: Segment) => Failure | undefined,
  allowForeignOwner: boolean,
  describe: (segment: Segment, facts: Facts) => AttachmentSpec,
): SharedArray {
  const subject: FailureSubject = { directory: layout.directory, name };
  for (let attempt = 0; attempt < patience; attempt++) {
    const segment = new binding.Segment();
    const failure = openIt(segment);
    if (failure !== undefined) throw failureError(failure, subject);
    let spec: AttachmentSpec;
    try {
      const facts = factsOf(segment);
      checkOwner(name, facts.owner, allowForeignOwner);
      spec = describe(segment, facts);
    } catch (error) {
      segment.close(null);
      throw error;
    }
    const attachment = Attachment.attach(segment, spec);
    if (attachment instanceof Attachment) return new SharedArray(attachment);
    if (!wasReplaced(attachment)) throw failureError(attachment, { ...subject, wantedBytes: spec.dataBytes });
  }
  throw busyError(String(name));
}

function describeNpy(segment: Segment, facts: Facts, name: string | null, mode: Mode): AttachmentSpec {
  const who = name ?? 'anonymous';
  const header = readHeader(segment, who);
  checkExtent(who, header.spec, header.dataOffset, header.dataBytes, facts.size);
  return { name, mode, raw: false, ...header };
}

export interface OpenOptions {
  /** 'r' (default) read-only, 'r+' shared and writable, 'c' copy-on-write: writes are this array's alone. */
  readonly mode?: Mode;
  /** Open a segment of another user. Default false. */
  readonly allowForeignOwner?: boolean;
}

/**
 * Opens an array by name: one of ndshm's, or any .npy file that lies in /dev/shm. Maps it, whatever its size, without
 * copying or reading it. Does not block.
 * Errors: ENOENT, EACCES, EMFILE, ERR_NDSHM_HEADER, ERR_NDSHM_TRUNCATED, ERR_NDSHM_DTYPE, ERR_NDSHM_FOREIGN_OWNER,
 * ERR_NDSHM_CONTROL_VERSION, ERR_NDSHM_CONTROL_CORRUPT, ERR_NDSHM_PEERS_FULL, ERR_NDSHM_TOO_LARGE.
 * @example
 * ndshm.fromArray('prices', [1.5, 2.5]).close();
 * const prices = ndshm.open('prices');
 * console.log(prices.get(0)); // 1.5
 * prices.close();
 * ndshm.unlink('prices');
 */
export function open<D extends DType = DType>(name: string, options?: OpenOptions): SharedArray<D> {
  checkName(name);
  const { mode, allowForeignOwner } = checkOptions(options, ['mode', 'allowForeignOwner'], 'open()');
  const how = mode === undefined ? 'r' : oneOf(mode, modes, 'mode');
  return openSegment(
    name,
    (segment) => segment.open(name, how === 'r+'),
    booleanOption(allowForeignOwner, 'allowForeignOwner'),
    (segment, facts) => describeNpy(segment, facts, name, how),
  ) as SharedArray<D>;
}

/** @internal Attaches an anonymous segment through a descriptor that fork() passed. */
export function openDescriptor(fd: number, mode: Mode): SharedArray {
  return openSegment(
    null,
    (segment) => segment.openDescriptor(fd, mode === 'r+'),
    true,
    (segment, facts) => describeNpy(segment, facts, null, mode),
  );
}

export interface OpenRawOptions<D extends DType = DType> extends OpenOptions {
  readonly dtype: D;
  /** Default: one dimension, all whole elements from byteOffset to the end of the file. */
  readonly shape?: number | readonly number[];
  /** Where the elements start, in bytes; a multiple of the element's alignment. Default 0. */
  readonly byteOffset?: number;
  readonly order?: Order;
}

/**
 * Opens raw shared memory that somebody else made, such as Python's SharedMemory, as an array of the given dtype and
 * shape. Nothing in it is interpreted. In mode 'r+' its pages are reserved first (ENOSPC), since such segments are
 * often sparse. Errors: as for open(), and ERR_NDSHM_ALIGNMENT.
 * @example
 * require('node:fs').writeFileSync('/dev/shm/raw', Buffer.alloc(16 + 240));
 * const raw = ndshm.openRaw('raw', { dtype: 'float64', shape: [10, 3], byteOffset: 16, mode: 'r+' });
 * raw.close();
 * ndshm.unlink('raw');
 */
export function openRaw<D extends DType>(name: string, options: OpenRawOptions<D>): SharedArray<D> {
  checkName(name);
  const checked = checkOptions(options, ['dtype', 'shape', 'byteOffset', 'order', 'mode', 'allowForeignOwner'], 'openRaw()');
  const { dtype, shape, byteOffset = 0, order, mode, allowForeignOwner } = checked;
  if (dtype === undefined) throw typeError('ERR_NDSHM_INVALID_ARGUMENT', 'openRaw() needs the option dtype');
  const how = mode === undefined ? 'r' : oneOf(mode, modes, 'mode');
  const offset = integerIn(byteOffset, 0, Number.MAX_SAFE_INTEGER, 'byteOffset');
  return openSegment(
    name,
    (segment) => segment.open(name, how === 'r+'),
    booleanOption(allowForeignOwner, 'allowForeignOwner'),
    (_segment, facts) => {
      const rest = Math.floor(Math.max(0, facts.size - offset) / specOf(dtype).itemBytes);
      const geometry = draftGeometry(shape ?? [rest], dtype, order);
      const dataBytes = checkedByteLength(geometry.shape, geometry.spec.itemBytes);
      checkExtent(name, geometry.spec, offset, dataBytes, facts.size);
      return { name, mode: how, raw: true, dataOffset: offset, dataBytes, ...geometry };
    },
  ) as SharedArray<D>;
}
