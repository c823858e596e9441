import * as ndshm from 'ndshm';
import { eventually, wordAt } from '../helpers/lock-words';
import { Locker, opening, outcome, withLockers } from '../helpers/locker';
import { freshName, thrownBy } from '../helpers/shm';

const deadlock = 'ERR_NDSHM_DEADLOCK';
const codeOf = (run: () => unknown): string | undefined => thrownBy(run).code;

let a: ndshm.SharedArray;
/** Another attachment of the same segment. */
let b: ndshm.SharedArray;

beforeEach(() => {
  const name = freshName();
  a = ndshm.create(name, { shape: [2, 2], ephemeral: true });
  b = ndshm.open(name, { mode: 'r+' });
});
afterEach(() => {
  // Whatever was refused: the lock is free, whole, and usable.
  expect(b.tryWrite((_, hold) => hold)).toEqual({ abandoned: false });
  expect(a.tryRead((_, hold) => hold)).toEqual({ abandoned: false });
  a.close();
  b.close();
});

describe('in one thread, blocking is ERR_NDSHM_DEADLOCK', () => {
  test.each(['this attachment', 'a view of it', 'another attachment'])('by %s', (which) => {
    const inner = which === 'this attachment' ? a : which === 'another attachment' ? b : a.row(0);
    a.writeSync(() => {
      expect(codeOf(() => inner.writeSync(() => 'in'))).toBe(deadlock);
      expect(codeOf(() => inner.readSync(() => 'in'))).toBe(deadlock);
      expect([inner.tryWrite(() => 'in'), inner.tryRead(() => 'in')]).toEqual([undefined, undefined]);
    });
    a.readSync(() => {
      expect(codeOf(() => inner.writeSync(() => 'in'))).toBe(deadlock);
      expect(inner.tryWrite(() => 'in')).toBeUndefined();
      expect(inner.readSync(() => 'in')).toBe('in');
      expect(inner.tryRead(() => inner.readSync(() => 'in'))).toBe('in');
    });
  });

  test.each(['write', 'read'] as const)('while an asynchronous %s holds the lock, whoever began it', async (access) => {
    const [left, leave] = opening();
    const held = a[access](() => left);
    await new Promise(setImmediate);
    for (const array of [a, b]) {
      expect(codeOf(() => array.writeSync(() => 'in', { timeoutMs: 5000 }))).toBe(deadlock);
      if (access === 'write') expect(codeOf(() => array.readSync(() => 'in', { timeoutMs: 5000 }))).toBe(deadlock);
      else expect(array.readSync(() => 'in')).toBe('in');
    }
    leave();
    await held;
  });
});

describe('in one chain of asynchronous calls, waiting for oneself is ERR_NDSHM_DEADLOCK', () => {
  test.each(['this attachment', 'another attachment'])('by %s', async (which) => {
    const inner = which === 'this attachment' ? a : b;
    await a.write(async () => {
      await new Promise(setImmediate);
      expect(await outcome(inner.write(() => 'in'))).toBe(deadlock);
      expect(await outcome(inner.read(() => 'in'))).toBe(deadlock);
      expect(codeOf(() => inner.writeSync(() => 'in'))).toBe(deadlock);
    });
    await a.read(async () => {
      await new Promise(setImmediate);
      expect(await outcome(inner.write(() => 'in'))).toBe(deadlock);
      expect(await inner.read(() => inner.read(() => 'in'))).toBe('in');
    });
  });

  test('also through another lock in between', async () => {
    const other = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    await a.write(() =>
      other.write(async () => {
        expect(await outcome(a.read(() => 'in'))).toBe(deadlock);
        expect(await outcome(b.write(() => 'in'))).toBe(deadlock);
      }),
    );
    other.close();
  });

  test('and not in what the chain has begun and not awaited, once the lock is let go', async () => {
    let later: Promise<unknown> = Promise.resolve();
    const [left, leave] = opening();
    await a.write(() => {
      later = left.then(() => a.write(() => b.tryRead(() => 'in') ?? 'alone'));
    });
    leave();
    expect(await later).toBe('alone');
  });
});

describe('not a deadlock', () => {
  test('reading while one reads, though a writer of another process waits for both', async () => {
    await withLockers(1, async (mine, words, writer) => {
      const result = await mine.read(async () => {
        const writing = writer.enter('write');
        await eventually('drain', () => words.get(wordAt.drainWaits) === 1);
        expect(mine.readSync(() => 'in')).toBe('in');
        expect(mine.tryRead(() => 'in')).toBe('in');
        expect(await mine.read(() => 'in')).toBe('in');
        return { writing };
      });
      expect(await result.writing).toBe('in');
    });
  });

  test('by another attachment that would be one, and is said to be', async () => {
    await withLockers(1, async (mine, words, writer) => {
      const another = ndshm.open(mine.name as string);
      const result = await mine.read(async () => {
        const writing = writer.enter('write');
        await eventually('drain', () => words.get(wordAt.drainWaits) === 1);
        expect(codeOf(() => another.readSync(() => 'in'))).toBe(deadlock);
        expect(await outcome(another.read(() => 'in'))).toBe(deadlock);
        expect(another.tryRead(() => 'in')).toBeUndefined();
        return { writing };
      });
      expect(await result.writing).toBe('in');
      another.close();
    });
  });

  test('blocking while another attachment of this thread waits asynchronously', async () => {
    await withLockers(1, async (mine, _words, owner) => {
      const another = ndshm.open(mine.name as string, { mode: 'r+' });
      for (const access of ['write', 'read'] as const) {
        await owner.hold('write');
        const waiting = mine[access](() => 'in');
        await new Promise(setImmediate);
        const released = owner.release();
        // The native wait of `mine` may get in while we block; it stands back for us then.
        expect(another.writeSync(() => 'in', { timeoutMs: 5000 })).toBe('in');
        expect([await waiting, await released]).toEqual(['in', undefined]);
      }
      another.close();
    });
  });

  test('nesting the locks of two arrays', async () => {
    const other = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    expect(await a.write(() => other.write(() => other.size))).toBe(1);
    expect(a.writeSync(() => other.writeSync(() => other.size))).toBe(1);
    expect(await a.read(() => other.write(() => other.size))).toBe(1);
    other.close();
  });

  test('holding it in another thread, for which one waits', async () => {
    await withLockers(0, async (mine) => {
      const thread = await Locker.open(mine.name as string, { thread: true });
      await thread.hold('write');
      expect(await outcome(mine.write(() => 'in', { timeoutMs: 30 }))).toBe('ERR_NDSHM_TIMEOUT');
      expect(codeOf(() => mine.writeSync(() => 'in', { timeoutMs: 30 }))).toBe('ERR_NDSHM_TIMEOUT');
      await thread.release();
      await thread.end();
    });
  });
});
