import type { TaskRef } from './task-ref';

/** The methods of an object that lives in a worker, each giving a ref to await. */
export type Actor<T> = {
  readonly [K in keyof T as T[K] extends (...args: never[]) => unknown ? K : never]: T[K] extends (
    ...args: infer A
  ) => infer R
    ? (...args: A) => TaskRef<Awaited<R>>
    : never;
} & AsyncDisposable;

export interface ActorDuties {
  readonly call: (method: string, args: unknown[]) => TaskRef;
  readonly end: () => Promise<void>;
}

/** The object that stands for an actor here. Which methods it has, only its worker knows. */
export function actorProxy<T>({ call, end }: ActorDuties): Actor<T> {
  const methods = new Map<string, (...args: unknown[]) => TaskRef>();
  return new Proxy(Object.create(null) as object, {
    get(_, key) {
      if (key === Symbol.asyncDispose) return end;
      if (typeof key === 'symbol' || key === 'then') return undefined; // an actor is no promise
      const method = methods.get(key) ?? ((...args) => call(key, args));
      methods.set(key, method);
      return method;
    },
  }) as Actor<T>;
}
