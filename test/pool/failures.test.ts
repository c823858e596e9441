import * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { counters, isAlive, Meeting, makePool, runProgram, task } from '../helpers/pool';

const pool = makePool();
const range = (length: number): number[] => Array.from({ length }, (_, n) => n);

/** The pool has all its workers and does what it should. */
async function expectWhole(each: ndshm.Pool = pool): Promise<void> {
  expect(await each.map((x: number) => x, range(20), { chunkSize: 1 })).toEqual(range(20));
  await each.ready();
  expect(each.pids.filter(isAlive)).toHaveLength(each.processes);
}

describe('an error that the function throws', () => {
  test('arrives with its message, stack and code, and itself', async () => {
    const error = await rejection(pool.apply(task('fail'), ['no such thing']));
    expect(error).toBeInstanceOf(ndshm.TaskError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'TaskError',
      message: 'no such thing',
      code: 'ERR_NDSHM_TASK',
      index: undefined,
      thrown: expect.any(TypeError) as unknown,
    });
    expect(error.stack).toMatch(/^TypeError: no such thing\n.*fail.*fixtures\/tasks\.js:\d+/);
    expect((error as ndshm.TaskError).thrown).toMatchObject({ message: 'no such thing' });
    expect(Object.hasOwn(error, 'cause')).toBe(false);
  });

  test('keeps the code of its own, and its cause, however deep', async () => {
    const error = await rejection(
      pool.apply(() => {
        const root = new RangeError('the root');
        throw Object.assign(new Error('the top', { cause: new TypeError('between', { cause: root }) }), {
          code: 'E_TOP',
        });
      }),
    );
    expect(error).toMatchObject({ message: 'the top', code: 'E_TOP' });
    expect(error.cause).toMatchObject({ message: 'between', cause: { message: 'the root' } });
    expect(error.cause).toBeInstanceOf(TypeError);
    const system = await rejection(
      pool.apply(() => (require('node:fs') as typeof import('node:fs')).readFileSync('/nowhere/at/all')),
    );
    expect(system).toMatchObject({ code: 'ENOENT', message: expect.stringContaining('/nowhere/at/all') as string });
  });

  test('names its item', async () => {
    const items = range(40).map((n) => [n, 17]);
    for (const chunkSize of ['auto', 1, 13] as const) {
      const error = await rejection(pool.map(task('failAt'), items, { chunkSize }));
      expect(error).toMatchObject({ name: 'TaskError', index: 17, code: 'ERR_BAD_ITEM' });
    }
    expect(await rejection(pool.starmap(task('fail'), [['first'], ['second']], { chunkSize: 2 }))).toMatchObject({
      index: 0,
      message: 'first',
    });
  });

  test.each<[string, unknown, string]>([
    ['a text', 'oops', 'oops'],
    ['a number', 42, '42'],
    ['nothing', undefined, 'undefined'],
    ['null', null, 'null'],
    ['an object', { status: 404 }, '[object Object]'],
  ])('may be %s', async (_what, value, message) => {
    const error = await rejection(pool.apply(task('throwValue'), [value]));
    expect(error).toBeInstanceOf(ndshm.TaskError);
    expect(error).toMatchObject({ code: 'ERR_NDSHM_TASK', message: expect.stringContaining(message) as string });
    expect((error as ndshm.TaskError).thrown).toEqual(value);
  });

  test('may have what cannot leave its process', async () => {
    const error = await rejection(
      pool.apply(() => {
        throw Object.assign(new Error('with a function', { cause: () => 1 }), { code: 5 });
      }),
    );
    expect(error).toMatchObject({
      message: 'with a function',
      code: 'ERR_NDSHM_TASK',
      cause: expect.stringMatching(/=> ?1/) as string,
    });
    expect(
      await rejection(
        pool.apply(() => {
          throw () => 'thrown function';
        }),
      ),
    ).toMatchObject({ thrown: expect.stringContaining('thrown function') as string });
    const silent = await rejection(
      pool.apply(() => {
        throw Object.assign(Object.create(null), { status: 404 });
      }),
    );
    expect(silent).toMatchObject({ message: 'something that cannot be told in words', thrown: { status: 404 } });
    const hostile = await rejection(
      pool.apply(() => {
        throw new Proxy(new Error('behind a proxy'), {
          get() {
            throw new Error('no way in');
          },
        });
      }),
    );
    expect(hostile).toBeInstanceOf(ndshm.TaskError);
    await expectWhole();
  });

  test('may come from a promise', async () => {
    expect(
      await rejection(
        pool.apply(async () => {
          await Promise.resolve();
          throw new RangeError('late');
        }),
      ),
    ).toMatchObject({ name: 'TaskError', message: 'late', thrown: expect.any(RangeError) as unknown });
  });

  test('does not harm the worker', async () => {
    const pids = pool.pids;
    await Promise.all(range(200).map((n) => rejection(pool.apply(task('fail'), [String(n)]))));
    await expectWhole();
    expect(pool.pids).toEqual(pids);
  });

  test('is not tried again', async () => {
    const counts = counters(1);
    await rejection(pool.map(task('countAndFailAt'), [[counts, 0, 0]], { retries: 5 }));
    expect(counts.get(0)).toBe(1);
    counts.close();
  });
});

