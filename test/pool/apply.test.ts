import * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { Meeting, makePool, runProgram, task } from '../helpers/pool';
import { thrownBy } from '../helpers/shm';

const pool = makePool();

describe('apply()', () => {
  test('calls a function that is written in place, in another process', async () => {
    const pid = await pool.apply(() => process.pid);
    expect(pid).not.toBe(process.pid);
    expect(pool.pids).toContain(pid);
    expect(await pool.apply((a: number, b: number) => a ** b, [2, 10])).toBe(1024);
  });

  test('calls functions of CommonJS and ES modules', async () => {
    expect(pool.pids).toContain(await pool.apply(task('pid')));
    expect(await pool.apply(task('twice', 'tasks.mjs'), [21])).toBe(42);
    expect(await pool.apply(task('default', 'tasks.mjs'), [21])).toBe(-21);
    expect(await pool.apply({ module: task('', 'tasks.mjs').module }, [4])).toBe(-4);
    expect(await pool.apply({ module: 'node:path', export: 'dirname' }, ['/a/b'])).toBe('/a');
  });

  test('awaits what the function returns', async () => {
    expect(await pool.apply(async (a: number) => a + 1, [1])).toBe(2);
    expect(await pool.apply(task('addAll', 'tasks.mjs'), [1, 2, 3])).toBe(6);
    // oxlint-disable-next-line unicorn/no-thenable -- it is what is tested
    const thenable = () => Object.defineProperty({}, 'then', { value: (take: (value: number) => void) => take(7) });
    expect(await pool.apply(thenable)).toBe(7);
  });

  test('may be called without arguments, and with a result of nothing', async () => {
    expect(await pool.apply((...args: unknown[]) => args.length)).toBe(0);
    expect(await pool.apply((...args: unknown[]) => args.length, [])).toBe(0);
    expect(await pool.apply(() => {})).toBeUndefined();
    expect(await pool.apply(() => null)).toBeNull();
    expect(await pool.apply((...args: unknown[]) => args, [undefined, null, undefined])).toEqual([
      undefined,
      null,
      undefined,
    ]);
  });

  test('lets other things happen in this process meanwhile', async () => {
    const meeting = new Meeting();
    const result = pool.apply(task('meet'), [meeting.names, 'done']);
    await meeting.arrivals();
    let turns = 0;
    for (; turns < 100; turns++) await new Promise(setImmediate);
    meeting.letGo();
    expect(await result).toBe('done');
  });

  test('runs as many calls at a time as there are workers, and the others after them', async () => {
    const meeting = new Meeting();
    const results = [1, 2, 3].map((n) => pool.apply(task('meet'), [meeting.names, n]));
    await meeting.arrivals(2);
    expect(meeting.waiting).toBe(0);
    meeting.letGo();
    expect(await Promise.all(results)).toEqual([1, 2, 3]);
  });

  test('takes many calls at once', async () => {
    const results = await Promise.all(Array.from({ length: 3000 }, (_, n) => pool.apply((x: number) => [x, -x], [n])));
    expect(results).toEqual(Array.from({ length: 3000 }, (_, n) => [n, -n]));
  });

  test('leaves the caller’s arguments as they are', async () => {
    const list = [3, 1, 2];
    expect(await pool.apply((given: number[]) => given.reverse(), [list])).toEqual([2, 1, 3]);
    expect(list).toEqual([3, 1, 2]);
  });

  test('keeps what a function leaves in globalThis for the next task of that worker only', async () => {
    await using single = makePool({ processes: 1 });
    await single.apply(() => {
      (globalThis as { left?: number }).left = 5;
    });
    expect(await single.apply(() => (globalThis as { left?: number }).left)).toBe(5);
    expect((globalThis as { left?: number }).left).toBeUndefined();
  });
});

