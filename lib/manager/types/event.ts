import type { WaitOptions } from '../../lock/deadline';
import { callerNow } from '../caller';
import { Line } from '../waits';

/** A flag that callers wait for: threading.Event of Python. * @example
 * const manager = await ndshm.Manager.start();
 * const ready = await manager.event();
 * const waiting = ready.wait({ timeoutMs: 1000 });
 * await ready.set(); // mostly another process does that
 * await waiting;
 * await manager.close();
 */
export class HostedEvent {
  readonly #line = new Line();
  #isSet = false;

  get isSet(): boolean {
    return this.#isSet;
  }

  /** Sets it. Everybody who waits goes on, even if it is cleared at once. */
  set(): void {
    this.#isSet = true;
    this.#line.advance();
  }

  /** From now on wait() waits. */
  clear(): void {
    this.#isSet = false;
  }

  /**
   * Resolves once it is set, at once if it is.
   * Errors: ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason.
   */
  async wait(options?: WaitOptions): Promise<void> {
    await this.#line.wait(callerNow(), () => this.#isSet || undefined, options, 'wait()');
  }

  [Symbol.dispose](): void {
    this.#line.close();
  }
}
