import * as fc from 'fast-check';
import * as ndshm from 'ndshm';
import { runs, timeoutMs } from '../helpers/arrays';
import { rejection } from '../helpers/child';
import { counters, Meeting, makePool, task } from '../helpers/pool';

const pool = makePool();
const range = (length: number): number[] => Array.from({ length }, (_, n) => n);

describe('map()', () => {
  test('gives the results in the order of the items', async () => {
    expect(await pool.map((x: number) => x * x, [1, 2, 3])).toEqual([1, 4, 9]);
    expect(await pool.map(task('twice', 'tasks.mjs'), [1, 2, 3])).toEqual([2, 4, 6]);
  });

  test(
    'gives every result once, whatever the number of items and the size of chunks',
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.nat(700),
          fc.oneof(fc.constant('auto' as const), fc.integer({ min: 1, max: 800 })),
          async (length, chunkSize) => {
            const results = await pool.map((x: number) => [x], range(length), { chunkSize });
            expect(results).toEqual(range(length).map((x) => [x]));
          },
        ),
        runs(60),
      ),
    timeoutMs,
  );

  test('has more chunks than the pool has cells', async () => {
    const items = range(5000);
    expect(await pool.map((x: number) => x + 1, items, { chunkSize: 1 })).toEqual(items.map((x) => x + 1));
  });

  test('calls the function with the item alone', async () => {
    expect(await pool.map((...args: unknown[]) => args, ['a', 'b'])).toEqual([['a'], ['b']]);
    expect(await pool.map((...args: unknown[]) => args, [[1, 2], []])).toEqual([[[1, 2]], [[]]]);
  });

  test('takes any iterable', async () => {
    const twice = (x: number) => 2 * x;
    const numbers = function* () {
      yield* [1, 2, 3];
    };
    expect(await pool.map(twice, numbers())).toEqual([2, 4, 6]);
    expect(await pool.map(twice, new Set([1, 2]))).toEqual([2, 4]);
    expect(await pool.map(twice, new Float64Array([0.5, 1]))).toEqual([1, 2]);
    expect(await pool.map((text: string) => text.charCodeAt(0), 'ab')).toEqual([97, 98]);
    const withHole: number[] = Object.assign([1], { 2: 3 });
    expect(await pool.map((x) => x === undefined, withHole)).toEqual([false, true, false]);
  });

  test('of nothing is nothing', async () => {
    expect(await pool.map((x: number) => x, [])).toEqual([]);
    expect(await pool.starmap((x: number) => x, [])).toEqual([]);
  });

  test('takes the items as they are at the call', async () => {
    const items = [1, 2, 3];
    const longer = pool.map((x: number) => x, items);
    items.push(4);
    expect(await longer).toEqual([1, 2, 3]);
    const shorter = pool.map((x: number) => x, items, { onProgress: () => items.pop() });
    expect(await shorter).toEqual([1, 2, 3, 4]);
  });

  test('awaits what the function returns, with each item in its turn', async () => {
    const inTurn = async (x: number) => {
      const state = globalThis as { inside?: number };
      state.inside = (state.inside ?? 0) + 1;
      await new Promise((resolve) => setImmediate(resolve));
      const together = state.inside;
      state.inside--;
      return [x, together];
    };
    expect(await pool.map(inTurn, range(50), { chunkSize: 5 })).toEqual(range(50).map((x) => [x, 1]));
  });

  test('gives every worker something to do', async () => {
    const meeting = new Meeting();
    const results = pool.map(
      task('meetFor'),
      range(8).map((n) => [meeting.names, n]),
    );
    await meeting.arrivals(2);
    meeting.letGo();
    expect(await results).toEqual(range(8));
  });

  test('leaves no worker idle while items are left', async () => {
    // One item holds one worker; the other has to do all that is not in that chunk.
    const meeting = new Meeting();
    const counts = counters(40);
    const last = pool.map(
      task('countOrMeet'),
      range(40).map((n) => [counts, n, n === 0 ? meeting.names : null]),
      { chunkSize: 2 },
    );
    await meeting.arrivals();
    const done = () => counts.data.reduce((sum, each) => sum + each, 0);
    for (let version = counts.version; done() < 38; version = counts.version) {
      await counts.changed({ since: version, timeoutMs: 20_000 });
    }
    expect([...counts.data]).toEqual(range(40).map((n) => (n === 0 || n === 1 ? 0 : 1)));
    meeting.letGo();
    expect(await last).toEqual(range(40));
    counts.close();
  });

  test('may run beside other maps and calls', async () => {
    const all = await Promise.all([
      pool.map((x: number) => x + 1, range(500), { chunkSize: 3 }),
      pool.apply(() => 'apply'),
      pool.map((x: number) => x - 1, range(500)),
      pool.starmap((x: number, y: number) => x * y, [[2, 3]]),
    ]);
    expect(all).toEqual([range(500).map((x) => x + 1), 'apply', range(500).map((x) => x - 1), [6]]);
  });

  test('does not keep calls from their turn that come after it', async () => {
    const meeting = new Meeting();
    const counts = counters(3000);
    const map = pool.map(
      task('countPair'),
      range(3000).map((n) => [counts, n] as const),
      { chunkSize: 1 },
    );
    const call = pool.apply(task('countDone'), [counts]);
    const doneByThen = (await call) as number;
    expect(doneByThen).toBeLessThan(3000);
    await map;
    expect([...counts.data]).toEqual(new Array(3000).fill(1));
    meeting.close();
    counts.close();
  });

  test('refuses what is no iterable, and options that it does not have', async () => {
    const wrong = async (items: unknown, options?: object) =>
      rejection(pool.map((x: number) => x, items as number[], options));
    expect(await wrong(5)).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await wrong(null)).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await wrong({ length: 1 })).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await wrong([1], { chunksize: 1 })).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await wrong([1], { chunkSize: 0 })).toMatchObject({ code: 'ERR_NDSHM_OUT_OF_RANGE' });
    expect(await wrong([1], { chunkSize: 1.5 })).toMatchObject({ code: 'ERR_NDSHM_OUT_OF_RANGE' });
    expect(await wrong([1], { chunkSize: 'many' })).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await wrong([1], { onProgress: 5 })).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await wrong([1], { numReturns: 5 })).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
  });

  test('rejects with what its iterable throws', async () => {
    const failure = new Error('no more items');
    const items = function* () {
      yield 1;
      throw failure;
    };
    expect(await rejection(pool.map((x: number) => x, items()))).toBe(failure);
  });
});