describe('a signal', () => {
  test('that has been aborted ends the call before it begins', async () => {
    const reason = new Error('not wanted');
    expect(await rejection(pool.apply(() => 1, [], { signal: AbortSignal.abort(reason) }))).toBe(reason);
    const signal = AbortSignal.abort(reason);
    expect(thrownBy(() => pool.applyAsync(() => 1, [], { signal }))).toBe(reason);
    expect(thrownBy(() => pool.remote(() => 1, { signal }))).toBe(reason);
  });

  test('ends a call that has not begun, and no worker', async () => {
    const meeting = new Meeting();
    const pids = pool.pids;
    const running = [1, 2].map((n) => pool.apply(task('meet'), [meeting.names, n]));
    await meeting.arrivals(2);
    const controller = new AbortController();
    const waiting = rejection(pool.apply(task('arriveAndHang'), [meeting.names], { signal: controller.signal }));
    controller.abort();
    expect(await waiting).toMatchObject({ name: 'AbortError' });
    meeting.letGo();
    expect(await Promise.all(running)).toEqual([1, 2]);
    expect(await pool.apply(() => 3)).toBe(3);
    expect(meeting.waiting).toBe(0);
    expect(pool.pids).toEqual(pids);
  });

  test('may come late', async () => {
    const controller = new AbortController();
    expect(await pool.apply(() => 1, [], { signal: controller.signal })).toBe(1);
    const pids = pool.pids;
    controller.abort();
    expect(await pool.apply(() => 2)).toBe(2);
    expect(pool.pids).toEqual(pids);
  });

  test('ends a call that runs, with its worker', async () => {
    const meeting = new Meeting();
    const controller = new AbortController();
    const result = rejection(pool.apply(task('arriveAndHang'), [meeting.names], { signal: controller.signal }));
    await meeting.arrivals();
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await result).toBe(reason);
    expect(await pool.map((x: number) => x, [1, 2, 3, 4])).toEqual([1, 2, 3, 4]);
  });
});

describe('what is wrong is said:', () => {
  const any = pool as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;

  test.each<[string, unknown[], string, RegExp]>([
    ['no function', [], 'ERR_NDSHM_INVALID_ARGUMENT', /a function or \{ module, export \}/],
    ['a text for a function', ['x => x'], 'ERR_NDSHM_INVALID_ARGUMENT', /a function/],
    ['arguments that are no list', [() => 1, 5], 'ERR_NDSHM_INVALID_ARGUMENT', /an array of arguments/],
    ['arguments in a text', [() => 1, 'ab'], 'ERR_NDSHM_INVALID_ARGUMENT', /an array of arguments/],
    ['an unknown option', [() => 1, [], { timeout: 5 }], 'ERR_NDSHM_INVALID_ARGUMENT', /'timeout'.*timeoutMs/],
    ['an option of map()', [() => 1, [], { chunkSize: 5 }], 'ERR_NDSHM_INVALID_ARGUMENT', /'chunkSize'/],
    ['a negative time', [() => 1, [], { timeoutMs: -1 }], 'ERR_NDSHM_OUT_OF_RANGE', /timeoutMs/],
    ['a time that is a text', [() => 1, [], { timeoutMs: '5' }], 'ERR_NDSHM_INVALID_ARGUMENT', /timeoutMs/],
    ['half a retry', [() => 1, [], { retries: 0.5 }], 'ERR_NDSHM_OUT_OF_RANGE', /retries/],
    ['no signal', [() => 1, [], { signal: {} }], 'ERR_NDSHM_INVALID_ARGUMENT', /signal/],
    ['a generator', [function* () {}], 'ERR_NDSHM_FUNCTION', /generator/],
    ['a module that is not there', [{ module: './nowhere.js' }], 'ERR_NDSHM_FUNCTION', /nowhere\.js/],
    ['an unknown key of a module', [{ module: 'node:fs', exports: 'x' }], 'ERR_NDSHM_INVALID_ARGUMENT', /'exports'/],
  ])('%s', async (_what, args, code, message) => {
    const error = await rejection((any['apply'] as (...args: unknown[]) => Promise<unknown>).apply(pool, args));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(thrownBy(() => any['applyAsync']?.apply(pool, args))).toMatchObject({ code });
  });

  test('an inline function that refers to names outside, which it names', async () => {
    const outside = pool.processes;
    const error = await rejection(pool.apply((x: number) => x * outside, [2]));
    expect(error).toMatchObject({ code: 'ERR_NDSHM_FUNCTION', message: expect.stringContaining('outside') as string });
    expect(error).toBeInstanceOf(TypeError);
  });

  test('an export that the module does not have', async () => {
    const error = await rejection(pool.apply(task('nothing', 'tasks.mjs')));
    expect(error).toBeInstanceOf(ndshm.TaskError);
    expect(error).toMatchObject({
      code: 'ERR_NDSHM_FUNCTION',
      message: expect.stringMatching(/'nothing'.*its exports: .*twice/) as string,
    });
    expect(await rejection(pool.apply(task('notAFunction', 'tasks.mjs')))).toMatchObject({
      message: expect.stringContaining('is no function but of type number') as string,
    });
  });
});

