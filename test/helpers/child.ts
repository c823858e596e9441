import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  /** A command line that ends by executing what is appended to it. */
  readonly wrap?: readonly string[];
  readonly node?: string;
  readonly execArgv?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
}

const limitMs = 20_000;
const started = new Set<Child>();

/** Rejects when `promise` takes longer than a test should ever wait. */
export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No ${what} within ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A Node process that runs a program of test/children and talks by messages. Killed after the test file at the latest. */
export class Child {
  readonly process: ChildProcess;
  readonly exited: Promise<Exit>;
  #stderr = '';
  readonly #unread: unknown[] = [];
  #arrived: () => void = () => {};

  constructor(file: string, args: readonly string[] = [], options: ChildOptions = {}) {
    const { wrap = [], node = process.execPath, execArgv = [], env, uid } = options;
    const program = [...wrap, node, ...execArgv, resolve(__dirname, '../children', file), ...args];
    this.process = spawn(program[0] as string, program.slice(1), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced',
      env: { ...process.env, ...env },
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.process.on('message', (message) => this.received(message));
    this.exited = once(this.process, 'exit').then(([code, signal]) => ({ code, signal }) as Exit);
    void this.exited.then(() => started.delete(this));
    started.add(this);
  }

  get pid(): number {
    return this.process.pid as number;
  }

  get stderr(): string {
    return this.#stderr;
  }

  protected received(message: unknown): void {
    this.#unread.push(message);
    this.#arrived();
  }

  /** The next message; rejects if the process ends instead. */
  async message<T>(): Promise<T> {
    if (this.#unread.length === 0) {
      const arrived = new Promise<'message'>((done) => {
        this.#arrived = () => done('message');
      });
      const first = await within(Promise.race([arrived, this.exited]), 'message');
      if (this.#unread.length === 0) throw new Error(`The child ended: ${JSON.stringify(first)}\n${this.#stderr}`);
    }
    return this.#unread.shift() as T;
  }

  send(message: object | string): void {
    this.process.send(message);
  }

  end(): Promise<Exit> {
    return within(this.exited, 'end of the child');
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.process.kill(signal);
    return this.end();
  }
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** What a function that a peer runs is given. */
export interface PeerContext {
  readonly ndshm: typeof import('ndshm');
  /** What was made by call(), by its key. */
  readonly kept: Map<string, unknown>;
  /** A module of the built package, by its path in lib/. */
  readonly part: (path: string) => unknown;
}

/** A child that does what it is told, several things at a time if need be: test/children/peer.js. */
export class Peer extends Child {
  #questions = 0;
  readonly #unanswered = new Map<number, (answer: Answer) => void>();

  /** Process or, with `thread`, a worker thread in one. */
  static async start(options: ChildOptions & { readonly thread?: boolean } = {}): Promise<Peer> {
    const peer = new Peer('peer.js', options.thread === true ? ['thread'] : [], options);
    const ready = await peer.message();
    if (ready !== 'ready') throw new Error(`Expected the peer to be ready but received ${String(ready)}`);
    return peer;
  }

  protected override received(message: unknown): void {
    const answer = message as Answer;
    const take = this.#unanswered.get(answer.id);
    this.#unanswered.delete(answer.id);
    if (take === undefined) super.received(message);
    else take(answer);
  }

  async #ask<T>(question: object): Promise<T> {
    const id = ++this.#questions;
    const answered = new Promise<Answer>((resolve) => this.#unanswered.set(id, resolve));
    this.send({ id, ...question });
    const answer = await within(Promise.race([answered, this.exited]), 'answer');
    if (!('id' in answer)) throw new Error(`The child ended: ${JSON.stringify(answer)}\n${this.stderr}`);
    const { value, error } = answer;
    if (error !== undefined) throw Object.assign(new Error(error.message), { code: error.code });
    return value as T;
  }

  /** Calls a function of ndshm, or a class with new. An array or primitive that it gives is kept under `key`. */
  call<T = unknown>(key: string, method: string, ...args: unknown[]): Promise<T> {
    return this.#ask<T>({ key, method, args });
  }

  /** Calls a method of a kept array, or an extra of peer.js with it. */
  on<T = unknown>(key: string, method: string, ...args: unknown[]): Promise<T> {
    return this.#ask<T>({ of: key, method, args });
  }

  /** Runs a function, which is sent as its source: it knows nothing but its arguments. */
  run<A extends unknown[], T>(fn: (context: PeerContext, ...args: A) => T | Promise<T>, ...args: A): Promise<T> {
    return this.#ask<T>({ of: '', method: 'run', args: [fn.toString(), ...args] });
  }
}

/** The error that a promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error & { code?: string };
  }
  throw new Error('Expected a rejection, but there was none');
}

/** What a process holds of shared memory: open descriptors, and mappings of shm files. */
export function holdings(pid: number | 'self' = 'self'): { descriptors: number; mappings: number } {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n');
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    mappings: maps.filter((line) => /\/dev\/shm\/|memfd:ndshm/.test(line)).length,
  };
}

/** A small generator of random numbers with a seed, mulberry32: the same run again from the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const isRoot = process.geteuid?.() === 0;
/** nobody */
export const otherUser = 65534;
/** describe(), but left out with its name in the report where the tests do not run as root. */
export const describeAsRoot: jest.Describe = isRoot ? describe : describe.skip;

afterAll(async () => {
  await Promise.all([...started].map((child) => child.kill()));
});
