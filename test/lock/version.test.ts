import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { eventually, LockWords, wordAt } from '../helpers/lock-words';
import { type Locker, opening, outcome, withLockers } from '../helpers/locker';
import { freshName, thrownBy } from '../helpers/shm';

const changedIn = (locker: Locker, options: ndshm.ChangedOptions): Promise<number> =>
  locker.peer.run(({ kept }: PeerContext, given) => (kept.get('a') as ndshm.SharedArray).changed(given), options);

describe('version', () => {
  test('is odd inside a write and 2 more after it, whoever writes; reading does not change it', async () => {
    await withLockers(1, async (mine, _words, other) => {
      expect(mine.version).toBe(0);
      expect(mine.writeSync(() => mine.version)).toBe(1);
      expect(mine.version).toBe(2);
      expect(await mine.write(() => mine.version)).toBe(3);
      expect(mine.readSync(() => mine.version)).toBe(4);
      await other.enter('write');
      await other.enter('read');
      expect(mine.version).toBe(6);
      await other.hold('write');
      expect(mine.version).toBe(7);
      await other.release();
      expect(mine.row(0).version).toBe(8);
    });
  });

  test('goes on beyond 32 bits', () => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    const words = new LockWords(a.name as string);
    words.set(wordAt.version, 2 ** 32 - 2);
    expect(a.writeSync(() => a.version)).toBe(2 ** 32 - 1);
    expect(a.version).toBe(2 ** 32);
    words.set(wordAt.version, 2 ** 31 - 2);
    expect(a.writeSync(() => a.version)).toBe(2 ** 32 + 2 ** 31 - 1);
    expect(a.version).toBe(2 ** 32 + 2 ** 31);
    a.close();
  });
});

describe('changed()', () => {
  test('resolves after a write of another process, or of this one, with the new version', async () => {
    await withLockers(2, async (mine, words, one, two) => {
      const waits = [mine.changed(), changedIn(one, {}), changedIn(two, { since: 0 })];
      await eventually('waits', () => words.get(wordAt.changeWaiters) === 3 && words.waitingFor(two.slot) === 0);
      // All three have to wait by now, or the write would be before their `since`.
      for (const locker of [one, two]) await locker.peer.run(() => new Promise<void>((turn) => setImmediate(turn)));
      await one.enter('write');
      expect(await Promise.all(waits)).toEqual([2, 2, 2]);
      const again = [mine.changed(), changedIn(two, { since: 2 })];
      mine.writeSync(() => {});
      expect(await Promise.all(again)).toEqual([4, 4]);
    });
  });

  test('resolves at once, if there has been a write since', async () => {
    await withLockers(1, async (mine, _words, other) => {
      const { version } = mine;
      await other.enter('write');
      await other.enter('write');
      expect(await mine.changed({ since: version })).toBe(version + 4);
    });
  });

  test('tells each of many writes, if asked for one after the other', async () => {
    await withLockers(1, async (mine, _words, other) => {
      const writes = 300;
      const seen = other.peer.run(async ({ kept }: PeerContext, last) => {
        const array = kept.get('a') as ndshm.SharedArray;
        let version = 0;
        let value = 0;
        while (value < last) {
          version = await array.changed({ since: version });
          value = array.readSync(() => array.get(0)) as number;
        }
        return value;
      }, writes);
      for (let n = 1; n <= writes; n++) {
        mine.writeSync(() => mine.set(0, n));
        if (n % 10 === 0) await new Promise(setImmediate);
      }
      expect(await seen).toBe(writes);
    });
  });

  test('resolves when it is told to, and not only when it looks again by itself, some 100 ms later', async () => {
    await withLockers(1, async (mine, _words, other) => {
      const rounds = 40;
      const answering = other.peer.run(async ({ kept }: PeerContext, count) => {
        const array = kept.get('a') as ndshm.SharedArray;
        for (let round = 0; round < count; round++) {
          await array.changed({ since: 4 * round });
          array.writeSync(() => {});
        }
      }, rounds);
      const before = performance.now();
      for (let round = 0; round < rounds; round++) {
        const answer = mine.changed({ since: 4 * round + 2 });
        mine.writeSync(() => {});
        await answer;
      }
      expect(performance.now() - before).toBeLessThan(rounds * 50);
      await answering;
    });
  });

  test('does not resolve for readers, or for stores without the lock, nor while the writer is inside', async () => {
    await withLockers(1, async (mine, _words, other) => {
      const changed = mine.changed();
      let resolved = false;
      void changed.then(() => {
        resolved = true;
      });
      await other.enter('read');
      await other.peer.on('a', 'set', 0, 5);
      await other.hold('write');
      for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
      expect(resolved).toBe(false);
      await other.release();
      expect(await changed).toBe(2);
    });
  });

  test('ends by timeoutMs, by its signal, and by close()', async () => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    expect(await outcome(a.changed({ timeoutMs: 10 }))).toBe('ERR_NDSHM_TIMEOUT');
    const controller = new AbortController();
    const waits = [a.changed({ signal: controller.signal }), a.changed()].map(outcome);
    const reason = new Error('no more');
    controller.abort(reason);
    expect(await waits[0]).toBe(reason);
    expect(await outcome(a.changed({ signal: controller.signal }))).toBe(reason);
    a.close();
    expect(await waits[1]).toBe('ERR_NDSHM_CLOSED');
    expect(await outcome(a.changed())).toBe('ERR_NDSHM_CLOSED');
  });

  test('refuses a since that is no version', async () => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    for (const since of [1.5, Number.NaN, '0' as unknown as number]) {
      expect(await outcome(a.changed({ since }))).toMatch(/^ERR_NDSHM_(OUT_OF_RANGE|INVALID_ARGUMENT)$/);
    }
    a.close();
  });
});

