import { deserialize, serialize } from 'node:v8';
import { createContext, runInContext } from 'node:vm';
import fc from 'fast-check';
import { runs, timeoutMs } from '../helpers/arrays';
import { thrownBy } from '../helpers/shm';
import { anyValue, differenceOf, through } from '../helpers/values';

/** V8 clones an error that is in its own cause into bytes that it cannot read back. */
function hasCausalCircle(value: unknown): boolean {
  try {
    deserialize(serialize(value));
    return false;
  } catch (error) {
    if ((error as Error).message === 'Unable to deserialize cloned data.') return true;
    throw error;
  }
}

afterEach(() => {
  jest.restoreAllMocks();
});

describe('a value comes out', () => {
  test(
    'alike, whatever it is',
    () => {
      fc.assert(
        fc.property(anyValue, (value) => {
          expect(differenceOf(through(value), value)).toBeUndefined();
        }),
        runs(500),
      );
    },
    timeoutMs,
  );

  test.each([
    ['structuredClone()', (value: unknown) => structuredClone(value)],
    ['v8.deserialize()', (value: unknown) => deserialize(serialize(value)) as unknown],
  ])(
    'as %s gives it, whatever it is',
    (_what, clone) => {
      fc.assert(
        fc.property(anyValue, (value) => {
          fc.pre(!hasCausalCircle(value));
          expect(differenceOf(through(value), clone(value))).toBeUndefined();
        }),
        runs(500),
      );
    },
    timeoutMs,
  );

  test(
    'the same after another way through',
    () => {
      fc.assert(
        fc.property(anyValue, (value) => {
          const once = through(value);
          expect(differenceOf(through(once), once)).toBeUndefined();
        }),
        runs(300),
      );
    },
    timeoutMs,
  );

  test('with parts that are shared still shared, and circles closed', () => {
    const part = { n: 1 };
    const list = [part];
    const date = new Date(7);
    const value: Record<string, unknown> = { a: part, b: [part, list], c: list, dates: new Map([[date, date]]) };
    value['self'] = value;
    list.push(value as never);
    const got = through(value) as unknown as {
      a: object;
      b: [object, unknown[]];
      c: unknown[];
      self: unknown;
      dates: Map<Date, Date>;
    };
    expect(got.self).toBe(got);
    expect(got.b[0]).toBe(got.a);
    expect(got.b[1]).toBe(got.c);
    expect(got.c).toEqual([got.a, got]);
    expect(got.c[1]).toBe(got);
    const [[key, each]] = [...got.dates] as [[Date, Date]];
    expect(key).toBe(each);
    expect(key).toEqual(date);
  });

  test('with parts that are alike, but not the same, apart', () => {
    const [a, b] = through([{ n: 1 }, { n: 1 }]);
    expect(a).not.toBe(b);
  });

  test('where a list is in itself', () => {
    const list: unknown[] = [1];
    list.push(list, [list]);
    const got = through(list);
    expect(got).toHaveLength(3);
    expect(got[1]).toBe(got);
    expect((got[2] as unknown[])[0]).toBe(got);
  });

  test('where an error is its own cause, and a map its own key', () => {
    const error = new Error('mine');
    error.cause = error;
    const got = through(error);
    expect(got.cause).toBe(got);
    const map = new Map<unknown, unknown>();
    map.set(map, new Set([map]));
    const copy = through(map);
    const [[key, set]] = [...copy] as [[unknown, Set<unknown>]];
    expect(key).toBe(copy);
    expect([...set][0]).toBe(copy);
  });

  test.each([
    ['objects', () => ({}), (parent: object, child: object) => Object.assign(parent, { child })],
    ['lists', () => [], (parent: object, child: object) => (parent as unknown[]).push(child, 'and')],
    ['maps', () => new Map(), (parent: object, child: object) => (parent as Map<unknown, unknown>).set('child', child)],
    [
      'errors',
      () => new Error('in'),
      (parent: object, child: object) => Object.defineProperty(parent, 'cause', { value: child }),
    ],
  ])(
    'nested 100,000 deep, in %s',
    (_kind, make, put) => {
      jest.replaceProperty(Error, 'stackTraceLimit', 0); // jest takes a millisecond to write down a stack
      const inner = make();
      let value = inner;
      const depth = 100_000;
      for (let n = 0; n < depth; n++) {
        const outer = make();
        put(outer, value);
        value = outer;
      }
      // differenceOf() knows no depth limit; structuredClone() does.
      expect(differenceOf(through(value), value)).toBeUndefined();
    },
    60_000,
  );

  test.each([31, 32, 33, 34, 64, 65, 100])('nested %d deep, in lists and objects by turns', (depth) => {
    let value: unknown = 'inside';
    for (let n = 0; n < depth; n++) value = n % 2 === 0 ? [value, 'beside'] : { value, beside: 1 };
    expect(through(value)).toEqual(value);
  });

  test('with 100,000 elements in a list, map, set and object', () => {
    const list = Array.from({ length: 100_000 }, (_, n) => (n % 3 === 0 ? `text ${n}` : n));
    const value = {
      list,
      map: new Map(list.map((each, n) => [n, each])),
      set: new Set(list),
      object: Object.assign({}, list),
    };
    expect(differenceOf(through(value), value)).toBeUndefined();
  });

  test('where it is a long list with holes, undefined, names, or a getter', () => {
    const base = () => Array.from({ length: 1000 }, (_, n) => n as unknown);
    const holes = base();
    Reflect.deleteProperty(holes, 500);
    const blank = base();
    blank[500] = undefined;
    const names = Object.assign(base(), { name: 'x' });
    const getter = Object.defineProperty(base(), '500', { get: () => 'got', enumerable: true });
    const nothing = new Array(1000);
    for (const value of [base(), holes, blank, names, getter, nothing, Array(4e9)]) {
      expect(differenceOf(through(value), structuredClone(value))).toBeUndefined();
    }
  });

  test('where it is what a regular expression has found', () => {
    const match = /(?<year>\d+)-(\d+)/.exec('on 2024-05') as RegExpExecArray;
    const got = through(match);
    expect([got.index, got.input, { ...got.groups }, [...got]]).toEqual([
      3,
      'on 2024-05',
      { year: '2024' },
      ['2024-05', '2024', '05'],
    ]);
  });

  test('as plain objects where it has classes of its own', () => {
    class Account {
      balance = 5;
      #pin = 1234;
      get double() {
        return this.balance + this.#pin;
      }
    }
    class Tagged {
      readonly n = 1;
      get [Symbol.toStringTag]() {
        return 'Tagged';
      }
    }
    const got = through({
      account: new Account(),
      tagged: new Tagged(),
      list: new (class extends Array {})(3).fill(1),
    });
    expect(got).toEqual({ account: { balance: 5 }, tagged: { n: 1 }, list: [1, 1, 1] });
    expect(Object.getPrototypeOf(got.account)).toBe(Object.prototype);
  });

  test('from another realm', () => {
    const value = runInContext(
      `({ list: [1, [2]], map: new Map([[1, { a: 1 }]]), error: new TypeError('far'), bytes: new Uint8Array([1, 2]), date: new Date(3) })`,
      createContext(),
    ) as unknown;
    expect(differenceOf(through(value), value)).toBeUndefined();
  });

  test('as what it is, whatever its methods say', () => {
    class Odd extends Map<number, number> {
      override entries(): never {
        throw new Error('not to be called');
      }
      override [Symbol.iterator](): never {
        throw new Error('not to be called');
      }
    }
    const seven = Object.assign(Object(7) as object, { valueOf: () => 8, getTime: () => 9 });
    const date = Object.assign(new Date(3), { getTime: () => 4 });
    const value = [new Odd().set(1, 2), seven, date];
    expect(differenceOf(through(value), structuredClone(value))).toBeUndefined();
  });

  test('as it was when a map or set was met, though code of its own changes that', () => {
    const map = new Map<unknown, unknown>([[1, 1]]);
    const error = new Error('x');
    Object.defineProperty(error, 'message', { get: () => String(map.set({}, map.size).size) });
    map.set(2, error).set(3, 3);
    expect(through(map).size).toBe(3);
  });

  test('by getters, which are called once', () => {
    let calls = 0;
    const value = {
      get n() {
        return ++calls;
      },
    };
    expect(through(value)).toEqual({ n: 1 });
    expect(calls).toBe(1);
  });

  test('without what is not enumerable, or named by a symbol', () => {
    const value = Object.defineProperty({ a: 1, [Symbol('b')]: 2 }, 'c', { value: 3 });
    expect(Reflect.ownKeys(through(value))).toEqual(['a']);
  });

  test('as errors with their class, message, stack and cause', () => {
    const error = new SyntaxError('wrong', { cause: new Error('deeper', { cause: 7n }) });
    const got = through(error);
    expect(got).toBeInstanceOf(SyntaxError);
    expect([got.message, got.stack]).toEqual(['wrong', error.stack]);
    expect(got.cause).toBeInstanceOf(Error);
    expect((got.cause as Error).cause).toBe(7n);
    expect(Object.keys(got)).toEqual([]);
    class Mine extends RangeError {
      override name = 'Mine';
    }
    expect(through(new Mine('x')).constructor).toBe(Error);
    expect(Object.hasOwn(through(new Error()), 'message')).toBe(false);
    expect(Object.hasOwn(through(new Error('a')), 'cause')).toBe(false);
  });

  test('with bigints of a million digits', () => {
    const value = [2n ** 3_000_000n + 1n, -(2n ** 3_000_000n)];
    expect(through(value)).toEqual(value);
  });
});

