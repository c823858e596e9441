import * as fc from 'fast-check';
import * as ndshm from 'ndshm';
import { encodePayload } from '../../dist/pool/payload';
import { runs, timeoutMs } from '../helpers/arrays';
import { Peer, rejection } from '../helpers/child';
import { makePool, runProgram, task } from '../helpers/pool';
import { exists, freshName } from '../helpers/shm';
import { anyValue, differenceOf } from '../helpers/values';

const pool = makePool();
const identity = (value: unknown): unknown => value;
const large = 1_000_000;

async function listOf<T>(results: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const each of results) list.push(each);
  return list;
}

const made: ndshm.SharedArray[] = [];
function keep<A extends ndshm.SharedArray>(array: A): A {
  made.push(array);
  return array;
}
const zeros = (length: number) => keep(ndshm.create(freshName(), { shape: length, dtype: 'int32', ephemeral: true }));
afterAll(() => {
  for (const array of made) array.close();
});

/** The objects in the pool's store, but for the descriptions of functions, which are small. */
const stored = (): number =>
  pool.store.list().filter(({ byteLength, state }) => byteLength > 4032 && state !== 'deleted').length;
const readyShare = () => {
  const { usedBytes, readyBytes } = pool.store.stat();
  return usedBytes - readyBytes;
};

describe('shared arrays', () => {
  test('are the same memory in a task, and in its result', async () => {
    const array = zeros(4);
    const got = await pool.apply(
      (a: ndshm.SharedArray) => {
        a.set(1, 7);
        return a;
      },
      [array],
    );
    expect(array.get(1)).toBe(7);
    got.set(2, 8);
    expect(array.toNested()).toEqual([0, 7, 8, 0]);
    expect([got.name, got.mode, got.shape]).toEqual([array.name, 'r+', [4]]);
  });

  test('keep their mode', async () => {
    const array = zeros(3);
    array.set(0, 5);
    const write = (a: ndshm.SharedArray) => {
      a.set(1, 1);
      return [a.get(0), a.get(1)];
    };
    const readOnly = keep(ndshm.open(array.name as string));
    expect(await rejection(pool.apply(write, [readOnly]))).toMatchObject({ code: 'ERR_NDSHM_READ_ONLY' });
    const copied = keep(ndshm.open(array.name as string, { mode: 'c' }));
    copied.set(0, 6); // mine alone
    expect(await pool.apply(write, [copied])).toEqual([5, 1]);
    expect(array.get(1)).toBe(0);
    expect(await pool.apply(write, [array])).toEqual([5, 1]);
    expect(array.get(1)).toBe(1);
  });

  test('may be views, inside of values, and items of a map', async () => {
    const array = keep(ndshm.create(freshName(), { shape: [4, 3], ephemeral: true }));
    const sums = await pool.map(
      (row: ndshm.SharedArray) => {
        row.fill(2);
        return row.data.length;
      },
      [...array] as ndshm.SharedArray[],
    );
    expect(array.toNested()).toEqual(new Array(4).fill([2, 2, 2]));
    expect(sums).toHaveLength(4);
    const shape = await pool.apply(
      (given: { deep: ndshm.SharedArray[] }) => given.deep.map((each) => each.shape),
      [{ deep: [array, array.transpose(), array.slice('1:3', '::2')] }],
    );
    expect(shape).toEqual([
      [4, 3],
      [3, 4],
      [2, 2],
    ]);
  });

  test('may be made by a task, which has them live on', async () => {
    const name = freshName();
    const array = keep(
      (await pool.apply(
        (name: string) => (require('ndshm') as typeof ndshm).fromArray(name, [1, 2, 3]),
        [name],
      )) as ndshm.SharedArray,
    );
    expect(array.toNested()).toEqual([1, 2, 3]);
    ndshm.unlink(name);
  });

  test('are not copied: a task on a large one takes no room', async () => {
    const array = keep(ndshm.create(freshName(), { shape: large, dtype: 'float64', ephemeral: true }));
    array.set(large - 1, 3);
    const last = pool.remote((a: ndshm.SharedArray) => a.get(a.size - 1) as number);
    expect(await last(zeros(1))).toBe(0); // the pool has its store now
    const before = readyShare();
    expect(await last(array)).toBe(3);
    expect(readyShare()).toBe(before);
    expect(encodePayload([array]).byteLength).toBeLessThan(1000);
  });

  test('that are anonymous or closed are refused, with what to do', async () => {
    const anonymous = keep(ndshm.anonymous({ shape: 3 }));
    expect(await rejection(pool.apply(identity, [anonymous]))).toMatchObject({ code: 'ERR_NDSHM_ANONYMOUS' });
    const closed = zeros(3);
    closed.close();
    expect(await rejection(pool.apply(identity, [closed]))).toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
    const fromTask = () => (require('ndshm') as typeof ndshm).anonymous({ shape: 3 });
    expect(await rejection(pool.apply(fromTask))).toMatchObject({ name: 'TaskError', code: 'ERR_NDSHM_ANONYMOUS' });
  });
});

