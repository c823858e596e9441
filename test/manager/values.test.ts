import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { runs, timeoutMs } from '../helpers/arrays';
import { rejection } from '../helpers/child';
import { clientOf, connectTo, pairBy, startManager, type TestManager, type Workshop, ways } from '../helpers/managers';
import { freshName } from '../helpers/shm';
import { codeOf } from '../helpers/sync';
import { anyText, anyValue, differenceOf } from '../helpers/values';

const named = <D extends ndshm.DType>(dtype: D, shape: number | number[] = 3): ndshm.SharedArray<D> =>
  ndshm.create(freshName(), { shape, dtype, ephemeral: true });

describe.each(ways)('by %s', (way) => {
  let manager: TestManager;
  let client: TestManager;
  let workshop: Workshop;
  beforeAll(async () => {
    ({ manager, client } = await pairBy(way));
    workshop = await client.Workshop();
  });

  test(
    'whatever structured clone takes comes back as it was, alone and among others',
    async () => {
      const dict = await client.dict<string, unknown>();
      await fc.assert(
        fc.asyncProperty(anyText, anyValue, anyValue, async (key, one, other) => {
          const [, back, ...both] = await Promise.all([
            dict.set(key, one),
            dict.get(key),
            workshop.all(one, key, other, one),
            workshop.echoLater({ one, other }),
          ]);
          expect(differenceOf(back, one)).toBeUndefined();
          expect(differenceOf(both[0], [one, key, other, one])).toBeUndefined();
          expect(differenceOf(both[1], { one, other })).toBeUndefined();
        }),
        runs(25),
      );
    },
    timeoutMs,
  );

  test('scalars come back as they were, also at the limits of what goes without packing', async () => {
    const scalars = [
      0,
      -0,
      Number.NaN,
      Infinity,
      -Infinity,
      2 ** 53,
      5e-324,
      true,
      null,
      undefined,
      '',
      '\ud800',
      '\0',
    ];
    scalars.push(
      ...[4095, 4096, 4097, 70_000].map((length) => 'ü'.repeat(length)),
      '__proto__',
      '{"o":1}',
      10n as never,
    );
    for (const scalar of scalars) expect(await workshop.echo(scalar)).toBe(scalar);
    expect(await workshop.all(...scalars)).toEqual(scalars);
    expect(await workshop.all()).toEqual([]);
    const many = Array.from({ length: 100 }, (_, n) => n);
    expect(await workshop.all(...many)).toEqual(many);
    expect(await workshop.all([], [[]], ['bytes', 'x'], ['error'], { o: 1, i: 2, t: 3 })).toEqual([
      [],
      [[]],
      ['bytes', 'x'],
      ['error'],
      { o: 1, i: 2, t: 3 },
    ]);
  });

  test('what is shared within one call stays shared', async () => {
    const part = { n: 1 };
    const circle: Record<string, unknown> = { part };
    circle['self'] = circle;
    expect(await workshop.isSame(part, part)).toBe(true);
    const [one, list] = (await workshop.all(circle, [part, part])) as [typeof circle, unknown[]];
    expect(one['self']).toBe(one);
    expect(list).toEqual([one['part'], one['part']]);
    expect(list[0]).toBe(one['part']);
  });

  test('large values go whole, in both directions at once', async () => {
    const large = new Float64Array(1_000_000).map((_, n) => n / 7);
    const text = 'ü'.repeat(1_000_000);
    const [one, other] = await Promise.all([workshop.echo(large), workshop.echo({ large, text })]);
    expect(isDeepStrictEqual(one, large)).toBe(true);
    expect(isDeepStrictEqual(other, { large, text })).toBe(true);
  });

  test('instances of classes without a reference arrive as plain objects', async () => {
    const money = await workshop.money(3);
    expect(money).toEqual({ amount: 3 });
    expect(Object.getPrototypeOf(money)).toBe(Object.prototype);
  });

  test('what cannot be copied is refused where it is, and nothing is lost by it', async () => {
    const bad: [unknown, RegExp][] = [
      [Symbol('x'), /value\[1\] is a symbol/],
      [{ a: [new WeakMap()] }, /value\[1\]\.a\[0\] is a WeakMap/],
      [Promise.resolve(1), /value\[1\]/],
      [[Promise.resolve(1)], /value\[1\]\[0\]/],
      [new Proxy({}, {}), /is a Proxy/],
    ];
    for (const [value, message] of bad) {
      const refused = workshop.keep('bad', value);
      expect(refused).toBeInstanceOf(Promise); // nothing is thrown at once
      expect(await rejection(refused)).toMatchObject({
        code: 'ERR_NDSHM_INVALID_ARGUMENT',
        message: expect.stringMatching(message) as string,
      });
    }
    expect(await rejection(workshop.callMethod({ get: () => Symbol('y') }, 'get'))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
    });
    expect(await workshop.kept('bad')).toBeUndefined();
  });

  describe('an array', () => {
    test.each(ndshm.dtypes)('of %s, named or not, comes with shape, dtype and elements', async (dtype) => {
      const shared = named(dtype, [2, 3]);
      const anonymous = ndshm.anonymous({ shape: [2, 3], dtype });
      for (const array of [shared, anonymous] as ndshm.SharedArray[]) {
        const { buffer, byteOffset } = array.data as Uint8Array;
        const bytes = new Uint8Array(buffer, byteOffset, array.nbytes);
        for (let n = 0; n < bytes.length; n++) bytes[n] = dtype === 'bool' ? n % 2 : (n * 37) % 120;
        const look = { shape: [2, 3], dtype, closed: false, items: array.toNested() };
        expect(await workshop.look(array)).toMatchObject(look);
        const back = (await workshop.echo(array)) as ndshm.SharedArray;
        expect([back.shape, back.dtype, back.toNested()]).toEqual([[2, 3], dtype, array.toNested()]);
      }
      shared.close();
    });

    test(`that has a name is ${way === 'a socket' || way === 'TLS' ? 'copied' : 'the same memory'}`, async () => {
      const isCopied = way === 'a socket' || way === 'TLS';
      const array = named('int32');
      await workshop.keep('array', array);
      array.set(0, 7);
      expect(await workshop.keptItem('array', 0)).toBe(isCopied ? 0 : 7);
      const back = (await workshop.kept('array')) as ndshm.SharedArray<'int32'>;
      expect([back.name, back.get(0)]).toEqual(isCopied ? [null, 0] : [array.name, 7]);
      await workshop.poke(array as ndshm.SharedArray, 1, 9);
      expect(array.get(1)).toBe(isCopied ? 0 : 9);
      array.close();
    });

    test('that is a view shows what the view shows', async () => {
      const array = named('float64', [4, 6]);
      for (let row = 0; row < 4; row++) for (let at = 0; at < 6; at++) array.set([row, at], 10 * row + at);
      const views = [array.slice('1:3', '::-2'), array.slice(2), array.slice('::2', 1), array.transpose()];
      for (const view of views) {
        const got = (await workshop.look(view as ndshm.SharedArray)) as { shape: number[]; items: unknown };
        expect([got.shape, got.items]).toEqual([view.shape, view.toNested()]);
        const [back] = (await workshop.all(view)) as [ndshm.SharedArray];
        expect(back.toNested()).toEqual(view.toNested());
      }
      array.close();
    });

    test('that is large goes in pieces, also as a view, in a container and in an answer', async () => {
      const length = 1_500_000;
      const large = ndshm.anonymous({ shape: [2, length / 2], dtype: 'int32' });
      for (let n = 0; n < length; n++) (large.data as Int32Array)[n] = n ^ 0x5a5a;
      const odd = large.slice(':', '::-2');
      const [one, back] = (await workshop.all(new Map([['large', large]]), [odd])) as [
        Map<string, ndshm.SharedArray>,
        [ndshm.SharedArray],
      ];
      const got = one.get('large') as ndshm.SharedArray;
      expect(isDeepStrictEqual(got.toTypedArray(), large.toTypedArray())).toBe(true);
      expect(back[0].shape).toEqual(odd.shape);
      expect(isDeepStrictEqual(back[0].toTypedArray(), odd.toTypedArray())).toBe(true);
    });

    test('that is closed is refused', async () => {
      const array = named('uint8');
      array.close();
      const anonymous = ndshm.anonymous({ shape: 300_000, dtype: 'uint8' });
      anonymous.close();
      for (const closed of [array, anonymous]) {
        expect(await codeOf(workshop.keep('closed', closed))).toBe('ERR_NDSHM_CLOSED');
      }
      expect(await workshop.echo(1)).toBe(1);
    });
  });

  describe('what a method throws', () => {
    const thrown = (kind: string): Promise<unknown> =>
      workshop.fail(kind).then(
        () => 'no error',
        (error: unknown) => error,
      );

    test('is an error of its class, with message, stack, code and all other properties', async () => {
      expect(await thrown('plain')).toMatchObject({ name: 'Error', message: 'plain' });
      expect(((await thrown('plain')) as Error).stack).toMatch(/classes\.js/);
      expect(await thrown('range')).toBeInstanceOf(RangeError);
      expect(await thrown('type')).toBeInstanceOf(TypeError);
      const own = (await thrown('own')) as Error;
      expect(own).toBeInstanceOf(Error);
      expect(own).toMatchObject({ name: 'LedgerError', message: 'overdrawn', account: 12n });
      expect(String(own)).toBe('LedgerError: overdrawn');
      expect(await thrown('coded')).toMatchObject({
        code: 'ERR_OWN',
        errno: -5,
        details: new Map([['a', [1, { b: 2n }]]]),
      });
      expect(await thrown('ndshm')).toMatchObject({ code: 'ENOENT', syscall: 'open' });
      expect(await thrown('dom')).toMatchObject({ name: 'AbortError', message: 'stopped' });
      expect(await rejection(workshop.failLater('own'))).toMatchObject({ name: 'LedgerError', account: 12n });
    });

    test('has its causes, and the errors of an AggregateError', async () => {
      const outer = (await thrown('caused')) as Error;
      expect(outer.cause).toBeInstanceOf(RangeError);
      expect((outer.cause as Error).cause).toBe('not an error');
      expect(Object.keys(outer)).not.toContain('cause');
      const many = (await thrown('many')) as AggregateError;
      expect(many).toBeInstanceOf(AggregateError);
      expect(many.errors).toEqual([expect.any(TypeError), expect.objectContaining({ code: 'E2' }), 'three']);
      const circular = (await thrown('circular')) as Error;
      expect(circular.cause).toMatchObject({ message: 'circular' });
    });

    test.each<[string, unknown]>([
      ['text', 'a text'],
      ['number', 7],
      ['null', null],
      ['nothing', undefined],
      ['object', { why: 'because', list: [1] }],
    ])('may be no error: %s', async (kind, value) => {
      expect(await thrown(kind)).toEqual(value);
    });

    test('is told as far as it can be', async () => {
      expect(await thrown('uncloneable')).toMatchObject({ message: 'uncloneable', fine: 1, fn: '() => 1' });
      expect(await thrown('fn')).toBe('() => 1');
      expect(await thrown('getter')).toMatchObject({ message: 'getter' });
    });
  });

  afterAll(async () => {
    await client.close();
    await manager.close();
  });
});

