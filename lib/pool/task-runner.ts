import { describeThrown, type Thrown } from './failures';
import { Flag, inlineBytes, isNumbers, type Lane, type Request, type Sent, type StoredAt } from './lane';
import { loadFunction } from './load-function';
import { encodePayload } from './payload';
import { PayloadStore } from './payload-store';
import { resolveReferences } from './references';
import type { Initializer, WorkerConfig } from './worker-config';

type AnyFunction = (...args: unknown[]) => unknown;
type Constructor = new (...args: unknown[]) => object;
type Failure = [item: number, thrown: Thrown];
/** Yields what has to be awaited, and is given what it became. */
type Steps<T> = Generator<PromiseLike<unknown>, T, unknown>;

/** Runs what cells ask for. */
export class TaskRunner {
  readonly #config: WorkerConfig;
  readonly #lane: Lane;
  readonly #memory: PayloadStore;
  readonly #functions = new Map<number, AnyFunction>();
  #actor: object | undefined;
  /** Of the last task. A shared array among them may have no other owner until the pool has attached it. */
  #values: unknown[] = [];
  #failures: Failure[] = [];

  constructor(config: WorkerConfig, lane: Lane) {
    this.#config = config;
    this.#lane = lane;
    this.#memory = new PayloadStore(config.store);
  }

  async initialize({ spec, args }: Initializer): Promise<void> {
    const initializer = await loadFunction(spec);
    await initializer(...(this.#memory.read(args) as unknown[]));
  }

  /** Whether anything of the last task failed. */
  get hasFailed(): boolean {
    return this.#failures.length > 0;
  }

  /** Does the cell's task; undefined if that is over already, because there was nothing to await. */
  run(cell: number): Promise<void> | undefined {
    return drive(this.#run(cell));
  }

  *#run(cell: number): Steps<void> {
    const lane = this.#lane;
    const request = lane.request(cell);
    this.#values = [];
    this.#failures = [];
    try {
      const payload = this.#memory.read(lane.payload(cell));
      const items = (request.flags & Flag.references) === 0 ? payload : resolveReferences(payload, this.#memory);
      yield* this.#runItems(cell, request, items as unknown[]);
    } catch (error) {
      this.#failures.push([lane.itemOf(cell), describe(error)]); // it could not even begin
    }
    const outcome = yield* this.#outcome();
    const flags = this.#failures.length > 0 ? Flag.failed : 0;
    if (!lane.finish(cell, this.#config.worker, flags, outcome)) {
      process.kill(process.pid, 'SIGKILL'); // as the pool is about to do
    }
  }

  *#runItems(cell: number, request: Request, items: unknown[]): Steps<void> {
    const { flags } = request;
    const isTimed = (flags & Flag.timed) !== 0;
    const call = yield* this.#callOf(request);
    for (let item = 0; item < items.length; item++) {
      this.#lane.begin(cell, item, isTimed);
      try {
        const value = call(items[item]);
        this.#values.push(isThenable(value) ? yield value : value);
      } catch (error) {
        this.#failures.push([item, describe(error)]);
        if ((flags & Flag.goOn) === 0) return;
        this.#values.push(undefined);
      }
    }
  }

  /** What is to be done with each item. */
  *#callOf(request: Request): Steps<(item: unknown) => unknown> {
    const { flags } = request;
    if ((flags & Flag.method) !== 0) return (item) => this.#callMethod(item as [string, ...unknown[]]);
    let fn = this.#functions.get(request.function);
    if (fn === undefined) {
      const spec = this.#memory.read(request.described) as Parameters<typeof loadFunction>[0];
      fn = (yield loadFunction(spec)) as AnyFunction;
      this.#functions.set(request.function, fn);
    }
    const known = fn;
    if ((flags & Flag.construct) !== 0) {
      return (args) => {
        this.#actor = new (known as unknown as Constructor)(...(args as unknown[]));
      };
    }
    return (flags & Flag.spread) === 0 ? (item) => known(item) : (args) => known(...(args as unknown[]));
  }

  #callMethod([name, ...args]: [string, ...unknown[]]): unknown {
    const actor = this.#actor as Record<string, unknown>;
    const method = actor[name];
    if (typeof method !== 'function') {
      throw new TypeError(`An actor of class ${actor.constructor.name} has no method '${name}'`);
    }
    return method.apply(actor, args) as unknown;
  }

  /** The outcome where the pool finds it. What cannot be sent has failed; if there is no room for it, all has. */
  *#outcome(): Steps<Sent> {
    try {
      return yield* this.#placed(this.hasFailed ? [this.#values, this.#failures] : this.#values);
    } catch {
      this.#leaveOutUnsendable();
    }
    try {
      return yield* this.#placed([this.#values, this.#failures]);
    } catch (error) {
      const { message, code } = describe(error);
      this.#failures = [[0, { message, stack: null, value: undefined, ...(code === undefined ? {} : { code }) }]];
      return yield* this.#placed([[], this.#failures]); // so short that a cell holds it
    }
  }

  #leaveOutUnsendable(): void {
    for (const [item, value] of this.#values.entries()) {
      const why = whyNotSent(value);
      if (why === undefined) continue;
      this.#failures.push([item, describe(why)]);
      this.#values[item] = undefined;
    }
    this.#failures.sort(([a], [b]) => a - b);
  }

  *#placed(outcome: unknown[]): Steps<Sent> {
    if (isNumbers(outcome)) return outcome;
    const payload = encodePayload(outcome);
    return payload.byteLength > inlineBytes ? ((yield this.#memory.put(payload)) as StoredAt) : payload;
  }
}

/** Of what cannot be sent, what can be said of it. */
export const describe = (thrown: unknown): Thrown => describeThrown(thrown, (value) => whyNotSent(value) === undefined);

function whyNotSent(value: unknown): unknown {
  try {
    encodePayload(value);
    return undefined;
  } catch (error) {
    return error;
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function';

/** Runs the steps: at once as long as there is nothing to await, so that tasks that do not wait cost no turn. */
function drive(steps: Steps<void>): Promise<void> | undefined {
  const { done, value } = steps.next();
  return done === true ? undefined : driveOn(steps, value);
}

async function driveOn(steps: Steps<void>, awaited: PromiseLike<unknown>): Promise<void> {
  for (let next = awaited; ; ) {
    let step: IteratorResult<PromiseLike<unknown>, void>;
    try {
      step = steps.next(await next);
    } catch (error) {
      step = steps.throw(error);
    }
    if (step.done === true) return;
    next = step.value;
  }
}
