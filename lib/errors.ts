import { statfsSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import type { Failure } from '../binding';

/** Every code of ours, with what it means and what to do. docs/errors.md is made from this table. */
export const errorCodes = {
  ERR_NDSHM_INVALID_ARGUMENT:
    'An argument or option is of the wrong kind, or an option is unknown. Pass what the message says was expected.',
  ERR_NDSHM_OUT_OF_RANGE:
    'A value does not fit: an index outside its axis, a number outside the dtype’s range. Check it before the call.',
  ERR_NDSHM_INVALID_NAME:
    'A segment name is not 1–250 bytes of [A-Za-z0-9._-], or starts with a dot. Choose another name.',
  ERR_NDSHM_DTYPE:
    'The dtype is not one that ndshm knows, or not one that it can map (big-endian, object, string, structured). Convert the data first.',
  ERR_NDSHM_SHAPE: 'A shape is invalid, too large to count, or does not fit the data. Check shape and dtype.',
  ERR_NDSHM_MISMATCH:
    'The existing array has another shape, dtype or order than asked for. Open it as it is, or replace it.',
  ERR_NDSHM_NOT_CONTIGUOUS:
    'The operation needs elements that lie next to each other, and this view’s do not. Copy the view first.',
  ERR_NDSHM_ALIGNMENT: 'The elements start at an offset that is no multiple of their size. Open as uint8 and copy.',
  ERR_NDSHM_READ_ONLY:
    "The array was opened in mode 'r'. Open it in mode 'r+' (shared) or 'c' (a private copy of what is written).",
  ERR_NDSHM_CLOSED: 'The array has been closed. Open it again.',
  ERR_NDSHM_HEADER: 'The file does not start with a valid .npy header. If it is raw memory, use openRaw().',
  ERR_NDSHM_FORMAT:
    'The file is not a valid Arrow or safetensors file, or one that cannot be mapped (compressed). Write it anew, uncompressed.',
  ERR_NDSHM_TRUNCATED:
    'The file is shorter than its header says, or another process shrank it; lost elements read as zero. Create it anew.',
  ERR_NDSHM_CONTROL_VERSION:
    'The segment was made by a version of ndshm with another layout. Use the same major version on both sides.',
  ERR_NDSHM_CONTROL_CORRUPT: 'The control block contradicts the file around it. Create the segment anew.',
  ERR_NDSHM_PEERS_FULL: 'All peer slots of the segment are held by living attachments. Close some.',
  ERR_NDSHM_BUSY: 'Another process has been moving or removing this name for too long. Try again.',
  ERR_NDSHM_FOREIGN_OWNER: 'The segment belongs to another user. Pass allowForeignOwner: true if you trust that user.',
  ERR_NDSHM_STALE_HANDLE:
    'The name now means another segment than the handle’s. Ask for a new handle, or open the name.',
  ERR_NDSHM_ANONYMOUS: 'The array has no name by which another process could find it. Pass it with fork({ share }).',
  ERR_NDSHM_INHERIT:
    'What fork({ share }) passed to this process cannot be attached. Call inherited() in the forked process itself.',
  ERR_NDSHM_NO_CONTROL:
    'The array has no lock words: it is a plain .npy file or raw memory. Copy it into an array made by ndshm.',
  ERR_NDSHM_TIMEOUT: 'What was waited for did not happen within timeoutMs. Nothing is held. Try again, or wait longer.',
  ERR_NDSHM_ABANDONED:
    'A process died while it was writing, so the data may be half-written. Write it anew with onAbandoned: "repair".',
  ERR_NDSHM_DEADLOCK:
    'The caller holds this lock already, and would wait for itself for ever. Do the work inside the call that holds it.',
  ERR_NDSHM_NOT_OWNED: 'Something was released that the caller does not hold. Acquire it first.',
  ERR_NDSHM_BROKEN_BARRIER:
    'A party of the barrier timed out, died or called abort(). Find out why, reset() it, and start again.',
  ERR_NDSHM_SHUT_DOWN: 'The queue has been shut down: nothing is put into it any more. Stop, or make a new one.',
  ERR_NDSHM_NOT_SEALED: 'The object is still being made: its draft has not been sealed. wait() for it.',
  ERR_NDSHM_CORRUPT_OBJECT:
    'The bytes of the object are not what put() writes: something has overwritten them. Delete it and put it anew.',
  ERR_NDSHM_CAPACITY:
    'The store has no room for the object. Delete what nobody needs, let readers go, or give it more capacity or a spillDir.',
  ERR_NDSHM_TASK:
    'The function of a task threw something without a code of its own. See the message, `thrown`, and the stack.',
  ERR_NDSHM_WORKER_LOST:
    'The process that ran the task ended in the middle of it: killed, out of memory, or by process.exit(). Give idempotent tasks `retries`.',
  ERR_NDSHM_CANCELLED: 'The task was cancelled, or its pool terminated. Submit it again if its result is still wanted.',
  ERR_NDSHM_POOL_BROKEN:
    'The pool’s workers fail at their start: the initializer throws, or the process ends before it is ready. See `cause`.',
  ERR_NDSHM_FULL: 'A table or queue of fixed size has no room for it. Make it larger, or wait until there is room.',
  ERR_NDSHM_FUNCTION:
    'The pool cannot hand this function to another process. Export it from a module, or let it need nothing from outside.',
  ERR_NDSHM_AUTH:
    'The other side could not prove that it has the same authKey, or a trusted certificate. Give both sides the same one.',
  ERR_NDSHM_PROTOCOL:
    'What came over the connection is not what a manager or its client says: it is something else, another version, or broken. The connection has been ended.',
  ERR_NDSHM_LIMIT:
    'A limit of the connection was exceeded: bytes of one message, calls or objects at once. Send less at a time, pass large arrays as SharedArray, or raise the limit.',
  ERR_NDSHM_MANAGER_LOST:
    'The connection to the manager ended before the answer came; the call may have run or not. Named objects can be called again at once, others have to be made anew.',
  ERR_NDSHM_STALE_PROXY:
    'The object behind the proxy is gone: the connection by which it was made has ended, or the proxy was closed. Make it again, or use getOrCreate() with a name.',
  ERR_NDSHM_NO_OBJECT: 'The manager has no object of this name, or no type of this name. See info(), and register().',
  ERR_NDSHM_NOT_EXPOSED:
    'The object has no method of this name that proxies may call. Only public methods of its class, or those named as `exposed`, can be reached.',
  ERR_NDSHM_TOO_LARGE: 'The array is larger than this runtime’s typed arrays can be. Use a newer runtime.',
  ERR_NDSHM_UNSUPPORTED: 'This platform or runtime cannot do it. ndshm runs on Linux, x64 and arm64.',
  ERR_NDSHM_NO_BINARY: 'There is no compiled addon for this platform. Compile it: npx ndshm build',
} as const;

export type ErrorCode = keyof typeof errorCodes;

export interface CodedError extends Error {
  code: string;
}

function withCode<E extends Error>(error: E, code: ErrorCode): E & CodedError {
  const coded = Object.assign(error, { code });
  // As Node prints its own: "TypeError [CODE]: message" in the stack, while `name` stays the plain class name.
  if (error.stack !== undefined) error.stack = error.stack.replace(error.name, `${error.name} [${code}]`);
  return coded;
}

export const typeError = (code: ErrorCode, message: string): TypeError & CodedError =>
  withCode(new TypeError(message), code);
export const rangeError = (code: ErrorCode, message: string): RangeError & CodedError =>
  withCode(new RangeError(message), code);
export const stateError = (code: ErrorCode, message: string): Error & CodedError => withCode(new Error(message), code);

/** "Expected X for Y but received Z of type T", the one form for arguments of the wrong kind. */
export function wrongKind(expected: string, what: string, received: unknown): TypeError & CodedError {
  return typeError(
    'ERR_NDSHM_INVALID_ARGUMENT',
    `Expected ${expected} for ${what} but received ${preview(received)} of type ${kindOf(received)}`,
  );
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value;
  return Object.getPrototypeOf(value)?.constructor?.name ?? 'object';
}

function preview(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}

export function bytesInWords(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return `${Number((bytes / 1024 ** power).toPrecision(4))} ${units[power]}`;
}

// Values of `Status` in native/core/result.h.
const Status = { system: 1, controlVersion: 2, controlCorrupt: 3, peersFull: 4, replaced: 5, busyName: 6, closed: 7 };

/** The file lost its name while it was being opened: not an error yet, the caller opens again. */
export const wasReplaced = (failure: Failure): boolean => failure.status === Status.replaced;
export const hasErrno = (failure: Failure, code: string): boolean =>
  failure.status === Status.system && getSystemErrorName(-failure.errno) === code;

/** What a failure is about, for its message. */
export interface FailureSubject {
  readonly directory: string;
  /** null for an anonymous segment. */
  readonly name: string | null;
  readonly wantedBytes?: number;
}

export function failureError(failure: Failure, subject: FailureSubject): CodedError {
  const who = subject.name === null ? 'the anonymous segment' : `'${subject.name}'`;
  switch (failure.status) {
    case Status.controlVersion:
      return stateError(
        'ERR_NDSHM_CONTROL_VERSION',
        `${who} has a control block of layout version ${failure.found}; this ndshm reads version ${failure.expected}`,
      );
    case Status.controlCorrupt:
      return stateError(
        'ERR_NDSHM_CONTROL_CORRUPT',
        `The control block of ${who} is corrupt: found ${failure.found} where ${failure.expected} was expected`,
      );
    case Status.peersFull:
      return stateError(
        'ERR_NDSHM_PEERS_FULL',
        `All ${failure.expected} peer slots of ${who} are in use by living attachments; close some (stat() lists them)`,
      );
    case Status.replaced:
    case Status.busyName:
      return stateError('ERR_NDSHM_BUSY', `The name ${who} keeps being replaced or removed; try again`);
    case Status.closed:
      return closedError(who);
    default:
      return systemError(failure, subject);
  }
}

export const closedError = (who: string): CodedError =>
  stateError('ERR_NDSHM_CLOSED', `The array ${who} has been closed; open it again`);

function systemError(failure: Failure, subject: FailureSubject): CodedError {
  const code = getSystemErrorName(-failure.errno);
  const path = subject.name === null ? undefined : `${subject.directory}${subject.name}`;
  const at = path === undefined ? '' : ` '${path}'`;
  const message = `${code}: ${reason(code, subject)}, ${failure.syscall}${at}`;
  return Object.assign(new Error(message), {
    code,
    errno: -failure.errno,
    syscall: failure.syscall,
    ...(path === undefined ? {} : { path }),
  });
}

function reason(code: string, subject: FailureSubject): string {
  switch (code) {
    case 'ENOENT':
      return 'no such segment';
    case 'EEXIST':
      return "a segment of this name exists already (ifExists: 'open' or 'replace' allows that)";
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'ELOOP':
      return 'the name is a symbolic link, which is not followed';
    case 'ENODEV':
    case 'EISDIR':
    case 'ENXIO':
      return 'the name is not a regular file';
    case 'EMFILE':
      return 'this process has too many open descriptors; every open array holds one: close some or raise `ulimit -n`';
    case 'ENFILE':
      return 'the system has too many open files';
    case 'ENOMEM':
      return 'not enough memory or address space to map the segment';
    case 'ENOSPC':
      return noRoom(subject);
    default:
      return 'the system call failed';
  }
}

function noRoom(subject: FailureSubject): string {
  const wanted = subject.wantedBytes === undefined ? '' : `: ${bytesInWords(subject.wantedBytes)} wanted`;
  let free = '';
  try {
    const { bavail, blocks, bsize } = statfsSync(subject.directory);
    free = `, ${bytesInWords(bavail * bsize)} free of ${bytesInWords(blocks * bsize)}`;
  } catch {
    // The figures are a courtesy; without them the message still says what to do.
  }
  return `not enough room in ${subject.directory}${wanted}${free}; unlink segments that nobody needs (list() shows them) or make it larger (Docker: --shm-size, Kubernetes: an emptyDir of medium Memory)`;
}
