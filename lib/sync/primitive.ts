import type { NamedState } from './named-state';

/** What every named primitive is: a name, and this process's attachment to the state behind it. */
export abstract class Primitive<S extends NamedState = NamedState> {
  /** @internal */
  protected readonly state: S;

  /** @internal */
  protected constructor(state: S) {
    this.state = state;
  }

  get name(): string {
    return this.state.name;
  }
  get closed(): boolean {
    return this.state.closed;
  }

  /**
   * Lets go of it: what this process holds of it is given back as if the process had ended, and its waits reject with
   * ERR_NDSHM_CLOSED. Others are not affected; the name stays until unlink() (if ephemeral: until the last has closed).
   * May be called again.
   */
  close(): void {
    this.state.close();
  }

  /**
   * Takes the name away. Whoever has it open keeps it; who opens the name from now on makes another. Also after close().
   * Errors: ENOENT if the name is gone, ERR_NDSHM_STALE_HANDLE if it means another segment by now.
   */
  unlink(): void {
    this.state.unlink();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
