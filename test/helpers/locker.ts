import { readFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { type ChildOptions, type Exit, Peer } from './child';
import { eventually, LockWords } from './lock-words';
import { freshName } from './shm';

export type Method = 'write' | 'read' | 'writeSync' | 'readSync' | 'tryWrite' | 'tryRead';

/** What is not in the published types: `SharedArray` with this has a way to the lock's words. */
export interface Internals {
  attachmentOf(array: ndshm.SharedArray): { readonly control: { readonly slot: number; readonly words: Int32Array } };
}

export const slotOf = (array: ndshm.SharedArray): number =>
  (ndshm.SharedArray as unknown as Internals).attachmentOf(array).control.slot;

interface LockerOptions extends ChildOptions {
  readonly thread?: boolean;
  readonly mode?: 'r' | 'r+';
}

/** The outcome of a promise: its value, or the code of its error. */
export const outcome = (promise: Promise<unknown>): Promise<unknown> =>
  promise.catch((error: Error & { code?: string }) => error.code ?? error);

/** What each of the array's calls that take its lock, or look at its version, comes to: an error's code if it fails. */
export function outcomesOfAll(a: ndshm.SharedArray): Promise<unknown[]> {
  const calls: (() => unknown)[] = [
    () => a.write(() => 1),
    () => a.read(() => 1),
    () => a.snapshot(() => 1),
    () => a.changed(),
    () => a.writeSync(() => 1),
    () => a.readSync(() => 1),
    () => a.tryWrite(() => 1),
    () => a.tryRead(() => 1),
    () => a.snapshotSync(() => 1),
    () => a.version,
  ];
  return Promise.all(calls.map((call) => outcome(new Promise((resolve) => resolve(call())))));
}

/** Processes to be used again: to start one costs more than most tests. */
const idle: Peer[] = [];

/** Another process (or a worker thread in one) that has an array open, which it knows as 'a', and takes its lock. */
export class Locker {
  private constructor(
    readonly peer: Peer,
    readonly slot: number,
    readonly words: LockWords,
    readonly isPlain: boolean,
  ) {}

  static async open(name: string, { mode = 'r+', ...options }: LockerOptions = {}): Promise<Locker> {
    const isPlain = Object.keys(options).length === 0;
    const peer = (isPlain ? idle.pop() : undefined) ?? (await Peer.start(options));
    await peer.call('a', 'open', name, { mode, allowForeignOwner: options.uid !== undefined });
    const slot = await peer.run(({ ndshm: library, kept }) => {
      const internals = library.SharedArray as unknown as Internals;
      return internals.attachmentOf(kept.get('a') as ndshm.SharedArray).control.slot;
    });
    return new Locker(peer, slot, new LockWords(name), isPlain);
  }

  /** Has the lock when it resolves, until release(). */
  async hold(access: 'write' | 'read'): Promise<void> {
    await this.peer.run(({ kept }, method) => {
      const array = kept.get('a') as ndshm.SharedArray;
      return new Promise<void>((entered, failed) => {
        const inside = (): Promise<void> => {
          entered();
          return new Promise((leave) => kept.set('leave', leave));
        };
        const held = array[method](inside);
        kept.set('held', held);
        held.catch(failed);
      });
    }, access);
  }

  /** Resolves when the lock is free again. */
  async release(): Promise<void> {
    await this.peer.run(async ({ kept }) => {
      (kept.get('leave') as () => void)();
      await kept.get('held');
    });
  }

  /** Enters and leaves; resolves with 'in', then (undefined for a try in vain). Until it is inside `waiting()` sees it wait. */
  enter(method: Method, options: object = {}): Promise<unknown> {
    return this.peer.run(
      async ({ kept }, name, given) => (kept.get('a') as ndshm.SharedArray)[name](() => 'in', given),
      method,
      options,
    );
  }

  /** Resolves when it waits for the lock. */
  waiting(): Promise<void> {
    return eventually(`wait of slot ${this.slot}`, () => this.words.waitingFor(this.slot) !== 0);
  }

  /** Resolves when its process is stopped. */
  stopped(): Promise<void> {
    return stopped(this.peer.pid);
  }

  kill(): Promise<Exit> {
    return this.peer.kill();
  }

  /** The end of a test that it has survived, holding nothing. */
  async end(): Promise<void> {
    const { exitCode, signalCode } = this.peer.process;
    if (exitCode !== null || signalCode !== null) return;
    if (this.isPlain) {
      await this.peer.on('a', 'close');
      idle.push(this.peer);
    } else {
      await this.kill();
    }
  }
}

/** Resolves when all threads of a process are stopped by a signal. */
export function stopped(pid: number): Promise<void> {
  return eventually(`stop of ${pid}`, () => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
}

/** An array of this process, and `count` other processes that have it open; afterwards it is free and whole. */
export async function withLockers(
  count: number,
  use: (mine: ndshm.SharedArray, words: LockWords, ...lockers: Locker[]) => Promise<void>,
): Promise<void> {
  const name = freshName();
  const mine = ndshm.create(name, { shape: 4 });
  const lockers = await Promise.all(Array.from({ length: count }, () => Locker.open(name)));
  await use(mine, new LockWords(name), ...lockers);
  expect(await mine.write((_, hold) => hold)).toEqual({ abandoned: false });
  expect(await mine.read((_, hold) => hold)).toEqual({ abandoned: false });
  await Promise.all(lockers.map((locker) => locker.end()));
  mine.close();
  ndshm.unlink(name);
}

/** A promise, and what fulfils it. */
export function opening(): [Promise<void>, () => void] {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return [opened, open];
}