test('a named array goes by its name to a process that never had it', async () => {
  const manager = await startManager();
  const array = named('float32', [2, 2]);
  const dict = await manager.getOrCreate('arrays', 'dict');
  await dict.set('it', { of: [array] });
  const client = await clientOf(manager);
  await client.run(async ({ kept }) => {
    const { of } = (await kept.get('manager').getOrCreate('arrays', 'dict').get('it')) as { of: ndshm.SharedArray[] };
    of[0]?.set([1, 1], 2.5);
  });
  expect(array.get(1, 1)).toBe(2.5);
  await client.kill();
  array.close();
});

describe('a limit', () => {
  test('of bytes is told to whoever sends too much, and the connection goes on', async () => {
    const limits = { maxMessageBytes: 2 ** 20 };
    const manager = await startManager({ limits });
    const client = await connectTo(manager, { limits });
    const workshop = await client.Workshop();
    const [most, tooMuch] = [new Uint8Array(2 ** 19), new Uint8Array(2 ** 20 + 1)];
    expect(await rejection(workshop.echo(tooMuch))).toMatchObject({
      code: 'ERR_NDSHM_LIMIT',
      message: expect.stringMatching(/maxMessageBytes/) as string,
    });
    expect(await codeOf(workshop.callBack(() => tooMuch))).toBe('ERR_NDSHM_LIMIT');
    expect(isDeepStrictEqual(await workshop.echo(most), most)).toBe(true);
    await Promise.all([workshop.keep('a', most), workshop.keep('b', most), workshop.keep('c', most)]);
    const all = workshop.callMethod({ all: () => [1, 2, 3].map(() => new Uint8Array(2 ** 19)) }, 'all');
    expect(await codeOf(all)).toBe('ERR_NDSHM_LIMIT');
    const large = ndshm.anonymous({ shape: 2 ** 22, dtype: 'uint8' });
    expect(((await workshop.echo(large)) as ndshm.SharedArray).size).toBe(2 ** 22); // in pieces
    expect(await workshop.echo('still there')).toBe('still there');
  });

  test('of bytes is told where the result is too large, and ends the connection of whoever does not keep to it', async () => {
    const manager = await startManager({ limits: { maxMessageBytes: 2 ** 20 } });
    const client = await connectTo(manager, { reconnectMs: 0 });
    const workshop = await client.Workshop();
    const half = [new Uint8Array(2 ** 19 + 1)];
    await workshop.keep('half', half);
    const both = workshop.callMethodOfKept('half', 'concat', half);
    expect(await codeOf(both)).toBe('ERR_NDSHM_LIMIT');
    expect(await codeOf(workshop.echo(new Uint8Array(2 ** 20)))).toBe('ERR_NDSHM_MANAGER_LOST');
  });

  test('of an array ends the call alone', async () => {
    const manager = await startManager({ limits: { maxArrayBytes: 2 ** 20 } });
    const workshop = await (await connectTo(manager)).Workshop();
    const large = ndshm.anonymous({ shape: 2 ** 20 + 1, dtype: 'uint8' });
    expect(await codeOf(workshop.echo(large))).toBe('ERR_NDSHM_LIMIT');
    expect(await workshop.echo('still there')).toBe('still there');
  });

  test('of calls and objects is for one connection', async () => {
    const manager = await startManager({ limits: { maxCalls: 50, maxObjects: 50 } });
    const calm = await (await connectTo(manager)).Workshop();
    const busy = await connectTo(manager, { reconnectMs: 0 });
    const workshop = await busy.Workshop();
    const calls = await Promise.allSettled(Array.from({ length: 60 }, () => workshop.never()));
    expect(calls.every(({ status }) => status === 'rejected')).toBe(true);
    expect(await codeOf(workshop.echo(1))).toBe('ERR_NDSHM_STALE_PROXY');
    const greedy = await connectTo(manager, { reconnectMs: 0 });
    const ledgers = await Promise.allSettled(Array.from({ length: 60 }, () => greedy.Ledger()));
    expect(ledgers.some(({ status }) => status === 'rejected')).toBe(true);
    expect(await calm.echo('still there')).toBe('still there');
  });
});
