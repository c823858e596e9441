import fc from 'fast-check';
import { builtinTypes as types } from '../../../dist/manager/types';
import { FakeCaller, fateOf, fatesOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';
import { always, anyCaller, anyEnd, callerCount, Trial, WaitingModel } from '../../helpers/waiting-model';

const shutDown = 'ERR_NDSHM_SHUT_DOWN';
const notOwned = 'ERR_NDSHM_NOT_OWNED';

describe('a queue', () => {
  test('gives the oldest, the newest, or what comes first by priority', () => {
    const drained = (queue: { tryGet(): unknown; size: number }) =>
      Array.from({ length: queue.size }, () => queue.tryGet());
    const [fifo, lifo] = [new types.queue(), new types.queue({ kind: 'lifo' })];
    const priority = new types.queue({ kind: 'priority' });
    for (const [item, rank] of [
      ['a', 2],
      ['b', -1],
      ['c', 2],
      ['d', 0.5],
      ['e', undefined],
    ] as const) {
      fifo.tryPut(item);
      lifo.tryPut(item);
      priority.tryPut(item, rank === undefined ? {} : { priority: rank });
    }
    expect([drained(fifo), drained(lifo), drained(priority)].map((items) => items.join(''))).toEqual([
      'abcde',
      'edcba',
      'bedac',
    ]);
  });

  test('sorts any number of items by priority, equal ones by their age', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 }), (priorities) => {
        const queue = new types.queue<[number, number]>({ kind: 'priority' });
        const items = priorities.map((priority, n): [number, number] => [priority, n]);
        for (const item of items) queue.tryPut(item, { priority: item[0] });
        expect(items.map(() => queue.tryGet())).toEqual(items.toSorted(([a, m], [b, n]) => a - b || m - n));
      }),
    );
  });

  test('holds so many items, and lets producers wait for room', async () => {
    const queue = new types.queue<string>({ maxItems: 2 });
    expect([queue.size, queue.empty, queue.full]).toEqual([0, true, false]);
    const puts = [queue.put('a'), queue.put('b'), queue.put('c'), queue.put('d')];
    expect(await fatesOf(puts)).toEqual([undefined, undefined, 'pending', 'pending']);
    expect([queue.size, queue.empty, queue.full, queue.tryPut('e')]).toEqual([2, false, true, false]);
    expect([await queue.get(), queue.tryGet()]).toEqual(['a', 'b']);
    expect(await fatesOf(puts)).toEqual([undefined, undefined, undefined, undefined]);
    expect([await queue.get(), await queue.get(), queue.tryGet(), queue.empty]).toEqual(['c', 'd', undefined, true]);
  });

  test('gives items to those who wait, in the order of their calls, and nothing is an item as well', async () => {
    const queue = new types.queue<string | undefined>();
    const gets = [queue.get(), queue.get(), queue.get()];
    await queue.put('a');
    queue.tryPut(undefined);
    expect(await fatesOf(gets)).toEqual(['a', undefined, 'pending']);
  });

  test('gives an item to a caller that is there, or to nobody', async () => {
    const queue = new types.queue<string>();
    const [leaving, staying] = [new FakeCaller(), new FakeCaller()];
    const gets = [leaving.on(queue).get(), staying.on(queue).get()];
    leaving.end();
    queue.tryPut('item');
    expect(await fatesOf(gets)).toEqual([`caller ${leaving.id} has gone`, 'item']);
    queue.tryPut('next');
    expect(await fateOf(leaving.on(queue).get())).toBe(`caller ${leaving.id} has gone`);
    expect(thrownBy(() => leaving.on(queue).tryGet()).message).toBe(`caller ${leaving.id} has gone`);
    expect(queue.size).toBe(1);
  });

  test('is joined when all items are done', async () => {
    const queue = new types.queue<string>();
    expect(await fateOf(queue.join())).toBeUndefined();
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    queue.tryPut('a');
    queue.tryPut('b');
    const joined = queue.join();
    await a.on(queue).get();
    await b.on(queue).get();
    a.on(queue).taskDone();
    expect(await fateOf(joined)).toBe('pending');
    expect(thrownBy(() => a.on(queue).taskDone()).code).toBe(notOwned);
    b.on(queue).taskDone();
    expect(await fateOf(joined)).toBeUndefined();
  });

  test('does not wait for what a caller took that has gone', async () => {
    const queue = new types.queue<string>();
    const caller = new FakeCaller();
    queue.tryPut('a');
    queue.tryPut('b');
    queue.tryPut('c');
    for (let n = 0; n < 3; n++) await caller.on(queue).get();
    caller.on(queue).taskDone();
    const joined = queue.join();
    expect(await fateOf(joined)).toBe('pending');
    caller.end();
    expect([await fateOf(joined), queue.size]).toEqual([undefined, 0]);
  });

  test.each([
    ['fifo', 'abcde', 'cde'],
    ['lifo', 'edcba', 'cba'],
    ['priority', 'abcde', 'cde'],
  ] as const)('of kind %s gives again what a caller took that has gone, in its place', async (kind, order, rest) => {
    const queue = new types.queue<string>({ kind, redeliver: true, maxItems: 5 });
    for (const item of 'abcde') queue.tryPut(item);
    const [done, leaving] = [new FakeCaller(), new FakeCaller()];
    expect(await done.on(queue).get()).toBe(order[0]);
    expect([await leaving.on(queue).get(), queue.size]).toEqual([order[1], 3]);
    done.on(queue).taskDone();
    done.end();
    expect(queue.size).toBe(3);
    leaving.end();
    const left = Array.from({ length: 4 }, () => queue.tryGet());
    expect(left).toEqual([order[1], ...rest.split('')]);
    const joined = queue.join();
    for (const _ of left) {
      expect(await fateOf(joined)).toBe('pending');
      queue.taskDone();
    }
    expect(await fateOf(joined)).toBeUndefined();
  });

  test('gives again only what its caller has not said to be done, the oldest first', async () => {
    const queue = new types.queue<string>({ redeliver: true });
    const caller = new FakeCaller();
    for (const item of ['a', 'b', 'c']) queue.tryPut(item);
    for (let n = 0; n < 3; n++) await caller.on(queue).get();
    caller.on(queue).taskDone();
    caller.end();
    expect([queue.tryGet(), queue.tryGet(), queue.tryGet()]).toEqual(['b', 'c', undefined]);
  });

  test('may be more than full of what has come back, and is full then', async () => {
    const queue = new types.queue<string>({ redeliver: true, maxItems: 1 });
    const caller = new FakeCaller();
    queue.tryPut('a');
    await caller.on(queue).get();
    queue.tryPut('b');
    caller.end();
    expect([queue.size, queue.full, queue.tryPut('c')]).toEqual([2, true, false]);
    const waiting = queue.put('c');
    expect([await fateOf(waiting), queue.tryGet(), await fateOf(waiting)]).toEqual(['pending', 'a', 'pending']);
    expect([queue.tryGet(), await fateOf(waiting), queue.tryGet()]).toEqual(['b', undefined, 'c']);
  });

  test('gives at once to who waits what comes back', async () => {
    const queue = new types.queue<string>({ redeliver: true });
    const [leaving, staying] = [new FakeCaller(), new FakeCaller()];
    queue.tryPut('item');
    await leaving.on(queue).get();
    const own = leaving.on(queue).get();
    const next = staying.on(queue).get();
    leaving.end();
    expect(await fatesOf([own, next])).toEqual([`caller ${leaving.id} has gone`, 'item']);
  });

  test('takes nothing any more once it is shut down, and gives what is inside', async () => {
    const queue = new types.queue<string>({ maxItems: 1 });
    await queue.put('a');
    const waiting = queue.put('b');
    expect([await fateOf(waiting), queue.isShutDown]).toEqual(['pending', false]);
    queue.shutdown();
    expect([await fatesOf([waiting, queue.put('c')]), queue.isShutDown]).toEqual([[shutDown, shutDown], true]);
    expect(thrownBy(() => queue.tryPut('c')).code).toBe(shutDown);
    expect(await queue.get()).toBe('a');
    expect(await fateOf(queue.get())).toBe(shutDown);
    expect(thrownBy(() => queue.tryGet()).code).toBe(shutDown);
    const empty = new types.queue();
    const gets = [empty.get(), empty.get()];
    expect(await fateOf(gets[0] as Promise<unknown>)).toBe('pending');
    empty.shutdown();
    expect(await fatesOf(gets)).toEqual([shutDown, shutDown]);
  });

  test('refuses what makes no sense', async () => {
    const wrong = [{ maxItems: 0 }, { kind: 'heap' }, { kind: 1 }, { redeliver: 1 }, { size: 1 }];
    expect(wrong.map((options) => thrownBy(() => new types.queue(options as { maxItems: number })).code)).toEqual([
      'ERR_NDSHM_OUT_OF_RANGE',
      'ERR_NDSHM_OUT_OF_RANGE',
      ...Array(3).fill('ERR_NDSHM_INVALID_ARGUMENT'),
    ]);
    const [fifo, priority] = [new types.queue(), new types.queue({ kind: 'priority' })];
    const invalid = 'ERR_NDSHM_INVALID_ARGUMENT';
    expect(await fateOf(fifo.put('a', { priority: 1 }))).toBe(invalid);
    for (const value of [Number.NaN, '1']) {
      expect(thrownBy(() => priority.tryPut('a', { priority: value as number })).code).toBe(invalid);
    }
    expect([fifo.size, priority.size]).toEqual([0, 0]);
  });
});