describe('large typed arrays', () => {
  test('arrive in the task, and come back as views of shared memory', async () => {
    const given = Float64Array.from({ length: large }, (_, n) => n);
    const got = await pool.apply((values: Float64Array) => values.map((value) => -value), [given]);
    expect([got.length, got[0], got[large - 1]]).toEqual([large, -0, 1 - large]);
    // Not of this process's own heap: its buffer is larger than the array, or mapped.
    expect(given[5]).toBe(5);
  });

  test.each([
    ['apply', async (array: Uint8Array) => [await pool.apply((a: Uint8Array) => a.slice(1), [array])]],
    ['map', (array: Uint8Array) => pool.map((a: Uint8Array) => a.slice(1), [array, array], { chunkSize: 1 })],
    ['starmap', (array: Uint8Array) => pool.starmap((a: Uint8Array) => a.slice(1), [[array], [array]])],
    ['imap', async (array: Uint8Array) => listOf(pool.imap((a: Uint8Array) => a.slice(1), [array, array]))],
  ] satisfies [string, (array: Uint8Array) => Promise<Uint8Array[]>][])(
    'leave the store when nobody needs them: %s',
    async (_what, call) => {
      const array = new Uint8Array(large).fill(3);
      const results = await call(array);
      for (const each of results) expect([each.length, each[0], each[large - 2]]).toEqual([large - 1, 3, 3]);
      expect(stored()).toBe(0);
    },
  );

  test('leave it too when the call fails, or its worker dies, or it is cancelled', async () => {
    const array = new Uint8Array(large);
    expect(await rejection(pool.apply(task('throwValue'), [array]))).toMatchObject({ name: 'TaskError' });
    expect(await rejection(pool.apply(task('dieWith'), [array]))).toMatchObject({ name: 'WorkerLost' });
    const cancelled = pool.applyAsync(task('dieWith'), [array]);
    pool.cancel(cancelled);
    await rejection(Promise.resolve(cancelled));
    expect(await rejection(pool.map(task('failAt'), [[1, 1, array]]))).toMatchObject({ index: 0 });
    expect(await pool.map(identity, [1, 2, 3, 4], { chunkSize: 1 })).toEqual([1, 2, 3, 4]);
    expect(stored()).toBe(0);
  });

  test('do not fill the store, however many come one after the other', async () => {
    await using small = makePool({ processes: 1, storeCapacity: '32MiB' });
    const array = new Uint8Array(4 * 2 ** 20);
    for (let n = 0; n < 100; n++) {
      array[0] = n;
      const lengthAndFirst = await small.apply((a: Uint8Array) => [a.length, a[0]], [array]);
      expect(lengthAndFirst).toEqual([array.length, n]);
    }
    expect(await small.map((a: Uint8Array) => a.length, new Array(4).fill(array), { chunkSize: 1 })).toEqual(
      new Array(4).fill(array.length),
    );
  });

  test('for which there is no room say so', async () => {
    await using small = makePool({ processes: 1, storeCapacity: '2MiB' });
    const error = await rejection(small.apply(identity, [new Uint8Array(8 * 2 ** 20)]));
    expect(error).toMatchObject({ code: 'ERR_NDSHM_CAPACITY' });
    const result = await rejection(small.apply((bytes: number) => new Uint8Array(bytes), [8 * 2 ** 20]));
    expect(result).toMatchObject({ name: 'TaskError', code: 'ERR_NDSHM_CAPACITY' });
    expect(await small.apply(() => 1)).toBe(1);
  });

  test('stay as long as a ref of them does, for other tasks', async () => {
    const make = pool.remote((length: number) => new Float64Array(length).fill(1.5));
    const sum = pool.remote((values: Float64Array) => values.reduce((a, b) => a + b));
    const ref = make(large);
    expect(await pool.get([sum(ref), sum(ref)])).toEqual([1.5 * large, 1.5 * large]);
    expect(stored()).toBe(1);
    expect((await ref)[0]).toBe(1.5);
  });

  test('leave the store when the last ref of them is collected', async () => {
    const program = `
      const ndshm = require('ndshm');
      const pool = new ndshm.Pool({ processes: 1 });
      const stored = () => pool.store.list().filter(({ byteLength, state }) => byteLength > 4032 && state !== 'deleted').length;
      const make = pool.remote((length) => new Uint8Array(length));
      async function use() {
        const refs = [make(${large}), make(${large})];
        await pool.wait(refs);
        await refs[0];
        return stored();
      }
      async function main() {
        const before = await use();
        for (let round = 0; stored() > 0 && round < 1000; round++) {
          gc();
          await new Promise((resolve) => setImmediate(resolve));
        }
        console.log(JSON.stringify([before, stored()]));
        await pool.close();
      }
      main();`;
    expect(await runProgram(program, ['--expose-gc'])).toEqual({ code: 0, stdout: '[2,0]\n', stderr: '' });
  });
});

