import type { Encoded } from '../codec/encode';
import type { Received, Request, StoredAt } from './lane';

/** How a task ended. A result's bytes have not been looked at. */
export type Outcome = { readonly result: Result } | { readonly error: unknown };

export interface Result {
  /** To be read, or copied, before settle() returns. A list with one value for each item; or, if some failed, such a list and [item, what it threw] of each that did. */
  readonly payload: Received;
  readonly hasFailures: boolean;
}

export interface TaskSpec {
  readonly request: Request;
  /** The items; called when it is the task's turn. */
  readonly encode: () => Encoded | readonly number[];
  /** Of item 0, for errors; undefined = there is but one call. */
  readonly firstIndex: number | undefined;
  readonly retries: number;
  /** For each item; Infinity = no limit. */
  readonly timeoutMs: number;
  /**
   * Called once, perhaps before submit() has returned, unless the task was cancelled. What is stored of the result is the
   * callee's to delete.
   */
  readonly settle: (outcome: Outcome, task: Task) => void;
}

/** Some items for one function, which one worker takes at a time; on its way through the dispatcher that it was given to. */
export class Task {
  readonly spec: TaskSpec;
  isOver = false;
  /** Where it is, or will be. */
  cell: number | undefined;
  /** The items, once they have been put into the store. */
  stored: StoredAt | undefined;
  retriesLeft: number;
  /** Since when it is seen to be claimed. */
  claimedMs: number | undefined;
  /** It took too long, and its worker is being killed. */
  isLate = false;

  constructor(spec: TaskSpec) {
    this.spec = spec;
    this.retriesLeft = spec.retries;
  }

  /** The place of an item in the whole call. */
  indexOf(item: number): number | undefined {
    const { firstIndex } = this.spec;
    return firstIndex === undefined ? undefined : firstIndex + item;
  }
}
