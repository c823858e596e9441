import * as ndshm from 'ndshm';
import { holdings, Peer } from '../helpers/child';
import { exists, freshName, thrownBy } from '../helpers/shm';
import {
  draftIn,
  existingBytes,
  getIn,
  keepIn,
  mebibyte,
  openIn,
  pattern,
  peerWith,
  same,
  segmentsOf,
} from '../helpers/store';
import { codeOf } from '../helpers/sync';

const open = (name = freshName()) => ndshm.Store.open(name, { capacity: '64MiB' });
const states = (store: ndshm.Store) => store.list().map(({ state, mapped }) => `${state}${mapped ? ', mapped' : ''}`);

/** Has a peer lease an object and keep the lease as 'lease'. */
const leaseIn = (peer: Peer, ref: ndshm.ObjectRef): Promise<void> =>
  peer.run(({ kept }, ref) => {
    kept.set('lease', (kept.get('store') as ndshm.Store).lease(ref));
  }, ref);

const releaseIn = (peer: Peer): Promise<void> =>
  peer.run(({ kept }) => {
    (kept.get('lease') as ndshm.Lease<unknown>).release();
  });

describe('a deleted object', () => {
  test('is found by nobody, and can be deleted by any process, once', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    for (const length of [10, mebibyte]) {
      const ref = await store.put(pattern(length));
      const deleteThere = () => peer.run(({ kept }, ref) => (kept.get('store') as ndshm.Store).delete(ref), ref);
      expect([await deleteThere(), await deleteThere(), store.delete(ref), store.has(ref)]).toEqual([
        true,
        false,
        false,
        false,
      ]);
      expect(thrownBy(() => store.get(ref)).code).toBe('ERR_NDSHM_STALE_HANDLE');
      expect(await codeOf(getIn(peer, ref))).toBe('ERR_NDSHM_STALE_HANDLE');
    }
    expect(store.list()).toEqual([]);
    store.close();
    await peer.kill();
    ndshm.gc();
  });

  test('stays whole for the process that reads it, and its pages are used again when that has let go', async () => {
    const store = open();
    const reader = await peerWith(store.name);
    const old = await store.put(pattern(8 * mebibyte, 1));
    await leaseIn(reader, old);
    expect(states(store)).toEqual(['sealed, mapped']);
    const { usedBytes } = store.stat();
    expect(store.delete(old)).toBe(true);
    expect(states(store)).toEqual(['deleted, mapped']);
    const next = await store.put(pattern(8 * mebibyte, 2));
    expect(store.stat().usedBytes).toBeGreaterThan(usedBytes + 8 * mebibyte); // not over the reader's
    const seen = await reader.run(({ kept }) => (kept.get('lease') as ndshm.Lease<Uint8Array>).value);
    expect(same(seen, pattern(8 * mebibyte, 1))).toBe(true);
    const both = store.stat();
    await releaseIn(reader);
    expect(states(store)).toEqual(['sealed']);
    expect(store.stat().readyBytes).toBe(both.readyBytes + usedBytesOf(8 * mebibyte));
    const third = await store.put(pattern(8 * mebibyte, 3));
    expect(store.stat().usedBytes).toBe(both.usedBytes);
    expect(same(store.get(next), pattern(8 * mebibyte, 2)) && same(store.get(third), pattern(8 * mebibyte, 3))).toBe(
      true,
    );
    store.close();
    await reader.kill();
    ndshm.gc();
  });

  test('makes room by itself, at a put that finds none, when its last reader in another process has let go', async () => {
    const store = ndshm.Store.open(freshName(), { capacity: '16MiB' });
    const readers = await Promise.all([peerWith(store.name), peerWith(store.name, { thread: true })]);
    const old = await store.put(pattern(10 * mebibyte));
    await Promise.all(readers.map((reader) => leaseIn(reader, old)));
    store.delete(old);
    const put = () => codeOf(store.put(pattern(10 * mebibyte, 1)));
    expect(await put()).toBe('ERR_NDSHM_CAPACITY');
    await releaseIn(readers[0] as Peer);
    expect(await put()).toBe('ERR_NDSHM_CAPACITY');
    await releaseIn(readers[1] as Peer);
    const next = await store.put(pattern(10 * mebibyte, 1));
    expect(same(store.get(next), pattern(10 * mebibyte, 1))).toBe(true);
    store.close();
    await Promise.all(readers.map((reader) => reader.kill()));
    ndshm.gc();
  });

  test.each(['collected', 'killed'])('is let go of by a reader that is %s', async (how) => {
    const store = open();
    const reader = await peerWith(store.name, { execArgv: ['--expose-gc'] });
    const ref = await store.put({ part: pattern(mebibyte), other: pattern(mebibyte, 1) });
    await reader.run(({ kept }, ref) => {
      kept.set('part', (kept.get('store') as ndshm.Store).get<{ part: Uint8Array }>(ref).part);
    }, ref);
    store.delete(ref);
    await reader.on('none', 'collect');
    expect(states(store)).toEqual(['deleted, mapped']); // one of its arrays is enough
    if (how === 'killed') {
      await reader.kill();
    } else {
      await reader.on('none', 'drop', 'part');
      // What was got last is kept for a second or two after nobody refers to it.
      const end = performance.now() + 10_000;
      while (store.list().length > 0 && performance.now() < end) await reader.on('none', 'collect');
    }
    expect(states(store)).toEqual([]);
    expect(existingBytes(store.name)).toBe(store.stat().usedBytes);
    store.close();
    await reader.kill();
    ndshm.gc();
  });
});

