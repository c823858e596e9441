import { binding, type Failure } from '../binding';
import {
  type CodedError,
  type FailureSubject,
  failureError,
  hasErrno,
  rangeError,
  stateError,
  wrongKind,
} from '../errors';
import { booleanOption, checkName, checkOptions, oneOf } from '../options';
import { Attachment } from './attachment';
import { reapOnce } from './directory';
import { type DType, type DTypes, specOfTypedArray } from './dtype';
import { checkElements, type ElementsSpec } from './elements-spec';
import { describeMember, membership, removeOrphan } from './member';
import { inferDType, type Nested, nestedShape } from './nested';
import { newSegment } from './new-segment';
import { formatHeader } from './npy';
import { busyError, open, patience } from './open';
import { checkOwner, isOpened, openFile } from './segment-file';
import { checkedByteLength, type Order, sizeOf } from './shape';
import { SharedArray } from './shared-array';

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
interface Draft extends ElementsSpec {
  /** The elements' bytes in memory order; null = zeros. */
  readonly source: Uint8Array | null;
  readonly init?: ((array: SharedArray) => void) | undefined;
  /** The id of the segment that it belongs to. */
  readonly memberOf?: string;
}

/** A complete segment without a name, filled by `draft`. */
function allocate(draft: Draft, name: string | null, ephemeral: boolean): Attachment {
  const { spec, shape, order } = draft;
  const dataBytes = checkedByteLength(shape, spec.itemBytes);
  const header = formatHeader(spec, order, shape, layout.headerBytes);
  const subject: FailureSubject = { directory: layout.directory, name, wantedBytes: dataBytes };
  const flags = ephemeral ? layout.ephemeralFlag : 0;
  const memberOf = draft.memberOf === undefined ? null : Buffer.from(draft.memberOf, 'hex');
  const made = newSegment(
    (segment) => segment.allocate(header, dataBytes, flags, draft.source, name === null, false, memberOf),
    subject,
  );
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
    const existing = openFile(name, false);
    if (isOpened(existing)) {
      try {
        if (ifExists === 'error') throw existsError(name);
        checkOwner(name, existing.facts, allowForeignOwner);
        // A member's name may be that of somebody else's array, or of another parent's member.
        const { memberOf } = draft;
        if (memberOf !== undefined && describeMember(existing, name).memberOf !== memberOf) throw existsError(name);
      } finally {
        existing.segment.close(null);
      }
      if (ifExists === 'open') {
        const opened = openExisting(name, draft, allowForeignOwner);
        if (opened === undefined) continue;
        return opened;
      }
    } else if (!hasErrno(existing, 'ENOENT')) {
      if (ifExists === 'error' && isTaken(existing)) throw existsError(name);
      throw failureError(existing, { directory: layout.directory, name });
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

export const existsError = (name: string): CodedError =>
  failureError(
    { status: 1, errno: 17, syscall: 'linkat', found: 0, expected: 0 },
    { directory: layout.directory, name },
  );

/** The name exists, though not as a file that we could open. */
export const isTaken = (failure: Failure): boolean =>
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
  return createAs(name, options, {}, 'create()');
}

function createAs<D extends DType>(
  name: string,
  options: CreateOptions<D>,
  belongs: Pick<Draft, 'memberOf'>,
  where: string,
): SharedArray<D> {
  const { shape, dtype, order, init, ...rest } = checkOptions(
    options,
    ['shape', 'dtype', 'order', 'init', ...publishKeys],
    where,
  );
  if (init !== undefined && typeof init !== 'function') throw wrongKind('a function', 'init', init);
  const draft: Draft = {
    ...checkElements(shape, dtype, order),
    source: null,
    init: init as ((array: SharedArray) => void) | undefined,
    ...belongs,
  };
  return publish(name, draft, rest) as SharedArray<D>;
}

/**
 * As create(), but a member of `parent`, named `PARENT.LABEL`: gc() removes it once the parent's name is gone or means
 * another segment, and nobody has the member open. What an earlier parent has left under the name is removed first.
 * Errors: as for create(), and EEXIST where `ifExists` would open or replace what is no member of `parent`.
 */
export function createMember<D extends DType = 'float64'>(
  parent: SharedArray,
  label: string,
  options: CreateOptions<D>,
): SharedArray<D> {
  const { name, memberOf } = membership(parent, label);
  removeOrphan(name);
  return createAs(name, options, { memberOf }, 'createMember()');
}

export interface FromArrayOptions<D extends DType = DType> extends PublishOptions {
  /** Default: the typed array's own; for nested arrays float64, bool, int64 (bigints) or complex128, by the elements. */
  readonly dtype?: D;
  /** For typed arrays; default: one dimension. The elements are in C order. */
  readonly shape?: number | readonly number[];
  readonly order?: Order;
}

// The dtypes that a typed array tells by its class; float16's may be that of uint16.
type PlainDType = Exclude<DType, 'bool' | 'float16' | 'complex64' | 'complex128'>;
type TypedArrayDType<T> = { [D in PlainDType]: T extends DTypes[D]['data'] ? D : never }[PlainDType];

/** The dtype that a source has by itself. */
export type DTypeOf<T> =
  T extends SharedArray<infer D> ? D : [TypedArrayDType<T>] extends [never] ? DType : TypedArrayDType<T>;

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
  const { dtype, shape, order, ...rest } = checkOptions(
    options,
    ['dtype', 'shape', 'order', ...publishKeys],
    'fromArray()',
  );
  const typed = specOfTypedArray(source);
  const isShared = source instanceof SharedArray;
  if (!isShared && typed === undefined && !Array.isArray(source) && typeof source === 'object') {
    throw wrongKind('a typed array, a SharedArray or nested arrays', 'the source', source);
  }
  const whole = isShared ? source.shape : typed !== undefined ? [(source as Uint8Array).length] : nestedShape(source);
  const type = dtype ?? (isShared ? source.dtype : (typed?.name ?? inferDType(source, whole)));
  const geometry = checkElements(shape ?? whole, type, order);
  // Both complex dtypes take typed arrays of alternating re and im.
  const entries = typed === undefined ? 1 : geometry.spec.lanes;
  const count = sizeOf(whole) / entries;
  const given = shape === undefined && entries === 2 ? { ...geometry, shape: Object.freeze([count]) } : geometry;
  if (!Number.isInteger(count) || sizeOf(given.shape) !== count) {
    throw rangeError(
      'ERR_NDSHM_SHAPE',
      `A source of ${count} elements does not fill the shape (${given.shape.join(', ')})`,
    );
  }
  // The bytes as they are, where that is what is asked for: copied by native code into fresh pages.
  const bytewise =
    typed !== undefined &&
    (typed === given.spec ||
      (given.spec.lanes === 2 && typed.kind === 'float' && typed.itemBytes * 2 === given.spec.itemBytes)) &&
    (given.order === 'C' || given.shape.length < 2);
  const draft: Draft = bytewise
    ? { ...given, source: bytesOf(source as ArrayBufferView) }
    : { ...given, source: null, init: (array) => fillFrom(array, source, whole) };
  return publish(name, draft, rest);
}

/** From a source of another shape in C order, by way of its elements in a row. */
function fillFrom(array: SharedArray, source: unknown, shape: readonly number[]): void {
  if (ArrayBuffer.isView(source) || shape.join() === array.shape.join()) {
    array.copyFrom(source as ArrayBufferView);
  } else if (source instanceof SharedArray) {
    array.copyFrom(source.toTypedArray() as ArrayBufferView);
  } else {
    const row = anonymous({ shape, dtype: array.dtype });
    try {
      array.copyFrom(row.copyFrom(source as Nested<unknown>).data as ArrayBufferView);
    } finally {
      row.close();
    }
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
  return new SharedArray(
    allocate({ ...checkElements(shape, dtype, order), source: null }, null, false),
  ) as SharedArray<D>;
}
