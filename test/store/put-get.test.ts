import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import * as ndshm from 'ndshm';
import { maxSlotBytes, slotSizes } from '../../dist/store/heap';
import { type Peer, rejection } from '../helpers/child';
import { freshName, thrownBy } from '../helpers/shm';
import { existingBytes, getIn, keepIn, mebibyte, pattern, peerWith, same, segmentsOf } from '../helpers/store';
import { codeOf } from '../helpers/sync';

const sliceBytes = 32 * mebibyte;
const open = (capacity: number | string = '256MiB') => ndshm.Store.open(freshName(), { capacity });

describe('put and get', () => {
  test.each(['put', 'putSync'] as const)('%s() gives any process what was put, small and large', async (method) => {
    const store = open();
    const peer = await peerWith(store.name);
    const values = [
      undefined,
      null,
      'text',
      7n,
      { a: [1, { b: new Map([['k', new Set([2])]]) }], at: new Date(5) },
      { small: new Float64Array([1, Number.NaN, -0]), empty: new Int16Array(0) },
      { large: new Float64Array(20_000).map((_, n) => n / 3), tags: ['x'] },
      { text: 'ü'.repeat(100_000) },
    ];
    for (const value of values) {
      const ref = await store[method](value);
      expect(store.get(ref)).toEqual(value);
      expect(await getIn(peer, ref)).toEqual(value);
    }
    const back = await peer.run(
      async ({ kept }, method) =>
        (kept.get('store') as ndshm.Store)[method]({ from: 'afar', big: new Uint8Array(1e5) }),
      method,
    );
    expect(store.get(back)).toEqual({ from: 'afar', big: new Uint8Array(1e5) });
    store.close();
    await peer.kill();
  });

  test('objects of all sizes around every size class keep their bytes, apart and after being used again', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const sizes = new Set<number>();
    const putAll = (seed: number) => {
      const byId = new Map<string, { ref: ndshm.ObjectRef; value: string | Uint8Array }>();
      const add = (value: string | Uint8Array) => {
        const ref = store.putSync(value);
        byId.set(`${ref.object}.${ref.generation}`, { ref, value });
      };
      const [overhead] = store.list().map(({ byteLength }) => byteLength);
      for (let length = 0; length < 320; length++) add(String.fromCharCode(97 + (seed % 26)).repeat(length));
      for (const slot of slotSizes.slice(4)) {
        for (const off of [-1, 0, 1]) add(pattern(slot - (overhead as number) + 1 + off, seed + off));
      }
      return byId;
    };
    const one = store.putSync(pattern(1)); // tells how much is added to a byte
    for (const seed of [1, 2]) {
      const all = putAll(seed);
      for (const { ref, byteLength } of store.list()) {
        if (all.has(`${ref.object}.${ref.generation}`)) sizes.add(byteLength);
      }
      for (const { ref, value } of all.values()) {
        const there = await getIn<string | Uint8Array>(peer, ref);
        for (const found of [store.get<string | Uint8Array>(ref), there]) {
          expect(typeof value === 'string' ? found === value : same(found as Uint8Array, value)).toBe(true);
        }
      }
      for (const { ref } of all.values()) expect(store.delete(ref)).toBe(true);
    }
    for (const slot of slotSizes.slice(1)) {
      expect([slot - 1, slot, slot + 1].filter((size) => !sizes.has(size))).toEqual([]);
    }
    expect(Math.max(...sizes)).toBe(maxSlotBytes + 1);
    expect(store.get(one)).toEqual(pattern(1));
    store.close();
    await peer.kill();
  });

  test('large objects keep their bytes around pages and slices, in fresh pages and in used ones', () => {
    const store = open('400MiB');
    const reader = ndshm.Store.open(store.name);
    const edges = [maxSlotBytes, 2 ** 17, mebibyte, 2 * mebibyte, sliceBytes, 2 * sliceBytes];
    for (const seed of [1, 2]) {
      for (const edge of edges) {
        for (const off of [-1, 0, 1]) {
          const first = pattern(edge + off, seed + off);
          const second = pattern(5000, seed + edge);
          const ref = store.putSync({ first, second });
          const lease = reader.lease<{ first: Uint8Array; second: Uint8Array }>(ref);
          expect(same(lease.value.first, first) && same(lease.value.second, second)).toBe(true);
          lease.release();
          store.delete(ref);
        }
      }
    }
    reader.close();
    store.close();
  });

  test('arrays of 0 bytes are put and got, as many as there are', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const value = { floats: new Float64Array(0), bytes: new Uint8Array(0), buffer: new ArrayBuffer(0) };
    const beside = { ...value, large: pattern(maxSlotBytes), behind: new Int32Array(0) };
    for (const each of [new Uint8Array(0), value, beside]) {
      const ref = await store.put(each);
      expect(store.get(ref)).toEqual(each);
      expect(await getIn(peer, ref)).toEqual(each);
    }
    store.close();
    await peer.kill();
  });

  test('arrays of the objects that were got are aligned to 64 bytes, large ones to pages', async () => {
    const store = open();
    const value = store.get<Uint8Array[]>(await store.put([1, 100_000, 7, 2 * mebibyte, 3].map((n) => pattern(n))));
    expect(value.map(({ byteOffset }) => byteOffset % 64)).toEqual([0, 0, 0, 0, 0]);
    expect((value[3] as Uint8Array).byteOffset % 4096).toBe(0);
    store.close();
  });

  test('SharedArrays in a value come back as read-only SharedArrays, and outlive their sources', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const made = (['C', 'F'] as const).flatMap((order) =>
      [6, 60_000].map((n) => {
        const array = ndshm.create(freshName(), { shape: [2, n / 2], dtype: 'int16', order, ephemeral: true });
        return array.copyFrom(Int16Array.from({ length: n }, (_, k) => k).subarray(0, n));
      }),
    );
    const facts = made.map((array) => [array.dtype, array.shape, array.strides, array.toNested()]);
    const ref = await store.put({ arrays: made });
    for (const array of made) array.close();
    const look = ({ arrays }: { arrays: ndshm.SharedArray[] }) =>
      arrays.map((array) => [array.dtype, array.shape, array.strides, array.toNested()]);
    const here = store.get<{ arrays: ndshm.SharedArray<'int16'>[] }>(ref);
    expect(look(here)).toEqual(facts);
    await keepIn(peer, 'value', ref);
    const there = await peer.run(({ kept }) =>
      (kept.get('value') as { arrays: ndshm.SharedArray[] }).arrays.map((array) => [
        array.dtype,
        array.shape,
        array.strides,
        array.toNested(),
      ]),
    );
    expect(there).toEqual(facts);
    for (const array of here.arrays) {
      expect([array.mode, array.name]).toEqual(['r', null]);
      expect(thrownBy(() => array.set([0, 0], 1)).code).toBe('ERR_NDSHM_READ_ONLY');
    }
    store.close();
    await peer.kill();
  });
});

