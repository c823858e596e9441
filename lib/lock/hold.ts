import { typeError } from '../errors';
import type { SyncWaitOptions, WaitOptions } from './deadline';

/** What a function that runs under a lock is told about it. */
export interface Hold {
  /** An earlier writer died inside: the data may be half-written. */
  readonly abandoned: boolean;
}
/** The usual hold. */
export const intact: Hold = Object.freeze({ abandoned: false });
export const halfWritten: Hold = Object.freeze({ abandoned: true });

export interface OnAbandonedWrite {
  /**
   * If an owner has died inside: 'error' (default) rejects with ERR_NDSHM_ABANDONED and leaves the mark; 'repair' runs
   * the function, which is told, and whose completion takes the mark away.
   */
  readonly onAbandoned?: 'error' | 'repair' | undefined;
}
export interface OnAbandonedRead {
  /** If an owner has died inside: 'error' (default) rejects with ERR_NDSHM_ABANDONED; 'ignore' runs the function, which is told. */
  readonly onAbandoned?: 'error' | 'ignore' | undefined;
}
export interface WriteSyncOptions extends SyncWaitOptions, OnAbandonedWrite {}
export interface WriteOptions extends WaitOptions, OnAbandonedWrite {}
export interface ReadSyncOptions extends SyncWaitOptions, OnAbandonedRead {}
export interface ReadOptions extends WaitOptions, OnAbandonedRead {}

/** The result of a function that has to be over when it returns: a promise would go on without the lock. */
export function settled<T>(result: T): T {
  if (typeof result === 'object' && result !== null && typeof (result as { then?: unknown }).then === 'function') {
    throw typeError(
      'ERR_NDSHM_INVALID_ARGUMENT',
      'The function given to a call that ends in Sync, or begins with try, returned a promise, which would go on without the lock; use the asynchronous call',
    );
  }
  return result;
}
