import * as ndshm from 'ndshm';
import { freshName, thrownBy } from '../helpers/shm';
import { draftIn, mebibyte, pattern, peerWith, sealIn } from '../helpers/store';
import { codeOf } from '../helpers/sync';

const open = () => ndshm.Store.open(freshName(), { capacity: '64MiB' });
const drafts = (store: ndshm.Store, count: number) =>
  Array.from({ length: count }, () => store.createArray(1, 'int32'));
const refsOf = (made: readonly { readonly ref: ndshm.ObjectRef }[]) => made.map(({ ref }) => ref);

/** Fails the test if the promise is over within so many turns of the event loop. */
async function isPending(promise: Promise<unknown>, turns = 20): Promise<boolean> {
  let over = false;
  promise.then(
    () => (over = true),
    () => (over = true),
  );
  for (let n = 0; n < turns; n++) await new Promise(setImmediate);
  return !over;
}

describe('wait()', () => {
  test('gives at once what is ready already, small and large, in the order given', async () => {
    const store = open();
    const refs = [await store.put(1), await store.put(pattern(mebibyte)), await store.put('three')].reverse();
    expect(await store.wait(refs)).toEqual({ ready: refs, pending: [] });
    expect(await store.wait(refs, { timeoutMs: 0 })).toEqual({ ready: refs, pending: [] });
    expect(await store.wait([])).toEqual({ ready: [], pending: [] });
    store.close();
  });

  test('waits for all, or for as many as numReturns says, and gives the refs in the order given', async () => {
    const store = open();
    const made = drafts(store, 4);
    const refs = refsOf(made);
    const all = store.wait(refs);
    const two = store.wait(refs, { numReturns: 2 });
    expect(await store.wait(refs, { numReturns: 0 })).toEqual({ ready: [], pending: refs });
    made[3]?.seal();
    expect(await isPending(two)).toBe(true);
    made[1]?.seal();
    expect(await two).toEqual({ ready: [refs[1], refs[3]], pending: [refs[0], refs[2]] });
    expect(await isPending(all)).toBe(true);
    made[0]?.seal();
    made[2]?.seal();
    expect(await all).toEqual({ ready: refs, pending: [] });
    store.close();
  });

  test('wakes when another process or thread seals', async () => {
    const store = open();
    for (const thread of [false, true]) {
      const peer = await peerWith(store.name, { thread });
      const ref = await draftIn(peer);
      const waiting = store.wait([ref]);
      expect(await isPending(waiting)).toBe(true);
      expect(thrownBy(() => store.get(ref)).code).toBe('ERR_NDSHM_NOT_SEALED');
      await sealIn(peer);
      expect(await waiting).toEqual({ ready: [ref], pending: [] });
      expect(store.get<ndshm.SharedArray>(ref).shape).toEqual([8]);
      await peer.kill();
    }
    store.close();
  });

  test('gives what there is at its time limit, be it nothing', async () => {
    const store = open();
    const [one, two] = drafts(store, 2) as [ndshm.Draft, ndshm.Draft];
    one.seal();
    for (const timeoutMs of [0, 1, 20]) {
      expect(await store.wait([two.ref, one.ref], { timeoutMs })).toEqual({ ready: [one.ref], pending: [two.ref] });
      expect(await store.wait([two.ref], { timeoutMs })).toEqual({ ready: [], pending: [two.ref] });
    }
    store.close();
  });

  test('ends with the reason of its signal', async () => {
    const store = open();
    const [draft] = drafts(store, 1) as [ndshm.Draft];
    const abort = new AbortController();
    const reason = new Error('enough');
    const waiting = store.wait([draft.ref], { signal: abort.signal });
    const other = store.wait([draft.ref], { signal: new AbortController().signal });
    abort.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(store.wait([draft.ref], { signal: abort.signal })).rejects.toBe(reason);
    draft.seal();
    expect((await other).ready).toEqual([draft.ref]);
    store.close();
  });

  test('counts what will never be sealed as ready, and get() says why: the maker was killed', async () => {
    const store = open();
    for (const how of [{}, { thread: true }]) {
      const peer = await peerWith(store.name, how);
      const ref = await draftIn(peer, mebibyte);
      const waiting = store.wait([ref]);
      expect(await isPending(waiting)).toBe(true);
      if (how.thread) await peer.on('none', 'terminate');
      else await peer.kill();
      expect(await waiting).toEqual({ ready: [ref], pending: [] });
      const error = thrownBy(() => store.get(ref));
      expect(error.code).toBe('ERR_NDSHM_STALE_HANDLE');
      expect(error.message).toMatch(/whoever made it died/);
      expect([store.has(ref), store.delete(ref)]).toEqual([false, false]);
      expect(await store.wait([ref])).toEqual({ ready: [ref], pending: [] });
      expect(store.list()).toEqual([]);
      await peer.kill();
    }
    store.close();
  });

  test('counts what was deleted, or closed unsealed, as ready', async () => {
    const store = open();
    const [closed, sealed] = drafts(store, 2) as [ndshm.Draft, ndshm.Draft];
    const gone = await store.put(1);
    store.delete(gone);
    const refs = [closed.ref, sealed.ref, gone];
    const first = await store.wait(refs, { numReturns: 1 });
    expect(first).toEqual({ ready: [gone], pending: [closed.ref, sealed.ref] });
    const waiting = store.wait(refs);
    closed.close();
    sealed.seal();
    store.delete(sealed.ref);
    expect(await waiting).toEqual({ ready: refs, pending: [] });
    for (const ref of refs) expect(thrownBy(() => store.get(ref)).code).toBe('ERR_NDSHM_STALE_HANDLE');
    store.close();
  });

  test('counts the drafts of a process that closes its store, or exits, as ready', async () => {
    const store = open();
    for (const how of ['close', 'exit']) {
      const peer = await peerWith(store.name);
      const ref = await draftIn(peer);
      const waiting = store.wait([ref]);
      expect(await isPending(waiting)).toBe(true);
      if (how === 'exit') peer.send({ of: 'store', method: 'exit', args: [0] });
      else await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).close());
      expect((await waiting).ready).toEqual([ref]);
      expect(thrownBy(() => store.get(ref)).code).toBe('ERR_NDSHM_STALE_HANDLE');
      await peer.kill();
    }
    store.close();
  });

  test('is rejected when the store is closed here, or unlinked by another process', async () => {
    const store = open();
    const other = await peerWith(store.name);
    const ref = await draftIn(other);
    const closing = ndshm.Store.open(store.name);
    const closed = codeOf(closing.wait([ref]));
    closing.close();
    expect(await closed).toBe('ERR_NDSHM_CLOSED');
    const unlinked = codeOf(store.wait([ref]));
    await other.run(({ kept }) => (kept.get('store') as ndshm.Store).unlink());
    expect(await unlinked).toBe('ERR_NDSHM_CLOSED');
    store.close();
    await other.kill();
  });

  test('lets the event loop go on', async () => {
    const store = open();
    const [draft] = drafts(store, 1) as [ndshm.Draft];
    const waiting = store.wait([draft.ref]);
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
    draft.seal();
    expect((await waiting).pending).toEqual([]);
    store.close();
  });

  test('by many at a time in many processes ends for each when its own are there, whoever makes them', async () => {
    const store = open();
    const count = 60;
    const peers = await Promise.all([0, 1, 2].map(() => peerWith(store.name)));
    const made = drafts(store, count);
    const refs = refsOf(made);
    const begun = peers.map((peer) =>
      peer.run(async ({ kept }, refs) => {
        const store = kept.get('store') as ndshm.Store;
        const ends = refs.flatMap((ref, n) => [
          store.wait([ref]).then(() => store.get<ndshm.SharedArray>(ref).get(0)),
          store.wait(refs.slice(0, n + 1)).then(({ ready }) => ready.length),
          store.wait(refs, { numReturns: n + 1 }).then(({ ready }) => ready.length > n),
        ]);
        process.send?.('waiting');
        return Promise.all(ends);
      }, refs),
    );
    for (const peer of peers) expect(await peer.message()).toBe('waiting');
    for (const [n, draft] of [...made.entries()].sort(([a], [b]) => ((a * 7) % count) - ((b * 7) % count))) {
      draft.array.set(0, n);
      draft.seal();
      if (n % 4 === 0) await new Promise(setImmediate);
    }
    const wanted = refs.flatMap((_, n) => [n, n + 1, true]);
    for (const ended of begun) expect(await ended).toEqual(wanted);
    store.close();
    await Promise.all(peers.map((peer) => peer.kill()));
    ndshm.gc();
  });

  test('passes objects to and fro between two processes without losing one', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const rounds = 200;
    const here = drafts(store, rounds);
    const there = await peer.run(({ kept }, rounds) => {
      const made = Array.from({ length: rounds }, () => (kept.get('store') as ndshm.Store).createArray(1, 'int32'));
      kept.set('made', made);
      return made.map(({ ref }) => ref);
    }, rounds);
    const answered = peer.run(async ({ kept }, refs) => {
      const store = kept.get('store') as ndshm.Store;
      const made = kept.get('made') as ndshm.Draft<'int32'>[];
      for (const [n, ref] of refs.entries()) {
        await store.wait([ref]);
        made[n]?.array.set(0, store.get<ndshm.SharedArray<'int32'>>(ref).get(0) + 1);
        made[n]?.seal();
      }
    }, refsOf(here));
    for (const [n, draft] of here.entries()) {
      draft.array.set(0, 2 * n);
      draft.seal();
      const answer = there[n] as ndshm.ObjectRef;
      await store.wait([answer]);
      expect(store.get<ndshm.SharedArray>(answer).get(0)).toBe(2 * n + 1);
    }
    await answered;
    store.close();
    await peer.kill();
    ndshm.gc();
  });

  test('refuses what is no list of refs, and impossible numbers', async () => {
    const store = open();
    const ref = await store.put(1);
    const invalid = 'ERR_NDSHM_INVALID_ARGUMENT';
    const range = 'ERR_NDSHM_OUT_OF_RANGE';
    const wait = (refs: unknown, options?: unknown) => codeOf(store.wait(refs as [], options as object));
    for (const refs of [undefined, null, ref, 'x', [null], [1], [{}], new Set([ref])]) {
      expect(await wait(refs)).toBe(invalid);
    }
    expect(await wait([{ ...ref, storeId: '0'.repeat(32) }])).toBe('ERR_NDSHM_STALE_HANDLE');
    for (const numReturns of [-1, 2, 0.5, Number.NaN]) expect(await wait([ref], { numReturns })).toBe(range);
    for (const timeoutMs of [-1, Number.NaN]) expect(await wait([ref], { timeoutMs })).toBe(range);
    for (const options of [{ numReturns: '1' }, { timeoutMs: '1' }, { signal: 1 }, { timeout: 1 }, null, 3]) {
      expect(await wait([ref], options)).toBe(invalid);
    }
    store.close();
  });
});
