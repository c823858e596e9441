import { Fifo } from './fifo';
import { onAbort } from './limits';
import type { Task } from './task';

/** What one item became: gives its value, or throws what it failed with. */
export type Give<T> = () => T;

export interface MappedSpec<T> {
  readonly source: Source;
  readonly chunkSize: number;
  /** So many chunks may be under way, or done and not yet asked for. */
  readonly window: number;
  readonly ordered: boolean;
  readonly signal: AbortSignal | undefined;
  /** Hands a chunk out; `settle` is called at most once, with one entry for each item. */
  readonly submit: (
    items: readonly unknown[],
    firstIndex: number,
    settle: (items: readonly Give<T>[]) => void,
  ) => Promise<Task>;
  readonly cancel: (task: Task, how: { readonly kill: boolean }) => void;
}

export type Source = Iterator<unknown> | AsyncIterator<unknown>;

interface Chunk<T> {
  task: Task | undefined;
  done: readonly Give<T>[] | undefined;
}

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T>) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * The results of a function for the items of a source, which is read as far ahead as the window allows. As with Python's
 * imap, next() rejects for an item that failed, and goes on with the others if it is called again; `for await` ends there.
 */
export class Mapped<T> implements AsyncIterableIterator<T> {
  readonly #spec: MappedSpec<T>;
  readonly #ready = new Fifo<Give<T>>();
  readonly #waiters = new Fifo<Waiter<T>>();
  /** Of the chunks that have been handed out, oldest first; those that are done too early, with their results. */
  readonly #chunks: Chunk<T>[] = [];
  #forgetSignal: () => void = () => {};
  #read = 0;
  #reading = false;
  /** Nothing more is read. */
  #ended = false;
  /** Nothing more is given. */
  #stopped = false;

  constructor(spec: MappedSpec<T>) {
    this.#spec = spec;
    this.#forgetSignal = onAbort(spec.signal, (reason) => this.#fail(reason));
    void this.#readAhead();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#deliver();
      void this.#readAhead();
    });
  }

  /** What has not begun is withdrawn. */
  async return(): Promise<IteratorResult<T>> {
    this.#stop({ kill: false });
    this.#deliver();
    await this.#spec.source.return?.();
    return { done: true, value: undefined };
  }

  /** The next one to ask is told why, and it ends. */
  #fail(reason: unknown): void {
    this.#stop({ kill: true });
    this.#ready.push(throwing(reason));
    this.#deliver();
    const closed = async () => this.#spec.source.return?.();
    closed().catch(() => {}); // whoever asks has been told enough
  }

  #stop(how: { readonly kill: boolean }): void {
    this.#stopped = true;
    this.#ended = true;
    this.#forgetSignal();
    for (const { task } of this.#chunks.splice(0)) if (task !== undefined) this.#spec.cancel(task, how);
    while (this.#ready.length > 0) this.#ready.shift();
  }

  async #readAhead(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    while (!this.#ended && this.#chunks.length + this.#ready.length / this.#spec.chunkSize < this.#spec.window) {
      await this.#readChunk();
    }
    this.#reading = false;
    this.#deliver();
  }

  /** What the source throws comes in its turn, after the results of what it gave before. */
  async #readChunk(): Promise<void> {
    const items: unknown[] = [];
    let failure: Give<T> | undefined;
    try {
      while (items.length < this.#spec.chunkSize && !this.#ended) {
        const { done, value } = await this.#spec.source.next();
        if (done === true) this.#ended = true;
        else items.push(value);
      }
    } catch (error) {
      this.#ended = true;
      failure = throwing(error);
    }
    if (items.length > 0 && !this.#stopped) await this.#handOut(items);
    if (failure !== undefined && !this.#stopped) this.#settle(this.#newChunk(), [failure]);
  }

  #newChunk(): Chunk<T> {
    const chunk: Chunk<T> = { task: undefined, done: undefined };
    this.#chunks.push(chunk);
    return chunk;
  }

  async #handOut(items: readonly unknown[]): Promise<void> {
    const firstIndex = this.#read;
    this.#read += items.length;
    const chunk = this.#newChunk();
    try {
      chunk.task = await this.#spec.submit(items, firstIndex, (done) => this.#settle(chunk, done));
    } catch (error) {
      this.#settle(chunk, new Array<Give<T>>(items.length).fill(throwing(error))); // the function's, or of a task they need
      return;
    }
    if (!this.#chunks.includes(chunk)) this.#spec.cancel(chunk.task, { kill: false }); // it was stopped meanwhile
  }

  #settle(chunk: Chunk<T>, done: readonly Give<T>[]): void {
    chunk.done = done;
    this.#sort(chunk);
    this.#deliver();
    void this.#readAhead();
  }

  #sort(chunk: Chunk<T>): void {
    if (!this.#chunks.includes(chunk)) return;
    if (!this.#spec.ordered) {
      this.#chunks.splice(this.#chunks.indexOf(chunk), 1);
      for (const give of chunk.done ?? []) this.#ready.push(give);
      return;
    }
    while (this.#chunks[0]?.done !== undefined)
      for (const give of this.#chunks.shift()?.done ?? []) this.#ready.push(give);
  }

  #deliver(): void {
    while (this.#waiters.length > 0 && this.#ready.length > 0) {
      const { resolve, reject } = this.#waiters.shift() as Waiter<T>;
      try {
        resolve({ done: false, value: (this.#ready.shift() as Give<T>)() });
      } catch (error) {
        reject(error);
      }
    }
    if (!this.#ended || this.#chunks.length > 0 || this.#ready.length > 0) return;
    this.#forgetSignal();
    while (this.#waiters.length > 0) this.#waiters.shift()?.resolve({ done: true, value: undefined });
  }
}

function throwing(reason: unknown): Give<never> {
  return () => {
    throw reason;
  };
}
