import type { ErrorCode } from '../errors';

/** The function of a task threw. Message, stack, code and cause are those of what it threw. */
export class TaskError extends Error {
  /** The code of the error that was thrown; ERR_NDSHM_TASK if it had none. */
  readonly code: string;
  /** Which item of a map it was; undefined where there is only one. */
  readonly index: number | undefined;
  /** What was thrown: an error as structured clone gives it, or any other value. */
  readonly thrown: unknown;

  constructor(described: Thrown, index?: number) {
    super(described.message, 'cause' in described ? { cause: described.cause } : undefined);
    this.name = 'TaskError';
    this.code = described.code ?? ('ERR_NDSHM_TASK' satisfies ErrorCode);
    this.index = index;
    this.thrown = described.value;
    if (described.stack !== null)
      Object.defineProperty(this, 'stack', { value: described.stack, configurable: true, writable: true });
  }
}

/** The process that ran the task ended in the middle of it. */
export class WorkerLost extends Error {
  readonly code = 'ERR_NDSHM_WORKER_LOST' satisfies ErrorCode;
  readonly pid: number;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Which item of a map it was at; undefined where there is only one. */
  readonly index: number | undefined;

  constructor(pid: number, exitCode: number | null, signal: NodeJS.Signals | null, index?: number) {
    const how = signal === null ? `exited with code ${exitCode}` : `was killed by ${signal}`;
    super(`Worker process ${pid} ${how} in the middle of the task${index === undefined ? '' : `, at item ${index}`}`);
    this.name = 'WorkerLost';
    this.pid = pid;
    this.exitCode = exitCode;
    this.signal = signal;
    this.index = index;
  }
}

/** A call of the task's function took longer than `timeoutMs`. Its worker has been killed. */
export class Timeout extends Error {
  readonly code = 'ERR_NDSHM_TIMEOUT' satisfies ErrorCode;
  readonly index: number | undefined;

  constructor(timeoutMs: number, index?: number) {
    super(`The task took longer than ${timeoutMs} ms${index === undefined ? '' : `, at item ${index}`}`);
    this.name = 'Timeout';
    this.index = index;
  }
}

/** The task was cancelled, or its pool terminated, before it was done. */
export class Cancelled extends Error {
  readonly code = 'ERR_NDSHM_CANCELLED' satisfies ErrorCode;

  constructor(why: string) {
    super(why);
    this.name = 'Cancelled';
  }
}

/** What a function threw, as a worker tells it. */
export interface Thrown {
  readonly message: string;
  readonly stack: string | null;
  readonly code?: string;
  readonly cause?: unknown;
  readonly value: unknown;
}

/**
 * `canSend`: whether a value can be encoded; what cannot is left out, or told in words. Never throws: whatever a function
 * threw, its getters may throw again.
 */
export function describeThrown(thrown: unknown, canSend: (value: unknown) => boolean): Thrown {
  try {
    return isErrorLike(thrown) ? describeError(thrown, canSend) : describeValue(thrown, canSend(thrown));
  } catch {
    return describeValue(thrown, false);
  }
}

function describeValue(value: unknown, sendable: boolean): Thrown {
  const message = inWords(value);
  return { message, stack: null, value: sendable ? value : message };
}

function describeError(error: Error, canSend: (value: unknown) => boolean): Thrown {
  const sendable = (value: unknown) => (canSend(value) ? value : inWords(value));
  const { code } = error as { code?: unknown };
  return {
    message: String(error.message),
    stack: typeof error.stack === 'string' ? error.stack : null,
    value: sendable(error),
    ...(typeof code === 'string' ? { code } : {}),
    ...('cause' in error ? { cause: sendable(error.cause) } : {}),
  };
}

const isErrorLike = (value: unknown): value is Error =>
  typeof value === 'object' && value !== null && 'message' in value && 'stack' in value;

function inWords(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'something that cannot be told in words';
  }
}
