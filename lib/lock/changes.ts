import { binding, type ChangeNumber, type Failure } from '../binding';
import { type ControlWords, changeSignalAt, changeWaitersAt, loadAfter } from './control-words';
import {
  blockingSliceMs,
  checkSignal,
  checkTimeout,
  Deadline,
  type SyncWaitOptions,
  type WaitOptions,
} from './deadline';

const { watches } = binding.layout.bits;

/** One life of one attachment: a slot and its generation are never used again together, so 'dead' stays true for ever. */
export interface PeerId {
  readonly slot: number;
  readonly generation: number;
}

export interface UntilOptions extends WaitOptions {
  /** The wait alone does not keep the process running. */
  readonly unref?: boolean | undefined;
  /**
   * For so long, from the beginning and from each change on, it is looked at in each turn of the event loop: what comes
   * soon is seen at once, where a thread would have to be woken. It takes a processor meanwhile. Default 0.
   */
  readonly pollMs?: number | undefined;
}

/** Something to look at again after every change: undefined = not yet. */
type Condition<T> = () => T | undefined;
/** Whose death is a change as well. */
type Watched = () => readonly PeerId[];

interface Waiter {
  /** Looks; true = it is over. */
  readonly look: () => boolean;
  readonly watched: Watched;
  readonly unref: boolean;
  readonly pollMs: number;
  readonly reject: (reason: unknown) => void;
}

/** A read-only peer cannot ask to be told of changes, and so looks again and again. */
const blindSliceMs = 10;

const nobody: Watched = () => [];
const noPeers = new Uint32Array(0);

/**
 * Waiting for something in a segment to change: for whoever calls notify() there, in any process, or for the death of
 * a peer. One native wait for each attachment, however many callers. Takes no lock.
 */
export class Changes {
  private readonly words: Int32Array;
  readonly #waiters = new Set<Waiter>();
  #awaiting = false;
  #changesFast = false;
  /** Since when changes have come so fast that the event loop has had no turn. */
  #turnBegunMs = 0;
  #watched: Uint32Array = noPeers;
  #pollsFromMs = 0;
  #polledSignal = 0;

  constructor(readonly control: ControlWords) {
    this.words = control.words;
    control.native.onChange = (change) => this.#changed(change);
  }

  /**
   * Tells everybody that something has changed, after an atomic store that says what. Some ns if nobody waits. `atMost`: of
   * those who sleep, so many are enough, whichever they are.
   */
  notify(atMost?: number): void {
    if (!this.control.closed && loadAfter(this.words, changeWaitersAt) !== 0) this.control.native.notifyChange(atMost);
  }

