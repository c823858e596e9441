import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { holdings, Peer } from '../helpers/child';
import { eventually, wordAt } from '../helpers/lock-words';
import { opening, outcome, outcomesOfAll, slotOf, withLockers } from '../helpers/locker';
import { freshName, thrownBy } from '../helpers/shm';

const closed = 'ERR_NDSHM_CLOSED';

describe('close() while calls wait', () => {
  test('rejects them all with ERR_NDSHM_CLOSED, and those of others go on', async () => {
    await withLockers(2, async (mine, words, owner, other) => {
      mine.readSync(() => {}); // maps the words
      const before = holdings();
      const a = ndshm.open(mine.name as string, { mode: 'r+' });
      await owner.hold('write');
      const mineToo = [mine.write(() => 'in'), mine.read(() => 'in'), other.enter('writeSync')];
      const waits = [a.write(() => 'in'), a.read(() => 'in'), a.write(() => 'in'), a.changed(), a.snapshot(() => 'in')];
      const outcomes = waits.map(outcome);
      await eventually('waits', () => words.get(wordAt.writer) >>> 24 !== 0 && words.get(wordAt.changeWaiters) === 3);
      await eventually('turn', () => words.turn >= 0);
      a.close();
      expect(await Promise.all(outcomes)).toEqual([closed, closed, closed, closed, closed]);
      await owner.release();
      expect(await Promise.all(mineToo)).toEqual(['in', 'in', 'in']);
      expect(holdings()).toEqual(before);
    });
  });

  test.each(['write', 'read'] as const)(
    'to %s, and the first has been let in but does not know yet, lets others in',
    async (access) => {
      await withLockers(1, async (mine, words, other) => {
        const a = ndshm.open(mine.name as string, { mode: 'r+' });
        await other.hold('write');
        const wait = outcome(a[access](() => 'in'));
        await other.peer.run(({ kept }: PeerContext) => {
          const { data } = kept.get('a') as ndshm.SharedArray<'float64'>;
          const leaveWhenTold = () => {
            if (data[0] === 1) (kept.get('leave') as () => void)();
            else setImmediate(leaveWhenTold);
          };
          setImmediate(leaveWhenTold);
        });
        // From here on this thread does not go round its loop; the native one enters.
        (mine as ndshm.SharedArray<'float64'>).data[0] = 1;
        const slot = slotOf(a);
        const isIn = () => (access === 'write' ? words.owner === slot : words.owner < 0 && words.flag(slot) === 1);
        const end = performance.now() + 10_000;
        while (!isIn() && performance.now() < end);
        expect(isIn()).toBe(true);
        a.close();
        expect(await wait).toBe(closed);
        expect(await other.enter('writeSync')).toBe('in');
      });
    },
  );
});

describe('close() inside', () => {
  test('an asynchronous write rejects it, and the next one is told that it is abandoned', async () => {
    await withLockers(1, async (mine, _words, other) => {
      const a = ndshm.open(mine.name as string, { mode: 'r+' });
      const result = outcome(
        a.write(async () => {
          await new Promise(setImmediate);
          a.close();
          return 'in';
        }),
      );
      expect(await result).toBe(closed);
      expect(await outcome(other.enter('write'))).toBe('ERR_NDSHM_ABANDONED');
      expect(await outcome(mine.read(() => 'in'))).toBe('ERR_NDSHM_ABANDONED');
      expect(await other.enter('write', { onAbandoned: 'repair' })).toBe('in');
    });
  });

  test('a writeSync throws, and the next one is told that it is abandoned', async () => {
    await withLockers(0, async (mine) => {
      const a = ndshm.open(mine.name as string, { mode: 'r+' });
      expect(thrownBy(() => a.writeSync(() => a.close())).code).toBe(closed);
      expect(thrownBy(() => mine.writeSync(() => 'in')).code).toBe('ERR_NDSHM_ABANDONED');
      mine.writeSync(() => {}, { onAbandoned: 'repair' });
    });
  });

  test('a read rejects or throws, and nobody needs to know', async () => {
    await withLockers(1, async (mine, words, other) => {
      for (const sync of [true, false]) {
        const a = ndshm.open(mine.name as string);
        const writing = other.enter('write');
        if (sync) expect(thrownBy(() => a.readSync(() => a.close())).code).toBe(closed);
        else expect(await outcome(a.read(() => a.close()))).toBe(closed);
        expect(await writing).toBe('in');
      }
      const a = ndshm.open(mine.name as string);
      const [left, leave] = opening();
      const reading = outcome(a.read(() => left));
      const writing = other.enter('write');
      await eventually('drain', () => words.get(wordAt.drainWaits) === 1);
      a.close();
      expect(await writing).toBe('in');
      leave();
      expect(await reading).toBe(closed);
    });
  });

  test('what the function throws goes before', async () => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    const fail = async () => {
      a.close();
      throw new Error('mine');
    };
    await expect(a.write(fail)).rejects.toThrow('mine');
  });
});

describe('after close()', () => {
  test('every way in says ERR_NDSHM_CLOSED, whether or not the lock was used before', async () => {
    for (const used of [true, false]) {
      const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
      if (used) {
        a.writeSync(() => {});
        a.readSync(() => {});
        await Promise.all([a.write(() => {}), a.read(() => {}), a.snapshot(() => {})]);
      }
      a.close();
      a.close();
      expect(new Set(await outcomesOfAll(a))).toEqual(new Set([closed]));
    }
  });

  test('of a view, the array goes on', async () => {
    const a = ndshm.create(freshName(), { shape: [2, 2], ephemeral: true });
    const view = a.row(0);
    const held = await view.write(async () => {
      view.close();
      return 'in';
    });
    expect(held).toBe('in');
    expect(await outcome(view.write(() => 1))).toBe(closed);
    expect(a.writeSync((_, hold) => hold)).toEqual({ abandoned: false });
    a.close();
  });

  test('descriptors, mappings and threads are as before', async () => {
    const peer = await Peer.start();
    const owner = await Peer.start();
    const names = Array.from({ length: 10 }, () => freshName());
    for (const name of names) await owner.call(name, 'create', name, { shape: 1 });
    const use = () =>
      peer.run(async ({ ndshm: library }, all) => {
        const { readdirSync } = process.getBuiltinModule('node:fs');
        const arrays = all.map((name) => library.open(name, { mode: 'r+' }));
        const waits = arrays.map((array) => array.changed());
        for (const array of arrays) {
          // Waits on its native thread, which there is one of for each.
          await array.read(() => array.write(() => {}).catch(() => {}));
          array.writeSync(() => {});
        }
        await Promise.all(waits);
        for (const array of arrays) array.close();
        return readdirSync('/proc/self/task').length;
      }, names);
    const first = await use();
    const before = holdings(peer.pid);
    for (let round = 0; round < 3; round++) expect(await use()).toBeLessThanOrEqual(first);
    expect(holdings(peer.pid)).toEqual(before);
    expect(before.mappings).toBe(0);
    await Promise.all([peer.kill(), owner.kill()]);
    for (const name of names) ndshm.unlink(name);
  });
});