describe('a worker that dies', () => {
  test('takes its task with it, and says how it ended', async () => {
    const killed = await rejection(pool.apply(task('kill'), ['SIGKILL']));
    expect(killed).toBeInstanceOf(ndshm.WorkerLost);
    expect(killed).toMatchObject({
      name: 'WorkerLost',
      code: 'ERR_NDSHM_WORKER_LOST',
      exitCode: null,
      signal: 'SIGKILL',
    });
    expect(killed).toMatchObject({ pid: expect.any(Number) as number, index: undefined });
    expect(killed.message).toMatch(/SIGKILL/);
    expect(isAlive((killed as ndshm.WorkerLost).pid)).toBe(false);
    await expectWhole();
  });

  test.each([0, 3])('may have called process.exit(%d)', async (code) => {
    expect(await rejection(pool.apply(task('exit'), [code]))).toMatchObject({
      code: 'ERR_NDSHM_WORKER_LOST',
      exitCode: code,
      signal: null,
    });
    await expectWhole();
  });

  test.each(['rejectUnseen', 'throwLater'])('may have left an error to nobody: %s', async (name) => {
    const [error] = await Promise.all([rejection(pool.apply(task(name))), expectWhole()]);
    expect(error).toMatchObject({ code: 'ERR_NDSHM_WORKER_LOST', exitCode: 1 });
    await expectWhole();
  });

  // In a program of its own: jest takes what V8 says to stderr then for its own end.
  test('may have run out of memory', async () => {
    const program = `
      const { Pool } = require('ndshm');
      const pool = new Pool({ processes: 1, execArgv: ['--max-old-space-size=40'] });
      async function main() {
        const { code, signal, exitCode } = await pool.apply(${JSON.stringify(task('useUpMemory'))}).catch((error) => error);
        console.log(JSON.stringify([code, signal === 'SIGABRT' || exitCode === 134, await pool.map((x) => x, [1, 2])]));
        await pool.close();
      }
      main();`;
    const { code, stdout, stderr } = await runProgram(program);
    expect([code, stdout]).toEqual([0, '["ERR_NDSHM_WORKER_LOST",true,[1,2]]\n']);
    expect(stderr).toContain('heap out of memory');
  });

  test('takes nothing but its own task: what others are at, and what nobody has begun, goes on', async () => {
    const meeting = new Meeting();
    const other = pool.apply(task('meet'), [meeting.names, 'other']);
    await meeting.arrivals();
    const counts = counters(100);
    const fates = range(100).map((n) => pool.apply(task('dieAt'), [[counts, n, 50]]));
    const outcomes = await Promise.allSettled(fates);
    expect(outcomes.map(({ status }) => status)).toEqual(range(100).map((n) => (n === 50 ? 'rejected' : 'fulfilled')));
    expect(outcomes[50]).toMatchObject({ reason: { code: 'ERR_NDSHM_WORKER_LOST' } });
    expect([...counts.data]).toEqual(new Array(100).fill(1));
    meeting.letGo();
    expect(await other).toBe('other');
    counts.close();
  });

  test('names the item that it was at', async () => {
    const counts = counters(30);
    for (const chunkSize of [1, 7, 30]) {
      const items = range(30).map((n) => [counts, n, 23]);
      expect(await rejection(pool.map(task('dieAt'), items, { chunkSize }))).toMatchObject({
        code: 'ERR_NDSHM_WORKER_LOST',
        index: 23,
      });
    }
    await expectWhole();
    counts.close();
  });

  test('is replaced as often as it dies', async () => {
    const deaths = await Promise.all(range(12).map(() => rejection(pool.apply(task('kill'), ['SIGKILL']))));
    expect(new Set(deaths.map((error) => (error as ndshm.WorkerLost).pid)).size).toBe(12);
    await expectWhole();
  });
});

