import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { decode } from '../../dist/codec/decode';
import { slotSizes } from '../../dist/store/heap';
import { type ArrayCase, arrayCase, contentOf, runs, shapeUpTo, timeoutMs, withArray } from '../helpers/arrays';
import { type Content, PythonPeer } from '../helpers/python-peer';
import { describeWithMsgpack, pythonStore } from '../helpers/python-store';
import { freshName, shmPath } from '../helpers/shm';
import { mebibyte, pattern } from '../helpers/store';

const program = `${pythonStore}
kept = {}
fetches = store_reader.copied, store_reader.leased

def answer(given):
    if given['do'] == 'drop': return kept.clear()
    if given['do'] == 'see': return seen(kept['value'])
    # Pauses between its two looks at the row, until it is asked anything.
    store_reader.copied, store_reader.leased = map(pausing, fetches) if given['do'] == 'pause' else fetches
    if given['do'] == 'storm': return storm(mapped(given['now']), given['ref'])
    if given['do'] == 'encode': return encode(eval(given['value'])).hex()
    try:
        value = eval(given['value']) if 'value' in given else decode(object_bytes(given['ref']))
    except KeyError as error:
        return error.args[0]
    if given['do'] == 'repr': return repr(value['it'])
    if given['do'] == 'content': return [content(each) for each in value]
    if given['do'] == 'same': return value[0] is value[1] and value[1]['self'] is value[1]
    if given['do'] == 'again': return encode(value).hex()
    kept['value'] = value
    return seen(value)

def pausing(fetch):
    def paused(*given):
        print('{"value": "pauses"}', flush=True)
        sys.stdin.readline()
        return fetch(*given)
    return paused

def storm(now, ref):
    found = torn = 0
    for _ in range(2000):
        ref['object'], ref['generation'] = now.tolist()
        try:
            value = decode(object_bytes(ref))
        except KeyError:
            continue
        found += 1
        torn += int(value.min() != value.max())
    return {'found': found, 'torn': torn}

def seen(a):
    return {**place(a.ctypes.data, a.nbytes), 'sum': int(a.sum()), 'writeable': a.flags.writeable}
`;

/** What makes an object one with pages of its own. */
const ballast = new Uint8Array(100_000);

const bytesFrom = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));

