import type * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { counters, Meeting, makePool, task } from '../helpers/pool';
import { thrownBy } from '../helpers/shm';

const pool = makePool();
const range = (length: number): number[] => Array.from({ length }, (_, n) => n);

/** By their texts. */
const sorted = (values: readonly unknown[]): unknown[] => [...values].sort((a, b) => (String(a) < String(b) ? -1 : 1));

async function listOf<T>(results: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const each of results) list.push(each);
  return list;
}

/** Counts how far it has been read, and whether its reader has let go of it. */
class Source {
  read = 0;
  released = false;
  readonly #length: number;

  constructor(length = Number.POSITIVE_INFINITY) {
    this.#length = length;
  }

  *[Symbol.iterator](): Generator<number> {
    try {
      while (this.read < this.#length) yield this.read++;
    } finally {
      this.released = true;
    }
  }
}

describe.each(['imap', 'imapUnordered'] as const)('%s()', (method) => {
  test.each([1, 3, 1000])('gives every result once, in chunks of %d', async (chunkSize) => {
    const results = await listOf(pool[method]((x: number) => 3 * x, range(200), { chunkSize }));
    expect(results.sort((a, b) => a - b)).toEqual(range(200).map((x) => 3 * x));
  });

  test('of nothing is nothing', async () => {
    expect(await listOf(pool[method]((x: number) => x, []))).toEqual([]);
  });

  test('takes what comes asynchronously', async () => {
    async function* numbers() {
      for (const n of range(20)) {
        await new Promise((resolve) => setImmediate(resolve));
        yield n;
      }
    }
    const results = await listOf(pool[method]((x: number) => -x, numbers(), { chunkSize: 3 }));
    expect(results.sort((a, b) => b - a)).toEqual(range(20).map((x) => -x));
  });

  test('gives what is there while its source is still waiting for more', async () => {
    let goOn: () => void = () => {};
    const more = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    async function* numbers() {
      yield* [1, 2];
      await more;
      yield 3;
    }
    const results = pool[method]((x: number) => x, numbers());
    const first = [(await results.next()).value, (await results.next()).value];
    expect(sorted(first)).toEqual([1, 2]);
    const third = results.next();
    goOn();
    expect(await third).toEqual({ done: false, value: 3 });
    expect(await results.next()).toEqual({ done: true, value: undefined });
    expect(await results.next()).toEqual({ done: true, value: undefined });
  });

  test('reads an endless source only some chunks ahead', async () => {
    const source = new Source();
    const results = pool[method]((x: number) => x, source, { chunkSize: 2 });
    const seen: number[] = [];
    for await (const each of results) {
      seen.push(each);
      expect(source.read - seen.length).toBeLessThanOrEqual(2 * (4 * pool.processes + 1));
      if (seen.length === 100) break;
    }
    expect(source.released).toBe(true);
    expect(new Set(seen).size).toBe(100);
  });

  test('goes on past an item that failed, when it is asked to', async () => {
    const results = pool[method](
      task('failAt'),
      range(10).map((n) => [n, 3, 4, 8]),
      { chunkSize: 3 },
    );
    const values: unknown[] = [];
    const failed: unknown[] = [];
    for (let n = 0; n < 10; n++) {
      await results.next().then(
        ({ value }) => values.push(value),
        (error: ndshm.TaskError) => failed.push([error.index, error.message, error.code]),
      );
    }
    expect(sorted(values)).toEqual([0, 1, 2, 5, 6, 7, 9]);
    expect(sorted(failed)).toEqual([3, 4, 8].map((n) => [n, `bad item ${n}`, 'ERR_BAD_ITEM']));
    expect(await results.next()).toEqual({ done: true, value: undefined });
  });

  test('ends a loop at an item that failed', async () => {
    const items = range(10).map((n) => [n, 9]);
    expect(await rejection(listOf(pool[method](task('failAt'), items)))).toMatchObject({ index: 9 });
  });

  test('answers requests that are made at once', async () => {
    const results = pool[method]((x: number) => x, [1, 2, 3]);
    const all = await Promise.all([1, 2, 3, 4, 5].map(() => results.next()));
    expect(all.map(({ done }) => done)).toEqual([false, false, false, true, true]);
    expect(sorted(all.flatMap(({ value }) => value ?? []))).toEqual([1, 2, 3]);
  });

  test.each([1, 3])('tells what its source throws beside what came before, in chunks of %d', async (chunkSize) => {
    const failure = new Error('no more items');
    const items = function* () {
      yield* [1, 2, 3, 4];
      throw failure;
    };
    const results = pool[method]((x: number) => x, items(), { chunkSize });
    const outcomes: unknown[] = [];
    for (let n = 0; n < 5; n++) {
      outcomes.push(
        await results.next().then(
          ({ value }) => value,
          (error: unknown) => error,
        ),
      );
    }
    if (method === 'imap') expect(outcomes).toEqual([1, 2, 3, 4, failure]);
    expect(new Set(outcomes)).toEqual(new Set([1, 2, 3, 4, failure]));
    expect(await results.next()).toEqual({ done: true, value: undefined });
  });

  test('fails only where a task failed whose ref is an item', async () => {
    const failing = pool.applyAsync(task('fail'), ['no item']);
    const results = pool[method]((x: number) => x, [1, failing as unknown as number, 3]);
    const outcomes: unknown[] = [];
    for (let n = 0; n < 3; n++) {
      outcomes.push(
        await results.next().then(
          ({ value }) => value,
          (error: Error) => error.message,
        ),
      );
    }
    expect(new Set(outcomes)).toEqual(new Set([1, 'no item', 3]));
    expect(await results.next()).toEqual({ done: true, value: undefined });
  });

  test('that is left while its source is slow does not run what comes then', async () => {
    const counts = counters(2);
    let goOn: () => void = () => {};
    const more = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    async function* items() {
      yield [counts, 0] as const;
      await more;
      yield [counts, 1] as const;
    }
    const results = pool[method](task('countPair'), items());
    await results.next();
    const left = results.return?.();
    goOn();
    await left;
    expect(await pool.map((x: number) => x, [1, 2], { chunkSize: 1 })).toEqual([1, 2]);
    expect([...counts.data]).toEqual([1, 0]);
    counts.close();
  });

  test('that is left lets nothing more begin, and closes its source', async () => {
    const meeting = new Meeting();
    const source = new Source();
    const items = (function* () {
      for (const n of source) yield [meeting.names, n] as const;
    })();
    const results = pool[method](task('meetFor'), items);
    await meeting.arrivals(2);
    await results.return?.();
    expect(source.released).toBe(true);
    expect(await results.next()).toEqual({ done: true, value: undefined });
    meeting.letGo(); // what runs already runs to its end
    expect(await pool.map((x: number) => x, [1, 2, 3])).toEqual([1, 2, 3]);
    expect(meeting.waiting).toBe(0);
  });

  test('ends by a signal, with its reason', async () => {
    const meeting = new Meeting();
    const controller = new AbortController();
    const source = new Source();
    const items = (function* () {
      for (const _ of source) yield meeting.names;
    })();
    const results = pool[method](task('arriveAndHang'), items, { signal: controller.signal });
    const first = rejection(results.next());
    await meeting.arrivals(2);
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await first).toBe(reason);
    expect(source.released).toBe(true);
    expect(await results.next()).toEqual({ done: true, value: undefined });
    expect(await pool.apply(() => 1)).toBe(1);
    expect(meeting.waiting).toBe(0);
  });

  test('loses the items of a worker that dies, and gives the others', async () => {
    const counts = counters(8);
    const results = pool[method](
      task('dieAt'),
      range(8).map((n) => [counts, n, 5]),
    );
    const values: unknown[] = [];
    const lost: unknown[] = [];
    for (let n = 0; n < 8; n++) {
      await results.next().then(
        ({ value }) => values.push(value),
        (error: ndshm.WorkerLost) => lost.push([error.code, error.signal, error.index]),
      );
    }
    expect(sorted(values)).toEqual([0, 1, 2, 3, 4, 6, 7].map((n) => 10 * n));
    expect(lost).toEqual([['ERR_NDSHM_WORKER_LOST', 'SIGKILL', 5]]);
    expect([...counts.data]).toEqual(new Array(8).fill(1));
    counts.close();
  });

  test('refuses what is wrong at once', () => {
    const wrong = (fn: unknown, items: unknown, options?: object) =>
      thrownBy(() => pool[method](fn as () => void, items as [], options)).code;
    expect(wrong(() => {}, 5)).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(wrong('no function', [])).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(wrong(() => {}, [], { chunkSize: 'auto' })).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(wrong(() => {}, [], { chunkSize: 0 })).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(wrong(() => {}, [], { onProgress: () => {} })).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(wrong((x: number) => x + range.length, [])).toBe('ERR_NDSHM_FUNCTION');
  });
});