describe('a ref', () => {
  test('is frozen, plain JSON, and means the same by child.send, JSON and argv', async () => {
    const store = open();
    const ref = await store.put({ n: 42, array: new Float64Array(10_000).fill(2) });
    expect(Object.isFrozen(ref)).toBe(true);
    expect(JSON.parse(JSON.stringify(ref))).toEqual(ref);
    expect(Object.keys(ref)).toEqual(['ndshm', 'store', 'storeId', 'object', 'generation']);
    expect(store.get(JSON.parse(JSON.stringify(ref)))).toEqual(store.get(ref));
    const peer = await peerWith(store.name);
    expect(await getIn(peer, ref)).toMatchObject({ n: 42 });
    const program = `
      const ref = JSON.parse(process.argv[1]);
      const store = require('ndshm').Store.open(ref.store);
      const { n, array } = store.get(ref);
      console.log(n, array[9999]);`;
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', program, JSON.stringify(ref)], {
      cwd: resolve(__dirname, '../..'),
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect({ stdout, stderr }).toEqual({ stdout: '42 2\n', stderr: '' });
    store.close();
    await peer.kill();
  });

  test('of a deleted object stays stale when its row is used again, small and large', async () => {
    const store = open();
    for (const length of [10, 100_000]) {
      const old = await store.put(pattern(length));
      store.delete(old);
      const next = await store.put(pattern(length, 1));
      expect(next.object).toBe(old.object);
      expect(next.generation).not.toBe(old.generation);
      expect(thrownBy(() => store.get(old)).code).toBe('ERR_NDSHM_STALE_HANDLE');
      expect(thrownBy(() => store.lease(old)).code).toBe('ERR_NDSHM_STALE_HANDLE');
      expect([store.has(old), store.delete(old), store.has(next)]).toEqual([false, false, true]);
      expect(same(store.get(next), pattern(length, 1))).toBe(true);
    }
    store.close();
  });
});

