import * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { counters, Meeting, makePool, task } from '../helpers/pool';
import { thrownBy } from '../helpers/shm';

const pool = makePool();
const add = pool.remote((a: number, b: number) => a + b);
const meet = pool.remote(task('meet'));
const hang = pool.remote(task('arriveAndHang'));
const errorOf = (ref: ndshm.TaskRef): Promise<Error & { code?: string }> => rejection(Promise.resolve(ref));

describe('a remote function', () => {
  test('gives a ref, which can be awaited, or got', async () => {
    const ref = add(2, 3);
    expect(ref).toBeInstanceOf(ndshm.TaskRef);
    expect([await ref, await pool.get(ref), await pool.get([ref, add(1, 1)])]).toEqual([5, 5, [5, 2]]);
    expect(await pool.get([])).toEqual([]);
    expect(await pool.remote(task('twice', 'tasks.mjs'))(4)).toBe(8);
  });

  test('takes refs for arguments, and waits for what they stand for', async () => {
    const meeting = new Meeting();
    const three = meet(meeting.names, 3) as ndshm.TaskRef<number>;
    const six = add(three, three);
    const sum = add(six, 10);
    await meeting.arrivals();
    expect(await pool.wait([three, six, sum], { timeoutMs: 0 })).toEqual({ ready: [], pending: [three, six, sum] });
    meeting.letGo();
    expect(await sum).toBe(16);
  });

  test('may make a graph that is deeper than there are workers', async () => {
    let last = add(0, 0);
    for (let depth = 1; depth <= 100; depth++) last = add(last, 1);
    expect(await last).toBe(100);
    const leaves = Array.from({ length: 64 }, (_, n) => add(n, 0));
    let row = leaves;
    while (row.length > 1) {
      const above = row;
      row = Array.from({ length: row.length / 2 }, (_, n) =>
        add(above[2 * n] as ndshm.TaskRef<number>, above[2 * n + 1] as ndshm.TaskRef<number>),
      );
    }
    expect(await (row[0] as ndshm.TaskRef<number>)).toBe((64 * 63) / 2);
  });

  test('fails with what its argument failed with, and does not run', async () => {
    const counts = counters(1);
    const failed = pool.applyAsync(task('fail'), ['no such thing']);
    const next = pool.remote(task('count'))(counts, 0, failed);
    const last = add(next as ndshm.TaskRef<number>, 1);
    for (const ref of [failed, next, last]) {
      expect(await errorOf(ref)).toMatchObject({ name: 'TaskError', message: 'no such thing' });
    }
    expect(await errorOf(last)).toBe(await errorOf(failed));
    expect(counts.get(0)).toBe(0);
    counts.close();
  });

  test('whose failure nobody looks at harms nobody', async () => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', listener);
    const failing = [pool.applyAsync(task('fail'), ['unseen']), add(pool.applyAsync(task('fail'), ['x']) as never, 1)];
    await pool.wait(failing, { timeoutMs: 20_000 });
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', listener);
    expect(unhandled).toEqual([]);
  });

  test('goes by the options that it was made with', async () => {
    const meeting = new Meeting();
    const controller = new AbortController();
    const mortal = pool.remote(task('arriveAndHang'), { signal: controller.signal });
    const ref = mortal(meeting.names);
    await meeting.arrivals();
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await errorOf(ref)).toBe(reason);
    expect(await errorOf(mortal(meeting.names))).toBe(reason);
    expect(await add(1, 2)).toBe(3);
    expect(meeting.waiting).toBe(0);
    expect(thrownBy(() => pool.remote(() => 1, { timeout: 1 } as object))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
    });
  });
});

describe('put() and get()', () => {
  test('keep a value for any number of tasks, until it is deleted', async () => {
    const ref = await pool.put({ weights: new Float64Array(1000).fill(2), name: 'w' });
    const sum = pool.remote(
      (value: { weights: Float64Array }, by: number) => value.weights.reduce((a, b) => a + b) * by,
    );
    const sums = [1, 2, 3].map((by) => sum(ref, by));
    expect(await pool.get(sums)).toEqual([2000, 4000, 6000]);
    expect(await pool.map((value: unknown) => (value as { name: string }).name, [ref, ref] as unknown[])).toEqual([
      'w',
      'w',
    ]);
    expect(await pool.get<{ name: string }>(ref)).toMatchObject({ name: 'w' });
    expect(await pool.get([ref, add(1, 1)] as ndshm.ObjectRef[])).toMatchObject([{ name: 'w' }, 2]);
    expect(pool.store.delete(ref)).toBe(true);
    expect(await rejection(pool.get(ref))).toMatchObject({ code: 'ERR_NDSHM_STALE_HANDLE' });
    expect(await errorOf(sum(ref, 1))).toMatchObject({ name: 'TaskError', code: 'ERR_NDSHM_STALE_HANDLE' });
  });

  test('refuse what is no ref', async () => {
    const wrong = (ref: unknown) => rejection(pool.get(ref as ndshm.ObjectRef));
    for (const each of [5, undefined, null, {}, [5]]) {
      expect(await wrong(each)).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    }
  });

  test('reject with the first failure', async () => {
    const refs = [add(1, 1), pool.applyAsync(task('fail'), ['the second'])] as ndshm.TaskRef[];
    expect(await rejection(pool.get(refs))).toMatchObject({ message: 'the second' });
  });
});

