import * as ndshm from 'ndshm';
import { rejection, within } from '../helpers/child';
import {
  clientOf,
  connectTo,
  pairBy,
  serveManager,
  startManager,
  type TestManager,
  type Workshop,
  ways,
} from '../helpers/managers';
import { freshName } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

type AnyFunction = (...args: unknown[]) => Promise<unknown>;
interface Money {
  double(): Promise<number>;
}

/** Something of this process that others may call. */
class Purse {
  amount = 0;
  readonly seen: unknown[] = [];
  put(amount: number) {
    this.amount += amount;
    return this.amount;
  }
  see(value: unknown) {
    this.seen.push(value);
    return value;
  }
  get count() {
    return this.seen.length;
  }
  _secret() {
    return 'secret';
  }
}

describe.each(ways)('by %s', (way) => {
  let manager: TestManager;
  let client: TestManager;
  let workshop: Workshop;
  beforeAll(async () => {
    ({ manager, client } = await pairBy(way));
    workshop = await client.Workshop();
  });
  afterAll(async () => {
    await client.close();
    await manager.close();
  });

  describe('a function', () => {
    test('of this process is called back, with what it is given, and its result goes there', async () => {
      expect(await workshop.callBack((a: number, b: number) => a + b, 1, 2)).toBe(3);
      const later = async (map: Map<string, unknown>) => {
        await new Promise(setImmediate);
        return new Map([...map, ['more', 5n]]);
      };
      expect(await workshop.callBack(later, new Map([['a', 1]]))).toEqual(
        new Map<string, unknown>([
          ['a', 1],
          ['more', 5n],
        ]),
      );
      expect(await workshop.callBack(() => undefined)).toBeUndefined();
    });

    test('of the other process can be called here, and again, and passed on', async () => {
      const add = await workshop.adder(5);
      expect(await Promise.all([add(1), add(2), add(3)])).toEqual([6, 7, 8]);
      expect(await workshop.callBack(add, 10)).toBe(15); // at home it is the function itself
      expect(await workshop.callBack((n: number) => add(n), 20)).toBe(25);
      await workshop.keep('add', add);
      expect(await workshop.isKept('add', add)).toBe(true);
    });

    test('that throws gives its error to whoever called it', async () => {
      const fail = () => {
        throw Object.assign(new RangeError('of the callback', { cause: new Error('deep') }), { code: 'ERR_OWN' });
      };
      const told = { name: 'RangeError', message: 'of the callback', code: 'ERR_OWN', cause: 'deep', isError: true };
      expect(await workshop.catchFrom(fail)).toEqual(told);
      expect(await workshop.catchFrom(async () => fail())).toEqual(told);
      const error = await rejection(workshop.callBack(fail)); // there and back
      expect(error).toBeInstanceOf(RangeError);
      expect(error).toMatchObject({ message: 'of the callback', code: 'ERR_OWN', cause: { message: 'deep' } });
      expect(await workshop.catchFrom(() => Promise.reject(new TypeError('late')))).toMatchObject({
        name: 'TypeError',
      });
    });

    test('may be kept by the other side and called later, and forgotten', async () => {
      const heard: unknown[] = [];
      await workshop.keep('listener', (...args: unknown[]) => heard.push(args));
      expect([await workshop.callKept('listener', 1), await workshop.callKept('listener', 'two', {})]).toEqual([1, 2]);
      expect(heard).toEqual([[1], ['two', {}]]);
      const other = await (await connectTo(manager)).getOrCreate<{ keep(key: string, value: unknown): void }>(
        'w',
        'Workshop',
      );
      await other.keep('mine', (n: number) => n * 2);
      const same = await client.find<{ callKept(key: string, n: number): Promise<number> }>('w');
      expect(await same.callKept('mine', 21)).toBe(42); // called by way of the manager
    });

    test('may be in containers, several times and in several places', async () => {
      const fn = (n: number) => n + 1;
      await workshop.keep('all', new Map<unknown, unknown>([['fn', [fn, { fn }]]]));
      const all = (await workshop.kept('all')) as Map<string, [AnyFunction, { fn: AnyFunction }]>;
      const [one, { fn: two }] = all.get('fn') as [AnyFunction, { fn: AnyFunction }];
      expect(one).toBe(fn); // it has come home
      expect(two).toBe(fn);
      expect(
        await workshop.callBack((list: { fn: AnyFunction }[]) => list[0]?.fn(4), [{ fn: await workshop.adder(1) }]),
      ).toBe(5);
    });

    test('calls back and forth, to any depth', async () => {
      const down = async (n: number): Promise<number> =>
        n === 0 ? 0 : 1 + ((await workshop.callBack(down, n - 1)) as number);
      expect(await workshop.callBack(down, 20)).toBe(20);
    });

    test('that has been given up can be called no more', async () => {
      const add = await workshop.adder(5);
      (add as unknown as Disposable)[Symbol.dispose]();
      expect(await codeOf((async () => add(1))())).toBe('ERR_NDSHM_STALE_PROXY');
      expect(await workshop.echo(1)).toBe(1);
    });
  });

  describe('an object', () => {
    test('of the other process is a proxy here, and itself when it comes home', async () => {
      const money = await workshop.moneyByReference(4);
      expect(await money.double()).toBe(8);
      expect(Object.prototype.toString.call(money)).toBe('[object Proxied Money]');
      expect(await workshop.isSame(money, money)).toBe(true);
      expect(await workshop.describe(money)).toMatchObject({ name: 'Money' });
      expect(await workshop.callMethod(money, 'double')).toBe(8);
      await workshop.keep('deep', new Map([['list', [money, { money }]]]));
      const deep = (await workshop.kept('deep')) as Map<string, [Money, { money: Money }]>;
      const [one, { money: two }] = deep.get('list') as [Money, { money: Money }];
      expect([await one.double(), await two.double(), one === two]).toEqual([8, 8, true]);
    });

    test('that the manager has made can be given to another one, which keeps it', async () => {
      const ledger = await client.Ledger(1, 2);
      const other = await client.Ledger(10);
      const merged = await other.merge(ledger as never);
      expect([await merged.total(), await other.total()]).toEqual([13, 13]);
      const dict = await client.dict<string, unknown>();
      await dict.set('ledger', ledger);
      ledger[Symbol.dispose]();
      const again = (await dict.get('ledger')) as typeof other;
      expect(await again.add(3)).toBe(6);
      expect(await codeOf((async () => ledger.add(1))())).toBe('ERR_NDSHM_STALE_PROXY');
    });

    test('of this process is reached by its public methods alone', async () => {
      const purse = ndshm.Manager.proxy(new Purse());
      expect(await workshop.callMethod(purse, 'put', 5)).toBe(5);
      expect(purse.amount).toBe(5);
      expect(await workshop.callMethod(purse, 'count')).toBe(0);
      expect(await codeOf(workshop.callMethod(purse, '_secret'))).toBe('ERR_NDSHM_NOT_EXPOSED');
      await workshop.keep('purse', purse);
      expect(await workshop.callMethodOfKept('purse', 'put', 2)).toBe(7);
      expect(await workshop.kept('purse')).toBe(purse);
      const narrow = ndshm.Manager.proxy({ a: () => 1, b: () => 2 }, { exposed: ['b'] });
      expect(await workshop.callMethod(narrow, 'b')).toBe(2);
      expect(await codeOf(workshop.callMethod(narrow, 'a'))).toBe('ERR_NDSHM_NOT_EXPOSED');
    });

    test('goes through this process to whoever else is given it', async () => {
      const other = await serveManager();
      const far = await other.Workshop();
      const ledger = await client.Ledger(1);
      expect(await far.callMethod(ledger, 'add', 5)).toBe(6);
      await far.keep('ledger', ledger);
      expect(await far.callMethodOfKept('ledger', 'total')).toBe(6);
      expect(await rejection(Promise.resolve(far.callMethod(ledger, 'nope')))).toMatchObject({
        code: 'ERR_NDSHM_NOT_EXPOSED',
      });
      const back = await far.kept('ledger');
      expect(await workshop.callMethod(back, 'add', 1)).toBe(7);
      await other.close();
    });
  });

  describe('an iterator', () => {
    const collect = async (iterable: AsyncIterable<unknown>, upTo = Infinity) => {
      const values: unknown[] = [];
      for await (const value of iterable) if (values.push(value) === upTo) break;
      return values;
    };

    test('of the other process gives its values one by one', async () => {
      expect(await collect(await workshop.count(5, 'all'))).toEqual([0, 1, 2, 3, 4]);
      expect(await collect(await workshop.countAtOnce(3))).toEqual([0, 1, 2]);
      const lazy = await workshop.count(5, 'lazy');
      await lazy.next();
      expect((await workshop.log()).filter((line) => line.startsWith('lazy'))).toEqual(['lazy 0']);
      await lazy.return?.();
      await within(workshop.until('lazy over'), 'end of the generator');
      expect(await lazy.next()).toEqual({ done: true, value: undefined });
    });

    test('ends over there where the loop is left here', async () => {
      expect(await collect(await workshop.count(100, 'left'), 3)).toEqual([0, 1, 2]);
      await within(workshop.until('left over'), 'end of the generator');
      const log = await workshop.log();
      expect(log.filter((line) => line.startsWith('left'))).toEqual(['left 0', 'left 1', 'left 2', 'left over']);
    });

    test('throws here what it throws there, after what it gave before', async () => {
      const values: unknown[] = [];
      const error = await rejection(
        (async () => {
          for await (const value of await workshop.failAfter(2)) values.push(value);
        })(),
      );
      expect(error).toBeInstanceOf(RangeError);
      expect(error).toMatchObject({ message: 'no more numbers', code: 'ERR_NUMBERS' });
      expect(values).toEqual([0, 1]);
    });

    test('of this process is asked for value after value, and ended', async () => {
      let over = 0;
      let asked = 0;
      let isOver = () => {};
      const ended = new Promise<void>((resolve) => {
        isOver = resolve;
      });
      async function* numbers() {
        try {
          for (let n = 0; ; n++) {
            asked++;
            yield n;
          }
        } finally {
          over++;
          isOver();
        }
      }
      expect(await workshop.sum(numbers(), 6)).toBe(6);
      await within(ended, 'end of the generator');
      expect([asked, over]).toEqual([4, 1]);
      expect(await workshop.sum([1, 2, 3])).toBe(6);
      expect(await workshop.sum(new Set([1, 2]).values())).toBe(3);
    });

    test('of this process tells over there what it throws', async () => {
      async function* failing() {
        yield 1;
        throw Object.assign(new RangeError('no more'), { code: 'ERR_MORE' });
      }
      expect(await workshop.sumUntilFailure(failing())).toEqual({
        sum: 1,
        name: 'RangeError',
        message: 'no more',
        code: 'ERR_MORE',
      });
    });

    test('may give functions, objects, arrays and iterators', async () => {
      const array = ndshm.anonymous({ shape: 100_000, dtype: 'float64' });
      array.set(5, 2.5);
      async function* things() {
        yield (n: number) => n + 1;
        yield array;
        yield [1, 2].values();
      }
      const echoed = (await workshop.echo(things())) as AsyncIterable<unknown>;
      const [fn, copy, inner] = (await collect(echoed)) as [AnyFunction, ndshm.SharedArray, AsyncIterable<number>];
      expect([await fn(1), copy.get(5), await collect(inner)]).toEqual([2, 2.5, [1, 2]]);
    });
  });

  describe('an AbortSignal', () => {
    test('aborts over there with its reason, and the call throws that', async () => {
      const controller = new AbortController();
      const reason = Object.assign(new RangeError('enough'), { code: 'ERR_ENOUGH' });
      const waiting = workshop.waitFor(controller.signal);
      await within(workshop.until('waiting'), 'call');
      controller.abort(reason);
      expect(await rejection(waiting)).toBe(reason);
    });

    test.each<[string, () => AbortSignal, string]>([
      ['of a time', () => AbortSignal.timeout(5), 'TimeoutError'],
      ['that has aborted already', () => AbortSignal.abort(), 'AbortError'],
    ])('%s does as well', async (_what, signal, name) => {
      expect(await rejection(within(workshop.waitFor(signal()), 'end of the wait'))).toMatchObject({ name });
    });

    test('ends the wait of a built-in type, which goes on for others', async () => {
      const queue = await client.queue<number>();
      const controller = new AbortController();
      const given = queue.get({ signal: controller.signal });
      const other = queue.get({ timeoutMs: 20_000 });
      controller.abort();
      expect(await rejection(given)).toMatchObject({ name: 'AbortError' });
      await queue.put(5);
      expect(await other).toBe(5);
      expect(await codeOf(queue.get({ timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    });
  });
});

describe('between processes', () => {
  let manager: TestManager;
  beforeAll(async () => {
    manager = await startManager();
  });

  test('a proxy can be left for a third process, a callback as well', async () => {
    const name = freshName('mail');
    const mail = await manager.getOrCreate(name, 'dict');
    const ledger = await manager.Ledger(1);
    const heard: unknown[] = [];
    await mail.set('ledger', ledger);
    await mail.set('hear', (value: unknown) => heard.push(value));
    ledger[Symbol.dispose](); // the dict has it
    const client = await clientOf(manager);
    const total = await client.run(async ({ kept }, name) => {
      const mail = await kept.get('manager').getOrCreate(name, 'dict');
      const hear = (await mail.get('hear')) as (value: unknown) => Promise<number>;
      await hear(process.pid);
      return ((await mail.get('ledger')) as { add(n: number): Promise<number> }).add(4);
    }, name);
    expect([total, heard]).toEqual([5, [client.pid]]);
    await client.kill();
  });

  test('a callback of a process that has ended fails, and nothing else does', async () => {
    const workshop = await manager.getOrCreate<Record<'keep' | 'callKept' | 'echo', AnyFunction>>(
      'callbacks',
      'Workshop',
    );
    const client = await clientOf(manager);
    await client.run(async ({ kept }) => {
      const same = await kept.get('manager').find<Record<'keep', (...args: unknown[]) => void>>('callbacks');
      await same.keep('theirs', () => process.pid);
    });
    expect(await workshop.callKept('theirs')).toBe(client.pid);
    await client.kill();
    expect(await codeOf(workshop.callKept('theirs'))).toMatch(/ERR_NDSHM_(STALE_PROXY|MANAGER_LOST)/);
    expect(await workshop.echo(1)).toBe(1);
  });

  test('a generator of the manager ends with the process that consumes it', async () => {
    const workshop = await manager.getOrCreate<{ until(entry: string): void }>('generators', 'Workshop');
    const client = await clientOf(manager);
    await client.run(async ({ kept }) => {
      const same = await kept
        .get('manager')
        .find<Record<'count', (to: number, label: string) => AsyncGenerator<number>>>('generators');
      const numbers = await same.count(1e9, 'consumed');
      kept.set('numbers', numbers);
      await numbers.next();
    });
    await client.kill();
    await within(workshop.until('consumed over'), 'end of the generator');
  });

  test('a generator of a process that has ended fails where it is consumed', async () => {
    const workshop = await manager.getOrCreate<Record<'keep' | 'until', AnyFunction>>('producers', 'Workshop');
    const client = await clientOf(manager);
    await client.run(async ({ kept }) => {
      const same = await kept.get('manager').find<{
        sumUntilFailure(values: unknown): unknown;
        keep(key: string, value: unknown): void;
        note(e: string): void;
      }>('producers');
      async function* endless() {
        yield 1;
        await same.note('consuming');
        await new Promise(() => {});
      }
      void same.sumUntilFailure(endless()).catch(() => {});
    });
    await within(workshop.until('consuming') as Promise<unknown>, 'consumer');
    await client.kill();
    expect((await manager.info()).connections).toBeGreaterThan(0);
  });
});
