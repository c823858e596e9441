import { EventEmitter } from 'node:events';
import { Readable, Stream, Writable } from 'node:stream';
import { typeError, wrongKind } from '../errors';
import { reachOf } from './remote';

type AnyFunction = (...args: unknown[]) => unknown;

type Call = (object: object, args: unknown[]) => unknown;

/** What proxies may reach of an object: names, and how each of them is called. */
export interface Exposure {
  get(name: string): Call | undefined;
  keys(): Iterable<string>;
}

/** Of classes that are not the user's: of what extends them, their methods are internals. */
const foreign = new Set<object>(
  [
    ...Object.getOwnPropertyNames(globalThis).flatMap((name) => {
      const { value } = Object.getOwnPropertyDescriptor(globalThis, name) ?? {};
      return typeof value === 'function' ? [value as { prototype?: unknown }] : [];
    }),
    EventEmitter,
    Stream,
    Readable,
    Writable,
    Object.getPrototypeOf(Int8Array) as { prototype?: unknown },
    Object.getPrototypeOf(async () => {}).constructor as { prototype?: unknown },
  ].flatMap(({ prototype }) => (typeof prototype === 'object' && prototype !== null ? [prototype] : [])),
);

const isPublic = (name: string): boolean => !name.startsWith('_') && !(name in Object.prototype) && name !== 'then';

/**
 * The public methods and getters of a class: its own and those that it inherits, down to the first class that belongs to the
 * runtime; none that begins with an underscore, none of Object. `exposed`: these names alone, which may also be inherited
 * from the runtime. A getter is called like a method without arguments. Errors: ERR_NDSHM_INVALID_ARGUMENT for a name that
 * the class does not have.
 */
export function exposureOfClass(Class: { readonly prototype: object }, exposed?: readonly string[]): Exposure {
  if (exposed !== undefined) return exposureOfNames(Class.prototype, exposed);
  let known = byPrototype.get(Class.prototype);
  if (known === undefined) {
    known = new Map<string, Call>(publicNames(Class.prototype).flatMap((name) => entryOf(Class.prototype, name)));
    byPrototype.set(Class.prototype, known);
  }
  return known;
}

const byPrototype = new WeakMap<object, Exposure>();

/** Of any object: a function can be called, a plain object has its own functions as methods, others those of their class. */
export function exposureOf(object: object): Exposure {
  if (typeof object === 'function') return callable;
  const prototype = Object.getPrototypeOf(object) as object | null;
  if (prototype !== null && prototype !== Object.prototype) return exposureOfClass({ prototype });
  const names = Object.keys(object).filter((name) => isPublic(name) && typeof methodOf(object, name) === 'function');
  return new Map(names.flatMap((name) => entryOf(object, name)));
}

/** Functions have one nameless method. */
const callable: Exposure = new Map([['', (fn, args) => (fn as AnyFunction)(...args)]]);

/** Of proxies: whether there is such a method is for the object behind them to say. */
export const anyMethod: Exposure = {
  get: (name) => (proxy, args) => reachOf(proxy)?.call(name, args),
  keys: () => [],
};

/** Of a class's prototype, or an object, these names. */
export function exposureOfNames(prototype: object, names: unknown): Exposure {
  if (!Array.isArray(names)) throw wrongKind('a list of method names', 'exposed', names);
  return new Map(
    names.flatMap((name: unknown) => {
      if (typeof name !== 'string') throw wrongKind('a method name', 'exposed', name);
      const entry = isPublic(name) ? entryOf(prototype, name) : [];
      if (entry.length > 0) return entry;
      throw typeError('ERR_NDSHM_INVALID_ARGUMENT', `The class has no public method '${name.slice(0, 60)}' to expose`);
    }),
  );
}

function publicNames(prototype: object): string[] {
  const names = new Set<string>();
  for (
    let each: object | null = prototype;
    each !== null && !foreign.has(each);
    each = Object.getPrototypeOf(each) as object | null
  ) {
    for (const name of Object.getOwnPropertyNames(each)) if (isPublic(name)) names.add(name);
  }
  return [...names];
}

/** Looked up anew at each call, as any call of a method is: a class may be changed. */
function entryOf(prototype: object, name: string): [string, Call][] {
  const found = describe(prototype, name);
  if (typeof found?.value === 'function') {
    return [[name, (object, args) => (Reflect.get(object, name) as AnyFunction).apply(object, args)]];
  }
  return found?.get === undefined ? [] : [[name, (object) => Reflect.get(object, name)]];
}

function describe(prototype: object, name: string): PropertyDescriptor | undefined {
  for (let each: object | null = prototype; each !== null; each = Object.getPrototypeOf(each) as object | null) {
    const found = Object.getOwnPropertyDescriptor(each, name);
    if (found !== undefined) return found;
  }
  return undefined;
}

const methodOf = (object: object, name: string): unknown => Object.getOwnPropertyDescriptor(object, name)?.value;
