import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import { python } from '../helpers/python';

jest.setTimeout(120_000); // for whatever is awaited here; a run takes some seconds

/** Enough to classify for many seconds: a signal sent while that goes on cannot come too late. */
const busy = ['--held-out', '5000', '--processes', '2'];
const quick = ['--held-out', '50', '--processes', '2'];
const arrayMebibytes = (10_000 * 784 * 4) / 2 ** 20;

class Demo {
  readonly process: ChildProcess;
  output = '';
  readonly #closed: Promise<[number | null, NodeJS.Signals | null]>;

  constructor(args: string[], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, [join(__dirname, '../../demo/main.js'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true, // a process group, as a terminal makes one
      env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: undefined, NDSHM_PYTHON: python, ...env },
    });
    this.#closed = new Promise((resolve) => this.process.once('close', (...how) => resolve(how)));
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
  }

  get pid(): number {
    return this.process.pid as number;
  }

  /** What the output matches, as soon as it does. */
  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this.output);
        if (match !== null) resolve(match);
      };
      look();
      this.process.stdout?.on('data', look);
      this.process.once('close', () => reject(new Error(`Never printed ${pattern}:\n${this.output}`)));
    });
  }

  /** The workers' process ids, as soon as they are at work. */
  async workersAtWork(): Promise<number[]> {
    await this.printed(/classifying, 1 process/);
    const [, pids = ''] = await this.printed(/workers: processes ([\d, ]+)/);
    return pids.split(', ').map(Number);
  }

  /** Waits until the demo and all its workers have gone: only then is the output, which they share, closed. */
  async ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    const [code, signal] = await this.#closed;
    return { code, signal };
  }

  segments(): string[] {
    return readdirSync('/dev/shm').filter((name) => name.includes(`-${this.pid}-`));
  }
}

const demos: Demo[] = [];
function start(args: string[], env?: NodeJS.ProcessEnv): Demo {
  const demo = new Demo(args, env);
  demos.push(demo);
  return demo;
}

afterEach(() => {
  for (const demo of demos.splice(0)) {
    if (demo.process.exitCode === null && demo.process.signalCode === null) process.kill(-demo.pid, 'SIGKILL');
  }
});

describe('the demo', () => {
  test('classifies, compares the memory, draws, has Python join in, and leaves nothing', async () => {
    const demo = start(quick);
    const { code } = await demo.ended();
    expect({ code, output: demo.output }).toEqual({ code: 0, output: expect.stringContaining('Done.') });
    expect(demo.output).toMatch(/accuracy: 9\d\.\d % \(4[5-9] of 50 are right\)/);
    expect(demo.output).toMatch(/read as \d/);
    expect(demo.output).toMatch(/a pool of 2 processes: \d+\.\d\d s, its start included; the same answers/);
    expect(demo.output).toMatch(python === undefined ? /no Python with numpy found/ : /as well\.[\s\S]*mean of all 9s/);
    expect(demo.segments()).toEqual([]);
  });

  test('finds that sharing costs one copy in all, and copying one a process', async () => {
    const demo = start(['--held-out', '50', '--processes', '3']);
    await demo.ended();
    const costs = /Sharing the digits costs ([\d.]+) MiB in all, copying them ([\d.]+) MiB/.exec(demo.output) ?? [];
    const [shared, copied] = [Number(costs[1]), Number(costs[2])];
    expect(demo.output.match(/│ (parent|worker) \d+ /g)).toHaveLength(4);
    expect(shared).toBeGreaterThan(0.8 * arrayMebibytes);
    expect(shared).toBeLessThan(1.5 * arrayMebibytes);
    expect(copied).toBeGreaterThan(2.5 * arrayMebibytes);
  });

  test('draws in colours where it is told to, and in plain characters where there is no terminal', async () => {
    const [colourful, plain] = [start(quick, { FORCE_COLOR: '3' }), start(quick, { NO_COLOR: '1' })];
    await Promise.all([colourful.ended(), plain.ended()]);
    expect(colourful.output).toContain('\x1b[38;2;');
    expect(colourful.output).toContain('▀');
    expect(plain.output).not.toContain('\x1b');
    expect(plain.output).toContain('▓');
  });

  test('says so in one line where there is no Python', async () => {
    const demo = start(quick, { NDSHM_PYTHON: '', PATH: '' });
    const { code } = await demo.ended();
    // A checkout may have a Python of its own, which is found without any help.
    const own = existsSync(join(__dirname, '../../.venv/bin/python'));
    expect(code).toBe(0);
    expect(demo.output).toMatch(own ? /numpy [\d.]+ finds/ : /left out: no Python with numpy found/);
  });

  test.each([
    ['--held-out', '0'],
    ['--held-out', '5001'],
    ['--processes', 'many'],
  ])('refuses %s %s', async (...args) => {
    const demo = start(args);
    const { code } = await demo.ended();
    expect(code).toBe(1);
    expect(demo.output).toContain('Expected a whole number');
  });
});