describe('starmap()', () => {
  test('calls the function with each list as its arguments', async () => {
    expect(
      await pool.starmap(
        (a: number, b: number) => a ** b,
        [
          [2, 5],
          [3, 2],
        ],
      ),
    ).toEqual([32, 9]);
    expect(await pool.starmap((...args: unknown[]) => args, [[], [1], [1, 2, 3]])).toEqual([[], [1], [1, 2, 3]]);
    const lists: number[][] = [[], [1], [1, 2, 3]];
    expect(await pool.starmap(task('addAll', 'tasks.mjs'), lists, { chunkSize: 2 })).toEqual([0, 1, 6]);
  });

  test('refuses an item that is no list, and names it', async () => {
    const items = [[1], 2] as unknown as [number][];
    expect(await rejection(pool.starmap((x: number) => x, items))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringContaining('item 1') as string,
    });
  });
});

describe('a map with a failure', () => {
  test('rejects with the first one, which names its item', async () => {
    for (const chunkSize of ['auto', 1, 7, 100] as const) {
      const error = await rejection(
        pool.map(
          task('failAt'),
          range(100).map((n) => [n, 63]),
          { chunkSize },
        ),
      );
      expect(error).toBeInstanceOf(ndshm.TaskError);
      expect(error).toMatchObject({ index: 63, message: 'bad item 63', code: 'ERR_BAD_ITEM' });
    }
  });

  test('does not do what has not begun', async () => {
    const counts = counters(1000);
    const error = await rejection(
      pool.map(
        task('countAndFailAt'),
        range(1000).map((n) => [counts, n, 0] as const),
        { chunkSize: 1 },
      ),
    );
    expect(error).toMatchObject({ index: 0 });
    // What workers were at while this process heard of it is done, or lost with them.
    expect(await pool.apply(() => 1)).toBe(1);
    const done = counts.data.reduce((sum, each) => sum + each, 0);
    expect(done).toBeLessThan(1000);
    expect(Math.max(...counts.data)).toBe(1);
    counts.close();
  });

  test('leaves the pool ready for the next one', async () => {
    for (let round = 0; round < 10; round++) {
      await rejection(
        pool.map(
          task('failAt'),
          range(50).map((n) => [n, 10]),
          { chunkSize: 1 },
        ),
      );
      expect(await pool.map((x: number) => x, range(50), { chunkSize: 1 })).toEqual(range(50));
    }
  });
});

describe('a signal', () => {
  test('ends a map at once, what runs and what does not', async () => {
    const meeting = new Meeting();
    const controller = new AbortController();
    const result = rejection(
      pool.map(
        task('arriveAndHang'),
        range(10).map(() => meeting.names),
        { chunkSize: 1, signal: controller.signal },
      ),
    );
    await meeting.arrivals(2);
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await result).toBe(reason);
    expect(await pool.map((x: number) => x, range(10))).toEqual(range(10));
    expect(meeting.waiting).toBe(0); // none of the others has begun
  });

  test('may come before anything has begun, or when all is done', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { signal } = controller;
    expect(await pool.map((x: number) => x, [1], { signal })).toEqual([1]);
    const late = pool.remote((x: number) => x)(1);
    const results = [
      rejection(pool.map((x: number) => x, range(10), { signal })),
      rejection(pool.map((x: number) => x, [late] as unknown as number[], { signal })),
      rejection(pool.imap((x: number) => x, range(10), { signal }).next()),
      rejection(pool.apply((x: number) => x, [1], { signal })),
      rejection(pool.apply((x: number) => x, [late], { signal })),
    ];
    controller.abort(reason);
    for (const result of results) expect(await result).toBe(reason);
    expect(await late).toBe(1);
  });

  test('that has been aborted lets nothing begin', async () => {
    const counts = counters(2);
    const reason = new Error('not wanted');
    const items = [0, 1].map((n) => [counts, n] as const);
    expect(await rejection(pool.map(task('countPair'), items, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(await pool.apply(() => 1)).toBe(1);
    expect([...counts.data]).toEqual([0, 0]);
    counts.close();
  });
});

test('the pool says the chunk size of maps that do not', async () => {
  const pool = makePool({ chunkSize: 2 });
  const done: number[] = [];
  const onProgress = (progress: ndshm.Progress) => void done.push(progress.done);
  await pool.map((x: number) => x, [1, 2, 3, 4], { onProgress });
  expect(done).toEqual([0, 2, 4]);
  expect(() => makePool({ chunkSize: 0 })).toThrow('chunkSize');
});
