import { binding } from '../binding';
import { heldByCaller } from '../lock/context';
import { writerAt } from '../lock/control-words';
import { syncWaitKeys, waitKeys } from '../lock/deadline';
import { type Hold, intact, type OnAbandonedWrite, type WriteOptions, type WriteSyncOptions } from '../lock/hold';
import type { RwLock } from '../lock/rw-lock';
import { booleanOption, checkOptions } from '../options';
import { type NamedOptions, NamedState, namedKeys } from './named-state';
import { Primitive } from './primitive';

export interface MutexOptions extends NamedOptions {
  /**
   * run() inside run(), and runSync() inside either, by the caller that holds the Mutex already, goes on at once, as
   * with Python's RLock. Default false: it is ERR_NDSHM_DEADLOCK.
   */
  readonly reentrant?: boolean;
}

const asyncKeys = [...waitKeys, 'onAbandoned'] as const;
const syncKeys = [...syncWaitKeys, 'onAbandoned'] as const;

/**
 * A named lock that one caller at a time holds, among all processes that open the name: Python's
 * `multiprocessing.Lock`, or with `reentrant` its `RLock`, but it survives its holder. If a process is killed while
 * it holds the Mutex, the next caller gets it within some 10 ms, and is told: ERR_NDSHM_ABANDONED, and the Mutex stays
 * free and marked, until somebody acquires it with onAbandoned: 'repair', puts in order what it protects, and releases.
 *
 * Closed while it is held, it counts as abandoned. Errors of all: ERR_NDSHM_TIMEOUT, ERR_NDSHM_ABANDONED, ERR_NDSHM_DEADLOCK, ERR_NDSHM_CLOSED; of the constructor those
 * of open() and create(), and ERR_NDSHM_MISMATCH if the name is of something else.
 * @example
 * const mutex = new ndshm.Mutex('ledger', { ephemeral: true });
 * await mutex.run(async () => {
 *   // alone among all processes
 * });
 * mutex.close();
 */
export class Mutex extends Primitive {
  private readonly lock: RwLock;
  readonly #reentrant: boolean;
  #runningSync = false;

  /** Opens the Mutex of this name, or makes it. */
  constructor(name: string, options?: MutexOptions) {
    const { reentrant, ...named } = checkOptions(options, ['reentrant', ...namedKeys], 'new Mutex()');
    const isReentrant = booleanOption(reentrant, 'reentrant');
    super(new NamedState(name, { kind: 'Mutex', size: () => ({ words: 0 }) }, named));
    this.#reentrant = isReentrant;
    this.lock = this.state.lock;
  }

  /** Whether anybody holds it now, in whichever process. By the time of the answer that may have changed. */
  get locked(): boolean {
    this.state.check();
    return (Atomics.load(this.lock.control.words, writerAt) & binding.layout.bits.owner) !== 0;
  }

  /** Waits for the Mutex and holds it until release(). Callers of one process get it in the order of their calls. */
  async acquire(options?: WriteOptions): Promise<Hold> {
    const checked = checkOptions(options, asyncKeys, 'acquire()');
    return this.lock.holdWrite(await this.lock.enterWrite(checked), checked.onAbandoned);
  }

  /** As acquire(), but blocks the thread while it waits. Tens of nanoseconds where nobody contends. */
  acquireSync(options?: WriteSyncOptions): Hold {
    if (options !== undefined) checkOptions(options, syncKeys, 'acquireSync()');
    return this.lock.acquireWriteSync(options);
  }

  /** Holds the Mutex if it is to be had now; otherwise undefined. Does not block. */
  tryAcquire(options?: OnAbandonedWrite): Hold | undefined {
    const { onAbandoned } = checkOptions(options, ['onAbandoned'], 'tryAcquire()');
    const entered = this.lock.tryEnterWrite();
    return entered === undefined ? undefined : this.lock.holdWrite(entered, onAbandoned);
  }

  /** Lets it go. Errors: ERR_NDSHM_NOT_OWNED if this object does not hold it. */
  release(): void {
    this.lock.leaveWrite();
  }

  /** Runs the function while holding the Mutex, and resolves with its result once it has settled. */
  async run<T>(fn: (hold: Hold) => T | PromiseLike<T>, options?: WriteOptions): Promise<T> {
    const checked = checkOptions(options, asyncKeys, 'run()');
    if (this.#reentrant && heldByCaller(this.lock.control) === 'write') return fn(intact);
    return this.lock.write(undefined, (_, hold) => fn(hold), checked);
  }

  /** As run(), but blocks the thread while it waits. The function must not return a promise. */
  runSync<T>(fn: (hold: Hold) => T, options?: WriteSyncOptions): T {
    if (options !== undefined) checkOptions(options, syncKeys, 'runSync()');
    if (this.#reentrant && (this.#runningSync || heldByCaller(this.lock.control) === 'write')) return fn(intact);
    return this.lock.writeSync(
      undefined,
      (_, hold) => {
        this.#runningSync = true;
        try {
          return fn(hold);
        } finally {
          this.#runningSync = false;
        }
      },
      options,
    );
  }
}
