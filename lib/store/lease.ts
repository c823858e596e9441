/** An object, mapped until release(). */
export class Lease<T> {
  readonly value: T;
  #release: (() => void) | undefined;

  /** @internal */
  constructor(value: T, release: (() => void) | undefined) {
    this.value = value;
    this.#release = release;
  }

  /** Unmaps the object: its arrays have length 0 from now on. (Small objects were copied, and stay.) May be called again. */
  release(): void {
    this.#release?.();
    this.#release = undefined;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