describe('wait()', () => {
  test('waits for all, or so many, in the order given', async () => {
    const meeting = new Meeting();
    const late = meet(meeting.names, 'late');
    await meeting.arrivals();
    const [early, failed] = [add(1, 1), pool.applyAsync(task('fail'), ['soon'])];
    const refs: ndshm.TaskRef[] = [late, early, failed];
    expect(await pool.wait(refs, { numReturns: 2 })).toEqual({ ready: [early, failed], pending: [late] });
    const all = pool.wait(refs);
    meeting.letGo();
    expect(await all).toEqual({ ready: refs, pending: [] });
    expect(await pool.wait(refs, { numReturns: 1 })).toEqual({ ready: refs, pending: [] });
  });

  test('gives up after its time, and by its signal', async () => {
    const meeting = new Meeting();
    const refs = [meet(meeting.names, 1), await pool.put(5)];
    await meeting.arrivals();
    const partly = { ready: [refs[1]], pending: [refs[0]] };
    expect(await pool.wait(refs, { timeoutMs: 20 })).toEqual(partly);
    expect(await pool.wait(refs, { timeoutMs: 0 })).toEqual(partly);
    expect(await pool.wait(refs, { numReturns: 1 })).toEqual(partly);
    const controller = new AbortController();
    const waiting = rejection(pool.wait(refs, { signal: controller.signal }));
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await waiting).toBe(reason);
    meeting.letGo();
    expect(await pool.wait(refs)).toEqual({ ready: refs, pending: [] });
  });

  test('of nothing is over at once', async () => {
    expect(await pool.wait([])).toEqual({ ready: [], pending: [] });
  });

  test('refuses what is wrong', async () => {
    const refs = [add(1, 1)];
    await refs[0];
    const wrong = async (...args: unknown[]) =>
      (await rejection((pool.wait as (...given: unknown[]) => Promise<unknown>).apply(pool, args))).code;
    expect(await wrong(refs[0])).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(await wrong([5])).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(await wrong(refs, { numReturns: 2 })).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(await wrong(refs, { numReturns: -1 })).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(await wrong(refs, { timeoutMs: -1 })).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(await wrong(refs, { retries: 1 })).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });
});

describe('cancel()', () => {
  test('ends a task that runs, with its worker, and those that need it', async () => {
    const meeting = new Meeting();
    const running = hang(meeting.names);
    const needing = add(running as ndshm.TaskRef<number>, 1);
    await meeting.arrivals();
    expect(pool.cancel(running)).toBe(true);
    for (const ref of [running, needing]) {
      const error = await errorOf(ref);
      expect(error).toBeInstanceOf(ndshm.Cancelled);
      expect(error).toMatchObject({ code: 'ERR_NDSHM_CANCELLED' });
    }
    expect(pool.cancel(running)).toBe(false);
    expect(await pool.map((x: number) => x, [1, 2, 3])).toEqual([1, 2, 3]);
    await pool.ready();
    expect(pool.pids).toHaveLength(2);
  });

  test('ends a task that waits for its turn, or for its arguments', async () => {
    const meeting = new Meeting();
    const counts = counters(2);
    const count = pool.remote(task('count'));
    const busy = [meet(meeting.names, 1), meet(meeting.names, 2)];
    await meeting.arrivals(2);
    const queued = count(counts, 0);
    const dependent = count(counts, 1, busy[0]);
    expect([pool.cancel(queued), pool.cancel(dependent)]).toEqual([true, true]);
    expect(await errorOf(queued)).toMatchObject({ code: 'ERR_NDSHM_CANCELLED' });
    expect(await errorOf(dependent)).toMatchObject({ code: 'ERR_NDSHM_CANCELLED' });
    meeting.letGo();
    expect(await pool.get(busy)).toEqual([1, 2]);
    expect(await pool.map((x: number) => x, [1, 2, 3, 4], { chunkSize: 1 })).toEqual([1, 2, 3, 4]);
    expect([...counts.data]).toEqual([0, 0]);
    counts.close();
  });

  test('comes too late for a task that is done', async () => {
    const ref = add(1, 1);
    await ref;
    expect(pool.cancel(ref)).toBe(false);
    expect(await ref).toBe(2);
  });

  test('of many leaves the others', async () => {
    const refs = Array.from({ length: 500 }, (_, n) => add(n, 1));
    const cancelled = refs.map((ref, n) => n % 3 === 0 && pool.cancel(ref));
    const outcomes = await Promise.all(
      refs.map((ref) =>
        ref.then(
          (value) => value,
          (error) => (error as ndshm.Cancelled).code,
        ),
      ),
    );
    expect(outcomes).toEqual(refs.map((_, n) => (cancelled[n] ? 'ERR_NDSHM_CANCELLED' : n + 1)));
    expect(cancelled.filter(Boolean).length).toBeGreaterThan(0);
    expect(await add(1, 1)).toBe(2);
  });

  test('of more tasks than the pool has cells gives the cells back', async () => {
    await using fresh = makePool({ processes: 1 });
    const increment = fresh.remote((n: number) => n + 1);
    const refs = Array.from({ length: 400 }, (_, n) => increment(n)); // before its worker has started
    expect(refs.every((ref) => fresh.cancel(ref))).toBe(true);
    expect(await increment(1)).toBe(2);
  });

  test('refuses what is no task', async () => {
    const ref = await pool.put(1);
    expect(thrownBy(() => pool.cancel(ref as unknown as ndshm.TaskRef))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
    });
  });
});