/** The pages of an object of so many bytes in one array, and a page of head before it. */
const usedBytesOf = (byteLength: number): number => byteLength + 4096;

describe('a lease', () => {
  test('empties its arrays when it is released, and leaves what get() gave alone', async () => {
    const store = open();
    const ref = await store.put({ a: pattern(mebibyte), small: 1 });
    const got = store.get<{ a: Uint8Array }>(ref);
    const { a } = (() => {
      using lease = store.lease<{ a: Uint8Array; small: number }>(ref);
      expect(same(lease.value.a, pattern(mebibyte))).toBe(true);
      return lease.value;
    })();
    expect(a.length).toBe(0);
    expect(same(got.a, pattern(mebibyte))).toBe(true);
    const twice = store.lease(ref);
    twice.release();
    twice.release();
    expect(same(store.get<typeof got>(ref).a, pattern(mebibyte))).toBe(true);
    store.close();
  });

  test('of one process does not end another of the same object', async () => {
    const store = open();
    const ref = await store.put(pattern(mebibyte));
    const [one, two] = [store.lease<Uint8Array>(ref), store.lease<Uint8Array>(ref)];
    store.delete(ref);
    one.release();
    await store.put(pattern(mebibyte, 1));
    expect(states(store).sort()).toEqual(['deleted, mapped', 'sealed']);
    expect(same(two.value, pattern(mebibyte))).toBe(true);
    two.release();
    expect(states(store)).toEqual(['sealed']);
    store.close();
  });

  test('of a small object is a copy, which stays', async () => {
    const store = open();
    const lease = store.lease<Uint8Array>(await store.put(pattern(100)));
    lease.release();
    expect(lease.value).toEqual(pattern(100));
    store.close();
  });

  test('outlives the store in this process, until it is released', async () => {
    const store = open();
    const { mappings } = holdings();
    const lease = store.lease<Uint8Array>(await store.put(pattern(mebibyte)));
    store.close();
    expect(same(lease.value, pattern(mebibyte))).toBe(true);
    lease.release();
    expect(lease.value.length).toBe(0);
    expect(holdings().mappings).toBeLessThanOrEqual(mappings);
  });
});