describeWithMsgpack('Python reads a store by its format alone', () => {
  let python: PythonPeer;
  let store: ndshm.Store;
  const ask = <T = string>(what: string, ref: ndshm.ObjectRef): Promise<T> => python.ask<T>({ do: what, ref });

  beforeAll(() => {
    python = new PythonPeer(program);
    store = ndshm.Store.open(freshName(), { capacity: '256MiB' });
  });
  afterAll(async () => {
    store.close();
    await python.close();
  });

  const values: readonly (readonly [unknown, string])[] = [
    [null, 'None'],
    [undefined, 'None'],
    [true, 'True'],
    [-0, '-0.0'],
    [0.1, '0.1'],
    [2 ** 53 - 1, '9007199254740991'],
    [Number.NaN, 'nan'],
    ['ü 漢 🙂', "'ü 漢 🙂'"],
    ['\ud800a', "'\\ud800a'"],
    [-(2n ** 80n), '-1208925819614629174706176'],
    [[1, ['a', undefined]], "[1, ['a', None]]"],
    [{ a: { b: -1 } }, "{'a': {'b': -1}}"],
    [JSON.parse('{ "__proto__": [1] }'), "{'__proto__': [1]}"],
    [JSON.parse('{ "__proto__": 1 }', (_, each) => (each === 1 ? 1n : each)), "{'__proto__': 1}"],
    [new Map<unknown, unknown>().set({ k: 1 }, 'v').set('x', [2]), "[({'k': 1}, 'v'), ('x', [2])]"],
    [new Map().set(1n, undefined), '[(1, None)]'],
    [new Set([1, { a: 2 }, 3n]), "[1, {'a': 2}, 3]"],
    [new Date(5), "np.datetime64('1970-01-01T00:00:00.005')"],
    [new Date(Number.NaN), "np.datetime64('NaT','ms')"],
    [/a+/gi, "['RegExp', 'a+', 'gi']"],
    [new ArrayBuffer(2), 'array([0, 0], dtype=uint8)'],
    [Buffer.from('ab'), 'array([97, 98], dtype=uint8)'],
    [new DataView(Uint8Array.of(1, 2, 3).buffer, 1), 'array([2, 3], dtype=uint8)'],
    [Int8Array.of(-1), 'array([-1], dtype=int8)'],
    [Uint8Array.of(255), 'array([255], dtype=uint8)'],
    [Uint8ClampedArray.of(300), 'array([255], dtype=uint8)'],
    [Int16Array.of(-300), 'array([-300], dtype=int16)'],
    [Uint16Array.of(300), 'array([300], dtype=uint16)'],
    [Int32Array.of(-70_000), 'array([-70000], dtype=int32)'],
    [Uint32Array.of(70_000), 'array([70000], dtype=uint32)'],
    [BigInt64Array.of(-5n), 'array([-5])'],
    [BigUint64Array.of(2n ** 63n), 'array([9223372036854775808], dtype=uint64)'],
    [Float32Array.of(0.5), 'array([0.5], dtype=float32)'],
    [Float64Array.of(-0, Number.NaN), 'array([-0., nan])'],
    [new Float64Array(0), 'array([], dtype=float64)'],
  ];

  test('every kind of value, from a slot and from pages', async () => {
    for (const [value, repr] of values) {
      expect(await ask('repr', store.putSync({ it: value }))).toBe(repr);
      expect(await ask('repr', store.putSync({ it: value, ballast }))).toBe(repr);
    }
  });

  test('one object that stands in several places, and in itself', async () => {
    const inner: Record<string, unknown> = {};
    inner['self'] = inner;
    for (const value of [
      [inner, inner],
      [inner, inner, ballast],
    ]) {
      expect(await ask('same', store.putSync(value))).toBe(true);
    }
  });

  test('values nested deeper than the document', async () => {
    let value: unknown = [];
    for (let depth = 0; depth < 100; depth++) value = [value];
    expect(await ask('repr', store.putSync({ it: value }))).toBe('['.repeat(101) + ']'.repeat(101));
  });

  test(
    'SharedArrays of every dtype, order and shape, and views of them',
    async () => {
      const look = (given: ArrayCase, isLarge: boolean) =>
        withArray(given, async (array) => {
          const views = [array, array.transpose(), array.slice(...array.shape.map(() => '::2'))];
          const ref = store.putSync(isLarge ? [...views, ballast] : views);
          const found = await ask<Content[]>('content', ref);
          store.delete(ref);
          for (const [n, view] of views.entries()) {
            const { dtype, shape, bytes } = contentOf(view);
            expect(found[n]).toMatchObject({ dtype, shape, bytes });
          }
        });
      await fc.assert(fc.asyncProperty(arrayCase(shapeUpTo(200)), fc.boolean(), look), runs(60));
    },
    timeoutMs,
  );

  test('objects that fill a slot of each class, and such as fill none', async () => {
    const around = slotSizes.slice(2).flatMap((slotBytes) => [slotBytes - 64, slotBytes - 63]);
    for (const byteLength of [...around, 5_000_000]) {
      // Two, since only the second one's slot does not begin where all do.
      for (const seed of [1, 2]) {
        const value = pattern(byteLength, seed * byteLength);
        const { sum } = await ask<{ sum: number }>('keep', store.putSync(value));
        expect([byteLength, sum]).toEqual([byteLength, value.reduce((total, byte) => total + byte, 0)]);
      }
    }
    const sizes = new Set(store.list().map((each) => each.byteLength));
    expect(slotSizes.slice(2).filter((slotBytes) => !sizes.has(slotBytes))).toEqual([]);
  });

  test('objects of all chunks of a class', async () => {
    const refs = Array.from({ length: 3000 }, (_, n) => store.putSync({ it: n }));
    expect(new Set(refs.map(({ object }) => object >>> 17)).size).toBeGreaterThan(2);
    for (const n of [0, 999, 1000, 2999]) expect(await ask('repr', refs[n] as ndshm.ObjectRef)).toBe(String(n));
    for (const ref of refs) store.delete(ref);
  });

  test('a large array is a read-only view on the pages in /dev/shm', async () => {
    const found = await ask<object>('keep', store.putSync(new Uint8Array(2 * mebibyte).fill(1)));
    expect(found).toEqual({ file: `${shmPath(store.name)}.pages.0`, at: 0, sum: 2 * mebibyte, writeable: false });
    const { at } = await ask<{ at: number }>('keep', store.putSync(new Float64Array(10_000)));
    expect(at % 64).toBe(0);
  });

  test('whoever deletes what Python reads leaves it its pages until it lets go', async () => {
    const byteLength = 3 * mebibyte;
    const ref = store.putSync(new Uint8Array(byteLength).fill(1));
    await ask('keep', ref);
    expect(store.delete(ref)).toBe(true);
    const stateOf = () => store.list().find(({ ref: { object } }) => object === ref.object)?.state;
    expect(stateOf()).toBe('deleted');
    const next = store.putSync(new Uint8Array(byteLength).fill(2));
    expect(await python.ask<object>({ do: 'see' })).toMatchObject({ sum: byteLength });
    expect(await ask('repr', ref)).toBe('deleted, or not sealed');
    await python.ask({ do: 'drop' });
    expect(stateOf()).toBeUndefined();
    store.delete(next);
  });

  test('it finds nothing that is deleted, unsealed, never was, or of another store', async () => {
    const gone = 'deleted, or not sealed';
    for (const value of [1, ballast]) {
      const old = store.putSync({ it: value });
      store.delete(old);
      expect(await ask('repr', old)).toBe(gone);
      const next = store.putSync({ it: value }); // in the same row
      expect(next.object).toBe(old.object);
      expect(await ask('repr', old)).toBe(gone);
    }
    const draft = store.createArray(10);
    expect(await ask('repr', draft.ref)).toBe(gone);
    draft.close();
    const ref = store.putSync(1);
    expect(await ask('repr', { ...ref, object: 4095 * 2 ** 17 })).toBe('no such object');
    expect(await ask('repr', { ...ref, storeId: '0'.repeat(32) })).toBe('an earlier store');
  });

  test.each([3000, 80_000])('of %d bytes that go between its two looks it takes none', async (byteLength) => {
    const old = store.putSync(new Uint8Array(byteLength));
    expect(await ask('pause', old)).toBe('pauses');
    store.delete(old);
    const next = store.putSync(new Uint8Array(byteLength).fill(1));
    expect(next.object).toBe(old.object);
    expect(await python.ask('go on')).toBe('deleted, or not sealed');
    store.delete(next);
  });

  // As many of them live at a time as leave it a chance to read one, and to come too late.
  test.each([
    [3000, 4],
    [80_000, 2],
  ])('while objects of %d bytes come and go, it reads whole ones or none', async (byteLength, alive) => {
    const now = ndshm.create(freshName(), { shape: 2, dtype: 'int32', ephemeral: true });
    const refs: ndshm.ObjectRef[] = [];
    let mark = 0;
    const putOne = () => {
      const ref = store.putSync(new Uint8Array(byteLength).fill(++mark));
      now.data.set([ref.object, ref.generation]);
      refs.push(ref);
    };
    for (let n = 0; n < alive; n++) putOne();
    let ended = false;
    const question = { do: 'storm', now: now.name, ref: refs[0] };
    const counts = python.ask<{ found: number; torn: number }>(question).finally(() => {
      ended = true;
    });
    while (!ended) {
      for (let n = 0; n < 10; n++) {
        putOne();
        store.delete(refs.shift() as ndshm.ObjectRef);
      }
      await new Promise(setImmediate);
    }
    const { found, torn } = await counts;
    expect(torn).toBe(0);
    expect(found).toBeGreaterThan(0);
    for (const ref of refs) store.delete(ref);
    now.close();
  });

  test('an array that was sealed', async () => {
    const draft = store.createArray([300, 400], 'int32', { order: 'F' });
    draft.array.fill(2);
    const ref = draft.seal();
    expect(await ask<object>('keep', ref)).toMatchObject({ sum: 240_000, file: `${shmPath(store.name)}.pages.0` });
  });

  test('an object that was spilled, before or between its two looks, from its file', async () => {
    const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-'));
    const full = ndshm.Store.open(freshName(), { capacity: '4MiB', spillDir });
    const put = (mark: number) => full.putSync(new Uint8Array(2 * mebibyte).fill(mark));
    try {
      const refs = [1, 2, 3].map(put);
      const states = refs.map(({ object }) => full.list().find(({ ref }) => ref.object === object)?.state);
      expect(states).toContain('spilled');
      for (const [n, ref] of refs.entries()) {
        const { sum, file } = await ask<{ sum: number; file: string }>('keep', ref);
        expect(sum).toBe((n + 1) * 2 * mebibyte);
        expect(file.startsWith(states[n] === 'spilled' ? spillDir : shmPath(full.name))).toBe(true);
      }
      await python.ask({ do: 'drop' });
      const last = put(4);
      expect(await ask('pause', last)).toBe('pauses');
      put(5);
      const { sum, file } = await python.ask<{ sum: number; file: string }>('go on');
      expect([sum, file.startsWith(spillDir)]).toEqual([8 * mebibyte, true]);
    } finally {
      full.close();
      rmSync(spillDir, { recursive: true });
    }
  });

  describe('and writes objects', () => {
    const written = async (value: string): Promise<unknown> =>
      decode(bytesFrom(await python.ask<string>({ do: 'encode', value })));

    test('of plain values', async () => {
      expect(await written("[-1.5, 'ü', None, {'a': [2**32, 'b' * 300]}]")).toEqual([
        -1.5,
        'ü',
        null,
        { a: [2 ** 32, 'b'.repeat(300)] },
      ]);
      expect(await written('list(range(100_000))')).toEqual(Array.from({ length: 100_000 }, (_, n) => n));
    });

    test.each(ndshm.dtypes)('with arrays of %s, in both orders', async (dtype) => {
      const [c, f] = [
        `np.arange(6).reshape(2, 3).astype('${dtype}')`,
        `np.arange(6).reshape(3, 2).astype('${dtype}').T`,
      ];
      const found = (await written(`[${c}, ${f}]`)) as ndshm.SharedArray[];
      expect(found.map(contentOf)).toEqual(await python.ask({ do: 'content', value: `[${c}, ${f}]` }));
      expect(found[1]?.isFContiguous).toBe(true);
    });
  });

  test(
    'what Node wrote and Python read and wrote is what it was',
    async () => {
      const key = fc.string({ unit: 'grapheme' }).filter((each) => each !== '__proto__');
      const leaf = fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.integer(),
        fc.double(),
        fc.maxSafeInteger(),
        fc.boolean(),
        fc.constant(null),
      );
      const { tree } = fc.letrec((tie) => ({
        tree: fc.oneof(
          { depthSize: 'small', withCrossShrink: true },
          leaf,
          fc.array(tie('tree')),
          fc.dictionary(key, tie('tree'), { noNullPrototype: true }),
        ),
      }));
      const roundtrip = async (value: unknown) => {
        const ref = store.putSync(value);
        expect(decode(bytesFrom(await ask('again', ref)))).toEqual(value);
        store.delete(ref);
      };
      await fc.assert(fc.asyncProperty(tree, roundtrip), runs(100));
    },
    timeoutMs,
  );
});
