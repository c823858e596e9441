import { randomBytes } from 'node:crypto';
import type { DType } from '../array/dtype';
import { stateError, typeError, wrongKind } from '../errors';
import { checkTimeout } from '../lock/deadline';
import { checkOptions } from '../options';
import { describe, type FunctionSpec, type TaskFunction } from '../pool/functions';
import type { Caller } from './caller';
import type { Connection } from './connection';
import type { TlsOptions } from './dial';
import type { HostProcess } from './host-process';
import type { ManagerLimits } from './limits';
import type { ManagerInfo } from './objects';
import { methodsBefore, type Pending, type Proxied } from './remote';
import type { Server, ServerOptions } from './server';
import type * as types from './types';

/** Classes by the names under which a manager has them. */
export type ManagerTypes = Record<string, new (...args: never[]) => object>;

/** For each class a method that makes an object of it in the manager. */
export type ManagerMakers<T extends ManagerTypes> = {
  readonly [K in keyof T]: (...args: ConstructorParameters<T[K]>) => Pending<Proxied<InstanceType<T[K]>>>;
};

interface CommonOptions {
  /**
   * The secret that both sides have: at least 16 bytes, or characters. A unix socket needs none: its mode lets in this user
   * alone.
   */
  readonly authKey?: string | Uint8Array;
  /** Certificates for TCP, in place of or beside the authKey. Both sides prove who they are. */
  readonly tls?: TlsOptions;
  /** What one side of a connection takes from the other. */
  readonly limits?: Partial<ManagerLimits>;
  /** How long the other side may take to prove itself, in milliseconds; default 10,000. */
  readonly timeoutMs?: number;
  /** false: bytes go by the socket alone, and arrays are copied, also within one host. */
  readonly sharedMemory?: boolean;
}

export interface ManagerServeOptions extends CommonOptions {
  /** Path of a unix socket, or 'tcp://host:port' (port 0 = any). Default: a path that nobody else can use. */
  readonly address?: string;
  /** Modules whose exported classes are registered, and whose functions the manager's pools may run. Paths or URLs. */
  readonly modules?: readonly (string | URL)[];
}

export interface ManagerHereOptions extends ManagerServeOptions {
  /** Told of connections that were refused, with the reason and the other side's address: for the log. Must not throw. */
  readonly onRefused?: (error: Error, remote: string) => void;
}

export interface ManagerStartOptions extends ManagerServeOptions {
  /** Added to the environment of the manager's process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Node's options for it; default: those of this process. */
  readonly execArgv?: readonly string[];
}

export interface ManagerConnectOptions extends CommonOptions {
  /** `manager.address`. */
  readonly address: string;
  /** How long calls wait for a manager that is gone to come back, in milliseconds; default 10,000. 0 = not at all. */
  readonly reconnectMs?: number;
}

export interface RegisterOptions {
  /** The names that proxies may call, in place of all public methods and getters. */
  readonly exposed?: readonly string[];
}

const commonKeys = ['authKey', 'tls', 'limits', 'timeoutMs', 'sharedMemory'] as const;
const serveKeys = [...commonKeys, 'address', 'modules'] as const;

const defaultTimeoutMs = 10_000;

/** What only a process that uses managers has to load. */
const parts = () => require('./parts') as typeof import('./parts');

/** What stands behind a Manager here. */
interface Behind {
  readonly connection: Connection;
  readonly address: string;
  readonly authKey: Buffer | undefined;
  readonly server?: Server;
  readonly host?: HostProcess;
}

const made = Symbol('made');

/**
 * Objects of any kind in one process, for use by others, on this host or elsewhere: managers of Python's multiprocessing.
 * The object stays where it is; whoever is connected calls its methods through a proxy, each call a promise.
 *
 * What goes across is copied as by structured clone, but functions, async iterators, AbortSignals, and objects that the
 * manager has made go by reference. A named SharedArray goes by its handle between processes of one host, and by copy to
 * another. Nothing is evaluated: only the types of the manager can be made, and only their public methods called.
 *
 * Of a client that ends, however it ends, nothing stays: its locks are released, its places in queues given up, and objects
 * that only it had are gone.
 * @example
 * const manager = await ndshm.Manager.start();
 * const prices = await manager.getOrCreate('prices', 'dict');
 * await prices.set('apple', 1.2);
 * const other = await ndshm.Manager.connect({ address: manager.address }); // in any process
 * const same = await other.getOrCreate('prices', 'dict');
 * console.log(await same.get('apple')); // 1.2
 * other.close();
 * await manager.close();
 */
export class Manager implements AsyncDisposable {
  readonly #behind: Behind;
  readonly #events: EventTarget;

