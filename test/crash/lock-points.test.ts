import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { type Internals, type Locker, outcome, withLockers } from '../helpers/locker';

/** A place in the protocol. The victim stops itself there (SIGSTOP), so that others can come; then it is killed, or goes on. */
interface Point {
  readonly title: string;
  /** Brings the victim there. What it returns settles when the victim has gone on from there. */
  readonly go: (victim: Locker) => Promise<unknown>;
  /** Whom the stopped victim keeps out. */
  readonly keepsOut: readonly ('write' | 'read')[];
  /** Its death has to be told to whoever comes next. */
  readonly abandoned?: true;
  /** What others find in the first and the last element afterwards; the victim writes 5 into all. */
  readonly found?: readonly [number, number];
}

/** Which operation on the words, counted from 0 among those of this name at this place. */
interface Place {
  readonly operation: 'compareExchange' | 'store' | 'or';
  readonly at: 'writer' | 'flag' | 'changeWaiters';
  readonly nth: number;
  readonly after: boolean;
}

/** Runs a method of the victim's array, which stops the process in the place of an atomic operation, or right after it. */
const stopAround =
  (method: 'writeSync' | 'readSync', place: Place) =>
  (victim: Locker): Promise<unknown> =>
    victim.peer.run(
      ({ kept }: PeerContext, name, { operation, at, nth, after }, slot) => {
        const array = kept.get('a') as ndshm.SharedArray;
        const index = { writer: 16, changeWaiters: 35, flag: 1024 + 16 * slot }[at];
        const original = Atomics[operation] as (...given: unknown[]) => unknown;
        let count = 0;
        Object.assign(Atomics, {
          [operation]: (words: Int32Array, position: number, ...values: number[]) => {
            const isHere = words.length === 5120 && position === index && count++ === nth;
            if (isHere && !after) process.kill(process.pid, 'SIGSTOP');
            const result = original(words, position, ...values);
            if (isHere && after) process.kill(process.pid, 'SIGSTOP');
            return result;
          },
        });
        try {
          array[name](() => {
            if (name === 'writeSync') array.fill(5);
          });
        } finally {
          Object.assign(Atomics, { [operation]: original });
        }
      },
      method,
      place,
      victim.slot,
    );

/** Sets a bit by hand, as the native side does it in the middle of a step, stops, and takes it back. */
const settingBits =
  (place: (slot: number) => readonly [index: number, bits: number]) =>
  (victim: Locker): Promise<unknown> =>
    victim.peer.run(({ ndshm: library, kept }: PeerContext, [index, bits]) => {
      const array = kept.get('a') as ndshm.SharedArray;
      const { words } = (library.SharedArray as unknown as Internals).attachmentOf(array).control;
      Atomics.or(words, index, bits);
      process.kill(process.pid, 'SIGSTOP');
      Atomics.and(words, index, ~bits);
    }, place(victim.slot));

