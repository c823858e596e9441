import { RpcTarget } from 'capnweb';
import { asCaller } from './caller';
import type { Session, Stub } from './session';
import { decodeThrown, encodeThrown, tellable } from './thrown';
import { decodeValue, encodeValue, type Sent } from './values';

// What goes by reference and is not called by name: iterators and signals.

interface SentStep {
  readonly done: boolean;
  readonly value: Sent;
}

/** An iterator of this process, which the other side asks for one value after the other. */
export class ExposedIterator extends RpcTarget {
  readonly #session: Session;
  readonly #iterator: AsyncIterator<unknown>;

  constructor(session: Session, iterator: AsyncIterator<unknown>) {
    super();
    this.#session = session;
    this.#iterator = iterator;
  }

  async next(): Promise<SentStep> {
    try {
      const { done, value } = await asCaller(this.#session.caller, () => this.#iterator.next());
      return { done: done === true, value: encodeValue(value, this.#session) };
    } catch (error) {
      throw tellable(error);
    }
  }

  /** The other side has left its loop, or is gone. */
  [Symbol.dispose](): void {
    // What a generator throws in its `finally` has nobody to go to.
    if (this.#session.takeBack(this)) this.#iterator.return?.().catch(() => {});
  }
}

/** An iterator of the other side. It asks for a value when it is asked for one: nothing is produced ahead. */
export class RemoteIterator implements AsyncIterableIterator<unknown> {
  readonly #stub: Stub & { next(): PromiseLike<SentStep> };
  readonly #session: Session;
  #isOver = false;

  constructor(stub: Stub, session: Session) {
    this.#stub = stub as Stub & { next(): PromiseLike<SentStep> };
    this.#session = session;
    collected.register(this, stub, this);
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#isOver) return { done: true, value: undefined };
    try {
      const step = await this.#session.waitFor(this.#stub.next());
      const done = step.done === true;
      const value = await decodeValue(step.value, this.#session);
      (step as Partial<Disposable>)[Symbol.dispose]?.();
      if (done) this.#end();
      return { done, value };
    } catch (error) {
      this.#end();
      throw this.#session.failure(error);
    }
  }

  /** Ends the iterator over there. */
  async return(value?: unknown): Promise<IteratorResult<unknown>> {
    this.#end();
    return { done: true, value };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    collected.unregister(this);
    this.#stub[Symbol.dispose]();
  }
}

const collected = new FinalizationRegistry<Stub>((stub) => stub[Symbol.dispose]());

interface SentAbort {
  readonly aborted: boolean;
  /** As what is thrown: a DOMException mostly, which is no value that can be copied. */
  readonly reason: Uint8Array | undefined;
}

/** A signal of this process, for as long as the other side's call takes. */
export class ExposedSignal extends RpcTarget {
  readonly #session: Session;
  readonly #signal: AbortSignal;
  readonly #over = new AbortController();

  constructor(session: Session, signal: AbortSignal) {
    super();
    this.#session = session;
    this.#signal = signal;
  }

  /** Once it has aborted, or nobody needs to know any more. */
  async aborted(): Promise<SentAbort> {
    const either = AbortSignal.any([this.#signal, this.#over.signal]);
    if (!either.aborted) await new Promise((resolve) => either.addEventListener('abort', resolve, { once: true }));
    const { aborted, reason } = this.#signal;
    return { aborted, reason: aborted ? encodeThrown(reason) : undefined };
  }

  [Symbol.dispose](): void {
    if (this.#session.takeBack(this)) this.#over.abort();
  }
}

/** A signal of the other side; only for the call whose argument it is. */
export function remoteSignal(stub: Stub): AbortSignal {
  const controller = new AbortController();
  void follow(stub as Stub & { aborted(): PromiseLike<SentAbort> }, controller);
  return controller.signal;
}

async function follow(stub: { aborted(): PromiseLike<SentAbort> }, controller: AbortController): Promise<void> {
  try {
    const { aborted, reason } = await stub.aborted();
    if (aborted) controller.abort(decodeThrown(reason as Uint8Array));
  } catch {
    // The connection has ended, which the call learns by itself.
  }
}