test('imap() gives the results in the order of the items, though later ones are done before', async () => {
  const meeting = new Meeting();
  const items = [...range(6)].map((n) => [n === 0 ? meeting.names : null, n] as const);
  const ordered = pool.imap(task('meetIf'), items);
  const unordered = pool.imapUnordered(task('meetIf'), items.slice(1));
  await meeting.arrivals();
  expect(sorted(await listOf(unordered))).toEqual([1, 2, 3, 4, 5]);
  let given = 0;
  const first = ordered.next().then(({ value }) => {
    given++;
    return value;
  });
  await pool.apply(() => 1); // all the others are done by now
  expect(given).toBe(0);
  meeting.letGo();
  expect([await first, ...(await listOf(ordered))]).toEqual(range(6));
});

test('imapUnordered() gives a result as soon as it is there', async () => {
  const meeting = new Meeting();
  const results = pool.imapUnordered(
    task('meetIf'),
    range(6).map((n) => [n === 0 ? meeting.names : null, n] as const),
  );
  const before: unknown[] = [];
  for (let n = 0; n < 5; n++) before.push((await results.next()).value);
  expect(sorted(before)).toEqual([1, 2, 3, 4, 5]);
  meeting.letGo();
  expect(await results.next()).toEqual({ done: false, value: 0 });
});
