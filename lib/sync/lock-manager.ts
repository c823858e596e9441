import { closedError, rangeError, stateError, wrongKind } from '../errors';
import type { PeerId } from '../lock/changes';
import { booleanOption, checkName, checkOptions } from '../options';
import {
  capacity,
  keyOf,
  type LockKey,
  type LockMode,
  LockTable,
  lockTableSpec,
  longestName,
  type Obstacle,
  type Place,
} from './lock-table';
import { Blocked, Monitor } from './monitor';
import { type NamedOptions, namedKeys } from './named-state';

export type { LockMode };

/** What a callback is given. It stands for the lock while the callback runs, and has no methods. */
export interface Lock {
  readonly name: string;
  readonly mode: LockMode;
}

export interface LockOptions {
  /** 'exclusive' (default), or 'shared' with other shared locks of the name. */
  readonly mode?: LockMode;
  /** Call back with null, rather than wait, where the lock is not to be had at once. Default false. */
  readonly ifAvailable?: boolean;
  /** Take the lock from whoever holds it, before all who wait. Default false. */
  readonly steal?: boolean;
  /** Takes the request back while it waits; once the lock is granted it is ignored. */
  readonly signal?: AbortSignal | undefined;
}

/** A lock that is held, or asked for. */
export interface LockInfo {
  readonly name: string;
  readonly mode: LockMode;
  /** The same for all requests of one manager in one thread; nobody else's. */
  readonly clientId: string;
  /** Its process; meaningless to a process in another pid namespace. */
  readonly pid: number;
}

export interface LockManagerSnapshot {
  readonly held: LockInfo[];
  readonly pending: LockInfo[];
}

interface Request {
  readonly name: string;
  readonly key: LockKey;
  readonly mode: LockMode;
  readonly ifAvailable: boolean;
  readonly steal: boolean;
  readonly signal: AbortSignal | undefined;
}

type Callback<T> = (lock: Lock | null) => T | PromiseLike<T>;

/** A lock that this manager holds, and how to tell its owner that it does so no more. */
interface Holding {
  readonly place: Place;
  readonly lose: (reason: unknown) => void;
}

interface Opened {
  readonly monitor: Monitor;
  readonly table: LockTable;
}

/**
 * The locks of the Web Locks API, shared by all processes that use the same segment name. `ndshm.locks` is the one for
 * all processes of this user. The segment is made, or opened, at the first use; its last process takes it away.
 * At most 1024 requests, held and pending, at a time. Source: https://w3c.github.io/web-locks/; beyond it, a killed
 * process's locks are granted to the next at once.
 * @example
 * const manager = new ndshm.LockManager('jobs');
 * await manager.request('nightly', { mode: 'shared' }, async (lock) => {
 *   console.log(lock.name, (await manager.query()).held.length); // nightly 1
 * });
 * manager.close();
 */
export class LockManager {
  readonly #options: NamedOptions;
  #opened: Opened | undefined;
  #closed = false;
  readonly #holdings = new Set<Holding>();
  #isWatching = false;