  /** @internal Use start(), serve() or connect(). */
  constructor(token: typeof made, behind: Behind, events: EventTarget) {
    if (token !== made) throw typeError('ERR_NDSHM_INVALID_ARGUMENT', 'Use Manager.start(), .serve() or .connect()');
    this.#behind = behind;
    this.#events = events;
  }

  /**
   * Starts a manager in a process of its own, which ends with this one, and connects to it. Does not keep this process
   * running. Errors: EADDRINUSE and other codes of listen(2), ERR_NDSHM_INVALID_ARGUMENT, ERR_NDSHM_FUNCTION for a module
   * that is not found, ERR_NDSHM_UNSUPPORTED for TCP with an authKey on a runtime without TLS-PSK.
   */
  static async start<T extends ManagerTypes = Record<never, never>>(
    options?: ManagerStartOptions,
  ): Promise<Manager & ManagerMakers<T>> {
    const given = checkOptions(options, [...serveKeys, 'env', 'execArgv'], 'Manager.start()');
    const { HostProcess, addressText } = parts();
    const { prepared, modules } = prepare(given);
    const host = new HostProcess(given.env, given.execArgv);
    try {
      const address = await host.start({ ...prepared, address: addressText(prepared.address), modules });
      const { authKey } = prepared;
      const { connection, events } = await open(() => parts().openSession({ ...prepared, address }), 0);
      return new Manager(made, { connection, address, authKey, host }, events) as Manager & ManagerMakers<T>;
    } catch (error) {
      host.kill();
      throw error;
    }
  }

  /**
   * Makes this process a manager, until close(). It keeps the process running. Errors: as start().
   * @example
   * class Ledger { total = 0; add(n) { return (this.total += n); } }
   * const manager = await ndshm.Manager.serve();
   * const makeLedger = await manager.register('Ledger', Ledger);
   * const ledger = await makeLedger();
   * console.log(await ledger.add(2)); // 2
   * await manager.close();
   */
  static async serve<T extends ManagerTypes = Record<never, never>>(
    options?: ManagerHereOptions,
  ): Promise<Manager & ManagerMakers<T>> {
    const given = checkOptions(options, [...serveKeys, 'onRefused'], 'Manager.serve()');
    const { Server, addBuiltins, registerModule } = parts();
    const { prepared, modules } = prepare(given);
    const server = await Server.start({
      ...prepared,
      ...(given.onRefused === undefined ? {} : { onRefused: given.onRefused }),
      prepare: async (objects) => {
        addBuiltins(objects, modules);
        for (const module of modules) await registerModule(module, objects);
      },
    });
    const { connection, events } = await open(async () => server.connect(), 0);
    const behind = { connection, address: server.address, authKey: prepared.authKey, server };
    return new Manager(made, behind, events) as Manager & ManagerMakers<T>;
  }

  /**
   * Connects to a manager. A connection keeps the process running only while a call is under way, or the manager has
   * functions of this process. Errors: ENOENT, ECONNREFUSED and the like where there is no manager, ERR_NDSHM_AUTH,
   * ERR_NDSHM_PROTOCOL if it is something else, ERR_NDSHM_TIMEOUT, ERR_NDSHM_UNSUPPORTED as start().
   */
  static async connect<T extends ManagerTypes = Record<never, never>>(
    options: ManagerConnectOptions,
  ): Promise<Manager & ManagerMakers<T>> {
    const given = checkOptions(options, [...commonKeys, 'address', 'reconnectMs'], 'Manager.connect()');
    const { addressText, openSession } = parts();
    if (given.address === undefined) throw wrongKind('an address', 'Manager.connect()', given.address);
    const prepared = common(given, given.address);
    const address = addressText(prepared.address);
    const reconnectMs = checkTimeout(given.reconnectMs ?? defaultTimeoutMs);
    const { connection, events } = await open(() => openSession({ ...prepared, address }), reconnectMs);
    return new Manager(made, { connection, address, authKey: prepared.authKey }, events) as Manager & ManagerMakers<T>;
  }

  /**
   * Marks an object so that it goes by reference wherever it is passed from now on: the other side is given a proxy for it.
   * Functions always go so. Returns the object.
   */
  static proxy<O extends object>(object: O, options?: RegisterOptions): O {
    const { exposed } = checkOptions(options, ['exposed'], 'Manager.proxy()');
    const isObject = typeof object === 'object' && object !== null && !Array.isArray(object);
    if (!isObject) throw wrongKind('an object that is no list', 'Manager.proxy()', object);
    parts().markByReference(object, exposed);
    return object;
  }

