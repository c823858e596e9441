import type { Encoded } from '../codec/encode';
import { Timeout, WorkerLost } from './failures';
import { Fifo } from './fifo';
import { Flag, inlineBytes, type Lane, msSince, nowMs, type Sent, Status, type StoredAt } from './lane';
import type { PayloadStore } from './payload-store';
import { type Outcome, Task, type TaskSpec } from './task';

/** How a worker process ended. */
export interface WorkerEnd {
  readonly worker: number;
  readonly pid: number;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface DispatcherDuties {
  /** How many there are. */
  readonly workers: number;
  /** Ends a worker in the middle of a task; undefined = no worker is ended for its task's sake. */
  readonly kill: ((worker: number) => void) | undefined;
  /** Whether an object that a worker has put is still needed. */
  readonly isHeld: (at: StoredAt) => boolean;
  /** Nothing is left to do. May be called more than once. */
  readonly idle: () => void;
}

/** Of a task that has not begun yet, a limit of its time is looked at so many times as often. */
const looksPerTimeout = 4;
/** So long may a worker take from a task's claim to its begin, where the task's time is limited. */
const longestLoadMs = 10_000;
/** So soon the next task may be done. */
const outcomePollMs = 0.1;
// setTimeout() takes no more.
const longestTimerMs = 2 ** 31 - 1;

/** Hands the tasks of one lane out to its workers, oldest first, and settles each of them exactly once. */
export class Dispatcher {
  readonly #lane: Lane;
  readonly #memory: PayloadStore;
  readonly #duties: DispatcherDuties;
  readonly #queue = new Fifo<Task>();
  readonly #freeCells: number[];
  /** Whose tasks lie in the cells that have been posted; undefined = it was withdrawn. */
  readonly #posted = new Map<number, Task | undefined>();
  readonly #unsettled = new Set<Task>();
  #timer: NodeJS.Timeout | undefined;
  #timerEndsMs = Number.POSITIVE_INFINITY;
  #watching = false;
  /** Posted, and workers have not been told of it. */
  #untold = 0;
  #isTogether = false;
  #collecting = false;
  #closed = false;

  constructor(lane: Lane, memory: PayloadStore, duties: DispatcherDuties) {
    this.#lane = lane;
    this.#memory = memory;
    this.#duties = duties;
    this.#freeCells = Array.from({ length: lane.cells }, (_, n) => lane.cells - 1 - n);
  }

  /** How many tasks have not been settled. */
  get pending(): number {
    return this.#unsettled.size;
  }

  /** Workers are told together of what is submitted: whenever there is something for each of them, and in the end. */
  together(submit: () => void): void {
    this.#isTogether = true;
    try {
      submit();
    } finally {
      this.#isTogether = false;
      this.#tell();
    }
  }

  #tell(): void {
    if (this.#untold > 0) this.#lane.posts.notify(this.#untold);
    this.#untold = 0;
  }

  submit(spec: TaskSpec): Task {
    const task = new Task(spec);
    this.#unsettled.add(task);
    this.#queue.push(task);
    this.#fill();
    this.#watch();
    return task;
  }