const maxItems = 2;

/** The items are numbers, in the order in which they are put. */
class QueueModel extends WaitingModel {
  items: number[] = [];
  taken: number[][] = Array.from({ length: callerCount }, () => []);
  isShutDown = false;

  constructor(
    readonly isBefore: (a: number, b: number) => number,
    readonly redeliver: boolean,
  ) {
    super();
  }

  put(caller: number, item: number) {
    return this.request(caller, 'put', () => {
      if (this.isShutDown) return shutDown;
      if (this.items.length >= maxItems) return undefined;
      this.#insert(item);
      return 'undefined';
    });
  }

  get(caller: number) {
    return this.request(caller, 'get', () => {
      const item = this.items.shift();
      if (item === undefined) return this.isShutDown ? shutDown : undefined;
      this.#takenBy(caller).push(item);
      return String(item);
    });
  }

  join(caller: number) {
    return this.request(caller, 'join', () =>
      this.items.length + this.taken.flat().length === 0 ? 'undefined' : undefined,
    );
  }

  done(caller: number): boolean {
    const item = this.#takenBy(caller).shift();
    this.settle();
    return item !== undefined;
  }

  protected leave(caller: number): void {
    for (const item of this.#takenBy(caller).splice(0)) if (this.redeliver) this.#insert(item);
  }

  #insert(item: number): void {
    this.items = [...this.items, item].sort(this.isBefore);
  }

