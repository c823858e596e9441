import { getEventListeners } from 'node:events';
import * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { eventually } from '../helpers/lock-words';
import { opening, outcome, withLockers } from '../helpers/locker';
import { freshName, thrownBy } from '../helpers/shm';

const make = () => ndshm.create(freshName(), { shape: [2, 2], dtype: 'int32', ephemeral: true });

describe('what runs under the lock', () => {
  test('gets the array and the hold; its value is the result, once it has settled', async () => {
    const a = make();
    const [settled, settle] = opening();
    const later = a.write((array, hold) => settled.then(() => [array, hold]));
    let over = false;
    void later.then(() => {
      over = true;
    });
    await new Promise(setImmediate);
    expect(over).toBe(false);
    settle();
    const expected = [a, { abandoned: false }];
    expect(await later).toEqual(expected);
    expect(await a.read((array, hold) => [array, hold])).toEqual(expected);
    expect(a.writeSync((array, hold) => [array, hold])).toEqual(expected);
    expect(a.readSync((array, hold) => [array, hold])).toEqual(expected);
    expect(a.tryWrite((array, hold) => [array, hold])).toEqual(expected);
    expect(a.tryRead((array, hold) => [array, hold])).toEqual(expected);
    a.close();
  });

  test('gets a view, if that was asked, under the lock of the whole', async () => {
    const a = make();
    const row = a.row(1);
    expect(await row.write((view) => view === row && row.tryWrite(() => 'in') === undefined)).toBe(true);
    expect(row.readSync((view) => view.shape)).toEqual([2]);
    a.close();
  });

  test.each(['write', 'read'] as const)('may reject %s, which lets the lock go', async (method) => {
    const a = make();
    for (const fail of [
      () => Promise.reject(new Error('mine')),
      () => {
        throw new Error('mine');
      },
    ]) {
      expect((await rejection(a[method](fail))).message).toBe('mine');
      expect(a.tryWrite(() => 'in')).toBe('in');
    }
    a.close();
  });

  test.each(['writeSync', 'readSync', 'tryWrite', 'tryRead'] as const)(
    'may throw out of %s, which lets the lock go',
    (method) => {
      const a = make();
      const fail = () => {
        throw new Error('mine');
      };
      expect(thrownBy(() => a[method](fail)).message).toBe('mine');
      expect(a.tryWrite(() => 'in')).toBe('in');
      a.close();
    },
  );

  test.each(['writeSync', 'readSync', 'tryWrite', 'tryRead', 'snapshotSync'] as const)(
    'must not return a promise to %s',
    (method) => {
      const a = make();
      expect(thrownBy(() => a[method](async () => 1)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      expect(a.tryWrite(() => 'in')).toBe('in');
      a.close();
    },
  );

  test('throwing leaves what it has written, and counts as a write', () => {
    const a = make();
    const { version } = a;
    thrownBy(() =>
      a.writeSync(() => {
        a.set([0, 0], 5);
        throw new Error('mine');
      }),
    );
    expect([a.get(0, 0), a.version]).toEqual([5, version + 2]);
    expect(a.readSync((_, hold) => hold)).toEqual({ abandoned: false });
    a.close();
  });
});

describe('arguments', () => {
  const wrong = [
    ['an option that nobody knows', { timeout: 5 }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['an array of options', [], 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['a timeoutMs that is no number', { timeoutMs: '5' }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['a negative timeoutMs', { timeoutMs: -1 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['a timeoutMs of NaN', { timeoutMs: Number.NaN }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['an unknown onAbandoned', { onAbandoned: 'forget' }, 'ERR_NDSHM_OUT_OF_RANGE'],
  ] as const;

  test.each(wrong)('%s is refused by every method that takes it', async (_, options, code) => {
    const a = make();
    const given = options as object;
    expect(await outcome(a.write(() => 'in', given))).toBe(code);
    expect(await outcome(a.read(() => 'in', given))).toBe(code);
    expect(thrownBy(() => a.writeSync(() => 'in', given)).code).toBe(code);
    expect(thrownBy(() => a.readSync(() => 'in', given)).code).toBe(code);
    if (!('timeoutMs' in given)) {
      expect(thrownBy(() => a.tryWrite(() => 'in', given)).code).toBe(code);
      expect(thrownBy(() => a.tryRead(() => 'in', given)).code).toBe(code);
    }
    if (!('onAbandoned' in given)) {
      expect(await outcome(a.snapshot(() => 'in', given))).toBe(code);
      expect(thrownBy(() => a.snapshotSync(() => 'in', given)).code).toBe(code);
      expect(await outcome(a.changed(given))).toBe(code);
    }
    a.close();
  });

  test('a signal is not for what cannot be interrupted, and must be an AbortSignal', async () => {
    const a = make();
    const { signal } = new AbortController();
    expect(thrownBy(() => a.writeSync(() => 'in', { signal } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => a.tryRead(() => 'in', { signal } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    for (const call of [a.write.bind(a), a.read.bind(a), a.snapshot.bind(a)]) {
      expect(await outcome(call(() => 'in', { signal: {} as AbortSignal }))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
    a.close();
  });

  test("onAbandoned says 'repair' to writers and 'ignore' to readers alone", () => {
    const a = make();
    expect(thrownBy(() => a.writeSync(() => 'in', { onAbandoned: 'ignore' } as object)).code).toBe(
      'ERR_NDSHM_OUT_OF_RANGE',
    );
    expect(thrownBy(() => a.readSync(() => 'in', { onAbandoned: 'repair' } as object)).code).toBe(
      'ERR_NDSHM_OUT_OF_RANGE',
    );
    a.close();
  });

  test('something else than a function is refused', async () => {
    const a = make();
    const nothing = undefined as unknown as () => void;
    for (const method of ['write', 'read', 'snapshot'] as const) {
      expect(await outcome(a[method](nothing))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
    for (const method of ['writeSync', 'readSync', 'tryWrite', 'tryRead', 'snapshotSync'] as const) {
      expect(thrownBy(() => a[method](nothing)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
    a.close();
  });
});

describe('try', () => {
  test('gives undefined without running the function, where the lock is not to be had now', async () => {
    await withLockers(1, async (mine, _words, other) => {
      const never = () => {
        throw new Error('ran');
      };
      await other.hold('write');
      expect([mine.tryWrite(never), mine.tryRead(never)]).toEqual([undefined, undefined]);
      await other.release();
      await other.hold('read');
      expect([mine.tryWrite(never), mine.tryRead(() => 'in')]).toEqual([undefined, 'in']);
      await other.release();
      expect([mine.tryWrite(() => 'in'), mine.tryRead(() => 'in')]).toEqual(['in', 'in']);
    });
  });

  test('finds out by itself that the owner is dead', async () => {
    await withLockers(2, async (mine, _words, owner, reader) => {
      await owner.hold('write');
      await owner.kill();
      expect(thrownBy(() => mine.tryRead(() => 'in')).code).toBe('ERR_NDSHM_ABANDONED');
      expect(mine.tryWrite((_, hold) => hold, { onAbandoned: 'repair' })).toEqual({ abandoned: true });
      await reader.hold('read');
      await reader.kill();
      expect(mine.tryWrite((_, hold) => hold)).toEqual({ abandoned: false });
    });
  });
});

describe.each(['write', 'read'] as const)('timeoutMs of %s', (access) => {
  test('ends the wait with ERR_NDSHM_TIMEOUT, without running the function', async () => {
    await withLockers(1, async (mine, words, other) => {
      await other.hold('write');
      const never = () => {
        throw new Error('ran');
      };
      for (const timeoutMs of [0, 30]) {
        expect(await outcome(mine[access](never, { timeoutMs }))).toBe('ERR_NDSHM_TIMEOUT');
        expect(thrownBy(() => mine[`${access}Sync`](never, { timeoutMs })).code).toBe('ERR_NDSHM_TIMEOUT');
      }
      expect(words.turn).toBe(-1);
      await other.release();
    });
  });

  test('does not shorten anything, and nothing is left of it', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await other.hold('write');
      const entered = mine[access](() => 'in', { timeoutMs: 2 ** 40 });
      expect(await outcome(mine[access](() => 'in', { timeoutMs: 10 }))).toBe('ERR_NDSHM_TIMEOUT');
      await other.release();
      expect(await entered).toBe('in');
      for (const timeoutMs of [0, Number.POSITIVE_INFINITY]) {
        expect(await mine[access](() => 'in', { timeoutMs })).toBe('in');
        expect(mine[`${access}Sync`](() => 'in', { timeoutMs })).toBe('in');
      }
    });
  });

  test('is long over when a Sync call has waited in many slices', async () => {
    await withLockers(1, async (mine, _words, other) => {
      await other.hold('write');
      const before = performance.now();
      expect(thrownBy(() => mine[`${access}Sync`](() => 'in', { timeoutMs: 180 })).code).toBe('ERR_NDSHM_TIMEOUT');
      expect(performance.now() - before).toBeGreaterThanOrEqual(179);
      await other.release();
    });
  });
});

describe.each(['write', 'read'] as const)('the signal of %s', (access) => {
  test('that is aborted already refuses at once, with its reason', async () => {
    const a = make();
    const ran: string[] = [];
    const reason = new Error('no more');
    const signal = AbortSignal.abort(reason);
    expect(await rejection(a[access](() => ran.push('in'), { signal }))).toBe(reason);
    expect(ran).toEqual([]);
    a.close();
  });

  test('ends the wait with its reason, and whoever comes behind goes on', async () => {
    await withLockers(1, async (mine, words, other) => {
      await other.hold('write');
      const controller = new AbortController();
      const { signal } = controller;
      const first = outcome(mine[access](() => 'in', { signal }));
      const behind = [mine.write(() => 'in'), mine.read(() => 'in'), other.enter('read')];
      await eventually('wait', () => words.get(64) >>> 24 !== 0);
      const reason = new Error('no more');
      controller.abort(reason);
      expect(await first).toBe(reason);
      await other.release();
      expect(await Promise.all(behind)).toEqual(['in', 'in', 'in']);
      expect(getEventListeners(signal, 'abort')).toEqual([]);
    });
  });

  test('has no effect once inside', async () => {
    const a = make();
    const controller = new AbortController();
    const result = a[access](
      async () => {
        controller.abort();
        await new Promise(setImmediate);
        return 'in';
      },
      { signal: controller.signal },
    );
    expect(await result).toBe('in');
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    a.close();
  });
});
