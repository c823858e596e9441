import { mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObjectRef, Store, StoreOptions } from 'ndshm';
import { describeAsRoot, Peer } from '../helpers/child';
import { mebibyte } from '../helpers/object-store';

/** What the functions that run in a peer have in common. */
interface Tools {
  readonly store: Store;
  readonly put: (byteLength: number, mark: number) => ObjectRef;
  /** The code of what is thrown, or whatever is returned. */
  readonly tried: <T>(run: () => T) => T | string;
  /** What is free in /dev/shm, what the store takes there beyond what it says, and the states of its objects. */
  readonly room: () => { readonly free: number; readonly unaccounted: number; readonly states: readonly string[] };
  /** What every byte of an object is. */
  readonly mark: (ref: ObjectRef) => number | 'broken';
}

/** A peer that has a store open, of a capacity far beyond its /dev/shm of so many MiB (or that of another peer). */
async function start(where: number | Peer, options: StoreOptions = {}): Promise<Peer> {
  const mount = (sizeMiB: number) => `mount -t tmpfs -o size=${sizeMiB}m ndshm-test /dev/shm && exec "$@"`;
  const peer = await Peer.start({
    wrap:
      where instanceof Peer
        ? ['nsenter', '-m', '-t', String(where.pid)]
        : ['unshare', '-m', 'sh', '-c', mount(where), 'sh'],
  });
  await peer.run(({ ndshm, kept }, given) => {
    const { statfsSync, statSync } = process.getBuiltinModule('node:fs');
    const store = ndshm.Store.open('small', { capacity: '1GiB', ...given });
    const tools: Tools = {
      store,
      put: (byteLength, mark) => store.putSync({ bytes: new Uint8Array(byteLength).fill(mark) }),
      tried: (run) => {
        try {
          return run();
        } catch (error) {
          return (error as { code: string }).code;
        }
      },
      room: () => {
        const states = store.list().map(({ state }) => state);
        const { bfree, bsize } = statfsSync('/dev/shm');
        const { blocks } = statSync('/dev/shm/small.pages.0');
        return { free: bfree * bsize, unaccounted: blocks * 512 - 6 * 4096 - store.stat().usedBytes, states };
      },
      mark: (ref) => {
        const lease = store.lease<{ bytes: Uint8Array }>(ref);
        const { bytes } = lease.value;
        const first = bytes[0] as number;
        const whole = Buffer.compare(bytes, Buffer.alloc(bytes.length, first)) === 0;
        lease.release();
        return whole ? first : 'broken';
      },
    };
    kept.set('tools', tools);
  }, options);
  return peer;
}

const whole = (states: readonly string[]) => ({ free: expect.any(Number), unaccounted: 0, states });