  #takenBy(caller: number): number[] {
    return this.taken[caller] as number[];
  }
}

const orders = {
  fifo: (a: number, b: number) => a - b,
  lifo: (a: number, b: number) => b - a,
  priority: (a: number, b: number) => (a % 3) - (b % 3) || a - b,
};

describe.each([true, false])('with redeliver: %s', (redeliver) => {
  test.each(Object.keys(orders) as (keyof typeof orders)[])(
    'no item of a %s queue is lost, doubled or out of its order, whatever comes together',
    (kind) => {
      const call = fc.constantFrom('put' as const, 'put' as const, 'get' as const, 'get' as const, 'join' as const);
      const step = fc.oneof(
        { weight: 5, arbitrary: fc.record({ act: call, caller: anyCaller, timed: fc.boolean() }) },
        { weight: 1, arbitrary: fc.record({ act: fc.constant('done' as const), caller: anyCaller }) },
        { weight: 2, arbitrary: anyEnd },
        { weight: 1, arbitrary: fc.record({ act: fc.constant('shutdown' as const) }) },
      );
      return always(step, async (steps) => {
        const queue = new types.queue<number>({ kind, redeliver, maxItems });
        const model = new QueueModel(orders[kind], redeliver);
        const trial = new Trial(model);
        for (const [n, each] of steps.entries()) {
          switch (each.act) {
            case 'put': {
              const priority = kind === 'priority' ? { priority: n % 3 } : {};
              const put = (who: FakeCaller, options: object) => who.on(queue).put(n, { ...options, ...priority });
              trial.request(model.put(each.caller, n), put, each.timed);
              break;
            }
            case 'get':
              trial.request(model.get(each.caller), (who, options) => who.on(queue).get(options), each.timed);
              break;
            case 'join':
              trial.request(model.join(each.caller), (who, options) => who.on(queue).join(options), each.timed);
              break;
            case 'done': {
              const mine = trial.caller(each.caller).on(queue);
              if (model.done(each.caller)) mine.taskDone();
              else expect(thrownBy(() => mine.taskDone()).code).toBe(notOwned);
              break;
            }
            case 'shutdown':
              queue.shutdown();
              model.isShutDown = true;
              model.settle();
              break;
            default:
              await trial.happen(each);
          }
          expect(queue.size).toBe(model.items.length);
        }
        await trial.check();
      });
    },
  );
});