describe('snapshot', () => {
  test('gives one consistent state though a writer never pauses', async () => {
    await withLockers(1, async (mine, _words, other) => {
      const writing = other.peer.run(({ kept }: PeerContext) => {
        const array = kept.get('a') as ndshm.SharedArray<'float64'>;
        const { data } = array;
        let rounds = 0;
        const countUp = (): void => {
          const value = (data[0] as number) + 1;
          for (let n = 0; n < 3; n++) data[n] = value;
        };
        for (; data[3] === 0; rounds++) {
          array.writeSync(countUp);
          const end = performance.now() + 0.02;
          while (performance.now() < end);
        }
        return rounds;
      });
      await eventually('first write', () => mine.version > 0);
      let runs = 0;
      const look = (array: ndshm.SharedArray): unknown => {
        runs++;
        return array.toNested();
      };
      for (let round = 0; round < 500; round++) {
        const seen = (round % 2 === 0 ? mine.snapshotSync(look) : await mine.snapshot(look)) as number[];
        expect(seen.slice(0, 3)).toEqual(new Array(3).fill(seen[0]));
      }
      expect(runs).toBeGreaterThanOrEqual(500);
      mine.set(3, 1);
      expect(await writing).toBeGreaterThan(0);
    });
  });

  test('waits until the writer inside has left, and runs the function again if one came', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await other.hold('write');
      let runs = 0;
      const waiting = mine.snapshot(() => ++runs);
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      expect(runs).toBe(0);
      expect(await outcome(mine.snapshot(() => 1, { timeoutMs: 10 }))).toBe('ERR_NDSHM_TIMEOUT');
      expect(thrownBy(() => mine.snapshotSync(() => 1, { timeoutMs: 10 })).code).toBe('ERR_NDSHM_TIMEOUT');
      const controller = new AbortController();
      const aborted = outcome(mine.snapshot(() => 1, { signal: controller.signal }));
      controller.abort('why');
      expect(await aborted.catch((reason) => reason)).toBe('why');
      await other.release();
      expect(await waiting).toBe(1);
      let disturbed = 0;
      expect(
        mine.snapshotSync(() => {
          if (disturbed++ < 3) mine.writeSync(() => {});
          return disturbed;
        }),
      ).toBe(4);
    });
  });

  test('reports what it waits for as abandoned, if the writer dies, or has died before', async () => {
    await withLockers(1, async (mine, words, other) => {
      await other.hold('write');
      const waiting = outcome(mine.snapshot(() => 'in'));
      await eventually('wait', () => words.get(wordAt.changeWaiters) === 3);
      await other.kill();
      expect(await waiting).toBe('ERR_NDSHM_ABANDONED');
      expect(thrownBy(() => mine.snapshotSync(() => 'in')).code).toBe('ERR_NDSHM_ABANDONED');
      mine.writeSync(() => {}, { onAbandoned: 'repair' });
      expect(mine.snapshotSync(() => 'in')).toBe('in');
    });
  });

  test('passes on what its function throws, if no writer disturbed it', () => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    let runs = 0;
    const failing = () => {
      if (runs++ === 0) a.writeSync(() => {});
      throw new Error(`run ${runs}`);
    };
    expect(thrownBy(() => a.snapshotSync(failing)).message).toBe('run 2');
    expect(thrownBy(() => a.snapshotSync(() => a.close())).code).toBe('ERR_NDSHM_CLOSED');
  });

  test('is not disturbed by readers, nor by its caller’s own write lock', async () => {
    const [left, leave] = opening();
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    const reading = a.read(() => left);
    expect(a.snapshotSync(() => 'in')).toBe('in');
    leave();
    await reading;
    a.close();
  });
});