describe('what get() gave', () => {
  test('is the same memory at every get() while it is held, and no copy', async () => {
    const store = open();
    const ref = await store.put({ a: pattern(mebibyte) });
    const one = store.get<{ a: Uint8Array }>(ref);
    const two = store.get<{ a: Uint8Array }>(ref);
    expect(two.a.buffer).toBe(one.a.buffer);
    one.a[5] = 77; // a private page, in this process
    expect(two.a[5]).toBe(77);
    store.close();
  });

  test.each(['delete', 'close', 'unlink', 'delete and close'])(
    'keeps its bytes after %s, while others put',
    async (how) => {
      const store = open();
      const other = await peerWith(store.name);
      const refs = [await store.put(pattern(1000, 3)), await store.put(pattern(3 * mebibyte, 4))];
      const got = refs.map((ref) => store.get<Uint8Array>(ref));
      if (how.startsWith('delete')) {
        for (const ref of refs) {
          expect(store.delete(ref)).toBe(true);
          expect(thrownBy(() => store.get(ref)).code).toBe('ERR_NDSHM_STALE_HANDLE'); // though it is held
        }
      }
      if (how.endsWith('close')) store.close();
      if (how === 'unlink') store.unlink();
      if (how !== 'unlink') {
        await other.run(({ kept }) => {
          const store = kept.get('store') as ndshm.Store;
          for (let n = 0; n < 5; n++) store.putSync(new Uint8Array(3 * 2 ** 20).fill(n));
        });
      }
      expect(got.map((array, n) => same(array, pattern(array.length, n + 3)))).toEqual([true, true]);
      store.close();
      await other.kill();
      ndshm.gc();
    },
  );

  test.each([1000, mebibyte])('takes stray stores that no other process sees, at %d bytes', async (byteLength) => {
    const store = open();
    const reader = await peerWith(store.name);
    const ref = await store.put({ bytes: pattern(byteLength) });
    await keepIn(reader, 'before', ref);
    const mine = store.get<{ bytes: Uint8Array }>(ref);
    mine.bytes.fill(255);
    const seen = await reader.run(({ kept }, ref) => {
      const { bytes } = kept.get('before') as { bytes: Uint8Array };
      return [bytes, (kept.get('store') as ndshm.Store).get<{ bytes: Uint8Array }>(ref).bytes];
    }, ref);
    expect(seen.map((bytes) => same(bytes, pattern(byteLength)))).toEqual([true, true]);
    const later = await peerWith(store.name);
    expect(same((await getIn<typeof mine>(later, ref)).bytes, pattern(byteLength))).toBe(true);
    store.close();
    await Promise.all([reader.kill(), later.kill()]);
    ndshm.gc();
  });

  test('is independent of what it was put from', async () => {
    const store = open();
    for (const length of [100, 100_000]) {
      const source = { bytes: pattern(length), list: [1] };
      const ref = await store.put(source);
      source.bytes.fill(0);
      source.list.push(2);
      expect(store.get(ref)).toEqual({ bytes: pattern(length), list: [1] });
    }
    store.close();
  });
});