  /** The name is that of a segment. Does not open it yet. Errors: ERR_NDSHM_INVALID_NAME. */
  constructor(
    readonly name: string,
    options?: NamedOptions,
  ) {
    checkName(name);
    const { ephemeral = true, allowForeignOwner = false } = checkOptions(options, namedKeys, 'LockManager');
    this.#options = { ephemeral, allowForeignOwner };
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Waits for the lock of this name, calls back with it, and releases it when what the callback returned has settled.
   * Resolves or rejects as that did. Never blocks; a request that waits keeps the process running.
   * A name is any string of at most 255 UTF-16 units that does not start with '-'. Requests of a name are granted in the
   * order in which they were made, whichever process made them.
   *
   * Rejects with a DOMException: AbortError (another request took the lock with `steal`; the callback is then still
   * running), NotSupportedError (a name with '-' in front, `steal` with `ifAvailable`, with `mode: 'shared'` or with
   * `signal`, `ifAvailable` with `signal`); with the signal's reason; or with an error: ERR_NDSHM_INVALID_ARGUMENT (a
   * TypeError), ERR_NDSHM_OUT_OF_RANGE (the name is too long), ERR_NDSHM_FULL, ERR_NDSHM_CLOSED (close() gave the lock
   * up), ERR_NDSHM_FOREIGN_OWNER, ERR_NDSHM_MISMATCH (the segment is none of locks).
   * Source: LockManager.request() of the Web Locks API. Stricter than there: a name must be a string, an option of the
   * right type, and no option unknown.
   * @example
   * const total = await ndshm.locks.request('accounts', async (lock) => {
   *   console.log(lock.name, lock.mode); // accounts exclusive
   *   return 3;
   * });
   * console.log(total); // 3
   */
  request<T>(name: string, callback: (lock: Lock) => T | PromiseLike<T>): Promise<T>;
  request<T>(
    name: string,
    options: LockOptions & { readonly ifAvailable?: false },
    callback: (lock: Lock) => T | PromiseLike<T>,
  ): Promise<T>;
  request<T>(name: string, options: LockOptions, callback: (lock: Lock | null) => T | PromiseLike<T>): Promise<T>;
  async request(name: unknown, ...rest: unknown[]): Promise<unknown> {
    const [options, callback] = rest.length < 2 ? [undefined, rest[0]] : rest;
    const request = checkRequest(name, options);
    if (typeof callback !== 'function') throw wrongKind('a function', 'callback', callback);
    checkCombination(request);
    request.signal?.throwIfAborted();
    const place = await this.#acquire(request);
    if (place === null) return (callback as Callback<unknown>)(null);
    if (request.signal?.aborted) {
      await this.#release(request.key, place);
      throw request.signal.reason;
    }
    return this.#hold(request, place, callback as Callback<unknown>);
  }

  /**
   * Who holds and who waits for which locks now, in the order of their requests; of this manager's processes all.
   * Locks of the dead are not listed. Does not block. Errors: as of request().
   * Source: LockManager.query() of the Web Locks API; `pid` is an addition.
   * @example
   * await ndshm.locks.request('accounts', async () => {
   *   const { held, pending } = await ndshm.locks.query();
   *   console.log(held[0].pid === process.pid, pending.length); // true 0
   * });
   */
  async query(): Promise<LockManagerSnapshot> {
    const { monitor, table } = this.#open();
    const requests = await monitor.transact(() => table.list());
    const inState = (wanted: 'held' | 'pending') =>
      requests
        .filter(({ state }) => state === wanted)
        .map(({ name, mode, peer, pid }): LockInfo => ({ name, mode, clientId: clientId(pid, peer), pid }));
    return { held: inState('held'), pending: inState('pending') };
  }

  /**
   * Gives up all locks of this manager, and its requests. What waits rejects with ERR_NDSHM_CLOSED; so do the promises
   * of held locks, whose callbacks may be running still. May be called again.
   */
  close(): void {
    this.#closed = true;
    this.#opened?.monitor.close();
  }