  /**
   * Whose call runs: for methods of registered classes, until their first await. `signal` aborts when the caller's
   * connection has ended, so that what it holds can be given back. Errors: none; outside of a call it is this process.
   */
  static currentCaller(): Caller {
    return parts().callerNow();
  }

  /** Where other processes connect. */
  get address(): string {
    return this.#behind.address;
  }
  /** The key that they need, if any: what was given, or was made for a TCP address without one. */
  get authKey(): Uint8Array | undefined {
    return this.#behind.authKey;
  }
  /** Calls back each time the manager was lost and has been found again; returns how to stop that. */
  onReconnect(callback: () => void): () => void {
    this.#events.addEventListener('reconnect', callback);
    return () => this.#events.removeEventListener('reconnect', callback);
  }

  // ---- objects ----

  /**
   * Makes an object of a type by its name. It lives as long as anybody has a proxy for it, or another object of the manager
   * has it. Errors: ERR_NDSHM_NO_OBJECT for an unknown type; what its constructor throws.
   */
  make<O = Record<string, (...args: unknown[]) => unknown>>(type: string, ...args: unknown[]): Pending<Proxied<O>> {
    return this.#behind.connection.call('make', [type, ...args]) as Pending<Proxied<O>>;
  }

  /**
   * The object of this name, made with these arguments if there is none yet. It stays until remove(), or the manager's end;
   * its proxies find it, or make it anew, after the manager has been started again.
   * Errors: ERR_NDSHM_MISMATCH if the name is of another type; as make().
   */
  getOrCreate<K extends types.DictKey = types.DictKey, V = unknown>(
    name: string,
    type: 'dict',
    entries?: types.DictEntries<K, V>,
  ): Pending<Proxied<types.Dict<K, V>>>;
  getOrCreate<K extends keyof types.BuiltinTypes>(
    name: string,
    type: K,
    ...args: ConstructorParameters<types.BuiltinTypes[K]>
  ): Pending<Proxied<InstanceType<types.BuiltinTypes[K]>>>;
  getOrCreate<O = Record<string, (...args: unknown[]) => unknown>>(
    name: string,
    type: string,
    ...args: unknown[]
  ): Pending<Proxied<O>>;
  getOrCreate(name: string, type: string, ...args: unknown[]): Pending<unknown> {
    return this.#behind.connection.named('getOrCreate', [name, type, ...args]);
  }

  /** The object of this name. Errors: ERR_NDSHM_NO_OBJECT. */
  find<O = Record<string, (...args: unknown[]) => unknown>>(name: string): Pending<Proxied<O>> {
    return this.#behind.connection.named('find', [name]) as Pending<Proxied<O>>;
  }

  /** Takes a name away; the object lives on for those who have it. Whether there was one. */
  remove(name: string): Promise<boolean> {
    return this.#behind.connection.call('remove', [name]) as Promise<boolean>;
  }

  /** What the manager has: for people who look for leaks. */
  info(): Promise<ManagerInfo> {
    return this.#behind.connection.call('info', []) as Promise<ManagerInfo>;
  }

  /**
   * Adds a class to the types of the manager; gives a function that makes objects of it there, as `manager.Name(…)` does
   * from now on in every client. Where the manager is a process of its own, the class is found as a pool's functions are: in
   * a module, or by its source if it needs nothing from outside. For whoever has started the manager alone.
   * Errors: ERR_NDSHM_FUNCTION, ERR_NDSHM_MISMATCH if the name is taken, ERR_NDSHM_UNSUPPORTED for clients.
   */
  async register<C extends new (...args: never[]) => object>(
    name: string,
    Class: C,
    options?: RegisterOptions,
  ): Promise<(...args: ConstructorParameters<C>) => Pending<Proxied<InstanceType<C>>>> {
    const { exposed } = checkOptions(options, ['exposed'], 'register()');
    const { server, host } = this.#behind;
    if (typeof Class !== 'function') throw wrongKind('a class', 'register()', Class);
    if (server !== undefined) server.objects.register(name, Class, exposed);
    else if (host !== undefined) await host.register(name, await specOf(Class), exposed);
    else throw typeError('ERR_NDSHM_UNSUPPORTED', 'Only the process that has started the manager can register a class');
    return (...args) => this.make(name, ...args) as unknown as Pending<Proxied<InstanceType<C>>>;
  }

  // ---- built-in types ----

