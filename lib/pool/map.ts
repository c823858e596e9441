import type { Encoded } from '../codec/encode';
import { type Chunk, chunksOf } from './chunks';
import { TaskError } from './failures';
import type { Request } from './lane';
import { type Limits, onAbort } from './limits';
import type { PayloadStore } from './payload-store';
import type { Progress } from './progress-bar';
import { takeResult } from './results';
import type { Task } from './task';
import type { Team } from './team';

/** Called with how many items are done, first with none. */
export type OnPoolProgress = ((progress: Progress) => void) & {
  /** Called in the end, also of a map that fails. */
  stop?(): void;
};

export interface MapJob {
  readonly team: Team;
  readonly memory: PayloadStore;
  readonly request: Request;
  readonly items: readonly unknown[];
  readonly encode: (items: readonly unknown[]) => Encoded | readonly number[];
  readonly chunkSize: number | 'auto';
  readonly processes: number;
  readonly limits: Limits;
  readonly onProgress: OnPoolProgress | undefined;
}

/** So many chunks of one map are handed out at a time: then other calls have their turn. */
const chunksAhead = 1024;

type Finished = (error: unknown, values: unknown[] | undefined) => void;

/** One map, from its first chunk to its last, or to its first failure. */
export class RunningMap {
  readonly #job: MapJob;
  readonly #chunks: Generator<Chunk>;
  readonly #values: unknown[];
  readonly #tasks = new Set<Task>();
  readonly #finished: Finished;
  #forgetSignal: () => void = () => {};
  #done = 0;
  #isOver = false;

  /** Resolves with the values; rejects with the first failure. */
  static run(job: MapJob): Promise<unknown[]> {
    return new Promise((resolve, reject) => {
      const map = new RunningMap(job, (error, values) => (values === undefined ? reject(error) : resolve(values)));
      map.#begin();
    });
  }

  private constructor(job: MapJob, finished: Finished) {
    const { items, processes, chunkSize } = job;
    this.#job = job;
    this.#finished = finished;
    this.#values = new Array<unknown>(items.length);
    this.#chunks = chunksOf(items.length, processes, chunkSize);
  }

  #begin(): void {
    this.#progress(0);
    if (this.#isOver) return;
    const abort = (reason: unknown) => this.#fail(reason, { kill: true });
    this.#forgetSignal = onAbort(this.#job.limits.signal, abort);
    this.#job.team.together(() => {
      while (this.#tasks.size < chunksAhead && this.#handOut());
    });
  }

  /** False if there is nothing left. */
  #handOut(): boolean {
    if (this.#isOver) return false;
    const { done, value: chunk } = this.#chunks.next() as IteratorResult<Chunk, undefined>;
    if (done === true) return false;
    const { first, size } = chunk;
    const { team, request, items, encode, limits } = this.#job;
    try {
      const task = team.submit({
        request,
        encode: () => encode(items.slice(first, first + size)),
        firstIndex: first,
        retries: limits.retries,
        timeoutMs: limits.timeoutMs,
        settle: (outcome, settled) => {
          this.#tasks.delete(settled);
          if ('error' in outcome) this.#fail(outcome.error);
          else this.#take(first, size, outcome.result);
        },
      });
      if (!task.isOver) this.#tasks.add(task);
    } catch (error) {
      this.#fail(error);
    }
    return true;
  }

  #take(first: number, size: number, result: Parameters<typeof takeResult>[0]): void {
    try {
      const { values, failures } = takeResult(result, this.#job.memory);
      const [failure] = failures;
      if (failure !== undefined) throw new TaskError(failure[1], first + failure[0]);
      for (let n = 0; n < size; n++) this.#values[first + n] = values[n];
    } catch (error) {
      this.#fail(error);
    }
    if (this.#isOver) return;
    this.#progress(size);
    this.#handOut();
  }

  #progress(more: number): void {
    const { items, onProgress } = this.#job;
    this.#done += more;
    try {
      onProgress?.({ done: this.#done, total: items.length });
    } catch (error) {
      this.#fail(error);
    }
    if (this.#done === items.length) this.#end(undefined, this.#values);
  }

  /** What has not begun will not. What has is done in vain, and only an abort ends it: a killed worker leaves half of it. */
  #fail(error: unknown, how = { kill: false }): void {
    if (this.#isOver) return;
    for (const task of this.#tasks) this.#job.team.cancel(task, how);
    this.#end(error, undefined);
  }

  #end(error: unknown, values: unknown[] | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#forgetSignal();
    try {
      this.#job.onProgress?.stop?.();
      this.#finished(error, values);
    } catch (stopError) {
      this.#finished(stopError, undefined);
    }
  }
}
