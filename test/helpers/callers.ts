import { asCaller, type Caller } from '../../dist/manager/caller';

let lastId = 0;

/** Stands for a connection: calls methods of hosted objects, and ends. */
export class FakeCaller implements Caller {
  readonly id = ++lastId;
  readonly #connection = new AbortController();

  get signal(): AbortSignal {
    return this.#connection.signal;
  }

  /** The object as this caller has it: its methods are called by the caller. */
  on<T extends object>(object: T): T {
    return new Proxy(object, {
      get: (_, name) => {
        const found: unknown = Reflect.get(object, name);
        if (typeof found !== 'function') return found;
        return (...args: unknown[]) => asCaller(this, () => found.apply(object, args) as unknown);
      },
    });
  }

  end(): void {
    this.#connection.abort(new Error(`caller ${this.id} has gone`));
  }
}

/** What has become of a promise by now: its value, its error's code or message, or 'pending'. */
export async function fateOf(promise: Promise<unknown>): Promise<unknown> {
  const fate = promise.catch((error: Error & { code?: string }) => error.code ?? error.message);
  await new Promise(setImmediate); // all that can happen in this turn has
  return Promise.race([fate, Promise.resolve('pending')]);
}

export const fatesOf = (promises: Promise<unknown>[]): Promise<unknown[]> => Promise.all(promises.map(fateOf));

/** How many callbacks are still registered anywhere that were registered while the function ran. */
export async function callbacksLeftBy(run: () => Promise<unknown>): Promise<number> {
  const isCallback = ([value]: unknown[]) => typeof value === 'function';
  const added = jest.spyOn(Set.prototype, 'add');
  const deleted = jest.spyOn(Set.prototype, 'delete');
  await run();
  const left = new Set(added.mock.calls.filter(isCallback).flat());
  for (const [callback] of deleted.mock.calls.slice()) left.delete(callback);
  added.mockRestore();
  deleted.mockRestore();
  return left.size;
}

/** A promise that the test resolves. */
export class Deferred<T> {
  declare resolve: (value: T) => void;
  readonly promise = new Promise<T>((resolve) => {
    this.resolve = resolve;
  });
}
