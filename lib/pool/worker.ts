// The program of a worker process: claims cells of its lane, and has them done, one after the other.
import { once } from 'node:events';
import { inherited } from '../array/fork';
import type { SharedArray } from '../array/shared-array';
import { binding } from '../binding';
import { Lane } from './lane';
import { endWithParent, parentSocket } from './parent-watch';
import type { TaskRunner } from './task-runner';
import { configVariable, type Initializer, type WorkerConfig, type WorkerMessage } from './worker-config';

/** For so long tasks that await nothing may keep the event loop from its turn. */
const turnMs = 5;

// A task may have put something in its place.
const exit = process.exit.bind(process);

/** Loaded with the first task: a worker is ready in two thirds of the time. */
const tasks = () => require('./task-runner') as typeof import('./task-runner');

const longestTimerMs = 2 ** 31 - 1;

class Worker {
  readonly #config: WorkerConfig;
  readonly #lane: Lane;
  #runner: TaskRunner | undefined;

  constructor(config: WorkerConfig, lane: Lane) {
    this.#config = config;
    this.#lane = lane;
  }

  get #tasks(): TaskRunner {
    this.#runner ??= new (tasks().TaskRunner)(this.#config, this.#lane);
    return this.#runner;
  }

  async initialize(): Promise<void> {
    if (!this.#config.awaitsInitializer) return;
    const [initializer] = (await once(process, 'message')) as [Initializer];
    await this.#tasks.initialize(initializer);
  }

  /** Until the pool closes the lane, or so many tasks are done. */
  async work(): Promise<void> {
    const { worker, maxTasks, pollMs } = this.#config;
    const lane = this.#lane;
    const next = () => lane.claim(worker) ?? (lane.isClosing ? ('closed' as const) : undefined);
    let turnBegunMs = performance.now();
    let cell = lane.claim(worker);
    for (let done = 1; ; done++) {
      if (cell === undefined) {
        const found = await lane.posts.until(next, { pollMs });
        if (found === 'closed') return;
        cell = found;
        turnBegunMs = performance.now();
      }
      const batch = lane.batch(cell);
      const waiting = this.#tasks.run(cell);
      if (waiting !== undefined) await waiting;
      cell = done === maxTasks ? undefined : lane.claim(worker);
      const isAwaited = batch === 0 || cell === undefined || lane.batch(cell) !== batch;
      if (isAwaited || this.#tasks.hasFailed || lane.isHungry) lane.outcomes.notify();
      if (done === maxTasks) return;
      if (performance.now() - turnBegunMs > turnMs) {
        await new Promise((resolve) => setImmediate(resolve));
        turnBegunMs = performance.now();
      }
    }
  }
}

function tell(message: WorkerMessage): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(message, () => resolve());
  });
}

async function main(): Promise<void> {
  const config = JSON.parse(process.env[configVariable] as string) as WorkerConfig;
  endWithParent(parentSocket, config.store);
  binding.closeDescriptor(parentSocket); // or what tasks start would have it, and keep it
  setInterval(() => {}, longestTimerMs); // what a task awaits may not hold the event loop, or never come
  // What goes to the whole process group (Ctrl-C, a closed terminal, a service manager) is the parent's to answer, with
  // which we end; if all of us ended at once, nobody would clean up.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  const { lane, done } = inherited();
  // What tasks start is to find nothing of this.
  delete process.env[configVariable];
  delete process.env['NDSHM_INHERIT'];
  const worker = new Worker(config, Lane.of(lane as SharedArray, done as SharedArray, config.cells));
  try {
    await worker.initialize();
  } catch (error) {
    const { message, stack, code } = tasks().describe(error);
    await tell({ ndshmWorker: 'failed', message, stack, ...(code === undefined ? {} : { code }) });
    exit(1);
  }
  await tell({ ndshmWorker: 'ready' });
  await worker.work();
  exit(0);
}

void main();
