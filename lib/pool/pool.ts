import { randomBytes } from 'node:crypto';
import { gc } from '../array/directory';
import type { Encoded } from '../codec/encode';
import { stateError, typeError, wrongKind } from '../errors';
import { checkSignal, checkTimeout, Deadline, type WaitOptions, waitKeys } from '../lock/deadline';
import { byteCount, checkOptions, integerIn } from '../options';
import type { ObjectRef } from '../store/object-ref';
import type { Store } from '../store/store';
import { type Actor, actorProxy } from './actor';
import { encodeItems, encodePlain, encodeReferring, hasReferences, resolveDependencies } from './arguments';
import { Cancelled } from './failures';
import { describe, type ModuleFunction, type TaskFunction } from './functions';
import { Mapped, type Source } from './imap';
import { type KnownFunction, KnownFunctions } from './known-functions';
import { Flag } from './lane';
import { type CallOptions, checkLimits, flagsOf, type Limits, onAbort, orAborted } from './limits';
import { isLoading } from './load-function';
import { type OnPoolProgress, RunningMap } from './map';
import { PayloadStore } from './payload-store';
import { availableProcessors } from './processors';
import { isObjectRef, valueOfRef } from './references';
import { giversOf } from './results';
import { Future, HeldResults, TaskRef } from './task-ref';
import { Team, type TeamSpec } from './team';
import { configVariable, type Initializer } from './worker-config';

export interface PoolOptions {
  /** How many workers. Default: the processors that the container's quota and the process's affinity leave it. */
  readonly processes?: number;
  /** Runs in each worker before its first task. */
  readonly initializer?: TaskFunction;
  readonly initArgs?: readonly unknown[];
  /** After so many tasks (a chunk of a map counts as one) a worker has a successor. Default: none. */
  readonly maxTasksPerChild?: number;
  /** What map() and starmap() use that are not told otherwise. Default 'auto'. */
  readonly chunkSize?: number | 'auto';
  /** Beside the environment of this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Node's own options for the workers. Default: those of this process. */
  readonly execArgv?: readonly string[];
  /** How much shared memory arguments and results may take at a time, in bytes or like '2GiB'. Default: half of /dev/shm. */
  readonly storeCapacity?: number | string;
}

const poolKeys = [
  'processes',
  'initializer',
  'initArgs',
  'maxTasksPerChild',
  'chunkSize',
  'env',
  'execArgv',
  'storeCapacity',
] as const;

export interface MapOptions extends CallOptions {
  /** How many items a worker takes at a time. 'auto': many at first, few in the end. Default: the pool's. */
  readonly chunkSize?: number | 'auto';
  /** Called with how many items are done, first with none; progressBar() makes one. */
  readonly onProgress?: OnPoolProgress;
}

export interface ImapOptions extends CallOptions {
  /** How many items a worker takes at a time. Default 1. */
  readonly chunkSize?: number;
}

export interface PoolWaitOptions extends WaitOptions {
  /** How many of the refs have to be settled. Default: all. */
  readonly numReturns?: number;
}

type Fn<A, R> = ((item: A) => R) | ModuleFunction;
/** With refs in the place of values. */
type Refs<A extends readonly unknown[]> = { [I in keyof A]: A[I] | TaskRef<A[I]> | ObjectRef };
type AnyRef = TaskRef | ObjectRef;

/** One worker's peer slot is one of 256 in the lane. */
const maxProcesses = 250;
const maxBatch = 2 ** 31 - 1;
/** So many chunks for each worker does imap() read ahead. */
const chunksPerWorkerAhead = 4;

/**
 * Worker processes that run functions, Python's Pool: map() and its like over lists of items, and Ray's remote tasks and
 * actors. Shared arrays are passed by reference, what is large goes through shared memory, and what is small costs some
 * microseconds.
 *
 * A function comes from a module (`import { f } from './f.mjs'`, or `{ module, export }`), or is written in place and refers
 * to nothing outside. What is passed to it must not be changed before the call is settled. The workers end with this process,
 * however it ends; an idle pool does not keep it running.
 *
 * Errors of all calls: TaskError, WorkerLost, Timeout, Cancelled; ERR_NDSHM_FUNCTION, ERR_NDSHM_POOL_BROKEN,
 * ERR_NDSHM_CLOSED; ERR_NDSHM_INVALID_ARGUMENT for what cannot be cloned; ERR_NDSHM_ANONYMOUS.
 * @example
 * const prices = ndshm.create('prices', { shape: [4, 1000], ephemeral: true });
 * const pool = new ndshm.Pool({ processes: 2 });
 * await pool.map((row) => row.fill(Math.sqrt(2)), [...prices]);
 * console.log(prices.get(3, 999)); // 1.4142135623730951
 * await pool.close();
 * prices.close();
 */
