import { statfsSync, writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { describeAsRoot, otherUser } from '../helpers/child';
import { exists, freshName, shmPath, thrownBy } from '../helpers/shm';
import { mebibyte, pattern, peerWith, segmentsOf } from '../helpers/store';
import { codeOf } from '../helpers/sync';

const { Store } = ndshm;
const invalid = 'ERR_NDSHM_INVALID_ARGUMENT';
const range = 'ERR_NDSHM_OUT_OF_RANGE';
const stale = 'ERR_NDSHM_STALE_HANDLE';

describe('the capacity', () => {
  test.each([
    [4096, 4096],
    [4096.0, 4096],
    [10_000, 8192],
    ['4096B', 4096],
    ['64KiB', 65_536],
    ['2MiB', 2 * mebibyte],
    ['1.5 MiB', 1.5 * mebibyte],
    ['3 GiB', 3 * 2 ** 30],
    ['0.5TiB', 2 ** 39],
  ])('%p is %d bytes, and takes nothing before it is used', (capacity, bytes) => {
    using store = Store.open(freshName(), { capacity });
    expect(store.stat()).toMatchObject({ capacityBytes: bytes, usedBytes: 0 });
  });

  test('is half of /dev/shm where nobody says otherwise', () => {
    using store = Store.open(freshName());
    const { blocks, bsize } = statfsSync('/dev/shm');
    expect(store.stat().capacityBytes).toBe(Math.floor((blocks * bsize) / 2 / 4096) * 4096);
  });

  test.each([0, 4095, -4096, 4096.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 40 + 4096])(
    'cannot be %d',
    (capacity) => {
      const name = freshName();
      expect(thrownBy(() => Store.open(name, { capacity })).code).toBe(range);
      expect(segmentsOf(name)).toEqual([]);
    },
  );

  test.each(['', '1', 'GiB', '1GB', '1 gib', '-1GiB', '1e3MiB', '2  GiB', '2GiB ', '1,5GiB', '0B', '100B'])(
    'cannot be written %j',
    (capacity) => {
      expect(thrownBy(() => Store.open(freshName(), { capacity })).code).toBe(range);
    },
  );

  test('is the same for all who open the store; another one is refused, and says which it has', () => {
    using store = Store.open(freshName(), { capacity: '2MiB' });
    const { name } = store;
    for (const options of [undefined, {}, { capacity: 2 * mebibyte }, { capacity: '2048KiB' }]) {
      using same = Store.open(name, options);
      expect(same.stat()).toEqual(store.stat());
    }
    const error = thrownBy(() => Store.open(name, { capacity: '3MiB' }));
    expect(error.code).toBe('ERR_NDSHM_MISMATCH');
    expect(error.message).toContain('to have capacity 3 MiB but found 2 MiB');
    expect(store.get(store.putSync(1))).toBe(1);
  });

  test('of a page refuses every object, and says so', () => {
    using store = Store.open(freshName(), { capacity: 4096 });
    for (const make of [() => store.putSync('x'), () => store.putSync(pattern(100_000)), () => store.createArray(1)]) {
      const error = thrownBy(make);
      expect([error.code, error.message]).toEqual(['ERR_NDSHM_CAPACITY', expect.stringContaining('of the 4 KiB')]);
    }
    expect(store.stat()).toMatchObject({ usedBytes: 0, objects: 0 });
  });
});

describe('Store.open()', () => {
  test.each([
    [{ capacity: true }, invalid],
    [{ capacity: null }, invalid],
    [{ capacity: 4096n }, invalid],
    [{ spillDir: 5 }, invalid],
    [{ spillDir: null }, invalid],
    [{ prefault: {} }, invalid],
    [{ prefault: -1 }, range],
    [{ prefault: 'much' }, range],
    [{ allowForeignOwner: 1 }, invalid],
    [{ ephemeral: true }, invalid],
    [{ Capacity: '1MiB' }, invalid],
    [null, invalid],
    [[], invalid],
    ['64MiB', invalid],
  ])('refuses the options %p', (options, code) => {
    const name = freshName();
    expect(thrownBy(() => Store.open(name, options as object)).code).toBe(code);
    expect(segmentsOf(name)).toEqual([]);
  });

  test('refuses names that are none, or too long for the names of its pages', () => {
    for (const name of ['', '.x', 'a/b', 'ü', 'x'.repeat(251), 'x'.repeat(250 - '.pages.0'.length + 1)]) {
      expect(thrownBy(() => Store.open(name)).code).toBe('ERR_NDSHM_INVALID_NAME');
    }
    expect(thrownBy(() => Store.open(5 as never)).code).toBe(invalid);
    const longest = freshName().padEnd(250 - '.pages.0'.length, 'x');
    Store.open(longest, { capacity: '1MiB' }).close();
    expect(segmentsOf(longest)).toEqual([]);
  });

  test('refuses a name that means something else, and the store’s name means nothing else', () => {
    const name = freshName();
    const array = ndshm.create(name, { shape: 100, dtype: 'int32' });
    expect(thrownBy(() => Store.open(name)).code).toBe('ERR_NDSHM_MISMATCH');
    array.unlink();
    array.close();
    const event = new ndshm.Event(name, { ephemeral: true });
    const error = thrownBy(() => Store.open(name));
    expect([error.code, error.message]).toEqual(['ERR_NDSHM_MISMATCH', expect.stringContaining('found "Event"')]);
    event.close();
    const table = ndshm.ArrayTable.open(name, { ephemeral: true });
    expect(thrownBy(() => Store.open(name)).code).toBe('ERR_NDSHM_MISMATCH');
    table.close();
    writeFileSync(shmPath(name), 'something');
    expect(thrownBy(() => Store.open(name)).code).toBe('ERR_NDSHM_HEADER');
    ndshm.unlink(name);
    using store = Store.open(name);
    expect(thrownBy(() => new ndshm.Event(name)).code).toBe('ERR_NDSHM_MISMATCH');
    expect(thrownBy(() => ndshm.ArrayTable.open(name)).code).toBe('ERR_NDSHM_MISMATCH');
    expect(thrownBy(() => ndshm.create(name, { shape: 1 })).code).toBe('EEXIST');
    expect(store.get(store.putSync(1))).toBe(1);
  });

  test('refuses to use a file of somebody else for its pages, and leaves nothing of its own', () => {
    const name = freshName();
    const stranger = ndshm.create(`${name}.pages.0`, { shape: 100 });
    expect(thrownBy(() => Store.open(name)).code).toBe('EEXIST');
    expect(exists(name)).toBe(false);
    stranger.unlink();
    stranger.close();
  });
});

describeAsRoot('a store of another user (needs root to be two users)', () => {
  test('is opened only by who says so', async () => {
    const name = freshName();
    const peer = await peerWith(name, { uid: otherUser });
    const ref = await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).put('theirs'));
    expect(thrownBy(() => Store.open(name)).code).toBe('ERR_NDSHM_FOREIGN_OWNER');
    const store = Store.open(name, { allowForeignOwner: true });
    expect(store.get(ref)).toBe('theirs');
    store.close();
    await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).close()); // gc() leaves other users' alone
    expect(segmentsOf(name)).toEqual([]);
    await peer.kill();
  });
});