describe('values', () => {
  test(
    'come back as they are, whatever they are',
    () =>
      fc.assert(
        fc.asyncProperty(anyValue, async (value) => {
          expect(differenceOf(await pool.apply(identity, [value]), value)).toBeUndefined();
        }),
        runs(150),
      ),
    timeoutMs,
  );

  test(
    'come back from a map, and from a task that throws them',
    () =>
      fc.assert(
        fc.asyncProperty(fc.array(anyValue, { maxLength: 6 }), async (values) => {
          const got = await pool.map(identity, values, { chunkSize: 2 });
          values.forEach((value, n) => {
            expect(differenceOf(got[n], value)).toBeUndefined();
          });
          for (const value of values) {
            const { thrown } = (await rejection(pool.apply(task('throwValue'), [value]))) as ndshm.TaskError;
            expect(differenceOf(thrown, value)).toBeUndefined();
          }
        }),
        runs(30),
      ),
    timeoutMs,
  );

  /** A text whose list of one has so many bytes as a payload. */
  const textOf = (payloadBytes: number): string => {
    const text = 'x'.repeat(payloadBytes - encodePayload(['x'.repeat(3000)]).byteLength + 3000);
    if (encodePayload([text]).byteLength !== payloadBytes) throw new Error('The payload has another length');
    return text;
  };

  test.each([4031, 4032, 4033, 8000])('of %d bytes arrive, in a cell or in the store', async (payloadBytes) => {
    const text = textOf(payloadBytes);
    const before = stored();
    const ref = pool.applyAsync(identity, [text]);
    await pool.wait([ref]);
    expect(stored() - before).toBe(payloadBytes > 4032 ? 1 : 0);
    expect(await ref).toBe(text);
    expect(await pool.map(identity, [text, text, text], { chunkSize: 1 })).toEqual([text, text, text]);
  });

  test('of many numbers keep every one of them', async () => {
    const special = [0, -0, Number.NaN, Infinity, -Infinity, 5e-324, 2 ** 53, 0.1, -1.7e308];
    for (const length of [1, 9, 503, 504, 505, 2000]) {
      const items = Array.from({ length }, (_, n) => special[n % special.length] as number);
      for (const chunkSize of [1, 504, 505, 2000]) {
        const got = await pool.map((x: number) => x, items, { chunkSize });
        expect(got.findIndex((value, n) => !Object.is(value, items[n]))).toBe(-1);
        expect(got).toHaveLength(length);
      }
    }
  });

  test.each<[string, () => unknown, RegExp]>([
    ['a function', () => () => 1, /./],
    ['a symbol', () => Symbol('sign'), /./],
    ['a promise', () => ({ later: Promise.resolve(1) }), /later/],
    ['a WeakMap', () => [new WeakMap()], /WeakMap/],
  ])('that cannot be cloned are refused: %s', async (_what, make, message) => {
    const argument = await rejection(pool.apply(identity, [make()]));
    expect(argument).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringMatching(message) as string,
    });
    expect(argument).not.toBeInstanceOf(ndshm.TaskError);
    expect(await rejection(pool.map(identity, [1, make()]))).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await rejection(pool.imap(identity, [make()]).next())).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(await pool.apply(() => 1)).toBe(1);
  });

  test('that a task returns and that cannot be cloned fail the task, and name the item', async () => {
    const results: (() => unknown)[] = [() => () => 1, () => Symbol('sign'), () => ({ deep: [new WeakMap()] })];
    for (const result of results) {
      const error = await rejection(pool.apply(result));
      expect(error).toBeInstanceOf(ndshm.TaskError);
      expect(error).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    }
    const atThree = (n: number) => (n === 3 ? () => 1 : n);
    for (const chunkSize of [1, 3, 10]) {
      expect(await rejection(pool.map(atThree, [0, 1, 2, 3, 4], { chunkSize }))).toMatchObject({
        index: 3,
        code: 'ERR_NDSHM_INVALID_ARGUMENT',
      });
    }
    const outcomes: unknown[] = [];
    const given = pool.imap(atThree, [0, 1, 2, 3, 4], { chunkSize: 5 });
    for (let n = 0; n < 5; n++) {
      outcomes.push(
        await given.next().then(
          ({ value }) => value,
          (error: ndshm.TaskError) => error.code,
        ),
      );
    }
    expect(outcomes).toEqual([0, 1, 2, 'ERR_NDSHM_INVALID_ARGUMENT', 4]);
  });

  test('whose getters throw reject with what these throw', async () => {
    const failure = new Error('no such property');
    const value = {
      get it() {
        throw failure;
      },
    };
    expect(await rejection(pool.apply(identity, [value]))).toMatchObject({ message: 'no such property' });
  });
});