describe('retries', () => {
  test('run a task again whose worker died, so often', async () => {
    const counts = counters(1);
    expect(await pool.apply(task('dieTimes'), [counts, 0, 2], { retries: 2 })).toBe(0);
    expect(counts.get(0)).toBe(3);
    counts.close();
  });

  test('bound what a task can do that always kills its worker', async () => {
    const counts = counters(1);
    const poison = rejection(pool.apply(task('dieTimes'), [counts, 0, 1000], { retries: 3 }));
    expect(await poison).toMatchObject({ code: 'ERR_NDSHM_WORKER_LOST' });
    expect(counts.get(0)).toBe(4);
    await expectWhole();
    counts.close();
  });

  test('do a map to its end whose workers die', async () => {
    const counts = counters(20);
    const items = range(20).map((n) => [counts, n, n % 7 === 3 ? 1 : 0] as const);
    expect(await pool.starmap(task('dieTimes'), items, { retries: 1, chunkSize: 1 })).toEqual(range(20));
    expect([...counts.data]).toEqual(range(20).map((n) => (n % 7 === 3 ? 2 : 1)));
    counts.close();
  });

  test('take arguments along that are large, or refs', async () => {
    const counts = counters(1);
    const large = new Uint8Array(100_000).fill(7);
    const ref = pool.remote((n: number) => n)(5);
    const remote = pool.remote(task('dieTimesWith'), { retries: 2 });
    expect(await remote(counts, 0, 2, large, ref, await pool.put(large))).toEqual([700_000, 5, 700_000]);
    counts.close();
  });
});

describe('timeoutMs', () => {
  test('ends a task that takes longer, with its worker', async () => {
    const error = await rejection(pool.apply(task('hang'), [], { timeoutMs: 50 }));
    expect(error).toBeInstanceOf(ndshm.Timeout);
    expect(error).toMatchObject({ name: 'Timeout', code: 'ERR_NDSHM_TIMEOUT', index: undefined });
    expect(error.message).toMatch(/50 ms/);
    await expectWhole();
  });

  test('ends one whose worker is frozen, and names the item', async () => {
    const items = range(6).map((n) => [n, 4]);
    for (const chunkSize of [1, 6]) {
      const error = await rejection(pool.map(task('freezeAt'), items, { chunkSize, timeoutMs: 150 }));
      expect(error).toMatchObject({ code: 'ERR_NDSHM_TIMEOUT', index: 4 });
    }
    await expectWhole();
  });

  test('ends one that awaits for ever', async () => {
    const never = () => new Promise(() => {});
    expect(await rejection(pool.apply(never, [], { timeoutMs: 30 }))).toMatchObject({ code: 'ERR_NDSHM_TIMEOUT' });
    await expectWhole();
  });

  test('counts from the start of a task, not of the call', async () => {
    const meeting = new Meeting();
    const busy = [1, 2].map((n) => pool.apply(task('meet'), [meeting.names, n]));
    await meeting.arrivals(2);
    const timeoutMs = 250;
    const waiting = pool.apply(() => 'done', [], { timeoutMs });
    const other = pool.applyAsync(() => 'done too', [], { timeoutMs });
    // Longer than they may take, by the clock that counts.
    expect(await pool.wait([other], { timeoutMs: 2 * timeoutMs })).toEqual({ ready: [], pending: [other] });
    meeting.letGo();
    expect(await Promise.all([...busy, waiting, other])).toEqual([1, 2, 'done', 'done too']);
  });

  test('counts for each item of a map by itself', async () => {
    const nap = async () => {
      const endsMs = performance.now() + 30;
      while (performance.now() < endsMs) await new Promise((resolve) => setImmediate(resolve));
      return 1;
    };
    expect(await pool.map(nap, range(12), { chunkSize: 6, timeoutMs: 150 })).toEqual(new Array(12).fill(1));
  });

  test('and retries: a task is tried again that took too long', async () => {
    const counts = counters(2);
    expect(await pool.apply(task('hangTimes'), [counts, 0, 1], { timeoutMs: 100, retries: 1 })).toBe(0);
    const error = await rejection(pool.apply(task('hangTimes'), [counts, 1, 100], { timeoutMs: 50, retries: 2 }));
    expect(error).toMatchObject({ code: 'ERR_NDSHM_TIMEOUT' });
    expect([...counts.data]).toEqual([2, 3]);
    await expectWhole();
    counts.close();
  });

  test('does not count what it takes to load the function’s module', async () => {
    expect(await pool.apply(task('loadsSlowly', 'slow.js'), [], { timeoutMs: 100 })).toBeGreaterThan(300);
    const error = await rejection(pool.apply(task('thenHangs', 'slow.js'), [], { timeoutMs: 100 }));
    expect(error).toMatchObject({ code: 'ERR_NDSHM_TIMEOUT' });
  });

  test('of a task that is done in time does nothing', async () => {
    const pids = pool.pids;
    const results = await pool.map((x: number) => x, range(500), { timeoutMs: 10_000, chunkSize: 1 });
    expect(results).toEqual(range(500));
    expect(await pool.apply(() => 1, [], { timeoutMs: 2 ** 40 })).toBe(1);
    expect(await pool.apply(() => 1, [], { timeoutMs: Number.POSITIVE_INFINITY })).toBe(1);
    expect(pool.pids).toEqual(pids);
  });
});
