import { stateError, wrongKind } from '../errors';
import { type SyncWaitOptions, syncWaitKeys, type WaitOptions, waitKeys } from '../lock/deadline';
import { checkOptions, integerIn } from '../options';
import { Ledger } from './ledger';
import { Blocked, Monitor } from './monitor';
import { type NamedOptions, namedKeys } from './named-state';
import { Primitive } from './primitive';
import type { Description, Still } from './still';

export interface BarrierOptions extends NamedOptions {
  /** How many have to arrive. Everybody who opens the name says the same. */
  readonly parties: number;
  /** Run by the last to arrive, in its process, before anybody goes on. If it fails, the barrier is broken. */
  readonly action?: () => void | Promise<void>;
}

// One word says which round it is and how that stands; the ledger of who has arrived, by rounds, begins behind it.
const state = 0;
const Status = {
  filling: 0,
  acting: 1, // all are here, and the last one runs its action
  broken: 2,
  resetting: 3, // broken for those inside; filling again once all of them have left
};
/**
 * A point at which a number of parties wait for each other, round after round: threading.Barrier of Python, by name.
 * If one that has arrived gives up or dies, nobody waits for it in vain: the barrier is broken.
 * Errors of all methods: ERR_NDSHM_CLOSED.
 * @example
 * const start = new ndshm.Barrier('start', { parties: 2, ephemeral: true });
 * const places = await Promise.all([start.wait(), start.wait()]); // mostly in two processes
 * console.log(places); // [0, 1]
 * start.close();
 */
export class Barrier extends Primitive<Monitor> {
  /** How many have to arrive. */
  readonly parties: number;
  readonly #action: BarrierOptions['action'];
  readonly #arrived: Ledger;

  /**
   * Opens the barrier of this name, or makes it. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if it was made for another number of parties or the name means something else,
   * ERR_NDSHM_OUT_OF_RANGE for less than one, and those of open().
   */
  constructor(name: string, options: BarrierOptions) {
    const { parties, action, ...named } = checkOptions(options, ['parties', 'action', ...namedKeys], 'new Barrier()');
    integerIn(parties, 1, 2 ** 31 - 1, 'parties');
    if (action !== undefined && typeof action !== 'function') throw wrongKind('a function', 'action', action);
    const parameters = [{ name: 'parties', given: parties, otherwise: parties }];
    super(new Monitor(name, { kind: 'Barrier', parameters, size: () => ({ words: 1 + Ledger.words }) }, named));
    this.parties = parties;
    this.#action = action;
    this.#arrived = new Ledger(this.state, 1);
  }

