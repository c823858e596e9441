import * as ndshm from 'ndshm';
import { availableProcessors, Pool } from 'ndshm';
import { rejection, within } from '../helpers/child';
import { counters, isAlive, Meeting, makePool, poolNames, runProgram, task } from '../helpers/pool';
import { freshName, thrownBy } from '../helpers/shm';

const range = (length: number): number[] => Array.from({ length }, (_, n) => n);
const outcomeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => value,
    (error: { code?: string }) => error.code,
  );

describe('a pool', () => {
  test('has as many workers as it was asked for, or as there are processors', async () => {
    await using three = makePool({ processes: 3 });
    expect([three.processes, three.pids.length, three.pids.every(isAlive)]).toEqual([3, 3, true]);
    await using usual = new Pool();
    expect([usual.processes, usual.pids.length]).toEqual([availableProcessors(), availableProcessors()]);
  });

  test('is ready when all its workers are, and takes calls before', async () => {
    await using pool = makePool();
    const early = pool.apply(() => 'early');
    await pool.ready();
    await pool.ready();
    expect(await early).toBe('early');
  });

  test('has nothing in /dev/shm before there is something to put there', async () => {
    const before = poolNames();
    await using pool = makePool({ processes: 1 });
    await pool.ready();
    expect(poolNames()).toEqual(before);
    await pool.apply(() => 1);
    expect(poolNames().length).toBeGreaterThan(before.length);
  });

  test.each<[string, object, string]>([
    ['no workers', { processes: 0 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['half a worker', { processes: 1.5 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['too many workers', { processes: 251 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['a number in a text', { processes: '2' }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['an unknown option', { process: 2 }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['no tasks', { maxTasksPerChild: 0 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ['an initializer that is none', { initializer: 'setUp' }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['an initializer with outer names', { initializer: () => range }, 'ERR_NDSHM_FUNCTION'],
    ['arguments that are no list', { initializer: () => 1, initArgs: 5 }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['arguments that cannot be cloned', { initializer: () => 1, initArgs: [() => 1] }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['arguments for nobody', { initArgs: 5 }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['an environment that is none', { env: 5 }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['options of Node in a text', { execArgv: '--expose-gc' }, 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['a capacity that is none', { storeCapacity: 'much' }, 'ERR_NDSHM_OUT_OF_RANGE'],
  ])('is not made with %s, and leaves nothing', (_what, options, code) => {
    const before = poolNames();
    expect(thrownBy(() => new Pool(options))).toMatchObject({ code });
    expect(poolNames()).toEqual(before);
  });

  test('passes environment and options of Node on', async () => {
    const env = { NDSHM_TEST_OWN: 'mine', NDSHM_TEST_GONE: undefined };
    process.env['NDSHM_TEST_COMMON'] = 'ours';
    process.env['NDSHM_TEST_GONE'] = 'theirs';
    await using pool = makePool({ processes: 1, env, execArgv: ['--expose-gc'] });
    const seen = ['NDSHM_TEST_OWN', 'NDSHM_TEST_COMMON', 'NDSHM_TEST_GONE', 'NDSHM_WORKER', 'NDSHM_INHERIT'];
    expect(await pool.map(task('env'), seen)).toEqual(['mine', 'ours', undefined, undefined, undefined]);
    expect(await pool.apply(task('execArgv'))).toEqual(['--expose-gc']);
  });
});

describe('an initializer', () => {
  test('runs once in each worker, before its first task', async () => {
    await using pool = makePool({ initializer: task('setUp'), initArgs: ['with', { n: 1 }, new Uint8Array(10_000)] });
    const meeting = new Meeting();
    const both = [1, 2].map((n) => pool.apply(task('meet'), [meeting.names, n]));
    await meeting.arrivals(2);
    meeting.letGo();
    await Promise.all(both);
    for (const seen of await pool.map(task('whatWasSetUp'), range(8), { chunkSize: 1 })) {
      expect(seen).toEqual([['with', { n: 1 }, new Uint8Array(10_000)]]);
    }
  });

  test('is awaited, and may be written in place', async () => {
    const initializer = async (name: string) => {
      await new Promise((resolve) => setImmediate(resolve));
      (globalThis as { setUpWith?: unknown }).setUpWith = name;
    };
    await using pool = makePool({ processes: 1, initializer, initArgs: ['late'] });
    expect(await pool.apply(task('whatWasSetUp'))).toBe('late');
  });

  test('runs in successors, too', async () => {
    await using pool = makePool({ processes: 1, initializer: task('setUp'), initArgs: [1] });
    await rejection(pool.apply(task('kill'), ['SIGKILL']));
    expect(await pool.apply(task('whatWasSetUp'))).toEqual([[1]]);
  });

  test('may be given shared arrays', async () => {
    const counts = counters(2);
    await using pool = makePool({ processes: 1, initializer: task('count'), initArgs: [counts, 1] });
    await pool.ready();
    expect(counts.toNested()).toEqual([0, 1]);
    counts.close();
  });

  test('that throws breaks the pool, which says so and why', async () => {
    const pool = makePool({ initializer: task('failToSetUp'), initArgs: ['no licence'] });
    const calls = [pool.ready(), pool.apply(() => 1), pool.map((x: number) => x, [1, 2])];
    for (const call of calls) {
      expect(await rejection(call)).toMatchObject({
        code: 'ERR_NDSHM_POOL_BROKEN',
        message: expect.stringContaining('no licence') as string,
        cause: { message: 'no licence', code: 'ERR_SET_UP' },
      });
    }
    for (const call of [
      pool.apply(() => 1),
      pool.map((x: number) => x, [1]),
      pool.imap((x: number) => x, [1]).next(),
    ]) {
      expect(await outcomeOf(call)).toBe('ERR_NDSHM_POOL_BROKEN');
    }
    expect(await outcomeOf(pool.ready())).toBe('ERR_NDSHM_POOL_BROKEN');
    await within(pool.close(), 'end of the broken pool');
    expect(pool.pids).toEqual([]);
  });

  test('that ends its process breaks the pool after some attempts', async () => {
    const pool = makePool({ initializer: task('dieInSetUp') });
    expect(await rejection(pool.apply(() => 1))).toMatchObject({
      code: 'ERR_NDSHM_POOL_BROKEN',
      message: expect.stringContaining('exit code 7') as string,
    });
    await within(pool.close(), 'end of the broken pool');
  });

  test('that cannot be found breaks the pool', async () => {
    const pool = makePool({ processes: 1, initializer: task('nowhere') });
    expect(await rejection(pool.ready())).toMatchObject({
      code: 'ERR_NDSHM_POOL_BROKEN',
      message: expect.stringContaining("'nowhere'") as string,
    });
  });

  test('hurts nobody who does not ask', async () => {
    const program = `
      const { Pool } = require('ndshm');
      const pool = new Pool({ processes: 1, initializer: () => { throw new Error('no licence'); } });
      const end = () => pool.close().then(() => console.log('closed'));
      (function look() { pool.pids.length > 0 ? setImmediate(look) : end(); })();`;
    expect(await runProgram(program)).toEqual({ code: 0, stdout: 'closed\n', stderr: '' });
  });
});

describe('maxTasksPerChild', () => {
  test('gives a worker a successor after so many tasks', async () => {
    await using pool = makePool({ processes: 1, maxTasksPerChild: 3 });
    const pids: number[] = [];
    for (let n = 0; n < 9; n++) pids.push(await pool.apply(() => process.pid));
    expect(new Set(pids).size).toBe(3);
    expect(pids).toEqual([0, 0, 0, 3, 3, 3, 6, 6, 6].map((n) => pids[n]));
  });

  test('loses no task of many, and counts a chunk as one', async () => {
    await using pool = makePool({ maxTasksPerChild: 2 });
    const pids = await pool.map(() => process.pid, range(48), { chunkSize: 4 });
    expect(pids).toHaveLength(48);
    expect(new Set(pids).size).toBeGreaterThanOrEqual(6);
    expect(await pool.map((x: number) => x, range(48), { chunkSize: 4 })).toEqual(range(48));
  });

  test('goes together with closing', async () => {
    const pool = makePool({ processes: 1, maxTasksPerChild: 1 });
    const results = range(4).map((n) => pool.apply((x: number) => x, [n]));
    await within(pool.close(), 'end of the pool');
    expect(await Promise.all(results)).toEqual(range(4));
  });
});

describe('close()', () => {
  test('has what was begun done, takes nothing more, and leaves nothing', async () => {
    const before = poolNames();
    const pool = makePool();
    const meeting = new Meeting();
    const calls = range(6).map((n) => pool.apply(task('meet'), [meeting.names, n]));
    const map = pool.map((x: number) => 2 * x, range(1000), { chunkSize: 1 });
    await meeting.arrivals(2);
    const { pids } = pool;
    const closed = pool.close();
    expect(pool.closed).toBe(true);
    expect(await outcomeOf(pool.apply(() => 1))).toBe('ERR_NDSHM_CLOSED');
    meeting.letGo();
    expect(await Promise.all(calls)).toEqual(range(6));
    expect(await map).toEqual(range(1000).map((x) => 2 * x));
    await within(closed, 'end of the pool');
    expect([pool.pids, pids.filter(isAlive), poolNames()]).toEqual([[], [], before]);
  });

  test('may be called again, and at once', async () => {
    const pool = makePool();
    await within(Promise.all([pool.close(), pool.close(), pool.join()]), 'end of the pool');
    await within(Promise.all([pool.close(), pool.join(), pool.terminate()]), 'end of the pool');
  });

  test('waits for tasks that wait for others', async () => {
    const pool = makePool();
    const add = pool.remote((a: number, b: number) => a + b);
    const sum = add(add(1, 2), add(3, 4));
    const closed = pool.close();
    expect(await outcomeOf(Promise.resolve(sum))).toBe(10);
    await within(closed, 'end of the pool');
  });

  test('keeps what results gave, and what refs had been awaited', async () => {
    const pool = makePool({ processes: 1 });
    const result = await pool.apply(() => new Float64Array(100_000).fill(4));
    const ref = pool.applyAsync(() => new Float64Array(100_000).fill(5));
    const awaited = await ref;
    await pool.close();
    expect([result[99_999], awaited[99_999], (await ref)[0]]).toEqual([4, 5, 5]);
  });

  test('makes every call after it say so', async () => {
    const pool = makePool({ processes: 1 });
    const remote = pool.remote((x: number) => x);
    const ref = remote(1);
    await ref;
    await pool.close();
    const identity = (x: number) => x;
    const calls = [
      () => pool.apply(identity, [1]),
      () => pool.map(identity, [1]),
      () => pool.starmap(identity, [[1]]),
      () => pool.put(1),
      () => pool.actor(class {}),
      () => pool.ready(),
    ];
    for (const call of calls) expect(await outcomeOf((async () => call())())).toBe('ERR_NDSHM_CLOSED');
    for (const call of [
      () => pool.applyAsync(identity, [1]),
      () => pool.imap(identity, [1]),
      () => pool.imapUnordered(identity, [1]),
      () => pool.remote(identity),
      () => remote(2),
      () => pool.store,
    ]) {
      expect(thrownBy(call)).toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
    }
    expect(await pool.get(ref)).toBe(1);
    expect(await pool.wait([ref])).toEqual({ ready: [ref], pending: [] });
    expect(pool.cancel(ref)).toBe(false);
  });
});

test('join() resolves at the end, which it brings about', async () => {
  const pool = makePool({ processes: 1 });
  const result = pool.apply(() => 1);
  await within(pool.join(), 'end of the pool');
  expect([await result, pool.closed, pool.pids]).toEqual([1, true, []]);
});

test('await using ends a pool at the end of its block', async () => {
  let pids: number[];
  {
    await using pool = makePool();
    ({ pids } = pool);
    expect(await pool.apply(() => 1)).toBe(1);
  }
  expect(pids.filter(isAlive)).toEqual([]);
});

describe('terminate()', () => {
  test('ends everything at once', async () => {
    const before = poolNames();
    const pool = makePool();
    const meeting = new Meeting();
    const calls = [
      ...range(2).map(() => pool.apply(task('arriveAndHang'), [meeting.names])),
      pool.apply(() => 1),
      pool.map((x: number) => x, range(100), { chunkSize: 1 }),
      pool.imap((x: number) => x, range(100)).next(),
    ].map(outcomeOf);
    const { pids } = pool;
    await meeting.arrivals(2);
    await within(pool.terminate(), 'end of the pool');
    expect(await Promise.all(calls)).toEqual(new Array(5).fill('ERR_NDSHM_CANCELLED'));
    expect([pool.pids, pids.filter(isAlive), poolNames()]).toEqual([[], [], before]);
    await within(pool.terminate(), 'end of the pool');
  });

  test('ends a frozen worker, and a close() that waits for it', async () => {
    const pool = makePool({ processes: 1 });
    const frozen = outcomeOf(pool.apply(task('arriveAndFreeze'), []));
    const closed = pool.close();
    await within(pool.terminate(), 'end of the pool');
    await within(closed, 'end of the pool');
    expect(await frozen).toBe('ERR_NDSHM_CANCELLED');
  });

  test('ends a pool whose workers are still starting', async () => {
    const pool = makePool();
    const call = outcomeOf(pool.apply(() => 1));
    await within(pool.terminate(), 'end of the pool');
    expect(await call).toBe('ERR_NDSHM_CANCELLED');
  });
});

describe('a program', () => {
  const start = "const { Pool } = require('ndshm'); const pool = new Pool({ processes: 2 });";
  const namesLeft =
    "require('node:fs').readdirSync('/dev/shm').filter((name) => name.startsWith('pool-' + process.pid))";

  test('ends though a pool is open that has nothing to do', async () => {
    expect(await runProgram(start)).toEqual({ code: 0, stdout: '', stderr: '' });
    const used = `${start} pool.map((x) => x + 1, [1, 2, 3]).then(console.log)`;
    expect(await runProgram(used)).toEqual({ code: 0, stdout: '[ 2, 3, 4 ]\n', stderr: '' });
    const ready = `${start} pool.ready().then(() => console.log('ready'))`;
    expect(await runProgram(ready)).toEqual({ code: 0, stdout: 'ready\n', stderr: '' });
  });

  test.each([
    ['a call', (args: string) => `pool.apply((file, meeting) => require(file).meet(meeting, 'slow'), ${args})`],
    [
      'a call of an actor',
      (args: string) =>
        `pool.actor(class { slow(file, meeting) { return require(file).meet(meeting, 'slow'); } })
          .then((actor) => actor.slow(...${args}))`,
    ],
  ])('goes on as long as %s is under way', async (_what, call) => {
    const meeting = new Meeting();
    const args = JSON.stringify([task('meet').module, meeting.names]);
    const ended = runProgram(`${start} ${call(args)}.then(console.log)`);
    await meeting.arrivals(); // it has nothing else to do by now
    meeting.letGo();
    expect(await ended).toEqual({ code: 0, stdout: 'slow\n', stderr: '' });
  });

  test.each([
    ['comes to its end', ''],
    ['calls process.exit()', 'process.exit(0)'],
    ['calls process.exit() with tasks under way', 'pool.apply(() => { for (;;); }).catch(() => {}); process.exit(0)'],
  ])('leaves no worker and no segment when it %s', async (_what, end) => {
    const source = `${start}
      pool.apply(() => new Uint8Array(100000)).then(() => {
        console.log(JSON.stringify({ pids: pool.pids, pid: process.pid, names: ${namesLeft}.length }));
        ${end}
      })`;
    const { code, stdout, stderr } = await runProgram(source);
    expect([code, stderr]).toEqual([0, '']);
    const { pids, pid, names } = JSON.parse(stdout) as { pids: number[]; pid: number; names: number };
    expect(names).toBeGreaterThan(0);
    expect(poolNames(pid)).toEqual([]);
    await expectEnded(pids);
  });

  test('that closes its pool ends, whatever the workers are at', async () => {
    const source = `${start}
      async function main() {
        const calls = [pool.map((x) => x, [1, 2, 3]), pool.apply(() => 5)];
        await pool.close();
        console.log(await Promise.all(calls), ${namesLeft});
      }
      main();`;
    for (let round = 0; round < 4; round++) {
      expect(await runProgram(source)).toEqual({ code: 0, stdout: '[ [ 1, 2, 3 ], 5 ] []\n', stderr: '' });
    }
  });

  test('may have its pool in a worker thread, which may end before it', async () => {
    const source = `
      const { Worker, isMainThread, parentPort } = require('node:worker_threads');
      const thread = new Worker(\`
        const { parentPort } = require('node:worker_threads');
        ${start}
        pool.map((x) => x * x, [1, 2, 3]).then((results) => parentPort.postMessage({ results, pids: pool.pids }));
        parentPort.on('message', () => {});
      \`, { eval: true });
      thread.on('message', async (message) => {
        await thread.terminate();
        console.log(JSON.stringify({ ...message, pid: process.pid }));
      });`;
    const { code, stdout, stderr } = await runProgram(source);
    expect([code, stderr]).toEqual([0, '']);
    const { results, pids, pid } = JSON.parse(stdout) as { results: number[]; pids: number[]; pid: number };
    expect(results).toEqual([1, 4, 9]);
    await expectEnded(pids);
    expect(poolNames(pid)).toEqual([]);
  });
});

/** Processes that have lost their parent end at once, but it is nobody here who is told. */
async function expectEnded(pids: readonly number[]): Promise<void> {
  const name = freshName('never');
  const nothing = new ndshm.Event(name, { ephemeral: true });
  for (let round = 0; round < 200 && pids.some(isAlive); round++) await outcomeOf(nothing.wait({ timeoutMs: 20 }));
  nothing.close();
  expect(pids.filter(isAlive)).toEqual([]);
}
