import { type DictKey, builtinTypes as types } from '../../../dist/manager/types';
import { Deferred, FakeCaller, fateOf, fatesOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';

const invalid = 'ERR_NDSHM_INVALID_ARGUMENT';

describe('a dict', () => {
  test('has the methods of a Map, and its order', () => {
    const dict = new types.dict<string, number>();
    for (const [key, value] of ['c', 'a', 'b'].map((key, n) => [key, n] as const)) dict.set(key, value);
    dict.set('c', 7);
    expect([dict.size, dict.get('c'), dict.get('x'), dict.has('a'), dict.has('x')]).toEqual([
      3,
      7,
      undefined,
      true,
      false,
    ]);
    expect([dict.keys(), dict.values()]).toEqual([
      ['c', 'a', 'b'],
      [7, 1, 2],
    ]);
    expect([dict.delete('a'), dict.delete('a'), dict.entries()]).toEqual([
      true,
      false,
      [
        ['c', 7],
        ['b', 2],
      ],
    ]);
    dict.clear();
    expect([dict.size, dict.entries()]).toEqual([0, []]);
  });

  test('begins with the entries of an object, a Map or a list', () => {
    for (const given of [{ a: 1, b: 2 }, new Map(Object.entries({ a: 1, b: 2 })), Object.entries({ a: 1, b: 2 })]) {
      const dict = new types.dict<string, number>(given);
      expect(dict.entries()).toEqual([
        ['a', 1],
        ['b', 2],
      ]);
    }
    expect(new types.dict().size).toBe(0);
  });

  test('takes keys that are the same in every process, and no others', () => {
    const keys: DictKey[] = ['1', 1, 1n, true, null, Number.NaN, '__proto__'];
    const dict = new types.dict<DictKey, string>(keys.map((key) => [key, String(key)]));
    expect(dict.keys()).toEqual(keys);
    expect(dict.get('__proto__')).toBe('__proto__');
    for (const wrong of [undefined, {}, [1], Symbol('s'), () => {}] as unknown as DictKey[]) {
      const uses = [
        () => dict.get(wrong),
        () => dict.set(wrong, 'x'),
        () => dict.has(wrong),
        () => dict.delete(wrong),
        () => dict.pop(wrong),
        () => dict.setDefault(wrong, 'x'),
        () => dict.update([[wrong, 'x']]),
        () => new types.dict([[wrong, 'x']]),
      ];
      expect(uses.map((use) => thrownBy(use).code)).toEqual(uses.map(() => invalid));
    }
    expect(dict.keys()).toEqual(keys);
  });

  test('has what is of use of Python’s dict', () => {
    const dict = new types.dict<string, number | undefined>({ a: 1 });
    expect([dict.setDefault('a', 5), dict.setDefault('b', 2), dict.get('b')]).toEqual([1, 2, 2]);
    dict.set('nothing', undefined);
    expect(dict.setDefault('nothing', 3)).toBeUndefined();
    expect([dict.pop('nothing', 3), dict.pop('b'), dict.pop('b'), dict.pop('b', 9), dict.keys()]).toEqual([
      undefined,
      2,
      undefined,
      9,
      ['a'],
    ]);
    dict.update({ a: 5, c: 6 });
    expect(dict.entries()).toEqual([
      ['a', 5],
      ['c', 6],
    ]);
  });

  test('is updated by all entries or by none', () => {
    const dict = new types.dict<DictKey, number>([['a', 1]]);
    const wrong: unknown[] = [
      [
        ['b', 2],
        [{}, 3],
      ],
      [['b', 2], ['c']],
      [['b', 2], 'cd'],
      5,
      null,
      'ab',
    ];
    for (const entries of wrong) {
      expect(thrownBy(() => dict.update(entries as [DictKey, number][])).code).toBe(invalid);
    }
    expect(dict.entries()).toEqual([['a', 1]]);
  });
});

describe('change() of a dict', () => {
  test('replaces a value by what the function makes of it', async () => {
    const dict = new types.dict<string, number>();
    const count = (value: number | undefined) => (value ?? 0) + 1;
    expect([await dict.change('a', count), await dict.change('a', async (n) => count(n)), dict.get('a')]).toEqual([
      1, 2, 2,
    ]);
  });

  test('loses no change of many callers at once, and holds up no other keys', async () => {
    const dict = new types.dict<string, number>();
    const order: number[] = [];
    const changes = Array.from({ length: 20 }, (_, n) =>
      new FakeCaller().on(dict).change('a', async (value = 0) => {
        order.push(n);
        await new Promise(setImmediate);
        return value + 1;
      }),
    );
    expect(await dict.change('b', () => 5)).toBe(5);
    expect(order.length).toBeLessThan(20);
    expect(await Promise.all(changes)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
    expect(order).toEqual(Array.from({ length: 20 }, (_, n) => n));
  });

  test('changes nothing if the function fails, and lets the next one go on', async () => {
    const dict = new types.dict<string, number>({ a: 1 });
    const failures = [
      dict.change('a', () => {
        throw new Error('at once');
      }),
      dict.change('a', () => Promise.reject(new Error('later'))),
      dict.change('a', 5 as never),
      dict.change({} as never, () => 5),
    ];
    const next = dict.change('a', (value = 0) => value + 1);
    expect(await fatesOf(failures)).toEqual(['at once', 'later', invalid, invalid]);
    expect([await next, dict.entries()]).toEqual([2, [['a', 2]]]);
  });

  test('of a caller that goes meanwhile comes to nothing, even if its function gives something', async () => {
    const dict = new types.dict<string, number>({ a: 1 });
    const [leaving, staying] = [new FakeCaller(), new FakeCaller()];
    const given = new Deferred<number>();
    const first = leaving.on(dict).change('a', () => given.promise);
    const second = staying.on(dict).change('a', (value = 0) => value + 10);
    expect(await fatesOf([first, second])).toEqual(['pending', 'pending']);
    leaving.end();
    given.resolve(100);
    expect(await fatesOf([first, second])).toEqual([`caller ${leaving.id} has gone`, 11]);
    expect(dict.get('a')).toBe(11);
  });

  test('excludes others whenever they come after callers that go together', async () => {
    for (let microtasks = 0; microtasks < 20; microtasks++) {
      const dict = new types.dict<string, number>();
      const [a, b] = [new FakeCaller(), new FakeCaller()];
      const gone = [a, b].map((caller) => caller.on(dict).change('a', () => new Promise(() => {})));
      for (const each of gone) each.catch(() => {});
      await new Promise(setImmediate);
      const given = new Deferred<number>();
      const changeLater = async () => {
        for (let n = 0; n < microtasks; n++) await Promise.resolve();
        return dict.change('a', () => given.promise);
      };
      b.end();
      const first = changeLater();
      a.end();
      await new Promise(setImmediate);
      const second = dict.change('a', (value = 0) => value + 1);
      expect(await fateOf(second)).toBe('pending');
      given.resolve(1);
      expect(await fatesOf([first, second])).toEqual([1, 2]);
    }
  });

  test('waits for its turn no longer than it is told to', async () => {
    const dict = new types.dict<string, number>({ a: 1 });
    const given = new Deferred<number>();
    const first = dict.change('a', () => given.promise);
    await expect(dict.change('a', () => 5, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'ERR_NDSHM_TIMEOUT' });
    given.resolve(2);
    expect([await first, dict.get('a')]).toEqual([2, 2]);
    expect(await fateOf(dict.change('a', (value = 0) => value + 1, { timeoutMs: 0 }))).toBe(3);
  });
});

test('a namespace has values by names', () => {
  const space = new types.namespace({ a: 1 });
  space.set('b', [2]);
  space.set('__proto__', 3);
  expect([space.get('a'), space.get('b'), space.get('x'), space.has('b'), space.keys(), space.size]).toEqual([
    1,
    [2],
    undefined,
    true,
    ['a', 'b', '__proto__'],
    3,
  ]);
  const object = space.toObject();
  expect(Object.entries(object)).toEqual([
    ['a', 1],
    ['b', [2]],
    ['__proto__', 3],
  ]);
  expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
  expect([space.delete('a'), space.delete('a'), space.keys()]).toEqual([true, false, ['b', '__proto__']]);
  expect(thrownBy(() => space.set(1 as never, 2)).code).toBe(invalid);
  expect(new types.namespace().toObject()).toEqual({});
});
