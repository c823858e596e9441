import type * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { eventually, wordAt } from '../helpers/lock-words';
import { type Internals, opening, outcome, withLockers } from '../helpers/locker';

describe('SIGKILL of one that waits', () => {
  test.each(['write', 'read', 'writeSync', 'readSync'] as const)(
    'by %s, and has the turn, is in nobody’s way',
    async (method) => {
      await withLockers(2, async (mine, words, victim, other) => {
        const [left, leave] = opening();
        const held = mine.write(() => left);
        void outcome(victim.enter(method));
        await eventually('turn of the victim', () => words.turn === victim.slot);
        const others = [other.enter('write'), mine.write(() => 'in'), mine.read(() => 'in')];
        await victim.kill();
        leave();
        await held;
        expect(await Promise.all(others)).toEqual(['in', 'in', 'in']);
        expect(words.turn).toBe(-1);
      });
    },
  );

  test('for readers to leave, with the word taken, lets readers and writers in, and says nothing of it', async () => {
    await withLockers(2, async (mine, words, victim, other) => {
      await other.hold('read');
      void outcome(victim.enter('write'));
      await eventually('drain', () => words.owner === victim.slot && words.get(wordAt.drainWaits) === 1);
      const mineWaits = outcome(mine.read((_, hold) => hold));
      await victim.kill();
      expect(await mineWaits).toEqual({ abandoned: false });
      expect(words.get(wordAt.drainWaits)).toBe(0);
      await other.release();
    });
  });

  test('and has been woken in place of another, who then enters without a wake-up', async () => {
    await withLockers(2, async (mine, words, victim, other) => {
      const [left, leave] = opening();
      const held = mine.write(() => left);
      void outcome(victim.enter('writeSync'));
      await victim.waiting();
      const others = other.enter('writeSync');
      await other.waiting();
      // A stopped sleeper still takes the wake-up; and whoever has the turn too.
      victim.peer.process.kill('SIGSTOP');
      await victim.stopped();
      leave();
      await held;
      await victim.kill();
      expect(await others).toBe('in');
      expect(words.owner).toBe(-1);
    });
  });
});

describe('SIGKILL of one that has let go and not woken anybody', () => {
  test('of the word: sleepers enter all the same', async () => {
    await withLockers(2, async (mine, words, victim, other) => {
      // As leaveWrite() of native/core/rwlock.cc does it, up to the wake-up.
      void victim.peer
        .run(({ ndshm: library, kept }: PeerContext) => {
          const array = kept.get('a') as ndshm.SharedArray;
          const lock = (library.SharedArray as unknown as Internals).attachmentOf(array).control.words;
          return array.write(() => {
            kept.set('leave', () => {
              Atomics.add(lock, 32, 1);
              Atomics.and(lock, 16, ~(0x1ff | (3 << 24)));
              process.kill(process.pid, 'SIGKILL');
            });
            return new Promise(() => {});
          });
        })
        .catch(() => {});
      await eventually('entry of the victim', () => words.owner === victim.slot);
      const others = [other.enter('writeSync'), mine.write(() => 'in'), mine.read(() => 'in')];
      await other.waiting();
      void outcome(victim.peer.run(({ kept }: PeerContext) => (kept.get('leave') as () => void)()));
      await victim.peer.end();
      expect(await Promise.all(others)).toEqual(['in', 'in', 'in']);
    });
  });

  test('of its reader flag: the writer that drains enters all the same', async () => {
    await withLockers(1, async (mine, words, victim) => {
      await victim.hold('read');
      const waiting = mine.write(() => 'in');
      await eventually('drain', () => words.get(wordAt.drainWaits) === 1);
      words.setFlag(victim.slot, 0);
      expect(await waiting).toBe('in');
      await victim.kill();
    });
  });

  test('of a completed write: changed() resolves all the same', async () => {
    await withLockers(2, async (mine, words, victim, other) => {
      const since = mine.version;
      const changed = [
        mine.changed({ since, timeoutMs: 5000 }),
        other.peer.run(({ kept }: PeerContext, before) => {
          return (kept.get('a') as ndshm.SharedArray).changed({ since: before, timeoutMs: 5000 });
        }, since),
      ];
      await eventually('wait', () => words.get(wordAt.changeWaiters) === 3);
      void outcome(
        victim.peer.run(({ kept }: PeerContext) => {
          const original = Atomics.compareExchange;
          let count = 0;
          Object.assign(Atomics, {
            compareExchange: (array: Int32Array, ...rest: [number, number, number]) => {
              const result = original(array, ...rest);
              if (array.length === 5120 && ++count === 2) process.kill(process.pid, 'SIGKILL');
              return result;
            },
          });
          (kept.get('a') as ndshm.SharedArray).writeSync(() => {});
        }),
      );
      await victim.peer.end();
      expect(words.owner).toBe(-1);
      expect(await Promise.all(changed.map(outcome))).toEqual([since + 2, since + 2]);
    });
  });
});

describe('SIGSTOP', () => {
  test.each(['write', 'read'] as const)('of one that waits to %s with the turn is waited for', async (access) => {
    await withLockers(2, async (mine, words, stopped, other) => {
      const [left, leave] = opening();
      const held = mine.write(() => left);
      const entry = stopped.enter(access);
      await eventually('turn', () => words.turn === stopped.slot);
      stopped.peer.process.kill('SIGSTOP');
      await stopped.stopped();
      leave();
      await held;
      expect(await outcome(other.enter('write', { timeoutMs: 60 }))).toBe('ERR_NDSHM_TIMEOUT');
      const others = [other.enter('write'), mine.write(() => 'in')];
      stopped.peer.process.kill('SIGCONT');
      expect(await Promise.all([entry, ...others])).toEqual(['in', 'in', 'in']);
    });
  });
});
