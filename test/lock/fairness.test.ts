import type { SharedArray } from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { eventually } from '../helpers/lock-words';
import { type Locker, withLockers } from '../helpers/locker';

// Elements of the array.
const over = 3;

/** Enters again and again, each time for so long, and counts its entries in an element of its own, until told to stop. */
function stream(locker: Locker, method: 'readSync' | 'writeSync' | 'read' | 'write', me: number, insideMs: number) {
  return locker.peer.run(
    async ({ kept }: PeerContext, name, element, ms, stop) => {
      const array = kept.get('a') as SharedArray<'float64'>;
      const { data } = array;
      const stay = (): void => {
        data[element] = (data[element] as number) + 1;
        const end = performance.now() + ms;
        while (performance.now() < end);
      };
      const stayLater = async (): Promise<void> => {
        data[element] = (data[element] as number) + 1;
        await new Promise((resolve) => setTimeout(resolve, ms)); // the work inside: nothing waits for its length
      };
      while (data[stop] === 0)
        await array[name]((name === 'read' || name === 'write' ? stayLater : stay) as () => void);
    },
    method,
    me,
    insideMs,
    over,
  );
}

/** How many entries of the streams there were until an entry of ours, at worst. */
async function entriesUntil(mine: SharedArray, enter: () => unknown): Promise<number> {
  const { data } = mine as SharedArray<'float64'>;
  const count = (): number => (data[0] as number) + (data[1] as number);
  await eventually('beginning of both streams', () => (data[0] as number) > 2 && (data[1] as number) > 2);
  let most = 0;
  for (let round = 0; round < 5; round++) {
    const before = count();
    await enter();
    most = Math.max(most, count() - before);
  }
  return most;
}

// Without the turn these numbers have no bound. With it: those of a millisecond, those that are inside, and some more,
// because on a busy machine the one that may enter is not always the one that runs.
describe('nobody is kept out', () => {
  test.each([
    ['readSync', 1, 'write'],
    ['readSync', 1, 'writeSync'],
    ['read', 1, 'write'],
    ['read', 70, 'write'],
    ['read', 70, 'writeSync'],
    ['writeSync', 0.1, 'read'],
    ['writeSync', 0.1, 'readSync'],
    ['writeSync', 0.1, 'write'],
    ['write', 1, 'read'],
    ['write', 1, 'writeSync'],
  ] as const)(
    'by two processes that %s without pause, %d ms each: who wants to %s enters',
    async (stream1, ms, method) => {
      await withLockers(2, async (mine, _words, one, two) => {
        const streams = [stream(one, stream1, 0, ms), stream(two, stream1, 1, ms)];
        const entries = await entriesUntil(mine, () => mine[method](() => 'in'));
        mine.set(over, 1);
        await Promise.all(streams);
        expect(entries).toBeLessThan(ms === 70 ? 10 : 400);
      });
    },
  );

  test('by a caller of its own process that comes again at once', async () => {
    await withLockers(1, async (mine, _words, other) => {
      let rounds = 0;
      let stop = false;
      const again = async (): Promise<void> => {
        for (; !stop; rounds++) await mine.write(() => new Promise(setImmediate));
      };
      const both = [again(), again()];
      await new Promise(setImmediate);
      expect(await other.enter('write')).toBe('in');
      stop = true;
      await Promise.all(both);
      expect(rounds).toBeGreaterThan(0);
    });
  });
});