describeAsRoot('a /dev/shm smaller than the capacity (needs root to mount one)', () => {
  test('refuses what it cannot hold with ENOSPC, leaves nothing of it, and works on', async () => {
    const peer = await start(16);
    const result = await peer.run(async ({ kept }, MiB) => {
      const { store, put, tried, room, mark } = kept.get('tools') as Tools;
      const small = put(500, 1);
      const large = put(4 * MiB, 2);
      const before = room();
      const codes = [
        tried(() => put(14 * MiB, 3)),
        tried(() => put(200 * MiB, 3)),
        tried(() => store.createArray(14 * MiB, 'uint8').close()),
        await store.put({ bytes: new Uint8Array(14 * MiB) }).then(JSON.stringify, ({ code }) => code),
      ];
      let message = '';
      try {
        put(200 * MiB, 3);
      } catch (error) {
        message = (error as Error).message;
      }
      const after = room();
      const third = put(8 * MiB, 4);
      return { before, after, codes, message, marks: [small, large, third].map(mark) };
    }, mebibyte);
    expect(result.codes).toEqual(['ENOSPC', 'ENOSPC', 'ENOSPC', 'ENOSPC']);
    expect(result.message).toMatch(/MiB wanted, .* free of 16 MiB/);
    expect(result.before).toEqual(whole(['sealed', 'sealed']));
    expect(result.after).toEqual(result.before);
    expect(result.marks).toEqual([1, 2, 4]);
    await peer.kill();
  });

  test('that somebody else fills up in the middle of a put is ENOSPC, and nothing of it is left', async () => {
    const peer = await start(80);
    const result = await peer.run(async ({ ndshm, kept }, MiB) => {
      const { store, put, room, mark } = kept.get('tools') as Tools;
      const first = put(MiB, 1);
      const before = room();
      const putting = store.put({ bytes: new Uint8Array(70 * MiB) }); // the first of three slices, so far
      const half = room();
      const filler = ndshm.create('filler', { shape: before.free - 50 * MiB, dtype: 'uint8' });
      const code = await putting.then(JSON.stringify, (error) => error.code);
      filler.close();
      ndshm.unlink('filler');
      const after = room();
      const second = put(60 * MiB, 2);
      return { before, half, code, after, marks: [first, second].map(mark) };
    }, mebibyte);
    expect(result.code).toBe('ENOSPC');
    expect(result.half.states).toEqual(['sealed', 'making']);
    expect(result.before.free - result.half.free).toBeGreaterThanOrEqual(32 * mebibyte);
    expect(result.before).toEqual(whole(['sealed']));
    expect(result.after).toEqual(result.before);
    expect(result.marks).toEqual([1, 2]);
    await peer.kill();
  });

  test('has room for a put in what is free but does not fit, and in what the dead have left', async () => {
    const peer = await start(16);
    const other = await start(peer);
    await other.call('array', 'create', 'array', { shape: 5 * mebibyte, dtype: 'uint8', ephemeral: true });
    await other.run(({ kept }, MiB) => {
      (kept.get('tools') as Tools).store.createArray(2 * MiB, 'uint8');
    }, mebibyte);
    await peer.run(({ kept }, MiB) => {
      const { store, put } = kept.get('tools') as Tools;
      store.delete(put(7 * MiB, 1));
    }, mebibyte);
    await other.kill();
    const result = await peer.run(({ kept }, MiB) => {
      const { put, room, mark } = kept.get('tools') as Tools;
      return { mark: mark(put(14 * MiB, 2)), room: room() };
    }, mebibyte);
    expect(result).toEqual({ mark: 2, room: whole(['sealed']) });
    await peer.kill();
  });

  test('that is full to the last page takes small objects into the slots that there are, and reads all', async () => {
    const peer = await start(16);
    const result = await peer.run(({ ndshm, kept }, MiB) => {
      const { store, put, tried, room, mark } = kept.get('tools') as Tools;
      const refs = [put(500, 1), put(2 * MiB, 2)];
      const { free } = room();
      const filler = ndshm.create('filler', { shape: free - 24_576, dtype: 'uint8' });
      const left = room().free;
      const codes = [tried(() => put(500, 3)), tried(() => put(5000, 4)), tried(() => put(100_000, 5))];
      const full = room();
      const draft = tried(() => store.createArray(1, 'uint8'));
      filler.close();
      ndshm.unlink('filler');
      const again = put(5000, 6);
      return { left, codes, full, draft, marks: [...refs, again].map(mark), end: room() };
    }, mebibyte);
    expect(result.left).toBe(0);
    expect(result.codes).toEqual([expect.objectContaining({ ndshm: 1 }), 'ENOSPC', 'ENOSPC']);
    expect(result.draft).toBe('ENOSPC');
    expect(result.full).toEqual({ free: 0, unaccounted: 0, states: expect.any(Array) });
    expect([...result.full.states].sort()).toEqual(['sealed', 'sealed', 'sealed']);
    expect(result.marks).toEqual([1, 2, 6]);
    expect(result.end.unaccounted).toBe(0);
    await peer.kill();
  });

  test('spills where there is a spillDir, as at the capacity', async () => {
    const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-spill-'));
    const peer = await start(16, { spillDir });
    const result = await peer.run(({ kept }, MiB) => {
      const { store, put, room, mark } = kept.get('tools') as Tools;
      const refs = [1, 2, 3, 4, 5].map((each) => put(5 * MiB, each));
      const { unaccounted } = room();
      const { spilledObjects } = store.stat();
      const marks = refs.map(mark);
      store.close();
      return { unaccounted, spilledObjects, marks };
    }, mebibyte);
    expect(result).toEqual({ unaccounted: 0, spilledObjects: 2, marks: [1, 2, 3, 4, 5] });
    expect(readdirSync(spillDir)).toEqual([]);
    rmdirSync(spillDir);
    await peer.kill();
  });

  test('keeps as many pages ready as there is room for, and no put fails for their sake', async () => {
    const peer = await start(80, { prefault: '512MiB' });
    const marks = await peer.run(async ({ kept }, MiB) => {
      const { store, mark } = kept.get('tools') as Tools;
      while (store.stat().readyBytes === 0) await new Promise(setImmediate);
      const ref = await store.put({ bytes: new Uint8Array(70 * MiB).fill(7) });
      return [mark(ref)];
    }, mebibyte);
    expect(marks).toEqual([7]);
    await peer.kill();
  });

  // Both may find room; then one of them meets the end of it half way.
  test('that two processes fill at once refuses some puts, breaks none, and is empty in the end', async () => {
    const one = await start(64);
    const other = await start(one);
    const peers = [one, other];
    const outcomes = new Set<string>();
    const putAndDelete = (peer: Peer, mark: number): Promise<string> =>
      peer.run(
        async ({ kept }, byteLength, given) => {
          const { store, mark: markOf } = kept.get('tools') as Tools;
          try {
            const ref = await store.put({ bytes: new Uint8Array(byteLength).fill(given) });
            const outcome = markOf(ref) === given ? 'put' : 'broken';
            store.delete(ref);
            return outcome;
          } catch (error) {
            return (error as { code: string }).code;
          }
        },
        40 * mebibyte,
        mark,
      );
    for (let round = 1; round <= 12; round++) {
      const each = await Promise.all(peers.map((peer, n) => putAndDelete(peer, 2 * round + n)));
      for (const outcome of each) outcomes.add(outcome);
    }
    expect([...outcomes].sort()).toEqual(['ENOSPC', 'put']);
    expect(await one.run(({ kept }) => (kept.get('tools') as Tools).room())).toEqual(whole([]));
    await Promise.all(peers.map((peer) => peer.kill()));
  });
});
