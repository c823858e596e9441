import { binding } from '../binding';
import { type CodedError, type FailureSubject, failureError, stateError, typeError, wasReplaced } from '../errors';
import { booleanOption, checkName, checkOptions, integerIn, type Mode, modes, oneOf } from '../options';
import { Attachment, type AttachmentSpec } from './attachment';
import { type DType, specOf } from './dtype';
import { checkElements } from './elements-spec';
import { checkExtent, checkOwner, headerOf, isOpened, type OpenedFile, openFile } from './segment-file';
import { checkedByteLength, type Order } from './shape';
import { SharedArray } from './shared-array';

const { layout } = binding;

/** How often something is tried again because a name was replaced or removed in the middle of it. */
export const patience = 100;
export const busyError = (name: string): CodedError =>
  stateError('ERR_NDSHM_BUSY', `The name '${name}' keeps being replaced or removed; try again`);

/** Opens, has `describe` say what is to be mapped, and attaches; again if the name was replaced meanwhile. */
function openSegment(
  source: string | number,
  mode: Mode,
  allowForeignOwner: boolean,
  describe: (file: OpenedFile) => AttachmentSpec,
): SharedArray {
  const name = typeof source === 'string' ? source : null;
  const subject: FailureSubject = { directory: layout.directory, name };
  for (let attempt = 0; attempt < patience; attempt++) {
    const file = openFile(source, mode === 'r+');
    if (!isOpened(file)) throw failureError(file, subject);
    let spec: AttachmentSpec;
    try {
      checkOwner(name, file.facts, allowForeignOwner);
      spec = describe(file);
    } catch (error) {
      file.segment.close(null);
      throw error;
    }
    const attachment = Attachment.attach(file.segment, spec);
    if (attachment instanceof Attachment) return new SharedArray(attachment);
    if (!wasReplaced(attachment)) throw failureError(attachment, { ...subject, wantedBytes: spec.dataBytes });
  }
  throw busyError(String(name));
}

function describeNpy(file: OpenedFile, name: string | null, mode: Mode): AttachmentSpec {
  const who = name ?? 'anonymous';
  const { spec, shape, order, dataOffset, dataBytes } = headerOf(file, who);
  checkExtent(who, spec, dataOffset, dataBytes, file.facts.size);
  return { name, mode, raw: false, spec, shape, order, dataOffset, dataBytes };
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
  const foreign = booleanOption(allowForeignOwner, 'allowForeignOwner');
  return openSegment(name, how, foreign, (file) => describeNpy(file, name, how)) as SharedArray<D>;
}

/** @internal Attaches an anonymous segment through a descriptor that fork() passed. */
export function openDescriptor(fd: number, mode: Mode): SharedArray {
  return openSegment(fd, mode, true, (file) => describeNpy(file, null, mode));
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
  const checked = checkOptions(
    options,
    ['dtype', 'shape', 'byteOffset', 'order', 'mode', 'allowForeignOwner'],
    'openRaw()',
  );
  const { dtype, shape, byteOffset = 0, order, mode, allowForeignOwner } = checked;
  if (dtype === undefined) throw typeError('ERR_NDSHM_INVALID_ARGUMENT', 'openRaw() needs the option dtype');
  const how = mode === undefined ? 'r' : oneOf(mode, modes, 'mode');
  const offset = integerIn(byteOffset, 0, Number.MAX_SAFE_INTEGER, 'byteOffset');
  return openSegment(name, how, booleanOption(allowForeignOwner, 'allowForeignOwner'), ({ facts }) => {
    const rest = Math.floor(Math.max(0, facts.size - offset) / specOf(dtype).itemBytes);
    const elements = checkElements(shape ?? [rest], dtype, order);
    const dataBytes = checkedByteLength(elements.shape, elements.spec.itemBytes);
    checkExtent(name, elements.spec, offset, dataBytes, facts.size);
    return { name, mode: how, raw: true, dataOffset: offset, dataBytes, ...elements };
  }) as SharedArray<D>;
}
