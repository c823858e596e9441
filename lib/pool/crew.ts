import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { fork } from '../array/fork';
import { stateError } from '../errors';
import type { WorkerEnd } from './dispatcher';
import { inheritedExecArgv } from './exec-argv';
import { Cancelled } from './failures';
import { type Lane, maxWorkerNumber } from './lane';
import { parentSocket } from './parent-watch';
import {
  configVariable,
  type Initializer,
  isWorkerMessage,
  type WorkerConfig,
  type WorkerMessage,
} from './worker-config';

export interface CrewSpec {
  readonly size: number;
  readonly config: Omit<WorkerConfig, 'worker' | 'awaitsInitializer'>;
  readonly initializer: Promise<Initializer> | undefined;
  readonly env: NodeJS.ProcessEnv | undefined;
  readonly execArgv: readonly string[] | undefined;
  /** A worker that has ended has a successor. */
  readonly replaces: boolean;
}

export interface CrewDuties {
  readonly ended: (end: WorkerEnd) => void;
  /** No worker starts any more. */
  readonly broken: (error: unknown) => void;
  /** All have ended, and none will start. */
  readonly gone: () => void;
}

/** When so many in a row have ended before they were ready, no more are started. */
const maxFailedStarts = 5;

interface Member {
  readonly child: ChildProcess;
  isReady: boolean;
  failure: Error | undefined;
}

/** The worker processes of a lane, and their successors. They do not keep the event loop going. */
export class Crew {
  readonly #lane: Lane;
  readonly #spec: CrewSpec;
  readonly #duties: CrewDuties;
  readonly #members = new Map<number, Member>();
  readonly #awaiting: { resolve: () => void; reject: (reason: unknown) => void }[] = [];
  #lastNumber = 0;
  #failedStarts = 0;
  #brokenBy: unknown;
  #leaving = false;
  #holdsLoop = false;

  constructor(lane: Lane, spec: CrewSpec, duties: CrewDuties) {
    this.#lane = lane;
    this.#spec = spec;
    this.#duties = duties;
    try {
      for (let n = 0; n < spec.size; n++) this.#fork();
    } catch (error) {
      this.#leaving = true;
      for (const worker of this.#members.keys()) this.kill(worker);
      this.#members.clear(); // nobody is to hear of their end
      throw error;
    }
  }

  get pids(): number[] {
    return [...this.#members.values()].flatMap(({ child }) => child.pid ?? []);
  }

  /** Until all of them have run their initializer. */
  ready(): Promise<void> {
    if (this.#brokenBy !== undefined) return Promise.reject(this.#brokenBy);
    if ([...this.#members.values()].every(({ isReady }) => isReady)) return Promise.resolve();
    this.#ref();
    return new Promise((resolve, reject) => this.#awaiting.push({ resolve, reject }));
  }

  kill(worker: number): void {
    this.#members.get(worker)?.child.kill('SIGKILL');
  }

  killAll(): void {
    this.leave();
    for (const worker of this.#members.keys()) this.kill(worker);
  }

  /** None of those who end from now on has a successor. */
  leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    if (this.#members.size === 0) this.#gone();
  }

  /** The event loop goes on until they have ended. */
  holdLoop(): void {
    this.#holdsLoop = true;
    this.#ref();
  }

  #ref(): void {
    for (const { child } of this.#members.values()) {
      child.ref();
      child.channel?.ref?.();
    }
  }

  #unref(child: ChildProcess): void {
    if (this.#holdsLoop) return;
    child.unref();
    child.channel?.unref?.(); // Bun's goes with the child
  }

  #start(): void {
    try {
      this.#fork();
    } catch (error) {
      this.#break('A worker process cannot be started', error); // no descriptors are left, or no processes
    }
  }

  #fork(): void {
    const { config, initializer, env, execArgv } = this.#spec;
    do this.#lastNumber = (this.#lastNumber % maxWorkerNumber) + 1;
    while (this.#members.has(this.#lastNumber));
    const worker = this.#lastNumber;
    const own: WorkerConfig = { ...config, worker, awaitsInitializer: initializer !== undefined };
    const child = fork(join(__dirname, 'worker.js'), [], {
      share: { lane: this.#lane.array, done: this.#lane.doneArray },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
      env: { ...process.env, ...env, [configVariable]: JSON.stringify(own) },
      execArgv: execArgv === undefined ? inheritedExecArgv() : [...execArgv],
    });
    const member: Member = { child, isReady: false, failure: undefined };
    this.#members.set(worker, member);
    const socket = child.stdio?.[parentSocket] as Socket | undefined; // none if it could not be started
    socket?.on('error', () => {}); // it goes with the worker
    socket?.unref();
    child.on('message', (message) => isWorkerMessage(message) && !member.isReady && this.#told(member, message));
    child.once('error', (error) => {
      member.failure = error;
      if (child.pid === undefined) this.#ended(worker, member, null, null); // it never was
    });
    child.once('exit', (exitCode, signal) => this.#ended(worker, member, exitCode, signal));
    initializer?.then(
      (message) => child.connected && child.send(message),
      (error) => this.#break('The initializer of the pool cannot be handed to its workers', error),
    );
    if (this.#awaiting.length === 0) this.#unref(child);
  }

  #told(member: Member, told: WorkerMessage): void {
    if (told.ndshmWorker === 'ready') {
      member.isReady = true;
      this.#failedStarts = 0;
      this.#unref(member.child);
      if (![...this.#members.values()].every(({ isReady }) => isReady)) return;
      for (const { resolve } of this.#awaiting.splice(0)) resolve();
      return;
    }
    const { message, stack, code } = told;
    member.failure = Object.assign(new Error(message), {
      stack: stack ?? message,
      ...(code === undefined ? {} : { code }),
    });
    this.#break(`The initializer of the pool failed: ${message}`, member.failure);
  }

  #ended(worker: number, member: Member, exitCode: number | null, signal: NodeJS.Signals | null): void {
    if (!this.#members.delete(worker)) return;
    const { pid } = member.child;
    if (!member.isReady) this.#failedStarts++;
    if (pid !== undefined) this.#duties.ended({ worker, pid, exitCode, signal });
    if (!this.#leaving && this.#failedStarts >= maxFailedStarts) {
      const how = signal === null ? `exit code ${exitCode}` : signal;
      this.#break(`${maxFailedStarts} workers in a row ended (${how}) before they were ready`, member.failure);
    }
    if (this.#spec.replaces && !this.#leaving) this.#start();
    if (this.#members.size === 0) this.#gone();
  }

  #gone(): void {
    this.#leaving = true;
    const cancelled = new Cancelled('The workers have ended before all of them were ready');
    for (const { reject } of this.#awaiting.splice(0)) reject(cancelled);
    this.#duties.gone();
  }

  #break(why: string, cause: unknown): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#brokenBy = Object.assign(stateError('ERR_NDSHM_POOL_BROKEN', why), { cause });
    for (const { reject } of this.#awaiting.splice(0)) reject(this.#brokenBy);
    this.#duties.broken(this.#brokenBy);
  }
}