describe('the demo, when it is disturbed', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('by %s to the parent: closes everything and exits with %i', async (signal, exitCode) => {
    const demo = start(busy);
    await demo.workersAtWork();
    expect(demo.segments()).not.toEqual([]);
    process.kill(demo.pid, signal);
    expect(await demo.ended()).toEqual({ code: exitCode, signal: null });
    expect(demo.output).toContain(`Interrupted by ${signal}`);
    expect(demo.segments()).toEqual([]);
  });

  test('by Ctrl-C, which every process of the terminal gets: the same', async () => {
    const demo = start(busy);
    await demo.workersAtWork();
    process.kill(-demo.pid, 'SIGINT');
    expect(await demo.ended()).toEqual({ code: 130, signal: null });
    expect(demo.segments()).toEqual([]);
  });

  test('by Ctrl-C while the pool is at work: the same', async () => {
    const demo = start(['--held-out', '300', '--processes', '2']);
    await demo.printed(/classifying, a pool of 2 processes/);
    process.kill(-demo.pid, 'SIGINT');
    expect(await demo.ended()).toEqual({ code: 130, signal: null });
    expect(demo.output).not.toContain('its start included');
    expect(demo.segments()).toEqual([]);
  });

  test('by the end of who reads its output: the same', async () => {
    const demo = start(busy);
    await demo.workersAtWork();
    demo.process.stdout?.destroy();
    expect(await demo.ended()).toEqual({ code: 141, signal: null });
    expect(demo.segments()).toEqual([]);
  });

  test('while the digits are still being loaded: the same', async () => {
    const demo = start(busy);
    await demo.printed(/1\. Put the digits/);
    process.kill(demo.pid, 'SIGINT');
    expect(await demo.ended()).toEqual({ code: 130, signal: null });
    expect(demo.output).not.toContain('classifying');
    expect(demo.segments()).toEqual([]);
  });

  test('by the death of a worker: fails, names it, leaves nothing', async () => {
    const demo = start(busy);
    const [worker] = (await demo.workersAtWork()) as [number];
    process.kill(worker, 'SIGKILL');
    expect(await demo.ended()).toEqual({ code: 1, signal: null });
    expect(demo.output).toContain(`worker ${worker} died (SIGKILL)`);
    expect(demo.segments()).toEqual([]);
  });

  test('by the sudden death of the parent: the workers leave, and gc removes the rest', async () => {
    const demo = start(busy);
    await demo.workersAtWork();
    process.kill(demo.pid, 'SIGKILL');
    expect(await demo.ended()).toEqual({ code: null, signal: 'SIGKILL' });
    ndshm.gc();
    expect(demo.segments()).toEqual([]);
  });

  test('by the sudden death of all its processes: the next run removes what they have left', async () => {
    const demo = start(busy);
    await demo.workersAtWork();
    expect(demo.segments()).toHaveLength(4);
    process.kill(-demo.pid, 'SIGKILL');
    expect(await demo.ended()).toEqual({ code: null, signal: 'SIGKILL' });
    const next = start(quick);
    expect((await next.ended()).code).toBe(0);
    expect([...demo.segments(), ...next.segments()]).toEqual([]);
  });
});
