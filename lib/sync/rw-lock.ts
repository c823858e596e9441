import { syncWaitKeys, waitKeys } from '../lock/deadline';
import type {
  Hold,
  OnAbandonedRead,
  OnAbandonedWrite,
  ReadOptions,
  ReadSyncOptions,
  WriteOptions,
  WriteSyncOptions,
} from '../lock/hold';
import { checkOptions } from '../options';
import { type NamedOptions, NamedState, namedKeys } from './named-state';
import { Primitive } from './primitive';

const asyncKeys = [...waitKeys, 'onAbandoned'] as const;
const syncKeys = [...syncWaitKeys, 'onAbandoned'] as const;

/**
 * A named reader-writer lock among processes, for what is not an array (arrays have one of their own: array.read() and
 * array.write(), which behave alike). Many readers or one writer; a stream of readers keeps no writer out for ever, nor
 * the reverse; survives the death of whoever holds it. Errors as for Mutex.
 * @example
 * const lock = new ndshm.RWLock('catalogue', { ephemeral: true });
 * const [a, b] = await Promise.all([lock.read(() => 1), lock.read(() => 2)]);
 * await lock.write(() => console.log(a + b)); // 3
 * lock.close();
 */
export class RWLock extends Primitive {
  /** Opens the lock of this name, or makes it. */
  constructor(name: string, options?: NamedOptions) {
    super(
      new NamedState(
        name,
        { kind: 'RWLock', size: () => ({ words: 0 }) },
        checkOptions(options, namedKeys, 'new RWLock()'),
      ),
    );
  }

  /** Runs the function alone, and resolves with its result. */
  async write<T>(fn: (hold: Hold) => T | PromiseLike<T>, options?: WriteOptions): Promise<T> {
    return this.state.lock.write(fn, callAsync, checkOptions(options, asyncKeys, 'write()'));
  }

  /** Runs the function among readers, and resolves with its result. */
  async read<T>(fn: (hold: Hold) => T | PromiseLike<T>, options?: ReadOptions): Promise<T> {
    return this.state.lock.read(fn, callAsync, checkOptions(options, asyncKeys, 'read()'));
  }

  /** As write(), but blocks the thread while it waits. The function must not return a promise. */
  writeSync<T>(fn: (hold: Hold) => T, options?: WriteSyncOptions): T {
    if (options !== undefined) checkOptions(options, syncKeys, 'writeSync()');
    return this.state.lock.writeSync(fn, call, options);
  }

  /** As read(), but blocks the thread while it waits. The function must not return a promise. */
  readSync<T>(fn: (hold: Hold) => T, options?: ReadSyncOptions): T {
    if (options !== undefined) checkOptions(options, syncKeys, 'readSync()');
    return this.state.lock.readSync(fn, call, options);
  }

  /** Runs the function alone and returns its result; undefined if the lock is not to be had now. */
  tryWrite<T>(fn: (hold: Hold) => T, options?: OnAbandonedWrite): T | undefined {
    return this.state.lock.tryWrite(fn, call, checkOptions(options, ['onAbandoned'], 'tryWrite()'));
  }

  /** Runs the function among readers and returns its result; undefined if the lock is not to be had now. */
  tryRead<T>(fn: (hold: Hold) => T, options?: OnAbandonedRead): T | undefined {
    return this.state.lock.tryRead(fn, call, checkOptions(options, ['onAbandoned'], 'tryRead()'));
  }
}

// The lock passes a subject on; here that is the function itself.
const call = <T>(fn: (hold: Hold) => T, hold: Hold): T => fn(hold);
const callAsync = <T>(fn: (hold: Hold) => T | PromiseLike<T>, hold: Hold): T | PromiseLike<T> => fn(hold);
