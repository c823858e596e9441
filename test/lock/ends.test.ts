import { readdirSync } from 'node:fs';
import type { SharedArray } from 'ndshm';
import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { eventually, wordAt } from '../helpers/lock-words';
import { Locker, outcome, withLockers } from '../helpers/locker';

const promptMs = 2000;
const threadsOf = (pid: number): string[] => readdirSync(`/proc/${pid}/task`);

/** Has it wait for the lock of an array that `mine` holds in the way that `how` says. */
async function wait(locker: Locker, how: 'async' | 'sync'): Promise<void> {
  if (how === 'sync') {
    void outcome(locker.enter('writeSync'));
    await locker.waiting();
    return;
  }
  await locker.peer.run(({ kept }: PeerContext) => {
    const array = kept.get('a') as SharedArray;
    for (const pending of [array.write(() => 'in'), array.read(() => 'in'), array.changed()]) pending.catch(() => {});
  });
  await locker.waiting();
  await eventually('wait for changes', () => locker.words.get(wordAt.changeWaiters) === 3);
}

async function whileHeld(mine: SharedArray, use: () => Promise<void>): Promise<void> {
  await mine.write(async () => {
    const before = performance.now();
    await use();
    expect(performance.now() - before).toBeLessThan(promptMs);
  });
}

describe.each(['async', 'sync'] as const)('with %s waits pending', (how) => {
  test('worker.terminate() ends the thread soon, and its process goes on', async () => {
    await withLockers(0, async (mine, words) => {
      const worker = await Locker.open(words.name, { thread: true });
      const threads = threadsOf(worker.peer.pid);
      await whileHeld(mine, async () => {
        await wait(worker, how);
        await worker.peer.on('a', 'terminate');
        expect(ndshm.stat(words.name).peers).toHaveLength(1);
        // Others may have started meanwhile: Node has threads of its own.
        await eventually('a thread less', () => {
          const left = threadsOf(worker.peer.pid);
          return threads.some((thread) => !left.includes(thread));
        });
        worker.peer.process.disconnect();
        expect(await worker.peer.end()).toEqual({ code: 0, signal: null });
      });
    });
  });

  test('process.exit() ends the process soon, with a thread that waits', async () => {
    await withLockers(0, async (mine, words) => {
      const worker = await Locker.open(words.name, { thread: true });
      await whileHeld(mine, async () => {
        await wait(worker, how);
        worker.peer.send('exit');
        expect(await worker.peer.end()).toEqual({ code: 0, signal: null });
      });
    });
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends the process soon', async (signal) => {
    await withLockers(1, async (mine, _words, other) => {
      await whileHeld(mine, async () => {
        await wait(other, how);
        expect(await other.peer.kill(signal)).toEqual({ code: null, signal });
      });
    });
  });
});

describe('worker.terminate()', () => {
  test('inside an asynchronous write abandons it, inside a read it does not', async () => {
    await withLockers(0, async (mine, words) => {
      for (const access of ['read', 'write'] as const) {
        const worker = await Locker.open(words.name, { thread: true });
        await worker.hold(access);
        const waiting = outcome(mine.write(() => 'in'));
        await worker.peer.on('a', 'terminate');
        expect(await waiting).toBe(access === 'write' ? 'ERR_NDSHM_ABANDONED' : 'in');
        await worker.kill();
      }
      mine.writeSync(() => {}, { onAbandoned: 'repair' });
    });
  });

  test('while its waits come to an end, again and again, is survived', async () => {
    await withLockers(0, async (mine, words) => {
      for (let round = 0; round < 8; round++) {
        const worker = await Locker.open(words.name, { thread: true });
        await mine.write(async () => {
          await wait(worker, round % 2 === 0 ? 'async' : 'sync');
        });
        await worker.peer.on('a', 'terminate');
        worker.peer.process.disconnect();
        expect(await worker.peer.end()).toEqual({ code: 0, signal: null });
        mine.writeSync(() => {}, { onAbandoned: 'repair' });
      }
    });
  });
});

describe('process.exit()', () => {
  test('with a wait pending ends the process soon', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await whileHeld(mine, async () => {
        await wait(other, 'async');
        void outcome(other.peer.run(() => process.exit(3)));
        expect(await other.peer.end()).toEqual({ code: 3, signal: null });
      });
    });
  });
});

describe('a process that has nothing else to do', () => {
  test.each(['write', 'read', 'changed', 'snapshot'] as const)(
    'stays until its %s is over, and ends then',
    async (method) => {
      await withLockers(1, async (mine, words, other) => {
        await mine.write(async () => {
          await other.peer.run(({ kept }: PeerContext, name) => {
            const array = kept.get('a') as SharedArray;
            const inside = (): void => {
              process.exitCode = 7;
            };
            if (name === 'changed') void array.changed().then(inside);
            else void array[name](inside);
          }, method);
          other.peer.process.disconnect();
          if (method === 'write' || method === 'read') await other.waiting();
          else await eventually('wait', () => words.get(wordAt.changeWaiters) === 3);
        });
        expect(await other.peer.end()).toEqual({ code: 7, signal: null });
      });
    },
  );

  test('ends although it has waited before, and has its arrays open', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await mine.write(() => wait(other, 'async'));
      await eventually('end of the waits', () => other.words.waitingFor(other.slot) === 0);
      other.peer.process.disconnect();
      expect(await other.peer.end()).toEqual({ code: 0, signal: null });
    });
  });
});
