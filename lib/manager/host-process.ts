import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { stateError } from '../errors';
import { inheritedExecArgv } from '../pool/exec-argv';
import type { FunctionSpec } from '../pool/functions';
import { parentSocket } from '../pool/parent-watch';
import type { TlsOptions } from './dial';
import type { ManagerLimits } from './limits';
import { decodeThrown } from './thrown';

/** What a manager's process is told at its start. */
export interface HostConfig {
  readonly address: string;
  readonly authKey: Uint8Array | undefined;
  readonly tls: TlsOptions | undefined;
  readonly limits: ManagerLimits;
  readonly timeoutMs: number;
  readonly sharedMemory: boolean;
  /** Full names. */
  readonly modules: readonly string[];
}

/** What the process is asked for, each with a number that its answer has. */
export type HostRequest = { readonly number: number } & (
  | { readonly ask: 'start'; readonly config: HostConfig }
  | {
      readonly ask: 'register';
      readonly name: string;
      readonly spec: FunctionSpec;
      readonly exposed: readonly string[] | undefined;
    }
  | { readonly ask: 'close' }
);

export type HostAnswer = { readonly ndshmManager: number } & (
  | { readonly value: string | undefined }
  | { readonly thrown: Uint8Array }
);

/** Others are of what runs in the manager. */
export const isHostAnswer = (message: unknown): message is HostAnswer =>
  typeof message === 'object' && message !== null && 'ndshmManager' in message;

interface Asked {
  readonly resolve: (value: string | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** The process of a manager that this one has started: it ends with it. It does not keep the event loop going. */
export class HostProcess {
  readonly #child: ChildProcess;
  readonly #asked = new Map<number, Asked>();
  readonly #ended: Promise<void>;
  #last = 0;

  constructor(env: NodeJS.ProcessEnv | undefined, execArgv: readonly string[] | undefined) {
    this.#child = fork(join(__dirname, 'host.js'), [], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
      serialization: 'advanced',
      env: { ...process.env, ...env },
      execArgv: execArgv === undefined ? inheritedExecArgv() : [...execArgv],
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        const how = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
        this.#fail(stateError('ERR_NDSHM_MANAGER_LOST', `The manager's process ${how}`));
        resolve();
      });
      this.#child.once('error', (error) => {
        this.#fail(error);
        resolve();
      });
    });
    this.#child.on('message', (message) => this.#answered(message));
    // Its end, with ours, is what the manager waits for.
    const socket = this.#child.stdio[parentSocket] as Socket | undefined; // none if it could not be started
    socket?.on('error', () => {});
    socket?.unref();
    this.#unref();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Starts to listen; the address. Errors: those of listen(), and of modules. */
  start(config: HostConfig): Promise<string> {
    return this.#ask({ ask: 'start', config }) as Promise<string>;
  }

  async register(name: string, spec: FunctionSpec, exposed: readonly string[] | undefined): Promise<void> {
    await this.#ask({ ask: 'register', name, spec, exposed });
  }

  /** Until it has ended: by itself, or after `timeoutMs` by force. */
  async close(timeoutMs: number): Promise<void> {
    this.#ref();
    const timer = setTimeout(() => this.kill(), timeoutMs);
    this.#ask({ ask: 'close' }).catch(() => {}); // it has ended, as it should
    await this.#ended;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #ask(
    request: HostRequest extends infer R ? (R extends { number: number } ? Omit<R, 'number'> : never) : never,
  ): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const number = ++this.#last;
      if (this.#asked.size === 0) this.#ref();
      this.#asked.set(number, { resolve, reject });
      if (!this.#child.connected) {
        this.#fail(stateError('ERR_NDSHM_MANAGER_LOST', "The manager's process has ended"));
        return;
      }
      this.#child.send({ ...request, number } as HostRequest, (error) => {
        if (error !== null) this.#fail(error);
      });
    });
  }

  #answered(message: unknown): void {
    if (!isHostAnswer(message)) return;
    const asked = this.#asked.get(message.ndshmManager);
    this.#asked.delete(message.ndshmManager);
    if (this.#asked.size === 0) this.#unref();
    if ('thrown' in message) asked?.reject(decodeThrown(message.thrown));
    else asked?.resolve(message.value);
  }

  #fail(error: unknown): void {
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }

  #ref(): void {
    this.#child.ref();
    this.#child.channel?.ref?.();
  }

  #unref(): void {
    this.#child.unref();
    this.#child.channel?.unref?.();
  }
}