  /** Forgets the task, whose settle() is not called any more. If it runs, it goes on, or its worker is killed. */
  cancel(task: Task, { kill }: { readonly kill: boolean }): void {
    if (task.isOver) return;
    this.#end(task);
    const { cell } = task;
    // If it is still on its way to a cell, it is seen there that it is over.
    if (cell !== undefined && this.#posted.get(cell) === task) {
      if (this.#lane.withdraw(cell)) this.#posted.set(cell, undefined);
      else if (kill) this.#endWorkerOf(cell);
    }
    this.#nowIdle();
  }

  /** After the death of a worker: what it had claimed is lost, or tried again. */
  workerEnded({ worker, pid, exitCode, signal }: WorkerEnd): void {
    if (this.#closed) return;
    this.#collect(); // what it had finished counts
    for (const [cell, task] of this.#posted) {
      const status = this.#lane.status(cell);
      if (this.#lane.workerOf(cell) !== worker || (status !== Status.claimed && status !== Status.condemned)) continue;
      const index = task?.indexOf(this.#lane.itemOf(cell));
      this.#release(cell);
      if (task === undefined || task.isOver) continue;
      if (task.retriesLeft > 0) this.#again(task);
      else {
        const error = task.isLate
          ? new Timeout(task.spec.timeoutMs, index)
          : new WorkerLost(pid, exitCode, signal, index);
        this.#settle(task, { error });
      }
    }
    this.#memory.deleteAllOf(pid, this.#duties.isHeld);
    this.#fill();
    // Whoever was told of the posted cells may have been the one that died.
    this.#lane.posts.notify();
  }

  /** Settles all tasks so. */
  failAll(error: unknown): void {
    for (const task of this.#unsettled) {
      const { cell } = task;
      if (cell !== undefined && this.#posted.get(cell) === task && this.#lane.withdraw(cell)) {
        this.#posted.set(cell, undefined);
      }
      this.#settle(task, { error });
    }
    this.#nowIdle();
  }

  /** Nothing is looked at any more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #again(task: Task): void {
    task.retriesLeft--;
    task.cell = undefined;
    task.claimedMs = undefined;
    task.isLate = false;
    this.#queue.putBack(task);
  }

  /** From the queue into free cells. */
  #fill(): void {
    if (this.#closed || this.#collecting) return;
    while (this.#queue.length > 0 && this.#freeCells.length > 0 && this.#lane.hasRoom) {
      const task = this.#queue.shift() as Task;
      if (task.isOver) continue;
      task.cell = this.#freeCells.pop() as number;
      this.#send(task, task.cell);
    }
    this.#lane.setHungry(this.#queue.length > 0);
    if (!this.#isTogether) this.#tell();
    this.#nowIdle();
  }

  #send(task: Task, cell: number): void {
    if (task.stored !== undefined) {
      this.#post(task, cell, task.stored);
      return;
    }
    let payload: Encoded | readonly number[];
    try {
      payload = task.spec.encode();
    } catch (error) {
      this.#freeCells.push(cell);
      this.#settle(task, { error });
      return;
    }
    if ('byteLength' in payload && payload.byteLength > inlineBytes) void this.#sendLarge(task, cell, payload);
    else this.#post(task, cell, payload);
  }

  async #sendLarge(task: Task, cell: number, payload: Encoded): Promise<void> {
    try {
      task.stored = await this.#memory.put(payload);
    } catch (error) {
      if (!task.isOver) this.#settle(task, { error });
    }
    if (this.#closed) return;
    if (task.isOver || task.stored === undefined) {
      if (task.stored !== undefined) this.#memory.delete(task.stored);
      this.#freeCells.push(cell);
      this.#fill();
    } else {
      this.#post(task, cell, task.stored);
      this.#tell();
    }
  }

  #post(task: Task, cell: number, payload: Sent): void {
    this.#lane.fill(cell, task.spec.request, payload);
    this.#posted.set(cell, task);
    this.#lane.post(cell);
    this.#untold++;
    if (this.#untold >= this.#duties.workers) this.#tell();
    if (task.spec.timeoutMs < Number.POSITIVE_INFINITY) this.#lookAgainIn(task.spec.timeoutMs / looksPerTimeout);
  }

  #watch(): void {
    if (this.#watching || this.#closed || this.pending === 0) return;
    this.#watching = true;
    const look = () => {
      this.#collect();
      return this.pending === 0 || undefined;
    };
    const over = () => {
      this.#watching = false;
      this.#watch();
    };
    this.#lane.outcomes.until(look, { pollMs: outcomePollMs }).then(over, (error) => {
      if (this.#closed) return;
      this.failAll(error);
      over();
    });
  }

  /** Settles what workers have done. */
  #collect(): void {
    if (this.#closed) return;
    this.#collecting = true; // what is submitted meanwhile is posted together
    try {
      for (const [cell, task] of this.#posted) if (this.#lane.status(cell) === Status.done) this.#finish(cell, task);
    } finally {
      this.#collecting = false;
    }
    this.#fill();
  }

  #finish(cell: number, task: Task | undefined): void {
    if (task === undefined) {
      this.#release(cell);
      return;
    }
    const hasFailures = (this.#lane.flags(cell) & Flag.failed) !== 0;
    const payload = this.#lane.payload(cell);
    if (!task.isOver) this.#settle(task, { result: { payload, hasFailures } });
    else if ('object' in payload) this.#memory.delete(payload);
    this.#release(cell);
  }

  #release(cell: number): void {
    this.#posted.delete(cell);
    this.#lane.free(cell);
    this.#freeCells.push(cell);
  }

  #settle(task: Task, outcome: Outcome): void {
    this.#end(task);
    task.spec.settle(outcome, task);
  }

  #end(task: Task): void {
    task.isOver = true;
    this.#unsettled.delete(task);
    if (task.stored !== undefined) this.#memory.delete(task.stored);
  }

  #nowIdle(): void {
    if (this.pending === 0) this.#duties.idle();
  }

  #lookAgainIn(milliseconds: number): void {
    const endsMs = performance.now() + milliseconds;
    if (endsMs >= this.#timerEndsMs) return;
    clearTimeout(this.#timer);
    this.#timerEndsMs = endsMs;
    this.#timer = setTimeout(() => this.#lookForLate(), Math.min(Math.ceil(milliseconds), longestTimerMs));
    this.#timer.unref(); // the task does not: it is waited for
  }

  #lookForLate(): void {
    this.#timerEndsMs = Number.POSITIVE_INFINITY;
    for (const [cell, task] of this.#posted) {
      if (task === undefined || task.spec.timeoutMs === Number.POSITIVE_INFINITY) continue;
      const leftMs = this.#timeLeftMs(task, cell);
      if (leftMs > 0) this.#lookAgainIn(leftMs);
      else task.isLate = this.#endWorkerOf(cell);
    }
  }

  /** False if it is not at the task any more, or may not be ended. */
  #endWorkerOf(cell: number): boolean {
    if (this.#duties.kill === undefined || !this.#lane.condemn(cell)) return false;
    this.#duties.kill(this.#lane.workerOf(cell));
    return true;
  }

  #timeLeftMs(task: Task, cell: number): number {
    const { timeoutMs } = task.spec;
    if (this.#lane.status(cell) !== Status.claimed) return timeoutMs / looksPerTimeout;
    const startedMs = this.#lane.startedMsOf(cell);
    if (startedMs !== 0) return timeoutMs - msSince(startedMs);
    // It loads what the function needs, which is no part of the call; but a worker that was stopped there never begins.
    task.claimedMs ??= nowMs();
    const leftMs = Math.max(timeoutMs, longestLoadMs) - msSince(task.claimedMs);
    return Math.min(leftMs, timeoutMs / looksPerTimeout);
  }
}
