import type { Lock, LockManagerSnapshot, LockOptions } from 'ndshm';
import { Child, within } from './child';

export interface Settled {
  readonly value?: unknown;
  readonly error?: { readonly name: string; readonly code?: string | number; readonly text: string };
}

/** A request that a LockPeer has made. */
export interface PeerRequest {
  /** Resolves when it is called back. */
  readonly granted: () => Promise<Lock | null>;
  readonly isGranted: () => boolean;
  readonly settled: () => Promise<Settled>;
  /** Ends its callback with this value. */
  readonly release: (value?: unknown) => void;
  readonly abort: (reason?: unknown) => void;
}

interface PeerRequestOptions extends Omit<LockOptions, 'signal'> {
  readonly abortable?: boolean;
  /** Let the callback end at once, having set the process's exit code. */
  readonly exitCode?: number;
}

interface Message {
  readonly event: string;
  readonly value?: unknown;
}

/** Another process, or a thread in one, that uses the locks of a segment: test/children/locks.js. */
export class LockPeer extends Child {
  readonly #events = new Map<string, unknown>();
  readonly #listeners = new Map<string, () => void>();
  #count = 0;

  /** '' = ndshm.locks */
  static async start(segment: string, { thread = false } = {}): Promise<LockPeer> {
    const peer = new LockPeer('locks.js', thread ? [segment, 'thread'] : [segment]);
    peer.process.on('message', ({ event, value }: Message) => {
      peer.#events.set(event, value);
      peer.#listeners.get(event)?.();
    });
    await peer.event('ready');
    return peer;
  }

  /** Resolves with what came with the event, be it past or to come. */
  async event<T>(event: string): Promise<T> {
    if (!this.#events.has(event)) {
      const heard = new Promise<void>((resolve) => this.#listeners.set(event, resolve));
      await within(Promise.race([heard, this.exited]), event);
    }
    if (!this.#events.has(event))
      throw new Error(`The child ended before '${event}': ${JSON.stringify(await this.end())}\n${this.stderr}`);
    return this.#events.get(event) as T;
  }

  has(event: string): boolean {
    return this.#events.has(event);
  }

  /** Resolves when the request is in the table. */
  async request(name: string, options: PeerRequestOptions = {}): Promise<PeerRequest> {
    const { abortable = false, exitCode, ...rest } = options;
    const id = this.#count++;
    this.send({ do: 'request', id, name, options: rest, abortable, exitCode });
    await this.event(`requested ${id}`);
    return {
      granted: () => this.event(`granted ${id}`),
      isGranted: () => this.has(`granted ${id}`),
      settled: () => this.event(`settled ${id}`),
      release: (value) => this.send({ do: 'release', id, value }),
      abort: (reason) => this.send({ do: 'abort', id, reason }),
    };
  }

  /** Has the lock when it resolves. */
  async hold(name: string, options?: PeerRequestOptions): Promise<PeerRequest> {
    const request = await this.request(name, options);
    await request.granted();
    return request;
  }

  query(): Promise<LockManagerSnapshot> {
    const id = this.#count++;
    this.send({ do: 'query', id });
    return this.event(`snapshot ${id}`);
  }
}

/** A promise, and what settles it. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  return { promise, resolve, reject };
}