describe('a store', () => {
  test.each(['maker', 'other'])('is gone when the last process closes it, and that is the %s', async (last) => {
    const store = open();
    const ref = await store.put(pattern(mebibyte));
    const small = await store.put('small');
    const peer = await peerWith(store.name);
    const closeThere = () =>
      peer.run(({ kept }) => {
        (kept.get('store') as ndshm.Store).close();
      });
    if (last === 'maker') {
      await closeThere();
      expect([same(store.get(ref), pattern(mebibyte)), store.get(small)]).toEqual([true, 'small']);
    } else {
      store.close();
      expect([same(await getIn(peer, ref), pattern(mebibyte)), await getIn(peer, small)]).toEqual([true, 'small']);
    }
    expect(segmentsOf(store.name)).toHaveLength(2);
    if (last === 'maker') store.close();
    else await closeThere();
    expect(segmentsOf(store.name)).toEqual([]);
    await peer.kill();
  });

  test.each([false, true])('is closed by the exit of a process that has it open, with a thread: %s', async (thread) => {
    const store = open();
    const peer = await peerWith(store.name, { thread });
    const theirs = await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).put(new Uint8Array(100_000)));
    await draftIn(peer);
    await leaseIn(peer, theirs);
    if (!thread) {
      peer.send({ of: 'store', method: 'exit', args: [0] });
    } else {
      peer.send('exit');
    }
    expect(await peer.end()).toEqual({ code: 0, signal: null });
    expect(store.get<Uint8Array>(theirs)).toHaveLength(100_000);
    expect(states(store)).toEqual(['sealed, mapped']); // by ourselves; their draft is gone
    store.close();
    expect(segmentsOf(store.name)).toEqual([]);
  });

  test('goes with the exit of the last process, and after its death with the next gc()', async () => {
    for (const how of ['exit', 'death']) {
      const name = freshName();
      const peer = await peerWith(name);
      await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).put(new Uint8Array(100_000)));
      expect(ndshm.gc()).not.toContain(name);
      if (how === 'exit') {
        peer.send({ of: 'store', method: 'exit', args: [0] });
        await peer.end();
      } else {
        await peer.kill();
        expect(segmentsOf(name)).toHaveLength(2);
        expect(ndshm.gc()).toContain(name);
      }
      expect(segmentsOf(name)).toEqual([]);
    }
  });

  test('whose last process was killed has ended, also for whoever opens its name before any gc()', async () => {
    const name = freshName();
    const peer = await peerWith(name);
    const old = await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).put(new Uint8Array(100_000)));
    await peer.kill();
    const store = ndshm.Store.open(name);
    expect(store.stat()).toMatchObject({ objects: 0, objectBytes: 0 });
    expect(thrownBy(() => store.get(old)).code).toBe('ERR_NDSHM_STALE_HANDLE');
    expect(store.get(await store.put('new'))).toBe('new');
    store.close();
    expect(segmentsOf(name)).toEqual([]);
  });

  test('that is opened again after its end is another one, to which old refs are stale', async () => {
    const store = open();
    const refs = [await store.put('small'), await store.put(pattern(mebibyte))];
    store.close();
    const next = open(store.name);
    const others = [await next.put('another'), await next.put(pattern(mebibyte, 1))];
    expect(others.map(({ object }) => object)).toEqual(refs.map(({ object }) => object));
    expect(others[0]?.storeId).not.toBe(refs[0]?.storeId);
    for (const ref of refs) {
      for (const use of ['get', 'lease', 'has', 'delete'] as const) {
        const error = thrownBy(() => next[use](ref));
        expect(error.code).toBe('ERR_NDSHM_STALE_HANDLE');
        expect(error.message).toContain(`an earlier store '${store.name}'`);
      }
    }
    expect(await codeOf(next.wait(refs))).toBe('ERR_NDSHM_STALE_HANDLE');
    next.close();
  });

  test('with drafts open can be closed: nobody ever gets them, and their memory waits for them', async () => {
    const store = open();
    const other = ndshm.Store.open(store.name);
    const [small, large] = [store.createArray(4, 'uint8'), store.createArray(4 * mebibyte, 'uint8')];
    const { data } = large.array;
    store.close();
    for (const { ref } of [small, large]) {
      expect(thrownBy(() => other.get(ref)).code).toBe('ERR_NDSHM_STALE_HANDLE');
      expect(other.has(ref)).toBe(false);
    }
    await other.put(pattern(4 * mebibyte, 5));
    const kept = await other.put(pattern(4 * mebibyte, 6));
    data.fill(9); // into memory that is nobody else's
    expect(same(other.get(kept), pattern(4 * mebibyte, 6))).toBe(true);
    expect(thrownBy(() => large.seal()).code).toBe('ERR_NDSHM_CLOSED');
    small.close();
    large.close();
    large.close();
    expect(data.length).toBe(0);
    expect(other.list().filter(({ state }) => state !== 'sealed')).toEqual([]);
    other.close();
    expect(segmentsOf(store.name)).toEqual([]);
  });

  test('that was closed refuses everything but close(), and its locks and lists stay whole for others', async () => {
    const store = open();
    const other = ndshm.Store.open(store.name);
    const ref = await store.put(1);
    store.close();
    store.close();
    store[Symbol.dispose]();
    expect([store.closed, other.closed]).toEqual([true, false]);
    const uses = [
      () => store.putSync(1),
      () => store.get(ref),
      () => store.lease(ref),
      () => store.has(ref),
      () => store.delete(ref),
      () => store.list(),
      () => store.stat(),
      () => store.createArray(3),
      () => store.unlink(),
    ];
    expect(uses.map((use) => thrownBy(use).code)).toEqual(uses.map(() => 'ERR_NDSHM_CLOSED'));
    expect(await codeOf(store.put(1))).toBe('ERR_NDSHM_CLOSED');
    expect(await codeOf(store.put(pattern(mebibyte)))).toBe('ERR_NDSHM_CLOSED');
    expect(await codeOf(store.wait([ref]))).toBe('ERR_NDSHM_CLOSED');
    expect(other.get(ref)).toBe(1);
    other.close();
  });

  test('that was unlinked has ended for all processes, but for what they hold', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const refs = [await store.put('small'), await store.put(pattern(mebibyte))];
    await keepIn(peer, 'large', refs[1] as ndshm.ObjectRef);
    await draftIn(peer);
    store.unlink();
    expect(segmentsOf(store.name)).toEqual([]);
    const codes = await peer.run(async ({ kept }, refs) => {
      const store = kept.get('store') as ndshm.Store;
      const code = async (use: () => unknown) => {
        try {
          return await use();
        } catch (error) {
          return (error as ndshm.CodedError).code;
        }
      };
      return Promise.all([
        ...refs.flatMap((ref) => [
          code(() => store.get(ref)),
          code(() => store.lease(ref)),
          code(() => store.has(ref)),
          code(() => store.delete(ref)),
          code(() => store.wait([ref])),
        ]),
        code(() => store.put(1)),
        code(() => store.put(new Uint8Array(100_000))),
        code(() => store.putSync(1)),
        code(() => store.createArray(1)),
        code(() => store.list()),
        code(() => store.stat()),
        code(() => (kept.get('draft') as ndshm.Draft).seal()),
      ]);
    }, refs);
    expect(codes).toEqual(codes.map(() => 'ERR_NDSHM_CLOSED'));
    expect(thrownBy(() => store.list()).code).toBe('ERR_NDSHM_CLOSED');
    expect(same(await peer.run(({ kept }) => kept.get('large') as Uint8Array), pattern(mebibyte))).toBe(true);
    // The name is free for another one at once, which is nobody's before it is opened.
    const next = open(store.name);
    await openIn(peer, store.name);
    expect(await getIn(peer, await next.put('next'))).toBe('next');
    store.close();
    expect(exists(next.name)).toBe(true);
    next.close();
    await peer.kill();
    ndshm.gc();
    expect(segmentsOf(next.name)).toEqual([]);
  });

  test('is open in each thread and as often as it is opened, each for itself', async () => {
    const store = open();
    const threads = await Promise.all([peerWith(store.name, { thread: true }), peerWith(store.name, { thread: true })]);
    const again = ndshm.Store.open(store.name);
    const refs = await Promise.all(
      threads.map((thread, n) =>
        thread.run(({ kept }, n) => (kept.get('store') as ndshm.Store).put(new Uint8Array(1e6).fill(n)), n),
      ),
    );
    await draftIn(threads[0] as Peer);
    for (const [n, ref] of refs.entries()) {
      using lease = again.lease<Uint8Array>(ref);
      expect(same(lease.value, new Uint8Array(1e6).fill(n))).toBe(true);
    }
    again.close();
    expect([again.closed, store.closed]).toEqual([true, false]);
    expect(states(store).sort()).toEqual(['making, mapped', 'sealed', 'sealed']);
    await threads[0]?.on('none', 'terminate'); // with a draft open
    const waited = await store.wait(store.list().map(({ ref }) => ref));
    expect(waited.pending).toEqual([]);
    expect(states(store).filter((state) => state.startsWith('making'))).toEqual([]);
    store.close();
    await threads[1]?.run(({ kept }) => {
      (kept.get('store') as ndshm.Store).close();
    });
    expect(segmentsOf(store.name)).toEqual([]);
    await Promise.all(threads.map((thread) => thread.kill()));
  });

  test('is taken back by gc(), which says how many bytes that were, and no more than once', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    await draftIn(peer, mebibyte);
    expect(store.gc()).toBe(0);
    await peer.kill();
    expect(store.gc()).toBeGreaterThanOrEqual(mebibyte);
    expect(store.gc()).toBe(0);
    expect(states(store)).toEqual([]);
    store.close();
  });

  test('opened, used and closed many times leaves no descriptors, mappings or listeners', async () => {
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    const cycles = (name: string, count: number) =>
      peer.run(
        async ({ ndshm }, name, count) => {
          for (let n = 0; n < count; n++) {
            const store = ndshm.Store.open(name);
            const refs = [await store.put(1), await store.put(new Uint8Array(100_000))];
            for (const ref of refs) store.lease(ref).release();
            store.createArray(5).close();
            store.createArray(5); // left open
            for (const ref of refs) store.delete(ref);
            store.close();
          }
          return process.listenerCount('exit');
        },
        name,
        count,
      );
    const name = freshName();
    const listeners = await cycles(name, 1);
    await peer.on('none', 'collect');
    const before = holdings(peer.pid);
    expect(await cycles(name, 20)).toBe(listeners);
    await peer.on('none', 'collect');
    expect(holdings(peer.pid)).toEqual(before);
    await peer.kill();
  });
});
