import { isDeepStrictEqual } from 'node:util';
import { rangeError, stateError, wrongKind } from '../errors';
import { type Exposure, exposureOfClass } from './exposure';
import { Hosted } from './hosted';

/** Makes objects of one type. */
export interface HostedType {
  readonly exposure: Exposure;
  make(args: unknown[]): object;
}

export interface HostedObjectInfo {
  readonly type: string;
  /** Of getOrCreate(); null for what goes with the last proxy. */
  readonly name: string | null;
  /** How many references other processes have. */
  readonly references: number;
}

export interface ManagerInfo {
  readonly pid: number;
  /** Random; another one after a restart. */
  readonly id: string;
  readonly connections: number;
  readonly types: readonly string[];
  readonly objects: readonly HostedObjectInfo[];
}

type AnyClass = new (...args: never[]) => object;

interface Named {
  readonly hosted: Hosted;
  readonly type: string;
}

/** The objects of a manager, and the types that it makes them of. What connections may call is in `rootMethods`. */
export class Objects {
  readonly #types = new Map<string, HostedType>();
  readonly #named = new Map<string, Named>();
  readonly #made = new WeakSet<Hosted>();
  readonly #about: () => Pick<ManagerInfo, 'pid' | 'id' | 'connections'>;

  constructor(about: () => Pick<ManagerInfo, 'pid' | 'id' | 'connections'>) {
    this.#about = about;
  }

  /** What a connection begins with. */
  root(): Hosted {
    return Hosted.host(this, 'Manager', exposureOfClass(Objects, rootMethods));
  }

  /** Errors: ERR_NDSHM_MISMATCH if another class has the name. */
  register(name: unknown, Class: unknown, exposed?: readonly string[]): void {
    if (typeof Class !== 'function' || typeof Class.prototype !== 'object')
      throw wrongKind('a class', 'register()', Class);
    const TheClass = Class as AnyClass;
    const make = (args: unknown[]) => new TheClass(...(args as never[]));
    this.add(checkText(name, 'the name of the type'), { exposure: exposureOfClass(TheClass, exposed), make });
  }

  add(name: string, type: HostedType): void {
    const known = this.#types.get(name);
    if (known !== undefined && !isDeepStrictEqual([...known.exposure.keys()], [...type.exposure.keys()])) {
      throw stateError('ERR_NDSHM_MISMATCH', `The manager has another type '${name}' already`);
    }
    this.#types.set(name, type);
  }

  // ---- what connections may call ----

  make(type: unknown, ...args: unknown[]): object {
    return this.#hosted(type, args).object;
  }

  getOrCreate(name: unknown, type: unknown, ...args: unknown[]): object {
    const key = checkText(name, 'the name of the object');
    const known = this.#named.get(key);
    if (known === undefined) {
      const hosted = this.#hosted(type, args);
      this.#named.set(key, { hosted, type: type as string });
      hosted.nameIt();
      return hosted.object;
    }
    if (known.type === type) return known.hosted.object;
    throw stateError('ERR_NDSHM_MISMATCH', `'${key}' is a ${known.type}, not a ${String(type).slice(0, 60)}`);
  }

  find(name: unknown): object {
    const known = this.#named.get(checkText(name, 'the name of the object'));
    if (known !== undefined) return known.hosted.object;
    throw stateError('ERR_NDSHM_NO_OBJECT', `The manager has no object '${String(name).slice(0, 60)}'`);
  }

  remove(name: unknown): boolean {
    const key = checkText(name, 'the name of the object');
    const known = this.#named.get(key);
    this.#named.delete(key);
    known?.hosted.unname();
    return known !== undefined;
  }

  info(): ManagerInfo {
    const names = new Map([...this.#named].map(([name, { hosted }]) => [hosted, name]));
    const objects = [...Hosted.all()]
      .filter((hosted) => this.#made.has(hosted))
      .map((hosted) => ({ type: hosted.type, name: names.get(hosted) ?? null, references: hosted.references }));
    return { ...this.#about(), types: [...this.#types.keys()], objects };
  }

  /** No object is found by its name any more. */
  clear(): void {
    for (const name of this.#named.keys()) this.remove(name);
  }

  #hosted(type: unknown, args: unknown[]): Hosted {
    const found = typeof type === 'string' ? this.#types.get(type) : undefined;
    if (found === undefined) {
      const types = [...this.#types.keys()].join(', ');
      throw stateError(
        'ERR_NDSHM_NO_OBJECT',
        `The manager has no type '${String(type).slice(0, 60)}'; register() it, or name its module. It has: ${types}`,
      );
    }
    const object = found.make(args);
    const hosted = Hosted.of(object) ?? Hosted.host(object, type as string, found.exposure, true);
    this.#made.add(hosted);
    return hosted;
  }
}

const rootMethods: readonly (keyof Objects)[] = ['make', 'getOrCreate', 'find', 'remove', 'info'];

const maxNameLength = 250;

function checkText(name: unknown, what: string): string {
  if (typeof name !== 'string') throw wrongKind('a string', what, name);
  if (name.length >= 1 && name.length <= maxNameLength) return name;
  throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `Expected 1 to ${maxNameLength} characters for ${what}`);
}