test('applyAsync() returns at once what can be awaited, more than once', async () => {
  const ref = pool.applyAsync((x: number) => ({ x }), [3]);
  expect(ref).toBeInstanceOf(ndshm.TaskRef);
  const first = await ref;
  expect(first).toEqual({ x: 3 });
  expect(await ref).toBe(first);
  expect(await Promise.all([ref, pool.get(ref)])).toEqual([first, first]);
});

describe('the functions of a program', () => {
  const fixtures = './test/pool/fixtures';

  test('may be imported, exported by itself, or written in place, in an ES module', async () => {
    const program = `
      import { dirname } from 'node:path';
      import { Pool } from 'ndshm';
      import negate, { twice } from '${fixtures}/tasks.mjs';
      import tasks from '${fixtures}/tasks.js';
      export const triple = (x) => 3 * x;
      const pool = new Pool({ processes: 1 });
      const three = 3;
      const results = [
        await pool.map(twice, [1, 2]),
        await pool.apply(negate, [5]),
        await pool.apply(tasks.pid) === pool.pids[0],
        await pool.apply(dirname, ['/a/b']),
        await pool.map(triple, [1, 2]),
        await pool.map(async (x) => (await import('node:path')).basename(x), ['/a/b']),
        await pool.apply((x) => x * three, [1]).catch(({ code, message }) => [code, /have: three./.test(message)]),
        await pool.actor(class { n = 1; get() { return this.n; } }).then((actor) => actor.get()),
      ];
      await pool.close();
      console.log(JSON.stringify(results));`;
    const { stdout, stderr } = await runProgram(program, ['--input-type=module']);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([[2, 4], -5, true, '/a', [3, 6], ['b'], ['ERR_NDSHM_FUNCTION', true], 1]);
  });

  test('may be required, or written in place, in CommonJS', async () => {
    const program = `
      const { Pool } = require('ndshm');
      const { pid, Counter } = require('${fixtures}/tasks.js');
      const pool = new Pool({ processes: 1 });
      const three = 3;
      function triple(x) { return 3 * x; }
      async function main() {
        const results = [
          (await pool.apply(pid)) === pool.pids[0],
          await pool.map(triple, [1, 2]),
          await pool.apply((name) => require('node:path').basename(name), ['/a/b']),
          await pool.apply((x) => x * three, [1]).catch(({ code, message }) => [code, /have: three./.test(message)]),
          await pool.actor(Counter, 5).then((counter) => counter.add(2)),
          await pool.apply(triple.bind(null, 1)).catch(({ code }) => code),
        ];
        await pool.close();
        console.log(JSON.stringify(results));
      }
      main();`;
    const { stdout, stderr } = await runProgram(program);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([true, [3, 6], 'b', ['ERR_NDSHM_FUNCTION', true], 7, 'ERR_NDSHM_FUNCTION']);
  });
});