  /** Takes the segment's name away; managers that have it open keep it. Errors: ENOENT, ERR_NDSHM_STALE_HANDLE. */
  unlink(): void {
    this.#open().monitor.unlink();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(): Opened {
    if (this.#closed) throw closedError(`'${this.name}'`);
    if (this.#opened === undefined) {
      const monitor = new Monitor(this.name, lockTableSpec, this.#options);
      this.#opened = { monitor, table: new LockTable(monitor) };
    }
    return this.#opened;
  }

  /** The place of a held lock; null = not available. */
  async #acquire({ key, mode, ifAvailable, steal, signal }: Request): Promise<Place | null> {
    const { monitor, table } = this.#open();
    let place: Place | null | undefined;
    let entered = false;
    let obstacles: readonly Obstacle[] = [];
    const enter = () => {
      entered = true;
      if (steal) return table.steal(key);
      return ifAvailable ? table.requestIfAvailable(key, mode) : table.request(key, mode);
    };
    const step = () => {
      const before = table.changes;
      if (!entered) place = enter();
      if (place === undefined || place === null || table.isHeld(place)) return place;
      if (obstacles.length === 0 || !table.stand(obstacles)) {
        table.advance(key);
        if (table.isHeld(place)) return place;
        obstacles = table.obstaclesOf(key, place);
      }
      return new Blocked(
        obstacles.map(({ peer }) => peer),
        table.changes !== before,
      );
    };
    const giveUp = () => {
      if (place) table.remove(key, place);
    };
    const got = await monitor.transact(step, { signal }, giveUp);
    if (got === undefined) throw fullError(this.name); // not in the step: it has buried some, and others are to be told
    return got;
  }

  /** Settles as the callback does, once the lock is released; or at once if the lock is lost. */
  #hold({ key, name, mode }: Request, place: Place, callback: Callback<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const holding = { place, lose: reject };
      this.#holdings.add(holding);
      this.#watch();
      const run = async () => {
        try {
          return await callback(Object.freeze({ name, mode }));
        } finally {
          this.#holdings.delete(holding);
          await this.#release(key, place);
        }
      };
      run().then(resolve, reject);
    });
  }

  async #release(key: LockKey, place: Place): Promise<void> {
    const { monitor, table } = this.#open();
    if (!(await monitor.transact(() => table.remove(key, place)))) throw stolenError();
  }

  /** Notices thefts as long as there is something to steal. It does not keep the process running. */
  #watch(): void {
    const { monitor, table } = this.#open();
    if (this.#isWatching) {
      monitor.changes.look(); // the newest may have been stolen before it was watched
      return;
    }
    this.#isWatching = true;
    const isOver = () => {
      for (const holding of this.#holdings) {
        if (table.isHeld(holding.place)) continue;
        this.#holdings.delete(holding);
        holding.lose(stolenError());
      }
      if (this.#holdings.size > 0) return undefined;
      this.#isWatching = false;
      return true;
    };
    monitor.changes.until(isOver, { unref: true }).catch((error: unknown) => this.#loseAll(error));
  }

  #loseAll(reason: unknown): void {
    for (const { lose } of this.#holdings) lose(reason);
    this.#holdings.clear();
  }
}

function checkRequest(name: unknown, options: unknown): Request {
  if (typeof name !== 'string') throw wrongKind('a string', 'the name of a lock', name);
  if (name.length > longestName) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Expected at most ${longestName} UTF-16 units for the name of a lock but received ${name.length}`,
    );
  }
  const known = ['mode', 'ifAvailable', 'steal', 'signal'] as const;
  const {
    mode = 'exclusive',
    ifAvailable,
    steal,
    signal,
  } = checkOptions((options ?? {}) as LockOptions, known, 'request()');
  if (mode !== 'exclusive' && mode !== 'shared') throw wrongKind("'exclusive' or 'shared'", 'mode', mode);
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw wrongKind('an AbortSignal', 'signal', signal);
  return {
    name,
    key: keyOf(name),
    mode,
    ifAvailable: booleanOption(ifAvailable, 'ifAvailable'),
    steal: booleanOption(steal, 'steal'),
    signal,
  };
}

/** What the specification forbids, in its order. */
function checkCombination({ name, mode, ifAvailable, steal, signal }: Request): void {
  if (name.startsWith('-')) throw notSupported("The names of locks that start with '-' are reserved");
  if (steal && ifAvailable) throw notSupported('steal and ifAvailable exclude each other');
  if (steal && mode !== 'exclusive') throw notSupported("steal takes locks of mode 'exclusive' only");
  if (signal !== undefined && steal) throw notSupported('steal does not wait: signal would have no effect');
  if (signal !== undefined && ifAvailable) throw notSupported('ifAvailable does not wait: signal would have no effect');
}

const notSupported = (message: string): DOMException => new DOMException(message, 'NotSupportedError');
const stolenError = (): DOMException =>
  new DOMException("Another request took the lock with the option 'steal'", 'AbortError');
const fullError = (name: string): Error =>
  stateError('ERR_NDSHM_FULL', `'${name}' has room for ${capacity} requests, and as many are there`);

const clientId = (pid: number, { slot, generation }: PeerId): string => `${pid}-${slot}-${generation >>> 0}`;

/**
 * The locks that all processes of this user share, as `navigator.locks` is that of all pages of an origin: a LockManager
 * of the segment `ndshm-locks-<user id>`.
 * @example
 * await ndshm.locks.request('printer', { ifAvailable: true }, (lock) => {
 *   console.log(lock === null ? 'busy' : 'ours'); // ours
 * });
 */
export const locks = new LockManager(`ndshm-locks-${process.geteuid?.() ?? 0}`);