describe('what cannot be cloned is refused with the way to it:', () => {
  const cases: [string, () => unknown, string][] = [
    ['a function', () => ({ a: [1, 2, 3, { b: () => 1 }] }), 'value.a[3].b is a function'],
    ['a class', () => [class {}], 'value[0] is a function'],
    ['a symbol', () => ({ 'odd key': Symbol('s') }), 'value["odd key"] is a symbol'],
    ['a boxed symbol', () => [Object(Symbol('s'))], 'value[0] is a symbol'],
    ['the value itself', () => () => 1, 'value is a function'],
    ['a promise', () => ({ p: Promise.resolve() }), 'value.p is a Promise'],
    ['a WeakMap', () => [new WeakMap()], 'value[0] is a WeakMap'],
    ['a WeakSet', () => [new WeakSet()], 'value[0] is a WeakSet'],
    ['a WeakRef', () => [new WeakRef({})], 'value[0] is a WeakRef'],
    ['a FinalizationRegistry', () => [new FinalizationRegistry(() => {})], 'value[0] is a FinalizationRegistry'],
    ['a proxy of an object', () => [new Proxy({}, {})], 'value[0] is a Proxy'],
    ['a proxy of a list', () => [new Proxy([], {})], 'value[0] is a Proxy'],
    ['a generator', () => [(function* () {})()], 'value[0] is a Generator'],
    ['an iterator of a list', () => [[1].values()], 'value[0] is an Array Iterator'],
    ['an iterator of a map', () => [new Map().keys()], 'value[0] is a Map Iterator'],
    [
      'arguments',
      () => [
        (function () {
          // biome-ignore lint/complexity/noArguments: that is what is refused
          return arguments;
        })(),
      ],
      'value[0] is an Arguments',
    ],
    ['a number format', () => [new Intl.NumberFormat()], 'value[0] is an Intl.NumberFormat'],
    [
      'in the key of a map',
      () =>
        new Map([
          [1, 1],
          [() => 1, 1],
        ] as [unknown, number][]),
      'value.keys()[1] is a function',
    ],
    ['in the value of a map', () => ({ m: new Map([[{}, { f() {} }]]) }), 'value.m.values()[0].f is a function'],
    ['in a set', () => new Set([1, [() => 1]]), 'value.values()[1][0] is a function'],
    ['in a cause', () => [new Error('x', { cause: { f() {} } })], 'value[0].cause.f is a function'],
    ['in a list with holes', () => Object.assign([], { 5: () => 1 }), 'value["5"] is a function'],
    [
      'beside __proto__',
      () => Object.defineProperty({ f() {} }, '__proto__', { value: 1, enumerable: true }),
      'value.f is a function',
    ],
    [
      'where it is met twice',
      () => {
        const a = { f() {} };
        return [{ a }, a];
      },
      'value[1].f is a function',
    ],
    [
      'a transferred buffer',
      () => {
        const { buffer } = new Uint8Array(4);
        structuredClone(buffer, { transfer: [buffer] });
        return { buffer };
      },
      'value.buffer shows a buffer that has been transferred',
    ],
    [
      'an array over a transferred buffer',
      () => {
        const a = new Float64Array(4);
        structuredClone(a.buffer, { transfer: [a.buffer] });
        return { a };
      },
      'value.a shows a buffer that has been transferred',
    ],
  ];

  test.each(cases)('%s', (_what, make, message) => {
    expect(() => structuredClone(make())).toThrow();
    const error = thrownBy(() => through(make()));
    expect(error.message).toContain(message);
    expect(error).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
  });

  test.each([
    ['a SharedArrayBuffer', () => new SharedArrayBuffer(4)],
    ['URLSearchParams', () => new URLSearchParams('a=1')],
    ['an AbortSignal', () => new AbortController().signal],
    ['a Blob', () => new Blob(['x'])],
  ])('%s, of which nothing could be had elsewhere', (_what, make) => {
    expect(thrownBy(() => through({ x: make() }))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringContaining('value.x is a') as string,
    });
  });

  test('100,000 levels down', () => {
    let value: unknown = { end: () => 1 };
    for (let n = 0; n < 100_000; n++) value = n % 2 === 0 ? [value] : { in: value };
    const { message } = thrownBy(() => through(value));
    expect(message.length).toBeGreaterThan(100_000);
    expect(message).toContain('.in[0].end is a function');
  });

  test('what a getter throws comes through', () => {
    const mine = new Error('mine');
    const value = {
      get a(): never {
        throw mine;
      },
    };
    expect(thrownBy(() => through([value]))).toBe(mine);
  });
});
