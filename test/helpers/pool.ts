import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as ndshm from 'ndshm';
import { freshName } from './shm';

/** A function of test/pool/fixtures. */
export const task = (name: string, file = 'tasks.js'): ndshm.ModuleFunction => ({
  module: join(__dirname, '../pool/fixtures', file),
  export: name,
});

const limitMs = 20_000;
const made: { pool: ndshm.Pool; pids: Set<number> }[] = [];
const meetings: Meeting[] = [];

/** A pool of two workers unless said otherwise, which is gone after the test file at the latest. */
export function makePool(options: ndshm.PoolOptions = {}): ndshm.Pool {
  const pool = new ndshm.Pool({ processes: 2, ...options });
  made.push({ pool, pids: new Set(pool.pids) });
  return pool;
}

export interface MeetingNames {
  readonly arrivals: string;
  readonly door: string;
}

/** Where a test learns that tasks have come to a certain point, and from where it lets them go on. */
export class Meeting {
  /** For the tasks: see test/pool/fixtures/tasks.js. */
  readonly names: MeetingNames = { arrivals: freshName('arrivals'), door: freshName('door') };
  readonly #arrivals = new ndshm.Semaphore(this.names.arrivals, { value: 0, undo: false, ephemeral: true });
  readonly #door = new ndshm.Event(this.names.door, { ephemeral: true });

  constructor() {
    meetings.push(this);
  }

  /** Until so many more tasks have come. */
  async arrivals(count = 1): Promise<void> {
    for (let n = 0; n < count; n++) await this.#arrivals.acquire({ timeoutMs: limitMs });
  }

  /** How many have come that nobody has waited for. */
  get waiting(): number {
    return this.#arrivals.value;
  }

  letGo(): void {
    this.#door.set();
  }

  close(): void {
    this.#arrivals.close();
    this.#door.close();
  }
}

/** What the tasks of test/pool/fixtures count in: zeros. */
export const counters = (length: number): ndshm.SharedArray<'int32'> =>
  ndshm.create(freshName('counts'), { shape: length, dtype: 'int32', ephemeral: true });

/** What pools of a process have in /dev/shm. */
export const poolNames = (pid: number = process.pid): string[] =>
  readdirSync('/dev/shm').filter((name) => name.startsWith(`pool-${pid}-`));

export const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

export interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end, from its source text; `require` and `import()` start from the root of the project. By its
 * standard input: with -e, what a worker thread forks would be the program again.
 */
export function runProgram(source: string, execArgv: readonly string[] = []): Promise<Ended> {
  const root = resolve(__dirname, '../..');
  return new Promise((done) => {
    const program = execFile(
      process.execPath,
      [...execArgv, '-'],
      { cwd: root, timeout: limitMs, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => done({ code: error === null ? 0 : (error.code ?? 'killed'), stdout, stderr }),
    );
    program.stdin?.end(source);
  });
}

afterAll(async () => {
  for (const { pool, pids } of made) for (const pid of pool.pids) pids.add(pid);
  await Promise.all(made.map(({ pool }) => pool.terminate()));
  for (const meeting of meetings) meeting.close();
  expect(poolNames()).toEqual([]);
  expect(made.flatMap(({ pids }) => [...pids]).filter(isAlive)).toEqual([]);
});
