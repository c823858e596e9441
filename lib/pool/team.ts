import { Crew, type CrewSpec } from './crew';
import { Dispatcher, type WorkerEnd } from './dispatcher';
import { Cancelled, WorkerLost } from './failures';
import { Lane, type StoredAt } from './lane';
import type { PayloadStore } from './payload-store';
import { availableProcessors } from './processors';
import type { Task, TaskSpec } from './task';

export interface TeamSpec extends Omit<CrewSpec, 'config'> {
  readonly maxTasks: number | null;
  /** Whether a worker may be killed for its task's sake. */
  readonly mayKill: boolean;
  readonly isHeld: (at: StoredAt) => boolean;
  /** A worker has ended, before its tasks are looked at. */
  readonly onEnd: (end: WorkerEnd) => void;
}

/** A lane, its workers, and who hands the tasks out: for the pool's own tasks, and for each actor. */
export class Team {
  readonly #lane: Lane;
  readonly #dispatcher: Dispatcher;
  readonly #crew: Crew;
  #closing = false;
  #expected = 0;
  /** Why nothing is done any more. */
  #over: unknown;
  /** Once all workers have ended. */
  readonly ended: Promise<void>;

  constructor(memory: PayloadStore, spec: TeamSpec) {
    const cells = cellsFor(spec.size);
    this.#lane = Lane.make(cells);
    let end: () => void = () => {};
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.#dispatcher = new Dispatcher(this.#lane, memory, {
      workers: spec.size,
      kill: spec.mayKill ? (worker) => this.#crew.kill(worker) : undefined,
      isHeld: spec.isHeld,
      idle: () => this.#leaveIfDone(),
    });
    const pollMs = spec.size > availableProcessors() ? crowdedPollMs : idlePollMs;
    const config = { cells, store: memory.name, maxTasks: spec.maxTasks, pollMs };
    try {
      this.#crew = new Crew(
        this.#lane,
        { ...spec, config },
        {
          ended: (worker) => {
            spec.onEnd(worker);
            this.#dispatcher.workerEnded(worker);
            // Nobody is left to do what comes after it.
            if (!spec.replaces) this.#giveUp(new WorkerLost(worker.pid, worker.exitCode, worker.signal));
          },
          broken: (error) => this.#end(error),
          gone: () => {
            this.#giveUp(new Cancelled('The worker processes have ended'));
            this.#dispatcher.close();
            this.#lane.close();
            end();
          },
        },
      );
    } catch (error) {
      this.#lane.close();
      throw error;
    }
  }

  get pids(): number[] {
    return this.#crew.pids;
  }

  get pending(): number {
    return this.#dispatcher.pending;
  }

  ready(): Promise<void> {
    return this.#crew.ready();
  }

  /** A call that has been accepted, and submits its tasks before it is settled: until then nobody leaves. */
  async expect<T>(call: Promise<T>): Promise<T> {
    this.#expected++;
    try {
      return await call;
    } finally {
      this.#expected--;
      this.#leaveIfDone();
    }
  }

  submit(spec: TaskSpec): Task {
    if (this.#over !== undefined) throw this.#over;
    return this.#dispatcher.submit(spec);
  }

  /** What `submit` submits is one call's, and posted in one go. */
  together(submit: () => void): void {
    this.#dispatcher.together(submit);
  }

  cancel(task: Task, how: { readonly kill: boolean }): void {
    this.#dispatcher.cancel(task, how);
  }

  /** The workers leave when all tasks are done. */
  close(): void {
    this.#closing = true;
    this.#crew.holdLoop();
    this.#leaveIfDone();
  }

  /** Now. Tasks that are not done are rejected. */
  terminate(why: string): void {
    this.#crew.holdLoop();
    this.#end(new Cancelled(why));
  }

  #leaveIfDone(): void {
    if (!this.#closing || this.#over !== undefined || this.#expected > 0 || this.#dispatcher.pending > 0) return;
    this.#over = new Cancelled('The pool has been closed');
    this.#lane.closing();
    this.#lane.posts.notify();
    this.#crew.leave();
  }

  /** What is not settled never will be. */
  #giveUp(error: unknown): void {
    this.#over ??= error;
    this.#dispatcher.failAll(error);
  }

  #end(error: unknown): void {
    this.#giveUp(error);
    this.#crew.killAll();
  }
}

/** So soon the next task may come after the last one; where others need the processor, it had better be sooner. */
const idlePollMs = 0.2;
const crowdedPollMs = 0.02;

/** Enough that nobody waits while the pool's owner looks the other way for a moment; and no more than what lies there idle is worth. */
const cellsFor = (workers: number): number => 2 ** Math.ceil(Math.log2(Math.max(256, 4 * workers)));