describe('put()', () => {
  test('of a large value gives the event loop a turn after each slice, and ends whole', async () => {
    const store = open();
    const slices = 4;
    for (const pages of ['fresh', 'used']) {
      const bytes = pattern(slices * sliceBytes);
      let turns = 0;
      let counting = true;
      const turn = () => {
        turns++;
        if (counting) setImmediate(turn);
      };
      setImmediate(turn);
      const ref = await store.put(bytes);
      counting = false;
      expect({ pages, enough: turns >= slices - 1 }).toEqual({ pages, enough: true });
      const lease = store.lease<Uint8Array>(ref);
      expect(same(lease.value, bytes)).toBe(true);
      lease.release();
      store.delete(ref);
    }
    store.close();
  });

  test('of several large values at a time, in several processes, mixes none of them up', async () => {
    const store = open('600MiB');
    const peers = await Promise.all([peerWith(store.name), peerWith(store.name)]);
    const length = sliceBytes + 1000;
    const theirs = peers.map((peer, n) =>
      peer.run(
        ({ kept }, length, first) => {
          const store = kept.get('store') as ndshm.Store;
          return Promise.all([first, first + 1].map((byte) => store.put(new Uint8Array(length).fill(byte))));
        },
        length,
        10 * (n + 1),
      ),
    );
    const mine = await Promise.all([1, 2].map((byte) => store.put(new Uint8Array(length).fill(byte))));
    const refs = [...mine, ...(await Promise.all(theirs)).flat()];
    const bytes = refs.map((ref) => {
      const found = store.get<Uint8Array>(ref);
      return same(found, new Uint8Array(length).fill(found[0] as number)) ? found[0] : 'mixed';
    });
    expect(bytes).toEqual([1, 2, 10, 11, 20, 21]);
    store.close();
    await Promise.all(peers.map((peer) => peer.kill()));
    ndshm.gc();
  });

  const transfer = ({ buffer }: Uint8Array) => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
  test.each(['first', 'second'] as const)(
    'is rejected when its %s source is transferred meanwhile, and leaves nothing',
    async (which) => {
      const store = open();
      for (const pages of ['fresh', 'used']) {
        const before = store.stat();
        const source = { first: pattern(2 * sliceBytes + 1), second: pattern(2 * mebibyte) };
        const putting = rejection(store.put(source));
        transfer(source[which]);
        const error = await putting;
        expect(error.code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
        expect(error.message).toMatch(/transferred/);
        expect(store.list()).toEqual([]);
        expect(store.stat().objects).toBe(before.objects);
        expect(existingBytes(store.name)).toBe(store.stat().usedBytes);
        if (pages === 'fresh') store.delete(await store.put(pattern(2 * sliceBytes + 2 * mebibyte + 4096)));
      }
      store.close();
    },
  );

  test('is rejected when the store is closed meanwhile, and leaves nothing', async () => {
    const store = open();
    const other = ndshm.Store.open(store.name);
    const putting = codeOf(store.put(pattern(3 * sliceBytes)));
    store.close();
    expect(await putting).toBe('ERR_NDSHM_CLOSED');
    expect(other.list()).toEqual([]);
    expect(existingBytes(store.name)).toBe(other.stat().usedBytes);
    other.close();
    expect(segmentsOf(store.name)).toEqual([]);
  });

  test('of what cannot be cloned is rejected with its place in the value, and leaves nothing', async () => {
    const store = open();
    const used = () => store.stat().usedBytes;
    const before = used();
    for (const [value, message] of [
      [{ a: [0, { f: () => 1 }] }, /a\[1\]\.f.*function/],
      [{ large: pattern(mebibyte), s: Symbol('x') }, /\.s.*symbol/],
      [new WeakMap(), /WeakMap/],
      [Promise.resolve(), /Promise|promise/],
    ] as const) {
      for (const error of [await rejection(store.put(value)), thrownBy(() => store.putSync(value))]) {
        expect(error.code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
        expect(error.message).toMatch(message);
      }
    }
    expect(store.list()).toEqual([]);
    expect(used()).toBe(before);
    store.close();
  });

  test('of more than the capacity is refused with who holds how much, and leaves room for what fits', async () => {
    const store = open('8MiB');
    const held = await store.put(pattern(3 * mebibyte));
    const peer = await peerWith(store.name);
    await keepIn(peer, 'value', held);
    const errors = [
      await rejection(store.put(pattern(9 * mebibyte))),
      thrownBy(() => store.putSync(pattern(9 * mebibyte))),
      await rejection(store.put(pattern(5 * mebibyte))), // less than the capacity, more than is left of it
      thrownBy(() => store.createArray(9 * mebibyte, 'uint8')),
    ];
    for (const error of errors) {
      expect(error.code).toBe('ERR_NDSHM_CAPACITY');
      expect(error.message).toMatch(/(9|5)\.0\d\d MiB wanted.* 8 MiB of the store/);
      expect(error.message).toMatch(
        new RegExp(`3\\.0\\d+ MiB in 1 objects that process ${process.pid} put \\(1 mapped\\)`),
      );
    }
    expect(store.list().map(({ ref }) => ref)).toEqual([held]);
    const next = await store.put(pattern(4 * mebibyte, 1));
    expect(same(await getIn(peer, next), pattern(4 * mebibyte, 1))).toBe(true);
    expect(store.stat().usedBytes).toBeLessThanOrEqual(8 * mebibyte);
    store.close();
    await peer.kill();
    ndshm.gc();
  });

  test('of small objects is bounded by the capacity too, and goes on when some are deleted', () => {
    const store = open('1MiB');
    const refs: ndshm.ObjectRef[] = [];
    const error = thrownBy(() => {
      for (;;) refs.push(store.putSync(pattern(4000, refs.length)));
    });
    expect(error.code).toBe('ERR_NDSHM_CAPACITY');
    expect(error.message).toContain(`${refs.length} small objects`);
    expect(refs.length).toBeGreaterThan(100); // of 256 at most
    expect(existingBytes(store.name)).toBeLessThanOrEqual(mebibyte);
    for (const [n, ref] of refs.entries()) expect(same(store.get<Uint8Array>(ref), pattern(4000, n))).toBe(true);
    store.delete(refs[7] as ndshm.ObjectRef);
    const next = store.putSync(pattern(4000, 999));
    expect(store.get(next)).toEqual(pattern(4000, 999));
    store.close();
  });

  test('works in the worker threads of one process as in processes', async () => {
    const store = open();
    const threads: Peer[] = [];
    for (const n of [1, 2]) {
      const thread = await peerWith(store.name, { thread: true });
      threads.push(thread);
      const ref = await thread.run(
        ({ kept }, n) => (kept.get('store') as ndshm.Store).put(new Uint8Array(1e6).fill(n)),
        n,
      );
      expect(same(store.get(ref), new Uint8Array(1e6).fill(n))).toBe(true);
    }
    store.close();
    await Promise.all(threads.map((thread) => thread.kill()));
    ndshm.gc();
  });
});
