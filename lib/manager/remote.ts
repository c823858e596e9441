import type { SharedArray } from '../array/shared-array';
import { stateError } from '../errors';

/** How an object of another process is reached. */
export interface Reach {
  /** The method of a function is ''. */
  call(method: string, args: unknown[]): Pending<unknown>;
  /** What the other side of this session calls the object; undefined where it is not of that side. */
  idIn(session: object): string | undefined;
  /** Tells the other process that it is no longer needed. */
  release(): void;
}

type AnyFunction = (...args: never[]) => unknown;

declare const reference: unique symbol;

/**
 * An object as other processes see it: each method gives a promise of what it gives there, and takes proxies and functions
 * of this process beside plain values; each getter is a method without arguments. `using`, or `proxy[Symbol.dispose]()`,
 * gives the object up; so does whoever forgets the proxy, at some time.
 */
export type Proxied<T> = {
  readonly [K in keyof T as K extends string ? K : never]: T[K] extends (...args: infer A) => infer R
    ? (...args: { [N in keyof A]: Passed<A[N]> }) => Pending<Received<Awaited<R>>>
    : () => Pending<Received<T[K]>>;
} & Disposable & { readonly [reference]?: true };

/** What may be given for a parameter. */
type Passed<T> = T extends AnyFunction
  ? (...args: Parameters<T>) => ReturnType<T> | Promise<Awaited<ReturnType<T>>>
  : T | Proxied<T>;

/** What arrives of a result: what has methods, and is nothing that can be copied, goes by reference. */
type Received<T> = T extends { readonly [reference]?: true } & Disposable
  ? T
  : T extends AsyncIterable<infer I>
    ? AsyncIterableIterator<I>
    : T extends AnyFunction
      ? (...args: Parameters<T>) => Promise<Awaited<ReturnType<T>>>
      : T extends Copied
        ? T
        : HasMethods<T> extends true
          ? Proxied<T>
          : T;

type Copied =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | symbol
  | readonly unknown[]
  | Date
  | RegExp
  | Error
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ArrayBuffer
  | ArrayBufferView
  | SharedArray;
type HasMethods<T> = true extends { [K in keyof T]: T[K] extends AnyFunction ? true : false }[keyof T] ? true : false;

/**
 * The promise of a call's result. If the result will be an object that goes by reference, its methods can be called at
 * once, without waiting for it: `await m.dict().set('a', 1)` is one round trip.
 */
export type Pending<T> = Promise<T> &
  ([T] extends [{ readonly [reference]?: true } & Disposable]
    ? Omit<T, keyof Promise<unknown> | typeof Symbol.dispose>
    : unknown);

const reaches = new WeakMap<object, Reach>();

/** How the object behind a proxy is reached; undefined of anything else. */
export const reachOf = (value: object): Reach | undefined => reaches.get(value);

/** What comes in the chain of prototypes before `own`: whatever name is not found there is a method that `call` is told of. */
export function methodsBefore(own: object, call: (receiver: object, name: string, args: unknown[]) => unknown): object {
  const methods = new Map<string, AnyFunction>();
  return new Proxy(Object.create(own) as object, {
    get(target, name, receiver) {
      if (typeof name !== 'string' || name in target || unreachable.has(name))
        return Reflect.get(target, name, receiver);
      let method = methods.get(name);
      if (method === undefined) {
        method = function (this: object, ...args: unknown[]) {
          return call(this, name, args);
        };
        methods.set(name, method);
      }
      return method;
    },
  });
}

/** Asked for by whoever wants to know whether something is a promise, or how to print it. */
const unreachable = new Set(['then', 'toJSON', 'asymmetricMatch', 'nodeType', '$$typeof']);

function reachFrom(value: object): Reach {
  const reach = PendingCall.reachOf(value) ?? reaches.get(value);
  if (reach !== undefined) return reach;
  throw stateError('ERR_NDSHM_STALE_PROXY', 'The proxy has been closed, or the method was called on something else');
}

const callOn = (proxy: object, name: string, args: unknown[]): unknown => reachFrom(proxy).call(name, args);

function close(value: object): void {
  const reach = reaches.get(value);
  if (reach === undefined) return;
  reaches.delete(value);
  collected.unregister(value);
  reach.release();
}

/** Takes the reach out of a proxy, which cannot be used any more, and does not release it. */
export function takeReach(proxy: object): Reach {
  const reach = reachFrom(proxy);
  reaches.delete(proxy);
  collected.unregister(proxy);
  return reach;
}

const collected = new FinalizationRegistry<Reach>((reach) => reach.release());

/** What proxies are instances of. It has no method with a name of its own: those are the object's. */
export class RemoteObject {
  readonly #type: string;

  private constructor(type: string) {
    this.#type = type;
  }

  /** What the other side calls its kind. */
  static typeOf(proxy: RemoteObject): string {
    return proxy.#type;
  }

  get [Symbol.toStringTag](): string {
    return `Proxied ${this.#type}`;
  }

  static make(reach: Reach, type: string): object {
    return register(new RemoteObject(type), reach);
  }

  [Symbol.dispose](): void {
    close(this);
  }
}
Object.setPrototypeOf(RemoteObject.prototype, methodsBefore(Object.prototype, callOn));

/** A proxy for a function. */
export function remoteFunction(reach: Reach): object {
  const fn = (...args: unknown[]): Promise<unknown> => reachFrom(fn).call('', args);
  Object.defineProperty(fn, Symbol.dispose, { value: () => close(fn) });
  return register(fn, reach);
}

function register<T extends object>(proxy: T, reach: Reach): T {
  reaches.set(proxy, reach);
  collected.register(proxy, reach, proxy);
  return proxy;
}

class PendingCall<T> extends Promise<T> {
  #piped: Reach | undefined;

  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  static of<T>(run: () => PromiseLike<T>, piped: Reach): Pending<T> {
    const pending = new PendingCall<T>((resolve, reject) => {
      run().then(resolve, reject);
    });
    pending.#piped = piped;
    return pending as unknown as Pending<T>;
  }

  static reachOf(value: object): Reach | undefined {
    if (!(#piped in value)) return undefined;
    (value as Promise<unknown>).catch(() => {}); // whoever calls on it is told
    return value.#piped;
  }
}
// `await` takes it for the promise that it is, instead of making one more; and then() is found before the object's methods.
const ownProperties: PropertyDescriptorMap = { constructor: { value: Promise } };
for (const name of ['then', 'catch', 'finally'] as const) ownProperties[name] = { value: Promise.prototype[name] };
Object.defineProperties(PendingCall.prototype as object, ownProperties);
Object.setPrototypeOf(PendingCall.prototype, methodsBefore(Promise.prototype, callOn));

/** How the object is reached that a call will give. */
export const pipedReachOf = (pending: object): Reach | undefined => PendingCall.reachOf(pending);

/** The promise of a call; what run() throws is its rejection. `piped`: how the object is reached that it will give. */
export const pendingCall = <T>(run: () => PromiseLike<T>, piped: Reach): Pending<T> => PendingCall.of(run, piped);

/** The result of a call that cannot be made yet. */
export function later(result: PromiseLike<unknown>): Pending<unknown> {
  const reach: Reach = {
    call: (method, args) => later(pending.then((object) => (reachOf(object as object) as Reach).call(method, args))),
    idIn: () => undefined,
    release: () => {},
  };
  const pending = pendingCall<unknown>(() => result, reach);
  return pending;
}
