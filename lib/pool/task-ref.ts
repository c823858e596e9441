/* oxlint-disable unicorn/no-thenable */
import type { StoredAt } from './lane';
import type { PayloadStore } from './payload-store';
import { onlyValue, openResult, takeResult } from './results';
import type { Outcome, Result } from './task';

export type Argument = { readonly stored: StoredAt } | { readonly value: unknown };

/** What became of a call. */
type Settled = { readonly error: unknown } | { readonly value: unknown } | { readonly result: Result };

/** The outcome of one call, which may not be there yet. */
export class Future {
  readonly #memory: PayloadStore;
  readonly #held: HeldResults;
  #settled: Settled | undefined;
  #listeners: (() => void)[] = [];
  #value: Promise<unknown> | undefined;
  #isUnwanted = false;
  /** Resolves when its task has been handed out, or will not be; undefined = that was at once. */
  submitted: Promise<void> | undefined;
  /** Makes nothing come of it, if it is not settled. */
  cancel: (error: unknown) => void = () => {};

  constructor(memory: PayloadStore, held: HeldResults) {
    this.#memory = memory;
    this.#held = held;
  }

  get isSettled(): boolean {
    return this.#settled !== undefined;
  }

  settle(outcome: Outcome): void {
    if (this.#settled !== undefined) return;
    this.#settled = this.#keep(outcome);
    if (this.#isUnwanted) this.discard();
    for (const listener of this.#listeners.splice(0)) listener();
  }

  /** What is stored is left there, for tasks that want it. */
  #keep(outcome: Outcome): Settled {
    if ('error' in outcome) return outcome;
    const { payload, hasFailures } = outcome.result;
    if (!hasFailures && 'object' in payload) {
      this.#held.add(payload);
      return outcome;
    }
    try {
      return { value: onlyValue(takeResult(outcome.result, this.#memory)) };
    } catch (error) {
      return { error };
    }
  }

  /** Calls back once it is settled, at once if it is; returns how to say that this is not needed any more. */
  whenSettled(listener: () => void): () => void {
    if (this.isSettled) listener();
    else this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((each) => each !== listener);
    };
  }

  /** The same one each time. Throws what the task failed with. */
  value(): Promise<unknown> {
    this.#value ??= this.#whenSettled().then((settled) => {
      if ('error' in settled) throw settled.error;
      return 'value' in settled ? settled.value : onlyValue(openResult(settled.result, this.#memory));
    });
    return this.#value;
  }

  /** value(), of which nothing is kept. */
  async take(): Promise<unknown> {
    const settled = await this.#whenSettled();
    if (!('result' in settled)) return this.value();
    this.#held.delete(settled.result.payload as StoredAt);
    return onlyValue(takeResult(settled.result, this.#memory));
  }

  /** Where it lies, or what it is. Throws what the task failed with. */
  async asArgument(): Promise<Argument> {
    const settled = await this.#whenSettled();
    return 'result' in settled ? { stored: settled.result.payload as StoredAt } : { value: await this.value() };
  }

  async #whenSettled(): Promise<Settled> {
    await new Promise<void>((resolve) => this.whenSettled(resolve));
    return this.#settled as Settled;
  }

  /** Nobody will ask for it any more. */
  discard(): void {
    this.#isUnwanted = true;
    if (this.#settled === undefined || !('result' in this.#settled)) return;
    const stored = this.#settled.result.payload as StoredAt;
    this.#held.delete(stored);
    this.#held.free(stored);
  }
}

/** The results in the pool's store that somebody has a ref of. */
export class HeldResults {
  readonly #memory: PayloadStore;
  readonly #keys = new Set<string>();
  #closed = false;

  constructor(memory: PayloadStore) {
    this.#memory = memory;
  }

  add(at: StoredAt): void {
    this.#keys.add(keyOf(at));
  }

  delete(at: StoredAt): void {
    this.#keys.delete(keyOf(at));
  }

  has(at: StoredAt): boolean {
    return this.#keys.has(keyOf(at));
  }

  free(at: StoredAt): void {
    if (!this.#closed) this.#memory.delete(at);
  }

  /** The store has ended. */
  close(): void {
    this.#closed = true;
  }
}

const keyOf = ({ object, generation }: StoredAt): string => `${object}/${generation}`;

const collected = new FinalizationRegistry<Future>((future) => future.discard());

/**
 * A task's result-to-be. Await it, or give it to pool.get(); as an argument of another task it arrives as the value, without
 * passing through this process if it is large. The result is kept until the ref is collected. It is this process's alone.
 */
export class TaskRef<T = unknown> implements PromiseLike<T> {
  readonly #future: Future;

  /** @internal */
  constructor(future: Future) {
    this.#future = future;
    collected.register(this, future);
  }

  /** @internal */
  static futureOf(ref: TaskRef): Future {
    return ref.#future;
  }

  // biome-ignore lint/suspicious/noThenProperty: Ray's refs can be awaited, too
  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return (this.#future.value() as Promise<T>).then((value) => {
      void this;
      return onFulfilled == null ? (value as unknown as A) : onFulfilled(value);
    }, onRejected);
  }
}
