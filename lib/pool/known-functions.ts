import { describe, type FunctionSpec } from './functions';
import type { StoredAt } from './lane';
import { encodePayload } from './payload';
import type { PayloadStore } from './payload-store';

/** A function that workers of this pool can load. */
export interface KnownFunction {
  readonly name: string;
  readonly number: number;
  readonly described: StoredAt;
}

/** The functions that one pool has been given, each with a number and a description in the pool's store. */
export class KnownFunctions {
  readonly #memory: PayloadStore;
  /** The same function has the same spec. */
  readonly #bySpec = new WeakMap<FunctionSpec, KnownFunction>();
  #count = 0;

  constructor(memory: PayloadStore) {
    this.#memory = memory;
  }

  /** `what` is for messages. Errors: ERR_NDSHM_FUNCTION. */
  get(fn: unknown, what: string): KnownFunction | Promise<KnownFunction> {
    const spec = describe(fn, what);
    return spec instanceof Promise ? spec.then((each) => this.#of(each)) : this.#of(spec);
  }

  #of(spec: FunctionSpec): KnownFunction {
    let known = this.#bySpec.get(spec);
    if (known === undefined) {
      known = { name: spec.name, number: ++this.#count, described: this.#memory.putSync(encodePayload(spec)) };
      this.#bySpec.set(spec, known);
    }
    return known;
  }
}
