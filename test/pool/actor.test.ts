import * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { Meeting, makePool, task } from '../helpers/pool';
import { freshName } from '../helpers/shm';

const pool = makePool();

interface Counter {
  add(by?: number): number;
  addSlowly(by: number): number;
  pid(): number;
  sum(array: ArrayLike<number>): number;
  keep(array: ndshm.SharedArray): void;
  set(index: number, value: number): void;
  meet(meeting: object, value: unknown): unknown;
  fail(message: string): never;
  die(): never;
}
const makeCounter = (...args: unknown[]) =>
  pool.actor(task('Counter'), ...args) as unknown as Promise<ndshm.Actor<Counter>>;
const errorOf = (ref: ndshm.TaskRef): Promise<Error & { code?: string }> => rejection(Promise.resolve(ref));

describe('an actor', () => {
  test('keeps its state, in a process of its own', async () => {
    const [one, two] = await Promise.all([makeCounter(), makeCounter(10)]);
    expect([await one.add(), await one.add(2), await two.add()]).toEqual([1, 3, 11]);
    const pids = [await one.pid(), await two.pid()];
    expect(new Set([...pids, process.pid, ...(await pool.map(() => process.pid, [1, 2, 3, 4]))]).size).toBeGreaterThan(
      3,
    );
    expect(pool.pids).toEqual(expect.arrayContaining(pids));
    await Promise.all([one[Symbol.asyncDispose](), two[Symbol.asyncDispose]()]);
    expect(pool.pids).not.toEqual(expect.arrayContaining([pids[0]]));
  });

  test('may be of a class that is written in place', async () => {
    await using stack = await pool.actor(
      class {
        items: number[];
        constructor(...items: number[]) {
          this.items = items;
        }
        push(item: number) {
          return this.items.push(item);
        }
        async all() {
          return this.items;
        }
      },
      1,
      2,
    );
    expect([await stack.push(3), await stack.all()]).toEqual([3, [1, 2, 3]]);
  });

  test('does one call after the other, in their order', async () => {
    await using counter = await makeCounter();
    const all = [counter.addSlowly(1), counter.add(), counter.addSlowly(1), counter.add()];
    expect(await Promise.all(all)).toEqual([1, 2, 3, 4]);
    const many = Array.from({ length: 600 }, () => counter.add());
    expect(await Promise.all(many)).toEqual(Array.from({ length: 600 }, (_, n) => n + 5));
  });

  test('leaves the workers of the pool free', async () => {
    const meeting = new Meeting();
    await using counter = await makeCounter();
    const waiting = counter.meet(meeting.names, 'done');
    await meeting.arrivals();
    expect(await pool.map((x: number) => x, [1, 2, 3])).toEqual([1, 2, 3]);
    meeting.letGo();
    expect(await waiting).toBe('done');
  });

  test('gives refs, which others take for arguments, and takes them', async () => {
    await using counter = await makeCounter(await pool.put(5));
    const six = counter.add() as ndshm.TaskRef<number>;
    expect(six).toBeInstanceOf(ndshm.TaskRef);
    const seven = pool.remote((x: number) => x + 1)(six);
    expect(await counter.add(seven as unknown as number)).toBe(13);
    expect(await counter.sum((await pool.put(new Float64Array([1, 2]))) as unknown as number[])).toBe(16);
    expect(await pool.get(six)).toBe(6);
  });

  test('may keep a shared array', async () => {
    const array = ndshm.create(freshName(), { shape: 3, dtype: 'int32', ephemeral: true });
    await using counter = await makeCounter();
    await counter.keep(array);
    await counter.set(1, 7);
    expect(array.toNested()).toEqual([0, 7, 0]);
    array.close();
  });

  test('rejects where a method throws, and goes on', async () => {
    await using counter = await makeCounter();
    await counter.add();
    const error = await errorOf(counter.fail('too much'));
    expect(error).toBeInstanceOf(ndshm.TaskError);
    expect(error).toMatchObject({
      message: 'too much',
      code: 'ERR_COUNTER',
      thrown: expect.any(RangeError) as unknown,
    });
    expect(error.stack).toMatch(/tasks\.js/);
    expect(await counter.add()).toBe(2);
  });

  test('says which method it does not have', async () => {
    await using counter = (await makeCounter()) as unknown as ndshm.Actor<{ subtract(): number }>;
    expect(await errorOf(counter.subtract())).toMatchObject({
      thrown: expect.any(TypeError) as unknown,
      message: expect.stringMatching(/Counter has no method 'subtract'/) as string,
    });
  });

  test('whose constructor throws, rejects, and its process ends', async () => {
    const before = pool.pids.length;
    const error = await rejection(pool.actor(task('Stillborn'), 'not today'));
    expect(error).toMatchObject({ name: 'TaskError', message: 'not today' });
    expect(pool.pids).toHaveLength(before);
    expect(await rejection(pool.actor(task('Counter'), Symbol('x')))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
    });
    expect(pool.pids).toHaveLength(before);
  });

  test('whose process dies loses its calls, and all after them', async () => {
    const counter = await makeCounter();
    const pid = await counter.pid();
    const lost = [counter.die(), counter.add()].map(errorOf);
    expect(await lost[0]).toBeInstanceOf(ndshm.WorkerLost);
    expect(await lost[0]).toMatchObject({ code: 'ERR_NDSHM_WORKER_LOST', pid, signal: 'SIGKILL' });
    expect(await lost[1]).toMatchObject({ code: 'ERR_NDSHM_WORKER_LOST', pid, signal: 'SIGKILL' });
    expect(await errorOf(counter.add())).toMatchObject({ code: 'ERR_NDSHM_WORKER_LOST', pid });
    await counter[Symbol.asyncDispose]();
    expect(await pool.apply(() => 1)).toBe(1);
  });

  test('finishes a method whose call is cancelled, and does not begin one', async () => {
    const meeting = new Meeting();
    await using counter = await makeCounter();
    const pid = await counter.pid();
    const running = counter.meet(meeting.names, 1);
    const waiting = counter.add();
    await meeting.arrivals();
    expect([pool.cancel(running), pool.cancel(waiting)]).toEqual([true, true]);
    expect(await errorOf(running)).toMatchObject({ code: 'ERR_NDSHM_CANCELLED' });
    expect(await errorOf(waiting)).toMatchObject({ code: 'ERR_NDSHM_CANCELLED' });
    meeting.letGo();
    expect([await counter.add(), await counter.pid()]).toEqual([1, pid]);
  });

  test('ends when its calls are done', async () => {
    const meeting = new Meeting();
    const counter = await makeCounter();
    const pid = await counter.pid();
    const last = counter.meet(meeting.names, 'last');
    const ended = counter[Symbol.asyncDispose]();
    await meeting.arrivals();
    meeting.letGo();
    expect(await last).toBe('last');
    await ended;
    expect(pool.pids).not.toContain(pid);
    expect(await errorOf(counter.add())).toMatchObject({ code: 'ERR_NDSHM_CANCELLED' });
    await counter[Symbol.asyncDispose]();
  });

  test('is no promise, and refuses a class that needs more than itself', async () => {
    await using counter = await makeCounter();
    expect(await Promise.resolve(counter)).toBe(counter);
    const outside = 5;
    const Closed = class {
      value() {
        return outside;
      }
    };
    expect(await rejection(pool.actor(Closed))).toMatchObject({
      code: 'ERR_NDSHM_FUNCTION',
      message: expect.stringContaining('outside') as string,
    });
    expect(await rejection(pool.actor(task('pid')))).toMatchObject({ name: 'TaskError' });
  });
});

test('the pool’s end ends its actors, when their calls are done', async () => {
  const own = makePool({ processes: 1 });
  const meeting = new Meeting();
  const counter = (await own.actor(task('Counter'))) as unknown as ndshm.Actor<Counter>;
  const last = counter.meet(meeting.names, 'last');
  await meeting.arrivals();
  const closed = own.close();
  meeting.letGo();
  expect(await last).toBe('last');
  await closed;
  expect(own.pids).toEqual([]);
  expect(await errorOf(counter.add())).toMatchObject({ code: expect.stringMatching(/CLOSED|CANCELLED/) as string });
});

test('terminate() ends actors in the middle of their calls', async () => {
  const own = makePool({ processes: 1 });
  const meeting = new Meeting();
  const counter = (await own.actor(task('Counter'))) as unknown as ndshm.Actor<Counter>;
  const last = errorOf(counter.meet(meeting.names, 'last'));
  await meeting.arrivals();
  await own.terminate();
  expect(await last).toMatchObject({ code: 'ERR_NDSHM_CANCELLED' });
  expect(own.pids).toEqual([]);
});