  get #status(): number {
    return Atomics.load(this.state.words, state) & 3;
  }
  get #round(): number {
    return Atomics.load(this.state.words, state) >>> 2;
  }
  #become(status: number, round = this.#round): void {
    Atomics.store(this.state.words, state, (round << 2) | status);
  }

  /** How many have arrived in this round and wait; 0 if the barrier is broken. */
  get waiting(): number {
    this.state.check();
    return this.#status === Status.filling ? this.#arrived.living(this.#round) : 0;
  }

  /** Whether it is broken: wait() fails until reset(). */
  get broken(): boolean {
    this.state.check();
    return this.#status === Status.broken;
  }

  /**
   * Arrives, and resolves when all parties have: with the index of the arrival, from 0 to parties - 1, each once. Does
   * not block the thread. After a reset it first waits until all who were inside have left.
   * Errors: ERR_NDSHM_BROKEN_BARRIER if the barrier is broken, or gets broken or reset meanwhile; ERR_NDSHM_TIMEOUT
   * after `timeoutMs` (default: never) and the signal's reason, which break it for the others; what the action throws.
   */
  async wait(options?: WaitOptions): Promise<number> {
    const how = checkOptions(options, waitKeys, 'wait()');
    const { step, giveUp } = this.#arrival();
    const index = this.#unlessBroken(await this.state.transact(step, how, giveUp));
    if (this.#action !== undefined && index === this.parties - 1) {
      try {
        await this.#action();
      } catch (error) {
        this.#conclude('failed');
        throw error;
      }
      this.#conclude('done');
    }
    return index;
  }

  /** wait(), but blocking the thread; the action must not return a promise then. */
  waitSync(options?: SyncWaitOptions): number {
    const how = checkOptions(options, syncWaitKeys, 'waitSync()');
    const { step, giveUp } = this.#arrival();
    const index = this.#unlessBroken(this.state.transactSync(step, how, giveUp));
    if (this.#action !== undefined && index === this.parties - 1) {
      try {
        const result: unknown = this.#action();
        if (result instanceof Promise) throw wrongKind('no promise', "the action's result in waitSync()", result);
      } catch (error) {
        this.#conclude('failed');
        throw error;
      }
      this.#conclude('done');
    }
    return index;
  }

  /** Breaks the barrier: who waits, and who comes before reset(), fails with ERR_NDSHM_BROKEN_BARRIER. */
  abort(): void {
    this.state.attempt(() => {
      this.#become(Status.broken);
      return true;
    });
  }

  /** Makes the barrier empty and whole again. Who waits now fails with ERR_NDSHM_BROKEN_BARRIER. */
  reset(): void {
    this.state.attempt(() => {
      this.#become(Status.resetting);
      this.#settle();
      return true;
    });
  }

  /** What one wait() does under the lock; the result is its index. */
  #arrival(): { step: () => number | 'broken' | Blocked; giveUp: () => void } {
    const arrived = this.#arrived;
    let index: number | undefined;
    let round = 0;
    const step = () => {
      this.#settle();
      const now = this.#round;
      const status = this.#status;
      if (index === undefined) {
        if (status === Status.broken) return 'broken';
        if (status !== Status.filling) return new Blocked(arrived.others(now));
        const place = arrived.sum(now);
        const last = place + 1 >= this.parties;
        if (last && this.#action === undefined) {
          this.#become(Status.filling, now + 1); // which makes everybody's entry one of an earlier round
          return place;
        }
        index = place;
        round = now;
        arrived.setMine(arrived.mine(now) + 1, now);
        if (!last) return new Blocked(arrived.others(now), true);
        // Who dies before this store has arrived and died: the others break the barrier.
        this.#become(Status.acting);
        return index;
      }
      // A round ends in no other way than by letting all go: who was reset out of it has to leave before the next.
      if (now !== round) return index;
      if (status === Status.filling || status === Status.acting) return new Blocked(arrived.others(now));
      this.#leave();
      return 'broken';
    };
    const giveUp = () => {
      if (index === undefined || this.#round !== round) return;
      if (this.#status !== Status.resetting) this.#become(Status.broken);
      this.#leave();
    };
    return { step, giveUp };
  }

  /** Takes one arrival of this process out of the present round. */
  #leave(): void {
    const round = this.#round;
    this.#arrived.setMine(this.#arrived.mine(round) - 1, round);
    this.#settle();
  }

  /** What has to be done by whoever comes next: breaks the barrier if the dead are inside, ends a reset. */
  #settle(): void {
    const round = this.#round;
    const status = this.#status;
    if (status === Status.filling || status === Status.acting) {
      if (this.#arrived.others(round).some((peer) => this.state.isDead(peer))) this.#become(Status.broken);
    } else if (status === Status.resetting) {
      this.#arrived.bury(round);
      if (this.#arrived.sum(round) === 0) this.#become(Status.filling);
    }
  }

  /** The action has run: lets everybody go, or breaks the barrier. */
  #conclude(action: 'done' | 'failed'): void {
    if (action === 'failed' && this.closed) return; // which has broken it
    const fate = this.state.attempt(() => {
      this.#settle();
      if (this.#status === Status.acting && action === 'done') {
        this.#become(Status.filling, this.#round + 1);
        return 0;
      }
      if (this.#status === Status.acting) this.#become(Status.broken);
      this.#leave();
      return 'broken';
    });
    if (action === 'done') this.#unlessBroken(fate);
  }

  #unlessBroken<T>(fate: T | 'broken'): T {
    if (fate !== 'broken') return fate;
    throw stateError(
      'ERR_NDSHM_BROKEN_BARRIER',
      `The barrier '${this.name}' is broken: one who had arrived gave up, died or failed, or it was aborted or reset`,
    );
  }
}

export function describeBarrier(still: Still): Description {
  const word = still.words[state] as number;
  const status = word & 3;
  const arrived = new Ledger(still, state + 1).holders(word >>> 2);
  const waiting = status === Status.filling ? arrived.reduce((sum, { count }) => sum + count, 0) : 0;
  return {
    facts: { parties: still.parameters[0] as number, waiting, broken: status === Status.broken },
    claims: arrived.map(({ slot }) => ({ slot, holds: null, waitsFor: 'the other parties' })),
  };
}