describe('a bad ref', () => {
  test('is refused by every method, by what is wrong with it', async () => {
    using store = Store.open(freshName(), { capacity: '8MiB' });
    using other = Store.open(freshName(), { capacity: '8MiB' });
    const ref = await store.put(pattern(100_000));
    const wrong: [unknown, string][] = [
      ...[undefined, null, 1, 'x', JSON.stringify(ref), {}, [ref], () => ref].map((it): [unknown, string] => [
        it,
        invalid,
      ]),
      [{ ...ref, ndshm: 2 }, invalid],
      [{ ...ref, store: 5 }, invalid],
      [{ ...ref, storeId: undefined }, invalid],
      [{ ...ref, storeId: 7 }, invalid],
      ...[-1, 0.5, '0', 2 ** 31, Number.NaN, 2 ** 53, null].flatMap((it): [unknown, string][] => [
        [{ ...ref, object: it }, invalid],
        [{ ...ref, generation: it }, invalid],
      ]),
      [other.putSync(1), stale],
      [{ ...ref, storeId: '' }, stale],
      [{ ...ref, storeId: '0'.repeat(32) }, stale],
    ];
    for (const [bad, code] of wrong) {
      for (const use of ['get', 'lease', 'has', 'delete'] as const) {
        expect(thrownBy(() => store[use](bad as ndshm.ObjectRef)).code).toBe(code);
      }
      expect(await codeOf(store.wait([ref, bad as ndshm.ObjectRef]))).toBe(code);
    }
    expect(thrownBy(() => store.get(other.putSync(1))).message).toContain(
      `belongs to the store '${other.name}', and this is '${store.name}'`,
    );
    expect(store.has(ref)).toBe(true);
  });

  test('of an object that never was, or not yet, is stale', async () => {
    using store = Store.open(freshName(), { capacity: '8MiB' });
    const refs = [await store.put('small'), await store.put(pattern(100_000))];
    for (const ref of refs) {
      for (const object of [ref.object + 1, 1000, 2 ** 17 - 1, 2 ** 17 + 5000, 2 ** 20, 2 ** 29, 2 ** 31 - 1]) {
        for (const generation of [0, 1, ref.generation + 1, 2 ** 24 - 1]) {
          const none = { ...ref, object, generation };
          expect(thrownBy(() => store.get(none)).code).toBe(stale);
          expect(thrownBy(() => store.lease(none)).code).toBe(stale);
          expect([store.has(none), store.delete(none)]).toEqual([false, false]);
        }
      }
      const none = { ...ref, generation: ref.generation + 1 };
      expect(thrownBy(() => store.get(none)).code).toBe(stale);
      expect([store.has(none), store.delete(none)]).toEqual([false, false]);
      // More than a row counts to: whatever it is called, nothing is found by it.
      for (const generation of [ref.generation + 2 ** 24, ref.generation + 2 ** 28, 2 ** 31 - 1]) {
        for (const use of ['get', 'lease'] as const) {
          expect([stale, invalid]).toContain(thrownBy(() => store[use]({ ...ref, generation })).code);
        }
      }
      expect(store.has(ref)).toBe(true);
    }
    const never = { ...(refs[0] as ndshm.ObjectRef), generation: 99 };
    expect(await store.wait([never])).toEqual({ ready: [never], pending: [] });
    expect(store.list()).toHaveLength(2);
  });
});