export class Pool {
  readonly processes: number;
  readonly #memory: PayloadStore;
  readonly #functions: KnownFunctions;
  readonly #held: HeldResults;
  readonly #team: Team;
  /** Of the actors. */
  readonly #others = new Set<Team>();
  readonly #options: PoolOptions;
  #ended: Promise<void> | undefined;
  #lastBatch = 0;
  #hasKilled = false;

  constructor(options?: PoolOptions) {
    const checked = checkOptions(options, poolKeys, 'Pool');
    if (isLoading()) {
      throw typeError(
        'ERR_NDSHM_FUNCTION',
        'The module of a task makes a pool as it is loaded, and so would each worker, and its workers; make the pool in the main module, or in a function',
      );
    }
    if (process.env[configVariable] !== undefined) {
      throw stateError(
        'ERR_NDSHM_POOL_BROKEN',
        'This process was started as the worker of a pool, but runs another program, which makes a pool itself: see its execArgv',
      );
    }
    const { processes, initializer, initArgs = [], maxTasksPerChild, storeCapacity } = checked;
    this.#options = checked;
    this.processes =
      processes === undefined ? availableProcessors() : integerIn(processes, 1, maxProcesses, 'processes');
    const maxTasks =
      maxTasksPerChild === undefined ? null : integerIn(maxTasksPerChild, 1, 2 ** 31 - 1, 'maxTasksPerChild');
    checkChunkSize(checked.chunkSize ?? 'auto');
    if (!Array.isArray(initArgs)) throw wrongKind('an array of arguments', 'initArgs', initArgs);
    checkProcessOptions(checked);
    this.#memory = new PayloadStore(`pool-${process.pid}-${randomBytes(6).toString('hex')}`, {
      capacity: storeCapacity,
    });
    this.#functions = new KnownFunctions(this.#memory);
    this.#held = new HeldResults(this.#memory);
    try {
      const first = initializer === undefined ? undefined : this.#initializer(initializer, initArgs);
      this.#team = this.#makeTeam({
        size: this.processes,
        initializer: first,
        maxTasks,
        replaces: true,
        mayKill: true,
      });
    } catch (error) {
      this.#memory.unlink();
      throw error;
    }
  }

  #initializer(fn: TaskFunction, initArgs: readonly unknown[]): Promise<Initializer> {
    const described = describe(fn, 'initializer');
    const args = this.#memory.putSync(encodeItems(initArgs));
    return Promise.resolve(described).then((spec) => ({ spec, args }));
  }

  #makeTeam(spec: Pick<TeamSpec, 'size' | 'initializer' | 'maxTasks' | 'replaces' | 'mayKill'>): Team {
    const { env, execArgv } = this.#options;
    return new Team(this.#memory, {
      ...spec,
      env,
      execArgv,
      isHeld: (at) => this.#held.has(at),
      onEnd: ({ signal }) => {
        this.#hasKilled ||= signal !== null;
      },
    });
  }

  get closed(): boolean {
    return this.#ended !== undefined;
  }

  /** The process ids of the workers, those of actors among them. */
  get pids(): number[] {
    return this.#teams().flatMap(({ pids }) => pids);
  }

  /** The pool's own store: what put() puts, until it is deleted there. Not for results. */
  get store(): Store {
    this.#check();
    return this.#memory.store;
  }

  #teams(): Team[] {
    return [this.#team, ...this.#others];
  }

  #check(): void {
    if (this.closed) throw stateError('ERR_NDSHM_CLOSED', 'The pool has been closed; make a new one');
  }

  /**
   * Resolves when all workers have started and run the initializer. Calls need not wait for it.
   * Errors: ERR_NDSHM_POOL_BROKEN.
   */
  async ready(): Promise<void> {
    this.#check();
    await this.#team.ready();
  }

  // ---- calls ----

  /**
   * Calls fn(...args) in a worker, and resolves with its result. Arrays of a large result are views on shared memory,
   * read-only as those of Store.get().
   * @example
   * const pool = new ndshm.Pool({ processes: 1 });
   * console.log(await pool.apply((a, b) => a ** b, [2, 10])); // 1024
   * await pool.close();
   */
  async apply<A extends readonly unknown[], R>(
    fn: ((...args: A) => R) | ModuleFunction,
    args?: Refs<A>,
    options?: CallOptions,
  ): Promise<Awaited<R>> {
    return this.#apply(fn, args, options, 'apply()').take() as Promise<Awaited<R>>;
  }

  /** apply(), but returns a ref at once: to be awaited, waited for, cancelled, or given to other tasks. */
  applyAsync<A extends readonly unknown[], R>(
    fn: ((...args: A) => R) | ModuleFunction,
    args?: Refs<A>,
    options?: CallOptions,
  ): TaskRef<Awaited<R>> {
    return new TaskRef(this.#apply(fn, args, options, 'applyAsync()'));
  }

  #apply(fn: unknown, args: readonly unknown[] | undefined, options: CallOptions | undefined, what: string): Future {
    const limits = checkLimits(options, [], what);
    const known = this.#known(fn, what);
    if (args !== undefined && !Array.isArray(args)) throw wrongKind('an array of arguments', `args of ${what}`, args);
    return this.#call(this.#team, known, Flag.spread, args ?? [], limits);
  }

  /**
   * The function as a remote one, Ray's: each call returns a ref at once. Refs among its arguments arrive as values.
   * @example
   * const pool = new ndshm.Pool({ processes: 2 });
   * const add = pool.remote((a, b) => a + b);
   * const five = add(2, 3);
   * console.log(await add(five, five)); // 10
   * await pool.close();
   */
  remote<A extends readonly unknown[], R>(
    fn: ((...args: A) => R) | ModuleFunction,
    options?: CallOptions,
  ): (...args: Refs<A>) => TaskRef<Awaited<R>> {
    const limits = checkLimits(options, [], 'remote()');
    const known = this.#known(fn, 'remote()');
    return (...args) => {
      this.#check();
      return new TaskRef(this.#call(this.#team, known, Flag.spread, args, limits));
    };
  }

  #known(fn: unknown, what: string): KnownFunction | Promise<KnownFunction> {
    this.#check();
    const known = this.#functions.get(fn, what);
    if (known instanceof Promise) known.catch(() => {}); // each call says so
    return known;
  }

  /** One call, by whichever worker of the team is free; not handed out before `after`. */
  #call(
    team: Team,
    known: KnownFunction | Promise<KnownFunction>,
    flags: number,
    args: readonly unknown[],
    limits: Limits,
    after?: Promise<void>,
  ): Future {
    const future = new Future(this.#memory, this.#held);
    const forget = onAbort(limits.signal, (reason) => future.cancel(reason));
    const failed = (error: unknown) => {
      forget();
      future.settle({ error });
    };
    future.cancel = failed;
    const submit = ({ number, described }: KnownFunction, payload: Encoded, ownFlags: number) => {
      if (future.isSettled) return;
      const task = team.submit({
        request: { function: number, described, flags: flags | ownFlags | flagsOf(limits), batch: 0 },
        encode: () => payload,
        firstIndex: undefined,
        retries: limits.retries,
        timeoutMs: limits.timeoutMs,
        settle: (outcome) => {
          forget();
          future.settle(outcome);
        },
      });
      future.cancel = (error) => {
        team.cancel(task, { kill: true });
        failed(error);
      };
    };
    const submitLater = async () => {
      await after;
      const resolved = await resolveDependencies([args], true);
      const refers = hasReferences([args], true);
      submit(
        await known,
        refers ? encodeReferring([args], true, resolved) : encodeItems([args]),
        refers ? Flag.references : 0,
      );
      future.whenSettled(() => resolved); // what the refs stand for is needed until then
    };
    try {
      limits.signal?.throwIfAborted();
      if (after !== undefined || known instanceof Promise || hasReferences([args], true)) {
        future.submitted = team.expect(submitLater()).catch(failed);
      } else submit(known, encodeItems([args]), 0);
    } catch (error) {
      failed(error);
    }
    return future;
  }

  /**
   * The results of fn(item) for all items, in their order: Python's Pool.map. Each worker takes some items at a time. The
   * first failure rejects, with the index of its item; what has not begun then is not done.
   * @example
   * const pool = new ndshm.Pool({ processes: 2 });
   * console.log(await pool.map((x) => x * x, [1, 2, 3])); // [ 1, 4, 9 ]
   * await pool.close();
   */
  async map<A, R>(fn: Fn<A, R>, items: Iterable<A>, options?: MapOptions): Promise<Awaited<R>[]> {
    this.#check();
    return this.#team.expect(this.#map(fn, items, false, options, 'map()')) as Promise<Awaited<R>[]>;
  }

  /** map(), whose items are lists of arguments: the results of fn(...item). */
  async starmap<A extends readonly unknown[], R>(
    fn: ((...args: A) => R) | ModuleFunction,
    items: Iterable<Refs<A>>,
    options?: MapOptions,
  ): Promise<Awaited<R>[]> {
    this.#check();
    return this.#team.expect(this.#map(fn, items, true, options, 'starmap()')) as Promise<Awaited<R>[]>;
  }

  async #map(
    fn: unknown,
    items: Iterable<unknown>,
    spread: boolean,
    options: MapOptions | undefined,
    what: string,
  ): Promise<unknown[]> {
    const limits = checkLimits(options, ['chunkSize', 'onProgress'], what);
    const { chunkSize = this.#options.chunkSize ?? 'auto', onProgress } = options ?? {};
    checkChunkSize(chunkSize);
    if (onProgress !== undefined && typeof onProgress !== 'function') {
      throw wrongKind('a function', 'onProgress', onProgress);
    }
    const list = listOf(items, spread, what);
    const known = await orAborted(limits.signal, this.#known(fn, what));
    const refers = hasReferences(list, spread);
    const resolved = refers ? await orAborted(limits.signal, resolveDependencies(list, spread)) : undefined;
    return RunningMap.run({
      team: this.#team,
      memory: this.#memory,
      request: {
        function: known.number,
        described: known.described,
        flags: (spread ? Flag.spread : 0) | (refers ? Flag.references : 0) | flagsOf(limits),
        batch: onProgress === undefined ? this.#nextBatch() : 0,
      },
      items: list,
      encode: resolved === undefined ? encodePlain : (some) => encodeReferring(some, spread, resolved),
      chunkSize,
      processes: this.processes,
      limits,
      onProgress,
    });
  }

  #nextBatch(): number {
    this.#lastBatch = (this.#lastBatch % maxBatch) + 1;
    return this.#lastBatch;
  }

  /**
   * The results of fn(item), in the order of the items, each as soon as it is there: Python's Pool.imap. The items are read
   * only some chunks ahead, so the source may be endless, or slow. Where an item failed, next() rejects, and may be called
   * again for the others; `for await` ends there.
   * @example
   * const pool = new ndshm.Pool({ processes: 2 });
   * for await (const square of pool.imap((x) => x * x, [1, 2, 3])) console.log(square); // 1, 4, 9
   * await pool.close();
   */
  imap<A, R>(
    fn: Fn<A, R>,
    items: Iterable<A> | AsyncIterable<A>,
    options?: ImapOptions,
  ): AsyncIterableIterator<Awaited<R>> {
    return this.#imap(fn, items, options, true, 'imap()') as AsyncIterableIterator<Awaited<R>>;
  }

  /** imap(), but in the order in which the results come. */
  imapUnordered<A, R>(
    fn: Fn<A, R>,
    items: Iterable<A> | AsyncIterable<A>,
    options?: ImapOptions,
  ): AsyncIterableIterator<Awaited<R>> {
    return this.#imap(fn, items, options, false, 'imapUnordered()') as AsyncIterableIterator<Awaited<R>>;
  }

  #imap(
    fn: unknown,
    items: Iterable<unknown> | AsyncIterable<unknown>,
    options: ImapOptions | undefined,
    ordered: boolean,
    what: string,
  ): Mapped<unknown> {
    const limits = checkLimits(options, ['chunkSize'], what);
    const { chunkSize = 1 } = options ?? {};
    integerIn(chunkSize, 1, 2 ** 31 - 1, 'chunkSize');
    const source = iteratorOf(items, what);
    const known = this.#known(fn, what);
    return new Mapped({
      source,
      chunkSize,
      window: chunksPerWorkerAhead * this.processes,
      ordered,
      signal: limits.signal,
      submit: async (some, firstIndex, settle) => {
        const { number, described } = await known;
        const refers = hasReferences(some, false);
        const resolved = refers ? await resolveDependencies(some, false) : undefined;
        const flags = Flag.goOn | (refers ? Flag.references : 0) | flagsOf(limits);
        return this.#team.submit({
          request: { function: number, described, flags, batch: 0 },
          encode: () => (resolved === undefined ? encodePlain(some) : encodeReferring(some, false, resolved)),
          firstIndex,
          retries: limits.retries,
          timeoutMs: limits.timeoutMs,
          settle: (outcome) => settle(giversOf(outcome, some.length, firstIndex, this.#memory)),
        });
      },
      cancel: (task, how) => this.#team.cancel(task, how),
    });
  }

  // ---- refs ----

  /** Copies a value into the pool's store: Ray's put. To be deleted by `pool.store.delete(ref)`, or it goes with the pool. */
  put(value: unknown): Promise<ObjectRef> {
    return this.store.put(value);
  }

  /**
   * What a ref, or each of a list of refs, stands for: waits for tasks, and rejects with what they failed with.
   * Errors: those of Store.get() for object refs.
   */
  get<T>(ref: TaskRef<T> | ObjectRef): Promise<T>;
  get<T>(refs: readonly (TaskRef<T> | ObjectRef)[]): Promise<T[]>;
  async get(refs: AnyRef | readonly AnyRef[]): Promise<unknown> {
    return Array.isArray(refs)
      ? Promise.all((refs as readonly AnyRef[]).map((ref) => this.#valueOf(ref)))
      : this.#valueOf(refs as AnyRef);
  }

  async #valueOf(ref: AnyRef): Promise<unknown> {
    if (ref instanceof TaskRef) return ref;
    checkRef(ref, 'get()');
    return ref.store === this.#memory.name ? this.store.get(ref) : valueOfRef(ref);
  }

  /**
   * Waits until `numReturns` of the tasks have been settled, one way or the other; after `timeoutMs` for no more. Resolves
   * with those that are and those that are not, in the order given. Object refs count as settled.
   * Errors: ERR_NDSHM_OUT_OF_RANGE, the signal's reason.
   */
  async wait<R extends AnyRef>(refs: readonly R[], options?: PoolWaitOptions): Promise<{ ready: R[]; pending: R[] }> {
    if (!Array.isArray(refs)) throw wrongKind('an array of refs', 'refs', refs);
    const { numReturns = refs.length, ...how } = checkOptions(options, ['numReturns', ...waitKeys], 'wait()');
    integerIn(numReturns, 0, refs.length, 'numReturns');
    checkSignal(how.signal);
    checkTimeout(how.timeoutMs);
    for (const ref of refs as readonly unknown[]) checkRef(ref, 'wait()');
    const isReady = (ref: R) => !(ref instanceof TaskRef) || TaskRef.futureOf(ref).isSettled;
    const isEnough = () => refs.filter(isReady).length >= numReturns;
    if (!isEnough()) {
      const forget: (() => void)[] = [];
      try {
        await new Promise<void>((resolve, reject) => {
          const deadline = new Deadline(how, () => resolve(), reject);
          forget.push(() => deadline.clear());
          for (const ref of refs) {
            if (ref instanceof TaskRef) forget.push(TaskRef.futureOf(ref).whenSettled(() => isEnough() && resolve()));
          }
        });
      } finally {
        for (const each of forget) each();
      }
    }
    return { ready: refs.filter(isReady), pending: refs.filter((ref) => !isReady(ref)) };
  }

  /**
   * Makes nothing come of a task: its ref, and those of the tasks that need it, reject with Cancelled. If it runs, its
   * worker is killed and replaced; an actor's method runs to its end. False if it was settled already.
   */
  cancel(ref: TaskRef): boolean {
    if (!(ref instanceof TaskRef)) throw wrongKind('a TaskRef', 'cancel()', ref);
    const future = TaskRef.futureOf(ref);
    if (future.isSettled) return false;
    future.cancel(new Cancelled('The task was cancelled'));
    return true;
  }

  // ---- actors ----

  /**
   * Makes an object of the class, in a worker of its own, where it keeps its state. Its methods are called through what
   * this resolves with, one after the other in the order of the calls, each giving a ref to await. When its process dies, the
   * calls reject with WorkerLost, and so do all after it. `await using`, or the pool's end, ends it when its calls are done.
   * @example
   * const pool = new ndshm.Pool({ processes: 1 });
   * const counter = await pool.actor(class { n = 0; add(by) { return (this.n += by); } });
   * await counter.add(2);
   * console.log(await counter.add(3)); // 5
   * await pool.close();
   */
  async actor<A extends readonly unknown[], T>(
    Class: (new (...args: A) => T) | ModuleFunction,
    ...args: Refs<A>
  ): Promise<Actor<T>> {
    const known = await this.#known(Class, 'actor()');
    this.#check();
    const team = this.#makeTeam({ size: 1, initializer: undefined, maxTasks: null, replaces: false, mayKill: false });
    this.#others.add(team);
    void team.ended.then(() => this.#others.delete(team));
    const end = () => {
      team.close();
      return team.ended;
    };
    try {
      await this.#call(team, known, Flag.construct, args, noLimits).take();
    } catch (error) {
      await end();
      throw error;
    }
    let last: Future | undefined;
    const call = (method: string, methodArgs: unknown[]) => {
      last = this.#call(team, known, Flag.method, [method, ...methodArgs], noLimits, last?.submitted);
      return new TaskRef(last);
    };
    return actorProxy<T>({ call, end });
  }

  // ---- ending ----

  /**
   * Takes no more calls, and resolves when those under way are settled, the workers have ended and nothing of the pool is
   * left. An imap() goes as far as its items have been handed out, and then rejects with Cancelled. What results have given
   * stays. May be called again.
   */
  close(): Promise<void> {
    for (const team of this.#teams()) team.close();
    return this.#end();
  }

  /** close(), but at once: workers are killed, and calls that are not settled reject with Cancelled. */
  terminate(): Promise<void> {
    for (const team of this.#teams()) team.terminate('The pool was terminated');
    return this.#end();
  }

  /** Resolves when the pool has ended; closes it, if nobody has. */
  join(): Promise<void> {
    return this.#ended ?? this.close();
  }

  #end(): Promise<void> {
    this.#ended ??= this.#release();
    return this.#ended;
  }

  async #release(): Promise<void> {
    await Promise.all(this.#teams().map(({ ended }) => ended));
    this.#held.close();
    this.#memory.unlink();
    if (this.#hasKilled) gc(); // of an array that was its worker's alone
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const noLimits: Limits = { signal: undefined, timeoutMs: Number.POSITIVE_INFINITY, retries: 0 };

/** Wrong ones would only be noticed in the workers, or at the first call. */
function checkProcessOptions({ env, execArgv, storeCapacity }: PoolOptions): void {
  if (env !== undefined && (typeof env !== 'object' || env === null)) throw wrongKind('an object', 'env', env);
  if (execArgv !== undefined && !(Array.isArray(execArgv) && execArgv.every((each) => typeof each === 'string'))) {
    throw wrongKind('an array of strings', 'execArgv', execArgv);
  }
  if (storeCapacity !== undefined) byteCount(storeCapacity, 'storeCapacity');
}

function checkRef(ref: unknown, what: string): void {
  if (!(ref instanceof TaskRef) && !isObjectRef(ref)) throw wrongKind('a TaskRef or an object ref', what, ref);
}

function checkChunkSize(chunkSize: number | 'auto'): void {
  if (chunkSize !== 'auto') integerIn(chunkSize, 1, 2 ** 31 - 1, 'chunkSize');
}

function listOf(items: Iterable<unknown>, spread: boolean, what: string): readonly unknown[] {
  if (typeof items?.[Symbol.iterator] !== 'function') throw wrongKind('an iterable of items', what, items);
  const list = [...items]; // as they are now: the caller's own list may change its length meanwhile
  const wrong = spread ? list.findIndex((item) => !Array.isArray(item)) : -1;
  if (wrong >= 0) throw wrongKind('a list of arguments', `item ${wrong} of ${what}`, list[wrong]);
  return list;
}

function iteratorOf(items: Iterable<unknown> | AsyncIterable<unknown>, what: string): Source {
  if (Symbol.asyncIterator in Object(items)) return (items as AsyncIterable<unknown>)[Symbol.asyncIterator]();
  if (Symbol.iterator in Object(items)) return (items as Iterable<unknown>)[Symbol.iterator]();
  throw wrongKind('an iterable or async iterable of items', what, items);
}
