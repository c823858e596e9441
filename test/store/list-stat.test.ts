import * as ndshm from 'ndshm';
import { randomFrom } from '../helpers/child';
import { freshName } from '../helpers/shm';
import { draftIn, existingBytes, mebibyte, pattern, peerWith, same } from '../helpers/store';

const pageBytes = 4096;
const open = (capacity = '64MiB', options: ndshm.StoreOptions = {}) =>
  ndshm.Store.open(freshName(), { capacity, ...options });
const keyOf = ({ object, generation }: ndshm.ObjectRef) => `${object}.${generation}`;
const wholePages = (bytes: number) => Math.ceil(bytes / pageBytes) * pageBytes;

describe('list()', () => {
  test('says of each object what it is, who made it, when, and whether anybody has it mapped', async () => {
    const store = open();
    const second = (time: number) => Math.floor(time / 1000) * 1000;
    const begun = second(Date.now());
    const peer = await peerWith(store.name);
    const small = await store.put('small');
    const large = await store.put(pattern(mebibyte));
    const theirs = await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).put(new Uint8Array(100_000)));
    const making = await draftIn(peer, 10);
    const deleted = await store.put(pattern(2 * mebibyte));
    const leases = [store.lease(large), store.lease(deleted)];
    store.delete(deleted);
    const found = new Map(store.list().map((info) => [keyOf(info.ref), info]));
    const wanted = [
      { ref: small, state: 'sealed', mapped: false, pid: process.pid, atLeast: 5 },
      { ref: large, state: 'sealed', mapped: true, pid: process.pid, atLeast: mebibyte },
      { ref: theirs, state: 'sealed', mapped: false, pid: peer.pid, atLeast: 100_000 },
      { ref: making, state: 'making', mapped: true, pid: peer.pid, atLeast: 0 },
      { ref: deleted, state: 'deleted', mapped: true, pid: process.pid, atLeast: 2 * mebibyte },
    ];
    expect(found.size).toBe(wanted.length);
    for (const { atLeast, ...each } of wanted) {
      const info = found.get(keyOf(each.ref)) as ndshm.ObjectInfo;
      expect(info).toMatchObject(each);
      expect(info.byteLength).toBeGreaterThanOrEqual(atLeast);
      expect(info.byteLength).toBeLessThan(atLeast + 2 * pageBytes);
      expect(info.createdAt.getTime()).toBeGreaterThanOrEqual(begun);
      expect(info.createdAt.getTime()).toBeLessThanOrEqual(Date.now());
      expect(store.has(info.ref)).toBe(each.state === 'sealed');
    }
    expect(found.get(keyOf(making))?.byteLength).toBe(0);
    const seen = await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).list());
    expect(new Set(seen.map(({ ref }) => keyOf(ref)))).toEqual(new Set(found.keys()));
    for (const lease of leases) lease.release();
    store.close();
    await peer.kill();
    ndshm.gc();
  });

  test('gives thousands of objects, each once, and none that is gone', () => {
    const store = open();
    const refs = Array.from({ length: 5000 }, (_, n) => store.putSync(n));
    expect(new Set(store.list().map(({ ref }) => keyOf(ref)))).toEqual(new Set(refs.map(keyOf)));
    for (const [n, ref] of refs.entries()) if (n % 3 !== 0) store.delete(ref);
    const left = refs.filter((_, n) => n % 3 === 0);
    const listed = store.list();
    expect(listed.map(({ ref }) => keyOf(ref)).sort()).toEqual(left.map(keyOf).sort());
    expect(left.map((ref) => store.get(ref))).toEqual(left.map((_, n) => 3 * n));
    store.close();
  });

  test('finds what a killed process was making, and leaves its finished objects', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const sealed = await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).put(new Uint8Array(100_000)));
    await draftIn(peer, mebibyte);
    expect(
      store
        .list()
        .map(({ state }) => state)
        .sort(),
    ).toEqual(['making', 'sealed']);
    await peer.kill();
    expect(store.list()).toMatchObject([{ ref: sealed, state: 'sealed', mapped: false, pid: peer.pid }]);
    expect(existingBytes(store.name)).toBe(store.stat().usedBytes);
    store.close();
  });
});

