import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { Peer, rejection } from '../helpers/child';
import { opening, outcome } from '../helpers/locker';
import { exists, freshName, thrownBy } from '../helpers/shm';

/** A Mutex of this process, and another process that has it as 'm'. */
async function withMutex(
  use: (mutex: ndshm.Mutex, other: Peer) => Promise<void>,
  options: ndshm.MutexOptions = {},
): Promise<void> {
  const name = freshName('mutex');
  const mutex = new ndshm.Mutex(name, options);
  const other = await Peer.start();
  await other.call('m', 'Mutex', name);
  await use(mutex, other);
  await other.kill();
  mutex.close();
  mutex.unlink();
}

describe('Mutex', () => {
  test('is held by one among all processes, from acquire to release', async () => {
    await withMutex(async (mutex, other) => {
      expect(await mutex.acquire()).toEqual({ abandoned: false });
      expect(mutex.locked).toBe(true);
      expect(await other.on('m', 'tryAcquire')).toBeUndefined();
      expect((await rejection(other.on('m', 'acquire', { timeoutMs: 20 }))).code).toBe('ERR_NDSHM_TIMEOUT');
      expect((await rejection(other.on('m', 'acquireSync', { timeoutMs: 20 }))).code).toBe('ERR_NDSHM_TIMEOUT');
      const theirs = other.on('m', 'acquire');
      mutex.release();
      expect(await theirs).toEqual({ abandoned: false });
      expect([mutex.locked, mutex.tryAcquire()]).toEqual([true, undefined]);
      await other.on('m', 'release');
      expect(mutex.locked).toBe(false);
      expect(mutex.tryAcquire()).toEqual({ abandoned: false });
      mutex.release();
      expect(mutex.acquireSync()).toEqual({ abandoned: false });
      mutex.release();
    });
  });

  test('counts without loss, among processes and callers', async () => {
    await withMutex(async (mutex, other) => {
      const shared = ndshm.create(freshName(), { shape: 1, dtype: 'int32' });
      await other.call('shared', 'open', shared.name, { mode: 'r+' });
      const theirs = other.run(async ({ kept }: PeerContext) => {
        const theirMutex = kept.get('m') as ndshm.Mutex;
        const { data } = kept.get('shared') as ndshm.SharedArray<'int32'>;
        const add = (): void => {
          data[0] = (data[0] as number) + 1;
        };
        for (let n = 0; n < 1000; n++) {
          theirMutex.runSync(add);
          await theirMutex.run(async () => {
            const value = data[0] as number;
            await Promise.resolve();
            data[0] = value + 1;
          });
        }
      });
      for (let n = 0; n < 1000; n++) {
        await mutex.acquire();
        shared.set(0, shared.get(0) + 1);
        mutex.release();
      }
      await theirs;
      expect(shared.get(0)).toBe(3000);
      shared.close();
      shared.unlink();
    });
  });

  test('run() and runSync() give the result, or the error, and let go', async () => {
    await withMutex(async (mutex) => {
      expect(await mutex.run((hold) => hold)).toEqual({ abandoned: false });
      expect(await mutex.run(async () => 5)).toBe(5);
      expect(mutex.runSync(() => 6)).toBe(6);
      await expect(mutex.run(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
      expect(
        thrownBy(() =>
          mutex.runSync(() => {
            throw new Error('mine');
          }),
        ).message,
      ).toBe('mine');
      expect(thrownBy(() => mutex.runSync(async () => 5)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      expect(mutex.locked).toBe(false);
    });
  });

  test('serves the callers of a process in the order of their calls', async () => {
    await withMutex(async (mutex, other) => {
      await other.on('m', 'acquire');
      const log: number[] = [];
      const runs = [0, 1, 2, 3, 4].map((n) => mutex.run(() => void log.push(n)));
      await other.on('m', 'release');
      await Promise.all(runs);
      expect(log).toEqual([0, 1, 2, 3, 4]);
    });
  });

  test('whose holder is killed goes to the next one, who is told, until one repairs', async () => {
    await withMutex(async (mutex, other) => {
      await other.on('m', 'acquire');
      const waiting = outcome(mutex.acquire());
      await other.kill();
      expect(await waiting).toBe('ERR_NDSHM_ABANDONED');
      expect(mutex.locked).toBe(false);
      expect(thrownBy(() => mutex.tryAcquire()).code).toBe('ERR_NDSHM_ABANDONED');
      expect(thrownBy(() => mutex.acquireSync()).code).toBe('ERR_NDSHM_ABANDONED');
      expect(await outcome(mutex.run(() => 'in'))).toBe('ERR_NDSHM_ABANDONED');
      const failing = () => {
        throw new Error('mine');
      };
      expect(thrownBy(() => mutex.runSync(failing, { onAbandoned: 'repair' })).message).toBe('mine');
      expect(mutex.acquireSync({ onAbandoned: 'repair' })).toEqual({ abandoned: true });
      mutex.release();
      expect(mutex.runSync((hold) => hold)).toEqual({ abandoned: false });
    });
  });

  test('that is closed while it is held counts as abandoned, and says so to its own callers', async () => {
    await withMutex(async (mutex, other) => {
      const mine = new ndshm.Mutex(mutex.name);
      mine.acquireSync();
      const waiting = [outcome(mine.acquire()), outcome(mine.run(() => 'in'))];
      const theirs = outcome(other.on('m', 'acquire'));
      mine.close();
      expect(await Promise.all(waiting)).toEqual(['ERR_NDSHM_CLOSED', 'ERR_NDSHM_CLOSED']);
      expect(await theirs).toBe('ERR_NDSHM_ABANDONED');
      expect(thrownBy(() => mine.release()).code).toBe('ERR_NDSHM_CLOSED');
      expect(thrownBy(() => mine.locked).code).toBe('ERR_NDSHM_CLOSED');
      mine.close();
      mutex.acquireSync({ onAbandoned: 'repair' });
      mutex.release();
    });
  });

  test('cannot be released by who does not hold it', async () => {
    await withMutex(async (mutex, other) => {
      expect(thrownBy(() => mutex.release()).code).toBe('ERR_NDSHM_NOT_OWNED');
      await mutex.acquire();
      expect((await rejection(other.on('m', 'release'))).code).toBe('ERR_NDSHM_NOT_OWNED');
      mutex.release();
      expect(thrownBy(() => mutex.release()).code).toBe('ERR_NDSHM_NOT_OWNED');
    });
  });

  test('does not let its holder wait for itself', async () => {
    await withMutex(async (mutex) => {
      const same = new ndshm.Mutex(mutex.name);
      mutex.acquireSync();
      expect(thrownBy(() => mutex.acquireSync()).code).toBe('ERR_NDSHM_DEADLOCK');
      expect(thrownBy(() => same.acquireSync()).code).toBe('ERR_NDSHM_DEADLOCK');
      mutex.release();
      await mutex.run(async () => {
        expect(await outcome(mutex.run(() => 'in'))).toBe('ERR_NDSHM_DEADLOCK');
        expect(await outcome(same.acquire())).toBe('ERR_NDSHM_DEADLOCK');
      });
      same.close();
    });
  });

  test('is ended by a signal, and refuses what it does not know', async () => {
    await withMutex(async (mutex, other) => {
      await other.on('m', 'acquire');
      const controller = new AbortController();
      const waiting = outcome(mutex.acquire({ signal: controller.signal }));
      const reason = new Error('no more');
      controller.abort(reason);
      expect(await waiting).toBe(reason);
      await other.on('m', 'release');
      expect(await outcome(mutex.acquire({ timeout: 5 } as object))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      expect(thrownBy(() => mutex.acquireSync({ signal: controller.signal } as object)).code).toBe(
        'ERR_NDSHM_INVALID_ARGUMENT',
      );
      expect(thrownBy(() => mutex.tryAcquire({ timeoutMs: 5 } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      expect(thrownBy(() => new ndshm.Mutex(mutex.name, { recursive: true } as object)).code).toBe(
        'ERR_NDSHM_INVALID_ARGUMENT',
      );
      expect(thrownBy(() => new ndshm.Mutex(mutex.name, { reentrant: 1 } as object)).code).toBe(
        'ERR_NDSHM_INVALID_ARGUMENT',
      );
    });
  });

  test('has its name until unlink(), or if ephemeral until the last one closes', async () => {
    const [name, fleeting] = [freshName(), freshName()];
    new ndshm.Mutex(name).close();
    expect(exists(name)).toBe(true);
    const mutex = new ndshm.Mutex(name);
    mutex.unlink();
    expect(exists(name)).toBe(false);
    mutex.close();
    const [a, b] = [new ndshm.Mutex(fleeting, { ephemeral: true }), new ndshm.Mutex(fleeting)];
    a.close();
    expect(exists(fleeting)).toBe(true);
    b.close();
    expect(exists(fleeting)).toBe(false);
    {
      using held = new ndshm.Mutex(fleeting, { ephemeral: true });
      held.acquireSync();
    }
    expect(exists(fleeting)).toBe(false);
  });

  test('is not opened under the name of something else', () => {
    const name = freshName();
    const lock = new ndshm.RWLock(name);
    expect(thrownBy(() => new ndshm.Mutex(name)).code).toBe('ERR_NDSHM_MISMATCH');
    lock.close();
    lock.unlink();
    const array = ndshm.create(name, { shape: 3 });
    expect(thrownBy(() => new ndshm.Mutex(name)).code).toBe('ERR_NDSHM_MISMATCH');
    expect(thrownBy(() => new ndshm.RWLock(name)).code).toBe('ERR_NDSHM_MISMATCH');
    array.close();
    array.unlink();
    expect(thrownBy(() => new ndshm.Mutex('a/b')).code).toBe('ERR_NDSHM_INVALID_NAME');
  });
});

describe('a reentrant Mutex', () => {
  test('lets its holder in again, in every way, and others when it is let go', async () => {
    await withMutex(
      async (mutex, other) => {
        const sync = mutex.runSync(() => mutex.runSync(() => mutex.runSync(() => 'in')));
        expect([sync, mutex.locked]).toEqual(['in', false]);
        const result = await mutex.run(async () => {
          await new Promise(setImmediate);
          const inner = await mutex.run(async () => {
            await new Promise(setImmediate);
            return mutex.runSync(() => 'in');
          });
          expect(mutex.locked).toBe(true);
          expect(await other.on('m', 'tryAcquire')).toBeUndefined();
          return inner;
        });
        expect([result, mutex.locked]).toEqual(['in', false]);
      },
      { reentrant: true },
    );
  });

  test('does not let in another caller of the same process', async () => {
    await withMutex(
      async (mutex) => {
        const [left, leave] = opening();
        const log: string[] = [];
        const first = mutex.run(async () => {
          await left;
          log.push('first');
        });
        const second = mutex.run(() => void log.push('second'));
        await new Promise(setImmediate);
        leave();
        await Promise.all([first, second]);
        expect(log).toEqual(['first', 'second']);
      },
      { reentrant: true },
    );
  });

  test('does not count as held for what its holder has begun and left behind', async () => {
    await withMutex(
      async (mutex, other) => {
        const [left, leave] = opening();
        let later: Promise<boolean> = Promise.resolve(false);
        await mutex.run(() => {
          later = left.then(() => mutex.run(() => true));
        });
        await other.on('m', 'acquire');
        leave();
        let over = false;
        void later.then(() => {
          over = true;
        });
        for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
        expect(over).toBe(false);
        await other.on('m', 'release');
        expect(await later).toBe(true);
      },
      { reentrant: true },
    );
  });
});