  /** A Map with the methods of Python's dict that are of use between processes. Not named: see getOrCreate(). */
  dict<K extends types.DictKey, V>(entries?: types.DictEntries<K, V>): Pending<Proxied<types.Dict<K, V>>> {
    return this.make('dict', ...given(entries));
  }
  /** A list, with the methods of Array. */
  list<V>(items?: readonly V[]): Pending<Proxied<types.List<V>>> {
    return this.make('list', ...given(items));
  }
  /** Values by names. */
  namespace(values?: Record<string, unknown>): Pending<Proxied<types.Namespace>> {
    return this.make('namespace', ...given(values));
  }
  /** A queue whose get() and put() wait; taskDone() and join() as Python's JoinableQueue. */
  queue<V>(options?: types.HostedQueueOptions): Pending<Proxied<types.HostedQueue<V>>> {
    return this.make('queue', ...given(options));
  }
  /** Something that has happened or not. */
  event(): Pending<Proxied<types.HostedEvent>> {
    return this.make('event');
  }
  /** Held by one connection at a time, and by none that has ended. */
  lock(): Pending<Proxied<types.HostedLock>> {
    return this.make('lock');
  }
  /** A lock that its holder may take again. */
  rlock(): Pending<Proxied<types.HostedRLock>> {
    return this.make('rlock');
  }
  /** So many permits; those of an ended connection return. */
  semaphore(options?: types.HostedSemaphoreOptions): Pending<Proxied<types.HostedSemaphore>> {
    return this.make('semaphore', ...given(options));
  }
  /** A condition variable with its lock. */
  condition(): Pending<Proxied<types.HostedCondition>> {
    return this.make('condition');
  }
  /** Where so many parties wait for each other. */
  barrier(options: types.HostedBarrierOptions): Pending<Proxied<types.HostedBarrier>> {
    return this.make('barrier', options);
  }
  /** One value of any kind. */
  value<V>(initial?: V): Pending<Proxied<types.HostedValue<V>>> {
    return this.make('value', ...given(initial));
  }
  /** A typed array in the manager's memory. For arrays in shared memory: ndshm.create(). */
  array(dtype: DType, lengthOrItems: number | readonly unknown[]): Pending<Proxied<types.HostedArray>> {
    return this.make('array', dtype, lengthOrItems);
  }
  /** A pool of worker processes of the manager, which runs functions of the manager's `modules`. */
  pool(options?: types.HostedPoolOptions): Pending<Proxied<types.HostedPool>> {
    return this.make('pool', ...given(options));
  }

  // ---- ending ----

  /**
   * Ends the connection: proxies fail from now on, and what this process had of the manager is given up. Where start() or
   * serve() has made the manager, it ends as well. Resolves when that is done; never fails.
   */
  async close(): Promise<void> {
    const { connection, server, host } = this.#behind;
    connection.close(stateError('ERR_NDSHM_CLOSED', 'The connection to the manager has been closed'));
    await server?.close();
    await host?.close(defaultTimeoutMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

// `manager.Ledger(…)` makes an object of a registered type.
Object.setPrototypeOf(
  Manager.prototype,
  methodsBefore(Object.prototype, (manager, type, args) => (manager as Manager).make(type, ...args)),
);

const given = (option: unknown): unknown[] => (option === undefined ? [] : [option]);

type Prepared = Omit<ServerOptions, 'prepare'>;

function prepare(options: ManagerServeOptions): { prepared: Prepared; modules: string[] } {
  const { privateAddress, moduleName, addressText } = parts();
  const { modules = [], address } = options;
  if (!Array.isArray(modules)) throw wrongKind('a list of modules', 'modules', modules);
  const prepared = common(options, address ?? addressText(privateAddress()));
  const needsKey = prepared.address.kind === 'tcp' && prepared.authKey === undefined && prepared.tls === undefined;
  return {
    prepared: needsKey ? { ...prepared, authKey: randomBytes(32) } : prepared,
    modules: modules.map((module: string | URL) => moduleName(module)),
  };
}

function common(options: CommonOptions, address: string): Prepared {
  const { parseAddress, checkAuthKey, checkLimits } = parts();
  const { authKey, tls, limits, timeoutMs = defaultTimeoutMs, sharedMemory = true } = options;
  if (typeof sharedMemory !== 'boolean') throw wrongKind('true or false', 'sharedMemory', sharedMemory);
  return {
    address: parseAddress(address),
    authKey: authKey === undefined ? undefined : checkAuthKey(authKey),
    tls,
    limits: checkLimits(limits),
    timeoutMs: checkTimeout(timeoutMs),
    sharedMemory,
  };
}

async function open(
  connect: Parameters<typeof Connection.open>[0],
  reconnectMs: number,
): Promise<{ connection: Connection; events: EventTarget }> {
  const events = new EventTarget();
  const tell = () => events.dispatchEvent(new Event('reconnect'));
  return { connection: await parts().Connection.open(connect, reconnectMs, tell), events };
}

async function specOf(Class: unknown): Promise<FunctionSpec> {
  return describe(Class as TaskFunction, 'register()');
}