describe('stat()', () => {
  test('of a new store says that it is empty, and takes nothing', () => {
    const store = open('3MiB');
    expect(store.stat()).toEqual({
      name: store.name,
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      capacityBytes: 3 * mebibyte,
      usedBytes: 0,
      readyBytes: 0,
      objects: 0,
      objectBytes: 0,
      spilledObjects: 0,
      spilledBytes: 0,
      spillDir: null,
    });
    expect(existingBytes(store.name)).toBe(0);
    store.close();
  });

  test('counts exactly: an object takes its pages, and gives them back ready to be used', async () => {
    const store = open();
    store.delete(await store.put(pattern(100_000))); // makes the first rows
    const empty = store.stat();
    expect(empty.readyBytes).toBeGreaterThan(100_000);
    const ref = await store.put(pattern(5 * mebibyte));
    const [{ byteLength }] = store.list() as [ndshm.ObjectInfo];
    const full = store.stat();
    expect(full).toEqual({
      ...empty,
      usedBytes: empty.usedBytes + wholePages(byteLength),
      objects: 1,
      objectBytes: byteLength,
    });
    expect(existingBytes(store.name)).toBe(full.usedBytes);
    store.delete(ref);
    const { usedBytes } = full;
    expect(store.stat()).toEqual({ ...empty, usedBytes, readyBytes: empty.readyBytes + wholePages(byteLength) });
    store.delete(await store.put(pattern(5 * mebibyte, 1)));
    expect(store.stat().usedBytes).toBe(usedBytes); // the same pages again
    store.close();
  });

  test.each([1, 2, 3])('is what the kernel counts, after every step of a life at random: seed %d', async (seed) => {
    const capacity = 24 * mebibyte;
    const store = open('24MiB');
    const other = ndshm.Store.open(store.name);
    const random = randomFrom(seed);
    const below = (n: number) => Math.floor(random() * n);
    const live = new Map<ndshm.ObjectRef, Uint8Array>();
    const drafts: ndshm.Draft<'uint8'>[] = [];
    const leases: { lease: ndshm.Lease<Uint8Array>; bytes: Uint8Array }[] = [];
    const anyOf = <T>(all: readonly T[]) => all[below(all.length)] as T;
    const length = () => Math.floor(2 ** (4 + 18 * random()));
    const orFull = (step: () => void) => {
      try {
        step();
      } catch (error) {
        expect((error as ndshm.CodedError).code).toBe('ERR_NDSHM_CAPACITY');
      }
    };
    const put = () => {
      const bytes = pattern(length(), below(256));
      orFull(() => live.set((random() < 0.5 ? store : other).putSync(bytes), bytes));
    };
    const steps = [
      put,
      put,
      put,
      () => {
        const ref = anyOf([...live.keys()]);
        if (live.delete(ref)) expect((random() < 0.5 ? store : other).delete(ref)).toBe(true);
      },
      () => orFull(() => drafts.push((random() < 0.5 ? store : other).createArray(length(), 'uint8'))),
      () => {
        const draft = drafts.splice(below(drafts.length), 1)[0];
        if (random() < 0.5) draft?.close();
        else if (draft !== undefined) store.delete(draft.seal());
      },
      () => {
        const [ref, bytes] = anyOf([...live]) ?? [];
        if (ref !== undefined && bytes !== undefined) leases.push({ lease: store.lease(ref), bytes });
      },
      () => {
        const { lease, bytes } = leases.splice(below(leases.length), 1)[0] ?? {};
        if (lease !== undefined && bytes !== undefined) expect(same(lease.value, bytes)).toBe(true);
        lease?.release();
      },
    ];
    for (let n = 0; n < 400; n++) {
      anyOf(steps)();
      const { usedBytes, readyBytes, objects, objectBytes } = store.stat();
      expect({ n, usedBytes }).toEqual({ n, usedBytes: existingBytes(store.name) });
      expect(usedBytes).toBeLessThanOrEqual(capacity);
      const listed = store.list();
      const sealed = listed.filter(({ state }) => state === 'sealed').map(({ ref }) => keyOf(ref));
      expect(sealed.sort()).toEqual([...live.keys()].map(keyOf).sort());
      expect(listed.filter(({ state }) => state === 'making')).toHaveLength(drafts.length);
      expect([objects, objectBytes]).toEqual([
        listed.length,
        listed.reduce((sum, { byteLength }) => sum + byteLength, 0),
      ]);
      expect(readyBytes).toBeLessThanOrEqual(usedBytes);
    }
    for (const [ref, bytes] of live) {
      const lease = other.lease<Uint8Array>(ref);
      expect(same(lease.value, bytes)).toBe(true);
      lease.release();
      store.delete(ref);
    }
    for (const { lease } of leases) lease.release();
    for (const draft of drafts) draft.close();
    expect(store.list()).toEqual([]);
    other.close();
    store.close();
  });

  test('of a store with prefault says how much is ready, within the capacity, and puts use it', async () => {
    for (const [prefault, wanted] of [
      ['8MiB', 8 * mebibyte],
      [40 * mebibyte, 0], // more than there is
    ] as const) {
      const store = open('16MiB', { prefault });
      // The thread tells nobody: looked at again and again, but not for ever.
      const end = performance.now() + 10_000;
      while (store.stat().readyBytes < wanted && performance.now() < end) await new Promise(setImmediate);
      const { readyBytes, usedBytes } = store.stat();
      expect(readyBytes).toBeGreaterThanOrEqual(wanted);
      expect(usedBytes).toBeLessThanOrEqual(16 * mebibyte);
      const ref = await store.put(pattern(4 * mebibyte));
      expect(same(store.get(ref), pattern(4 * mebibyte))).toBe(true);
      if (wanted > 0) expect(store.stat().usedBytes).toBeLessThan(usedBytes + 4 * mebibyte);
      store.close();
    }
  });
});