  /** Resolves with the first value other than undefined that the condition gives, now or after a change. */
  async until<T>(
    condition: Condition<T>,
    options: UntilOptions,
    watched: Watched = nobody,
    what = 'Waiting for',
  ): Promise<T> {
    checkSignal(options.signal);
    checkTimeout(options.timeoutMs);
    this.control.subject.check();
    const now = condition();
    if (now !== undefined) return now;
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        look: () => {
          const value = condition();
          if (value === undefined) return false;
          deadline.clear();
          resolve(value);
          return true;
        },
        watched,
        unref: options.unref === true,
        pollMs: options.pollMs ?? 0,
        reject: (reason) => {
          deadline.clear();
          reject(reason);
        },
      };
      const leave = (reason: unknown) => {
        this.#waiters.delete(waiter);
        this.#keepAlive();
        reject(reason);
      };
      const deadline = new Deadline(options, (timeoutMs) => leave(this.control.timeoutError(what, timeoutMs)), leave);
      this.#waiters.add(waiter);
      this.#pollsFromMs = performance.now();
      this.#await();
    });
  }

  /** Looks for those who wait in this thread, after a change that concerns them alone. */
  look(): void {
    for (const waiter of this.#waiters) if (waiter.look()) this.#waiters.delete(waiter);
  }

  /** As until(), but blocks the thread. */
  untilSync<T>(condition: Condition<T>, options: SyncWaitOptions, watched: Watched = nobody, what = 'Waiting for'): T {
    const first = condition();
    if (first !== undefined) return first;
    const timeoutMs = checkTimeout(options.timeoutMs);
    this.control.subject.check();
    const end = performance.now() + timeoutMs;
    for (;;) {
      const signal = this.#arm();
      const value = condition();
      if (value !== undefined) return value;
      const left = end - performance.now();
      if (left <= 0) throw this.control.timeoutError(what, timeoutMs);
      if (this.control.native.changesSoon(signal)) continue;
      const peers = pairsOf(watched());
      this.control.succeed(
        this.control.native.awaitChange(
          signal,
          peers,
          Math.min(left, this.control.canLock ? blockingSliceMs : blindSliceMs),
        ),
      );
    }
  }

  /** L5: reads the signal, asks to be told, and only then may the caller look whether it has to wait. */
  #arm(): number {
    const signal = Atomics.load(this.words, changeSignalAt);
    if (this.control.canLock) Atomics.or(this.words, changeWaitersAt, watches);
    return signal;
  }

  /** Looks for everybody who waits, and begins the native wait if anybody still has to. */
  #await(): void {
    if (this.#awaiting) {
      // It was armed before the caller looked, so nothing is missed. Only what it does not watch has to be added.
      if (this.#coversAll()) this.#keepAlive();
      else if (this.control.canLock) this.control.native.notifyChange(); // the way to wake our own thread without missing it
      return;
    }
    while (this.#waiters.size > 0) {
      const signal = this.#arm();
      let over = false;
      for (const waiter of this.#waiters) {
        let done = true;
        try {
          done = waiter.look();
        } catch (error) {
          waiter.reject(error);
        }
        if (!done) continue;
        this.#waiters.delete(waiter);
        over = true;
      }
      if (this.#waiters.size === 0) return;
      if (over && Atomics.load(this.words, changeSignalAt) !== signal) continue;
      if (this.#turnIsOver()) return;
      this.#changesFast = this.control.native.changesSoon(signal);
      if (this.#changesFast) continue;
      if (this.#polls(signal)) return;
      if (!this.control.canLock) {
        this.#awaiting = true;
        const timer = setTimeout(() => this.#changed(1), blindSliceMs);
        if (!this.#keepsAlive()) timer.unref();
        return;
      }
      this.#watched = pairsOf([...this.#waiters].flatMap((waiter) => waiter.watched()));
      const failure = this.control.native.awaitChangeLater(signal, this.#watched, this.#keepsAlive());
      this.#awaiting = failure === undefined;
      if (failure === undefined) return;
      this.#rejectAll(this.control.errorOf(failure));
    }
  }

  /**
   * Some microseconds of watching are cheaper than a thread that is woken, which wakes this one. But callers that
   * answer each other so fast would keep the event loop from everything else: once in a millisecond it has its turn,
   * and then we go on.
   */
  #turnIsOver(): boolean {
    const now = performance.now();
    if (!this.#changesFast) this.#turnBegunMs = now;
    if (now - this.#turnBegunMs < 1) return false;
    this.#awaiting = true;
    this.#changesFast = false;
    setImmediate(() => this.#changed(1));
    return true;
  }

  /** Whether we go on in the next turn of the event loop. */
  #polls(signal: number): boolean {
    let pollMs = 0;
    for (const waiter of this.#waiters) pollMs = Math.max(pollMs, waiter.pollMs);
    if (pollMs === 0) return false;
    const now = performance.now();
    if (signal !== this.#polledSignal) this.#pollsFromMs = now;
    this.#polledSignal = signal;
    if (now - this.#pollsFromMs >= pollMs) return false;
    this.#awaiting = true;
    setImmediate(() => this.#changed(1));
    return true;
  }

  #coversAll(): boolean {
    for (const waiter of this.#waiters) {
      for (const { slot, generation } of waiter.watched()) {
        let found = false;
        for (let n = 0; n < this.#watched.length; n += 2) {
          found ||= this.#watched[n] === slot && this.#watched[n + 1] === generation;
        }
        if (!found) return false;
      }
    }
    return true;
  }

  #keepsAlive(): boolean {
    for (const { unref } of this.#waiters) if (!unref) return true;
    return false;
  }

  #keepAlive(): void {
    if (this.#awaiting) this.control.native.keepAwaiting(this.#keepsAlive());
  }

  #changed(change: ChangeNumber | Failure): void {
    this.#awaiting = false;
    if (typeof change === 'object') this.#rejectAll(this.control.errorOf(change));
    else this.#await();
  }

  #rejectAll(reason: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(reason);
    this.#waiters.clear();
  }

  close(): void {
    if (this.#awaiting) this.control.native.stopAwaiting();
    this.#awaiting = false;
    this.#rejectAll(this.control.closedError());
  }
}

function pairsOf(peers: readonly PeerId[]): Uint32Array {
  if (peers.length === 0) return noPeers;
  const pairs = new Uint32Array(2 * peers.length);
  peers.forEach(({ slot, generation }, n) => {
    pairs[2 * n] = slot;
    pairs[2 * n + 1] = generation;
  });
  return pairs;
}
