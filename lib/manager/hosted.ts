import { randomBytes } from 'node:crypto';
import { types } from 'node:util';
import { stateError } from '../errors';
import { type Exposure, exposureOf, exposureOfNames } from './exposure';

/**
 * An object of this process that other processes call. Its id cannot be guessed, so whoever says it has been given the
 * object. It is found by it as long as anybody has a reference, or it has a name.
 */
export class Hosted {
  readonly id = randomBytes(12).toString('base64url');
  /** References that other processes have. */
  #references = 0;
  /** Names that it is found by. */
  #names = 0;
  /** Whether other objects here may refer to it, who do not say when they no longer do. */
  #isShared = false;

  private constructor(
    readonly object: object,
    readonly type: string,
    private readonly exposure: Exposure,
    /** Whether it is ours to dispose of: made for those who refer to it. */
    private readonly owned: boolean,
  ) {}

  /** Makes an object one that goes by reference. `owned`: it is disposed of once nobody refers to it. */
  static host(object: object, type: string, exposure: Exposure = exposureOf(object), owned = false): Hosted {
    const hosted = new Hosted(object, type, exposure, owned);
    known.set(object, hosted);
    return hosted;
  }

  /** What stands for the value, if it goes by reference: a function, and what host() has been called for. */
  static of(value: object): Hosted | undefined {
    const hosted = known.get(value);
    if (hosted !== undefined || typeof value !== 'function' || types.isProxy(value)) return hosted;
    return Hosted.host(value, 'function');
  }

  /** The object that the other side was given under this id. Errors: ERR_NDSHM_NO_OBJECT. */
  static byId(id: unknown): object {
    const hosted = typeof id === 'string' ? referred.get(id) : undefined;
    if (hosted === undefined) throw stateError('ERR_NDSHM_NO_OBJECT', 'There is no object behind the proxy any more');
    hosted.#isShared = true;
    return hosted.object;
  }

  call(name: unknown, args: unknown[]): unknown {
    const method = typeof name === 'string' ? this.exposure.get(name) : undefined;
    if (method !== undefined) return method(this.object, args);
    const said = typeof name === 'string' ? `'${name.slice(0, 60)}'` : 'of that kind';
    const names = [...this.exposure.keys()].join(', ');
    throw stateError(
      'ERR_NDSHM_NOT_EXPOSED',
      `${this.type} has no method ${said} that proxies may call; it has: ${names}`,
    );
  }

  refer(): void {
    this.#references++;
    this.#update();
  }
  release(): void {
    this.#references--;
    this.#update();
  }
  nameIt(): void {
    this.#names++;
    this.#update();
  }
  unname(): void {
    this.#names--;
    this.#update();
  }

  get references(): number {
    return this.#references;
  }

  #update(): void {
    if (this.#references + this.#names > 0) {
      referred.set(this.id, this);
      return;
    }
    referred.delete(this.id);
    if (!this.owned || this.#isShared) return;
    known.delete(this.object);
    void disposeOf(this.object);
  }

  /** All that other processes refer to, or that has a name. */
  static all(): IterableIterator<Hosted> {
    return referred.values();
  }
}

/** Lets an object go by reference. Errors: ERR_NDSHM_INVALID_ARGUMENT for a name that it does not have. */
export function markByReference(object: object, exposed?: readonly string[]): void {
  const prototype = Object.getPrototypeOf(object) as { constructor?: { name?: string } } | null;
  const exposure = exposed === undefined ? exposureOf(object) : exposureOfNames(object, exposed);
  Hosted.host(object, prototype?.constructor?.name ?? 'Object', exposure);
}

const known = new WeakMap<object, Hosted>();
const referred = new Map<string, Hosted>();

/** A client decides when, and is gone by then: whatever it throws must end nobody, and becomes a warning of the process. */
async function disposeOf(object: Partial<AsyncDisposable & Disposable>): Promise<void> {
  try {
    if (typeof object[Symbol.asyncDispose] === 'function') await object[Symbol.asyncDispose]?.();
    else object[Symbol.dispose]?.();
  } catch (error) {
    process.emitWarning(`The disposer of an object that a manager hosted failed: ${String(error)}`);
  }
}
