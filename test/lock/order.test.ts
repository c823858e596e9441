import { readFile } from 'node:fs/promises';
import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { within } from '../helpers/child';
import { type Internals, Locker, outcome, slotOf, withLockers } from '../helpers/locker';
import { freshName } from '../helpers/shm';

describe('callers of one process', () => {
  test('get in in the order of their calls, readers next to each other together', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await other.hold('write');
      const log: string[] = [];
      let readers = 0;
      let most = 0;
      const write = (name: string) => mine.write(() => void log.push(name));
      const read = (name: string) =>
        mine.read(async () => {
          log.push(name);
          most = Math.max(most, ++readers);
          await new Promise(setImmediate);
          readers--;
        });
      const calls = [write('w1'), read('r1'), read('r2'), write('w2'), write('w3'), read('r3'), write('w4')];
      await other.release();
      await Promise.all(calls);
      expect(log).toEqual(['w1', 'r1', 'r2', 'w2', 'w3', 'r3', 'w4']);
      expect(most).toBe(2);
    });
  });

  test('keep their order when one of them gives up', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await other.hold('write');
      const log: string[] = [];
      const controllers = [0, 1, 2, 3].map(() => new AbortController());
      const calls = controllers.map(({ signal }, n) =>
        outcome(mine[n % 2 === 0 ? 'write' : 'read'](() => log.push(`${n}`), { signal })),
      );
      controllers[0]?.abort();
      controllers[2]?.abort();
      await other.release();
      await Promise.all(calls);
      expect(log).toEqual(['1', '3']);
    });
  });

  test('who try, or block, do not wait for those in line but for the lock', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await other.hold('write');
      const waiting = [mine.write(() => 'async'), mine.read(() => 'async')];
      const theirs = other.release();
      expect(mine.writeSync(() => 'sync', { timeoutMs: 5000 })).toBe('sync');
      await theirs;
      expect(await Promise.all(waiting)).toEqual(['async', 'async']);
    });
  });
});

describe('who waits', () => {
  test.each(['writeSync', 'readSync', 'write', 'read'] as const)(
    'by %s is woken when the lock is free',
    async (method) => {
      await withLockers(1, async (mine, _words, other) => {
        const rounds = 12;
        const data = mine.data as Float64Array; // [round that is over, round that is held, when it was let go]
        const now = (): number => Number(process.hrtime.bigint()) / 1e6;
        // Lets go 100 ms after we have begun to wait, when we sleep for up to 5 ms more unless we are woken.
        const holding = other.peer.run(
          async ({ ndshm: library, kept }: PeerContext, slot, count) => {
            const array = kept.get('a') as ndshm.SharedArray<'float64'>;
            const { words } = (library.SharedArray as unknown as Internals).attachmentOf(array).control;
            const waitingFor = 1024 + 16 * slot + 9;
            const clock = (): number => Number(process.hrtime.bigint()) / 1e6;
            for (let round = 1; round <= count; round++) {
              array.writeSync(({ data: theirs }) => {
                theirs[1] = round;
                while (Atomics.load(words, waitingFor) === 0);
                const end = clock() + 100;
                while (clock() < end);
                theirs[2] = clock();
              });
              while (array.get(0) !== round) await new Promise(setImmediate);
            }
          },
          slotOf(mine),
          rounds,
        );
        const delays: number[] = [];
        for (let round = 1; round <= rounds; round++) {
          while (data[1] !== round) await new Promise(setImmediate);
          await mine[method](() => void delays.push(now() - (data[2] as number)));
          data[0] = round;
        }
        await holding;
        expect(delays.sort((a, b) => a - b)[rounds / 2]).toBeLessThan(1.5);
      });
    },
  );
});

describe('while calls wait', () => {
  test('the event loop goes round, and files are read', async () => {
    const names = Array.from({ length: 8 }, () => freshName());
    const arrays = names.map((name) => ndshm.create(name, { shape: 1 }));
    const other = await Locker.open(names[0] as string);
    await other.peer.run(async ({ ndshm: library, kept }, all) => {
      for (const name of all) {
        const array = library.open(name, { mode: 'r+' });
        await new Promise<void>((entered) => {
          const left = new Promise<void>((leave) => kept.set(`leave ${name}`, leave));
          void array.write(() => {
            entered();
            return left;
          });
        });
      }
    }, names);
    const waits = arrays.flatMap((array) => [array.write(() => 'in'), array.changed()]);
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
    expect((await within(readFile(__filename), 'file')).length).toBeGreaterThan(0);
    await other.peer.run(({ kept }, all) => {
      for (const name of all) (kept.get(`leave ${name}`) as () => void)();
    }, names);
    expect((await Promise.all(waits)).filter((value) => value === 'in')).toHaveLength(8);
    await other.end();
    for (const array of arrays) array.close();
    for (const name of names) ndshm.unlink(name);
  });
});