const points: Point[] = [
  {
    title: 'about to take the word',
    go: stopAround('writeSync', { operation: 'compareExchange', at: 'writer', nth: 0, after: false }),
    keepsOut: [],
  },
  {
    title: 'with the word taken, the version still even',
    go: stopAround('writeSync', { operation: 'compareExchange', at: 'writer', nth: 0, after: true }),
    keepsOut: ['write', 'read'],
  },
  {
    title: 'inside a write, before its first store',
    go: (victim) =>
      victim.peer.run(({ kept }: PeerContext) => {
        const array = kept.get('a') as ndshm.SharedArray;
        array.writeSync(() => {
          process.kill(process.pid, 'SIGSTOP');
          array.fill(5);
        });
      }),
    keepsOut: ['write', 'read'],
    abandoned: true,
  },
  {
    title: 'inside an asynchronous write, half-way',
    go: (victim) =>
      victim.peer.run(({ kept }: PeerContext) => {
        const array = kept.get('a') as ndshm.SharedArray;
        return array.write(async () => {
          array.set(0, 5);
          await new Promise(setImmediate);
          process.kill(process.pid, 'SIGSTOP');
          array.fill(5);
        });
      }),
    keepsOut: ['write', 'read'],
    abandoned: true,
    found: [5, 0],
  },
  {
    title: 'with the write complete, the word not let go',
    go: stopAround('writeSync', { operation: 'compareExchange', at: 'writer', nth: 1, after: false }),
    keepsOut: ['write', 'read'],
    found: [5, 5],
  },
  {
    title: 'with the word let go, nobody told of the change',
    go: stopAround('writeSync', { operation: 'compareExchange', at: 'writer', nth: 1, after: true }),
    keepsOut: [],
    found: [5, 5],
  },
  {
    title: 'with its reader flag up, before it looks at the word',
    go: stopAround('readSync', { operation: 'store', at: 'flag', nth: 0, after: true }),
    keepsOut: ['write'],
  },
  {
    title: 'inside a read',
    go: (victim) =>
      victim.peer.run(({ kept }: PeerContext) => {
        (kept.get('a') as ndshm.SharedArray).readSync(() => process.kill(process.pid, 'SIGSTOP'));
      }),
    keepsOut: ['write'],
  },
  {
    title: 'about to lower its reader flag',
    go: stopAround('readSync', { operation: 'store', at: 'flag', nth: 1, after: false }),
    keepsOut: ['write'],
  },
  {
    title: 'with its reader flag down, the waiting writer not woken',
    go: stopAround('readSync', { operation: 'store', at: 'flag', nth: 1, after: true }),
    keepsOut: [],
  },
  {
    title: 'registered as a reader in the map, not yet in the word',
    go: settingBits((slot) => [64 + (slot >> 5), 1 << (slot & 31)]),
    keepsOut: [],
  },
  {
    title: 'with a wait flag set, not yet asleep',
    go: settingBits(() => [16, 1 << 24]),
    keepsOut: [],
  },
];

/** Every slot can be claimed, and whoever has it can write and read. */
function expectSlotsReusable(name: string): void {
  const free = 256 - ndshm.stat(name).peers.length;
  const claimed = Array.from({ length: free }, () => ndshm.open(name, { mode: 'r+' }));
  for (const array of claimed) {
    expect(array.tryWrite(() => 'in')).toBe('in');
    expect(array.tryRead(() => 'in')).toBe('in');
  }
  for (const array of claimed) array.close();
}

describe.each(points)('stopped $title', ({ go, keepsOut, abandoned, found = [0, 0] }) => {
  test('it is waited for, and killed there it is in nobody’s way', async () => {
    await withLockers(2, async (mine, words, victim, other) => {
      void go(victim).catch(() => {});
      await victim.stopped();
      for (const access of ['write', 'read'] as const) {
        const expected = keepsOut.includes(access) ? 'ERR_NDSHM_TIMEOUT' : 'in';
        const tried = [mine[access](() => 'in', { timeoutMs: 60 }), other.enter(`${access}Sync`, { timeoutMs: 60 })];
        expect(await Promise.all(tried.map(outcome))).toEqual([expected, expected]);
      }

      const waiting = keepsOut.flatMap((access) => [outcome(mine[access](() => 'in')), outcome(other.enter(access))]);
      if (waiting.length > 0) await other.waiting();
      await victim.kill();
      const expected = abandoned ? 'ERR_NDSHM_ABANDONED' : 'in';
      expect(await Promise.all(waiting)).toEqual(waiting.map(() => expected));

      expect([mine.get(0), mine.get(3)]).toEqual(found);
      if (abandoned) {
        expect(await outcome(mine.read(() => 'in'))).toBe('ERR_NDSHM_ABANDONED');
        expect(await mine.read((_, hold) => hold, { onAbandoned: 'ignore' })).toEqual({ abandoned: true });
        expect(await other.enter('writeSync', { onAbandoned: 'repair' })).toBe('in');
      }
      for (const access of ['write', 'read'] as const) {
        expect(await mine[access]((_, hold) => hold)).toEqual({ abandoned: false });
        expect(await other.enter(access)).toBe('in');
      }
      expectSlotsReusable(words.name);
    });
  });

  test('it goes on, and then so do those who have waited', async () => {
    await withLockers(2, async (mine, words, victim, other) => {
      const gone = go(victim);
      await victim.stopped();
      const waiting = keepsOut.flatMap((access) => [outcome(mine[access](() => 'in')), outcome(other.enter(access))]);
      if (waiting.length > 0) await other.waiting();
      victim.peer.process.kill('SIGCONT');
      await gone;
      expect(await Promise.all(waiting)).toEqual(waiting.map(() => 'in'));
      expect(words.isAbandoned).toBe(false);
    });
  });
});
