import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { type Exit, within } from './child';

const root = resolve(__dirname, '../..');
const { bin } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as { bin: { ndshm: string } };
/** The program behind `npx ndshm`, as it was built. */
export const program = resolve(root, bin.ndshm);

export interface RunOptions {
  /** Added to this process's; undefined takes a variable away. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly input?: string | Buffer;
  readonly uid?: number;
  /** For Node, as '--no-addons'. */
  readonly execArgv?: readonly string[];
  /** A command line that ends by executing what is appended to it. */
  readonly wrap?: readonly string[];
  /** Of standard output. Default 'utf8'; 'latin1' keeps any byte. */
  readonly encoding?: BufferEncoding;
}

export interface Ran {
  /** Null if it was ended by a signal, as by being too late. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const limitMs = 20_000;

function commandLine(args: readonly string[], { wrap = [], execArgv = [] }: RunOptions): [string, string[]] {
  const [first, ...rest] = [...wrap, process.execPath, ...execArgv, program, ...args];
  return [first as string, rest];
}

const place = ({ env, cwd, uid }: RunOptions) => ({
  // No colours, whatever the terminal of the tests is.
  env: { ...process.env, FORCE_COLOR: undefined, COLUMNS: undefined, LINES: undefined, ...env },
  ...(cwd === undefined ? {} : { cwd }),
  ...(uid === undefined ? {} : { uid, gid: uid }),
});

/** Runs `ndshm` with these arguments to its end. Blocks. */
export function ndshm(...args: readonly string[]): Ran {
  return ndshmWith({}, ...args);
}

/** As ndshm(). */
export function ndshmWith(options: RunOptions, ...args: readonly string[]): Ran {
  const { status, stdout, stderr, error } = spawnSync(...commandLine(args, options), {
    ...place(options),
    input: Buffer.from(options.input ?? ''), // text would be encoded as the output is
    encoding: 'buffer',
    timeout: limitMs,
    killSignal: 'SIGKILL',
    maxBuffer: 2 ** 28,
  });
  if (error !== undefined) throw error;
  return { status, stdout: stdout.toString(options.encoding ?? 'utf8'), stderr: stderr.toString() };
}

/** What `ndshm … --json` prints. Throws unless it ends with 0. */
export function ndshmJson<T = unknown>(...args: readonly string[]): T {
  const { status, stdout, stderr } = ndshm(...args, '--json');
  if (status !== 0) throw new Error(`ndshm ${args.join(' ')} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

const started = new Set<LiveNdshm>();

/** `ndshm` as it runs: for commands that go on. Killed after the test file at the latest. */
export class LiveNdshm {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly exited: Promise<Exit>;
  readonly #unread: string[] = [];
  #stderr = '';
  #ended = false;
  #changed: () => void = () => {};

  constructor(args: readonly string[], options: RunOptions = {}) {
    this.process = spawn(...commandLine(args, options), { ...place(options), stdio: ['pipe', 'pipe', 'pipe'] });
    if (options.input !== undefined) this.process.stdin.end(options.input);
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      this.#unread.push(line);
      this.#changed();
    });
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#changed();
    });
    // 'close' comes when all that it has printed is here.
    this.exited = once(this.process, 'close').then(([code, signal]) => {
      this.#ended = true;
      started.delete(this);
      this.#changed();
      return { code, signal } as Exit;
    });
    started.add(this);
  }

  get pid(): number {
    return this.process.pid as number;
  }

  /** What it has said on standard error so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** The next line of standard output that matches; those before it are skipped. Rejects if it ends without one. */
  async line(pattern: RegExp = /^/): Promise<string> {
    const find = (): string | undefined => {
      for (let line = this.#unread.shift(); line !== undefined; line = this.#unread.shift()) {
        if (pattern.test(line)) return line;
      }
      return undefined;
    };
    return this.#until(find, `line like ${pattern}`);
  }

  /** The next line of standard output, as JSON. */
  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.line()) as T;
  }

  /** When standard error has said so. */
  async said(pattern: RegExp): Promise<string> {
    return this.#until(() => pattern.exec(this.#stderr)?.[0], `message like ${pattern}`);
  }

  async #until(find: () => string | undefined, what: string): Promise<string> {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`ndshm ended before a ${what}\n${this.#stderr}`);
      await within(
        new Promise<void>((done) => {
          this.#changed = done;
        }),
        what,
      );
    }
  }

  end(): Promise<Exit> {
    return within(this.exited, 'end of ndshm');
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.process.kill(signal);
    return this.end();
  }
}

afterAll(async () => {
  await Promise.all([...started].map((live) => live.kill()));
});