describe('refs', () => {
  test('inside of values are refused, with the place and what to do', async () => {
    const ref = pool.applyAsync(() => 1);
    for (const value of [{ ref }, [ref], new Map([['ref', ref]])]) {
      const error = await rejection(pool.apply(identity, [value]));
      expect(error).toMatchObject({
        code: 'ERR_NDSHM_INVALID_ARGUMENT',
        message: expect.stringMatching(/is a TaskRef.*pass it as an argument of its own/) as string,
      });
    }
    expect(await pool.apply(identity, [ref])).toBe(1);
  });

  test('of objects inside of values arrive as they are', async () => {
    const ref = await pool.put([1, 2]);
    expect(await pool.apply(identity, [{ ref }])).toEqual({ ref });
    expect(await pool.apply(identity, [ref])).toEqual([1, 2]);
  });

  test('of another store arrive as the value, as arguments and as items', async () => {
    using store = ndshm.Store.open(freshName('store'), { capacity: '8MiB' });
    const ref = await store.put({ numbers: new Float32Array(100_000).fill(0.5) });
    const sum = (value: { numbers: Float32Array }) => value.numbers.reduce((a, b) => a + b);
    expect(await pool.apply(sum, [ref])).toBe(50_000);
    expect(await pool.map(sum as (value: unknown) => number, [ref, { numbers: [1] }, ref])).toEqual([
      50_000, 1, 50_000,
    ]);
    expect(await pool.get(ref)).toMatchObject({ numbers: expect.any(Float32Array) as unknown });
    store.delete(ref);
    expect(await rejection(pool.apply(sum, [ref]))).toMatchObject({ code: 'ERR_NDSHM_STALE_HANDLE' });
    expect(await rejection(pool.get(ref))).toMatchObject({ code: 'ERR_NDSHM_STALE_HANDLE' });
  });

  test('of a store that another process has, and that has ended', async () => {
    const name = freshName('store');
    const peer = await Peer.start();
    const ref = await peer.run(({ ndshm: theirs, kept }, name) => {
      const store = theirs.Store.open(name, { capacity: '1MiB' });
      kept.set('store', store);
      return store.put('from afar');
    }, name);
    await using own = makePool({ processes: 1 });
    expect(await own.apply(identity, [ref])).toBe('from afar');
    await own.close();
    await peer.kill();
    ndshm.gc();
    expect(exists(name)).toBe(false);
    expect(await rejection(pool.apply(identity, [ref]))).toMatchObject({ name: 'TaskError' });
    ndshm.gc();
    expect(exists(name)).toBe(false);
  });
});
