import { typeError } from '../../errors';
import { checkSignal } from '../../lock/deadline';
import { checkOptions } from '../../options';
import type { ModuleFunction } from '../../pool/functions';
import { type CallOptions, onAbort } from '../../pool/limits';
import { type ImapOptions, type MapOptions, Pool, type PoolOptions } from '../../pool/pool';
import { callerNow, onGone } from '../caller';
import { moduleName } from '../modules';

/** What of a pool's options cannot be used to run anything else in the manager's workers. */
export interface HostedPoolOptions
  extends Pick<PoolOptions, 'processes' | 'initArgs' | 'maxTasksPerChild' | 'chunkSize' | 'storeCapacity'> {
  readonly initializer?: ModuleFunction;
}
const poolKeys = ['processes', 'initializer', 'initArgs', 'maxTasksPerChild', 'chunkSize', 'storeCapacity'] as const;
const callKeys = ['signal', 'timeoutMs', 'retries'] as const;
const mapKeys = [...callKeys, 'chunkSize'] as const;

export type HostedMapOptions = Omit<MapOptions, 'onProgress'>;

/**
 * Worker processes of the manager's: a Pool. What runs in them are functions of the modules that the manager was started with,
 * named by `{ module, export }`; anything else is ERR_NDSHM_NOT_EXPOSED. A call ends with its caller's connection, as by its
 * signal. Errors of all calls: those of Pool.
 * @example
 * const manager = await ndshm.Manager.start({ modules: ['node:path'] });
 * const pool = await manager.pool({ processes: 2 });
 * console.log(await pool.map({ module: 'node:path', export: 'basename' }, ['/a/b', '/a/c'])); // [ 'b', 'c' ]
 * await manager.close();
 */
export class HostedPool {
  readonly #modules: ReadonlySet<string>;
  readonly #pool: Pool;

  /** `modules`: by their full names. Errors: ERR_NDSHM_NOT_EXPOSED for the initializer, and those of new Pool(). */
  constructor(modules: readonly string[], options?: HostedPoolOptions) {
    const { initializer, ...others } = checkOptions(options, poolKeys, 'pool()');
    this.#modules = new Set(modules);
    this.#pool = new Pool(initializer === undefined ? others : { ...others, initializer: this.#exposed(initializer) });
  }

  /** How many workers it has. */
  get processes(): number {
    return this.#pool.processes;
  }

  /** Resolves with the result of fn(...args): Pool.apply(). */
  async apply<R = unknown>(fn: ModuleFunction, args?: readonly unknown[], options?: CallOptions): Promise<R> {
    return this.#call(
      checkOptions(options, callKeys, 'apply()'),
      (how) => this.#pool.apply<readonly unknown[], R>(this.#exposed(fn), args, how) as Promise<R>,
    );
  }

  /** Resolves with the results of fn(item) for all items, in their order: Pool.map(). */
  async map<R = unknown>(fn: ModuleFunction, items: Iterable<unknown>, options?: HostedMapOptions): Promise<R[]> {
    return this.#call(
      checkOptions(options, mapKeys, 'map()'),
      (how) => this.#pool.map<unknown, R>(this.#exposed(fn), items, how) as Promise<R[]>,
    );
  }

  /** Resolves with the results of fn(...item) for all items, in their order: Pool.starmap(). */
  async starmap<R = unknown>(
    fn: ModuleFunction,
    items: Iterable<readonly unknown[]>,
    options?: HostedMapOptions,
  ): Promise<R[]> {
    return this.#call(
      checkOptions(options, mapKeys, 'starmap()'),
      (how) => this.#pool.starmap<readonly unknown[], R>(this.#exposed(fn), items, how) as Promise<R[]>,
    );
  }

  /** The results of fn(item) in the order of the items, each as soon as it is there: Pool.imap(). */
  imap<R = unknown>(
    fn: ModuleFunction,
    items: Iterable<unknown> | AsyncIterable<unknown>,
    options?: ImapOptions,
  ): AsyncIterableIterator<R> {
    return this.#pool.imap<unknown, R>(this.#exposed(fn), items, options) as AsyncIterableIterator<R>;
  }

  /** imap(), but in the order in which the results come. */
  imapUnordered<R = unknown>(
    fn: ModuleFunction,
    items: Iterable<unknown> | AsyncIterable<unknown>,
    options?: ImapOptions,
  ): AsyncIterableIterator<R> {
    return this.#pool.imapUnordered<unknown, R>(this.#exposed(fn), items, options) as AsyncIterableIterator<R>;
  }

  /** Takes no more calls, and resolves when those under way are settled and the workers have ended. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  /** close(), but at once: calls that are not settled reject with Cancelled. */
  async terminate(): Promise<void> {
    await this.#pool.terminate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
  }

  async #call<O extends CallOptions, R>(options: O, call: (options: O) => Promise<R>): Promise<R> {
    const either = new AbortController();
    const abort = (reason: unknown) => either.abort(reason);
    checkSignal(options.signal);
    const forget = [onGone(callerNow(), abort), onAbort(options.signal, abort)];
    try {
      return await call({ ...options, signal: either.signal });
    } finally {
      for (const each of forget) each();
    }
  }

  #exposed(fn: unknown): ModuleFunction {
    if (typeof fn === 'object' && fn !== null) {
      const { module, export: name = 'default' } = fn as Partial<ModuleFunction>;
      const full = typeof module === 'string' ? fullName(module) : undefined;
      // What every object inherits is nothing that the module exports.
      if (full !== undefined && this.#modules.has(full) && !(name in Object.prototype)) {
        return { module: full, export: name };
      }
    }
    throw typeError(
      'ERR_NDSHM_NOT_EXPOSED',
      'The pool of a manager runs functions given as { module, export } of the modules that the manager was started with, and no others',
    );
  }
}

/** Undefined if there is none: callers need not learn which files there are. */
function fullName(module: string): string | undefined {
  try {
    return moduleName(module);
  } catch {
    return undefined;
  }
}
