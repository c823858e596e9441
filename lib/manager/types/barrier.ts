import { stateError } from '../../errors';
import type { WaitOptions } from '../../lock/deadline';
import { checkOptions, integerIn } from '../../options';
import { callerNow } from '../caller';
import { Line } from '../waits';

export interface HostedBarrierOptions {
  /** How many have to arrive. */
  readonly parties: number;
}

/** Once around: all who arrive go on together, or none of them. */
interface Round {
  fate: 'filling' | 'passed' | 'broken';
}

/**
 * A point at which a number of parties wait for each other, round after round: threading.Barrier of Python. If one that has
 * arrived gives up, or its connection ends, nobody waits for it in vain: the barrier is broken.
 * @example
 * const manager = await ndshm.Manager.start();
 * const start = await manager.barrier({ parties: 2 });
 * console.log(await Promise.all([start.wait(), start.wait()])); // [ 0, 1 ], mostly in two processes
 * await manager.close();
 */
export class HostedBarrier {
  readonly #parties: number;
  readonly #line = new Line();
  #round: Round = { fate: 'filling' };

  /** Errors: ERR_NDSHM_OUT_OF_RANGE for less than one party. */
  constructor(options: HostedBarrierOptions) {
    this.#parties = integerIn(checkOptions(options, ['parties'], 'barrier()').parties, 1, 2 ** 31 - 1, 'parties');
  }

  /** How many have to arrive. */
  get parties(): number {
    return this.#parties;
  }

  /** How many have arrived in this round, and wait. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Whether it is broken: wait() fails until reset(). */
  get broken(): boolean {
    return this.#round.fate === 'broken';
  }

  /**
   * Arrives, and resolves when all parties have: with the index of the arrival, from 0 to parties - 1, each once.
   * Errors: ERR_NDSHM_BROKEN_BARRIER if the barrier is broken, or gets broken or reset meanwhile; ERR_NDSHM_TIMEOUT after
   * `timeoutMs` (default: never) and the signal's reason, which break it for the others.
   */
  async wait(options?: WaitOptions): Promise<number> {
    const round = this.#round;
    const index = this.#line.length;
    const isPassed = () => {
      if (round.fate === 'broken') throw broken();
      return round.fate === 'passed' ? index : undefined;
    };
    const passed = this.#line.wait(callerNow(), isPassed, options, 'wait()', () => this.#end(round, 'broken'));
    if (this.#line.length === this.#parties) {
      this.#round = { fate: 'filling' };
      this.#end(round, 'passed');
    }
    return passed;
  }

  /** Breaks the barrier: who waits, and who comes before reset(), fails with ERR_NDSHM_BROKEN_BARRIER. */
  abort(): void {
    this.#end(this.#round, 'broken');
  }

  /** Makes the barrier empty and whole again. Who waits now fails with ERR_NDSHM_BROKEN_BARRIER. */
  reset(): void {
    const before = this.#round;
    this.#round = { fate: 'filling' };
    this.#end(before, 'broken');
  }

  #end(round: Round, fate: 'passed' | 'broken'): void {
    round.fate = fate;
    this.#line.advance();
  }

  [Symbol.dispose](): void {
    this.#line.close();
  }
}

const broken = () =>
  stateError(
    'ERR_NDSHM_BROKEN_BARRIER',
    'The barrier is broken: one who had arrived gave up or has gone, or it was aborted or reset',
  );
