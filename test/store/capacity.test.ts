import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import * as ndshm from 'ndshm';
import { Reservoir } from '../../dist/array/reservoir';
import { describeAsRoot, Peer, rejection, within } from '../helpers/child';
import { existingBytes, type Filled, filled, largeBytes, mebibyte, seen } from '../helpers/object-store';
import { freshName, namesInShm, shmPath, thrownBy } from '../helpers/shm';

const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-spill-'));
afterAll(() => rmSync(spillDir, { recursive: true }));
const everything = (): string[] => [...namesInShm(), ...readdirSync(spillDir)];
let before: string[] = [];
beforeEach(() => {
  before = everything();
});
afterEach(() => {
  // Whatever was put is gone with its store.
  expect(everything().filter((each) => !before.includes(each))).toEqual([]);
});

const capacity = '2MiB';
const openStore = (options: ndshm.StoreOptions = {}): ndshm.Store =>
  ndshm.Store.open(freshName('store'), { capacity, ...options });

/** Three of them fill the store. */
const thirdBytes = 600_000;
const putThird = (store: ndshm.Store, mark: number): ndshm.ObjectRef => store.putSync(filled(thirdBytes, mark));

function look(store: ndshm.Store, ref: ndshm.ObjectRef): ReturnType<typeof seen> {
  const lease = store.lease<Filled>(ref);
  const result = seen(lease.value);
  lease.release();
  return result;
}

const stateOf = (store: ndshm.Store, ref: ndshm.ObjectRef): string | undefined =>
  store.list().find((info) => info.ref.object === ref.object && info.ref.generation === ref.generation)?.state;

const filesOf = (store: ndshm.Store): string[] => readdirSync(store.stat().spillDir as string);

async function until(done: () => boolean, what: string): Promise<void> {
  await within(
    (async () => {
      while (!done()) await new Promise(setImmediate);
    })(),
    what,
  );
}

const openIn = (peer: Peer, name: string, options: ndshm.StoreOptions = {}): Promise<void> =>
  peer.run(
    ({ ndshm, kept }, storeName, given) => {
      kept.set('store', ndshm.Store.open(storeName, given));
    },
    name,
    options,
  );

describe('the capacity', () => {
  test('is a limit that says what is wanted, what is held by whom, and what to do', async () => {
    const store = openStore();
    const peer = await Peer.start();
    await openIn(peer, store.name);
    await peer.run(({ kept }) => {
      const inPeer = kept.get('store') as ndshm.Store;
      for (let count = 0; count < 2; count++) {
        kept.set(`value${count}`, inPeer.get(inPeer.putSync({ bytes: new Uint8Array(300_000) })));
      }
    });
    store.putSync(filled(500_000, 1));
    store.putSync('small');
    const before = store.stat();

    const error = thrownBy(() => store.putSync(filled(mebibyte, 2)));
    expect(error.code).toBe('ERR_NDSHM_CAPACITY');
    expect(error.message).toMatch(/^1(\.\d+)? MiB wanted, and of the 2 MiB of the store '.*' 1\.\d+ MiB are held: /);
    expect(error.message).toMatch(
      new RegExp(`5\\d\\d(\\.\\d+)? KiB in 2 objects that process ${peer.pid} put \\(2 mapped\\)`),
    );
    expect(error.message).toMatch(
      new RegExp(`4\\d\\d(\\.\\d+)? KiB in 1 objects that process ${process.pid} put \\(0 mapped\\)`),
    );
    expect(error.message).toMatch(/1 small objects\. Delete objects, or give it more capacity or a spillDir$/);
    expect(await rejection(store.put(filled(mebibyte, 2)))).toMatchObject({ code: 'ERR_NDSHM_CAPACITY' });
    expect(thrownBy(() => store.createArray(mebibyte, 'uint8')).code).toBe('ERR_NDSHM_CAPACITY');
    expect(thrownBy(() => store.putSync(filled(3 * mebibyte, 2))).message).toMatch(/^3(\.\d+)? MiB wanted/);

    const after = store.stat();
    expect(after).toEqual({ ...before, usedBytes: after.usedBytes, readyBytes: after.readyBytes });
    expect(after.usedBytes).toBe(existingBytes(store.name));
    await peer.kill();
    store.close();
  });

  test('counts small objects as well, and is not passed by a byte', () => {
    const store = openStore();
    const refs: ndshm.ObjectRef[] = [];
    const error = thrownBy(() => {
      for (;;) refs.push(store.putSync(filled(10_000, 1)));
    });
    expect(error).toMatchObject({ code: 'ERR_NDSHM_CAPACITY' });
    expect(error.message).toContain(`${refs.length} small objects`);
    expect(store.stat().usedBytes).toBeLessThanOrEqual(2 * mebibyte);
    expect(store.stat().usedBytes).toBe(existingBytes(store.name));
    for (const ref of refs) expect(seen(store.get(ref))).toEqual([10_000, 1]);
    store.delete(refs[3] as ndshm.ObjectRef);
    expect(store.has(store.putSync(filled(10_000, 2)))).toBe(true);
    store.close();
  });

  test('is used again: pages that were freed take the next object, and no others are made', () => {
    const store = openStore();
    store.delete(putThird(store, 1));
    const { usedBytes, readyBytes } = store.stat();
    expect(readyBytes).toBeGreaterThan(thirdBytes);
    for (let mark = 2; mark < 100; mark++) {
      const ref = store.putSync(filled(thirdBytes - 1000 * (mark % 3), mark));
      expect(look(store, ref)).toEqual([thirdBytes - 1000 * (mark % 3), mark]);
      expect(store.stat().usedBytes).toBe(usedBytes);
      expect(existingBytes(store.name)).toBe(usedBytes);
      store.delete(ref);
    }
    store.close();
  });

  test('is given back to the system where what is free does not fit', () => {
    const store = openStore();
    const refs = [1, 2, 3].map((mark) => putThird(store, mark));
    store.delete(refs[0] as ndshm.ObjectRef);
    store.delete(refs[2] as ndshm.ObjectRef);
    const large = store.putSync(filled(2 * thirdBytes, 4)); // no two of the free ranges are neighbours
    expect(look(store, large)).toEqual([2 * thirdBytes, 4]);
    expect(look(store, refs[1] as ndshm.ObjectRef)).toEqual([thirdBytes, 2]);
    expect(store.stat().usedBytes).toBe(existingBytes(store.name));
    expect(store.stat().usedBytes).toBeLessThanOrEqual(2 * mebibyte);
    store.close();
  });

  test('is not had from what was deleted and is still read, but as soon as it is not', async () => {
    const store = openStore();
    const refs = [1, 2, 3].map((mark) => putThird(store, mark)) as [ndshm.ObjectRef, ndshm.ObjectRef, ndshm.ObjectRef];
    const peer = await Peer.start();
    await openIn(peer, store.name);
    await peer.run(({ kept }, ref) => {
      kept.set('value', (kept.get('store') as ndshm.Store).get(ref));
    }, refs[0]);
    const lease = store.lease<Filled>(refs[1]);
    expect([store.delete(refs[0]), store.delete(refs[1])]).toEqual([true, true]);
    expect(store.delete(refs[0])).toBe(false);
    expect(thrownBy(() => store.get(refs[0])).code).toBe('ERR_NDSHM_STALE_HANDLE');
    expect(thrownBy(() => putThird(store, 4)).code).toBe('ERR_NDSHM_CAPACITY');
    expect(store.list().filter(({ state }) => state === 'deleted')).toHaveLength(2);

    lease.release();
    const fourth = putThird(store, 4);
    expect(thrownBy(() => putThird(store, 5)).code).toBe('ERR_NDSHM_CAPACITY');
    expect(await peer.run(({ kept }) => (kept.get('value') as Filled).bytes.every((byte) => byte === 1))).toBe(true);
    await peer.kill();
    const fifth = putThird(store, 5);
    expect([look(store, fourth), look(store, fifth)]).toEqual([
      [thirdBytes, 4],
      [thirdBytes, 5],
    ]);
    store.close();
  });

  test('is the same for all who open the store', () => {
    const store = openStore();
    expect(thrownBy(() => ndshm.Store.open(store.name, { capacity: '4MiB' })).code).toBe('ERR_NDSHM_MISMATCH');
    const again = ndshm.Store.open(store.name);
    expect(again.stat().capacityBytes).toBe(2 * mebibyte);
    again.close();
    store.close();
  });
});

describe('past the capacity, with a spillDir', () => {
  test('the objects that were used longest ago go to disk, and come back by get() in any process', async () => {
    const store = openStore({ spillDir });
    const [a, b, c] = [1, 2, 3].map((mark) => putThird(store, mark)) as [
      ndshm.ObjectRef,
      ndshm.ObjectRef,
      ndshm.ObjectRef,
    ];
    look(store, a);
    const states = (): (string | undefined)[] => [a, b, c].map((ref) => stateOf(store, ref));
    putThird(store, 4);
    expect(states()).toEqual(['sealed', 'spilled', 'sealed']);
    look(store, c);
    putThird(store, 5);
    expect(states()).toEqual(['spilled', 'spilled', 'sealed']);
    expect(store.stat()).toMatchObject({ objects: 5, spilledObjects: 2, usedBytes: existingBytes(store.name) });
    expect(store.stat().spilledBytes).toBeGreaterThan(2 * thirdBytes);
    expect(store.has(a)).toBe(true);
    expect([a, b, c].map((ref) => look(store, ref))).toEqual([1, 2, 3].map((mark) => [thirdBytes, mark]));

    const peer = await Peer.start();
    await openIn(peer, store.name); // says nothing of a spillDir
    const inPeer = await peer.run(
      ({ kept }, ref) => (kept.get('store') as ndshm.Store).get<Filled>(ref).bytes.slice(0, 3),
      b,
    );
    expect([...inPeer]).toEqual([2, 2, 2]);
    expect(states()[1]).toBe('spilled');
    await peer.kill();
    store.close();
  });

  test('an object on disk is mapped from there, privately, and outlives its file', () => {
    const store = openStore({ spillDir });
    const first = putThird(store, 1);
    for (let mark = 2; mark < 5; mark++) putThird(store, mark);
    expect(stateOf(store, first)).toBe('spilled');
    const folder = store.stat().spillDir as string;
    expect(filesOf(store)).toEqual([`${first.object}.${first.generation}`]);
    const lease = store.lease<Filled>(first);
    expect(readFileSync('/proc/self/maps', 'utf8')).toContain(folder);
    lease.value.bytes[0] = 9;
    expect(look(store, first)).toEqual([thirdBytes, 1]);
    lease.value.bytes[0] = 1;
    expect(store.delete(first)).toBe(true);
    expect(filesOf(store)).toEqual([]);
    expect(thrownBy(() => store.get(first)).code).toBe('ERR_NDSHM_STALE_HANDLE');
    expect(seen(lease.value)).toEqual([thirdBytes, 1]);
    store.close();
    expect(seen(lease.value)).toEqual([thirdBytes, 1]);
    lease.release();
    expect(lease.value.bytes).toHaveLength(0);
  });

  test('an object that goes, or goes to disk, in the middle of a get() is stale, or comes from there', () => {
    const store = openStore({ spillDir });
    const other = ndshm.Store.open(store.name);
    const prototype = Reservoir.prototype as { map: (this: Reservoir, ...given: unknown[]) => ArrayBuffer };
    const { map } = prototype;
    /** What `run` gives if others do this between its look at the object and its lease. */
    const interrupted = <T>(meanwhile: () => void, run: () => T): T => {
      prototype.map = function (...given) {
        prototype.map = map;
        meanwhile();
        return map.apply(this, given);
      };
      return run();
    };
    const [a, b] = [putThird(store, 1), putThird(store, 2)];
    const deleted = (): void => {
      other.delete(a);
      putThird(other, 3); // in the pages that it had
    };
    expect(thrownBy(() => interrupted(deleted, () => store.get(a))).code).toBe('ERR_NDSHM_STALE_HANDLE');
    const spilled = (): void => {
      for (let mark = 4; mark < 8; mark++) putThird(other, mark);
    };
    expect(interrupted(spilled, () => look(store, b))).toEqual([thirdBytes, 2]);
    expect(stateOf(store, b)).toBe('spilled');
    other.close();
    store.close();
  });

  test('what anybody has mapped stays in memory, and if that is all, the put fails', async () => {
    const store = openStore({ spillDir });
    const [a, b, c] = [1, 2, 3].map((mark) => putThird(store, mark)) as [
      ndshm.ObjectRef,
      ndshm.ObjectRef,
      ndshm.ObjectRef,
    ];
    const peer = await Peer.start();
    await openIn(peer, store.name);
    await peer.run(({ kept }, ref) => {
      kept.set('value', (kept.get('store') as ndshm.Store).get(ref));
    }, a);
    const leases = [store.lease<Filled>(b), store.lease<Filled>(c)];
    const error = thrownBy(() => putThird(store, 4));
    expect(error.code).toBe('ERR_NDSHM_CAPACITY');
    expect(error.message).toContain('Nothing more can be spilled');
    expect(store.stat().spilledObjects).toBe(0);

    leases[1]?.release();
    putThird(store, 4);
    expect([a, b, c].map((ref) => stateOf(store, ref))).toEqual(['sealed', 'sealed', 'spilled']);
    leases[0]?.release();
    await peer.kill();
    putThird(store, 5);
    expect(store.stat()).toMatchObject({ objects: 5, spilledObjects: 2 });
    store.close();
  });

  test('a draft stays in memory, and what is deleted while it goes to disk leaves no file', async () => {
    const store = ndshm.Store.open(freshName('store'), { capacity: '64MiB', spillDir });
    const large = 24 * mebibyte; // more than a slice: the event loop has a turn while it is written
    const draft = store.createArray(large, 'uint8');
    draft.array.fill(1);
    const victim = await store.put(filled(large, 2));
    const putting = store.put(filled(large, 3));
    await until(() => filesOf(store).length === 1, 'file');
    expect(stateOf(store, victim)).toBe('sealed');
    expect(store.has(victim)).toBe(true);
    expect(store.delete(victim)).toBe(true);
    expect(look(store, await putting)).toEqual([large, 3]);
    expect(filesOf(store)).toEqual([]);
    expect(seen(store.get(draft.seal()))).toEqual([large, 1]);
    store.close();
  });

  test('what is mapped while it goes to disk stays where it is', async () => {
    const store = ndshm.Store.open(freshName('store'), { capacity: '64MiB', spillDir });
    const large = 24 * mebibyte;
    const [first, second] = [await store.put(filled(large, 1)), await store.put(filled(large, 2))];
    const putting = store.put(filled(large, 3));
    await until(() => filesOf(store).length === 1, 'file');
    const lease = store.lease<Filled>(first);
    expect(look(store, await putting)).toEqual([large, 3]);
    expect([stateOf(store, first), stateOf(store, second)]).toEqual(['sealed', 'spilled']);
    expect(filesOf(store)).toEqual([`${second.object}.${second.generation}`]);
    expect(seen(lease.value)).toEqual([large, 1]);
    lease.release();
    store.close();
  });

  test('a put that finds no room gives up only what is its own', async () => {
    const name = freshName('store');
    const [store, other] = [ndshm.Store.open(name, { capacity: '64MiB', spillDir }), ndshm.Store.open(name)];
    const large = 24 * mebibyte;
    await store.put(filled(large, 1));
    ndshm.gc();
    // As if /dev/shm were full, once.
    const prototype = Reservoir.prototype as { fill: (this: Reservoir, ...given: unknown[]) => void };
    const { fill } = prototype;
    prototype.fill = () => {
      prototype.fill = fill;
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    };
    const putting = store.put(filled(large, 2));
    await until(() => filesOf(other).length === 1, 'file');
    const draft = other.createArray(100_000, 'uint8'); // in the row that the put had before
    expect(look(store, await putting)).toEqual([large, 2]);
    expect(stateOf(other, draft.ref)).toBe('making');
    draft.array.fill(3);
    draft.seal();
    expect(seen(store.get(draft.ref))).toEqual([100_000, 3]);
    other.close();
    store.close();
  });

  test('close() in the middle of it leaves the object to be spilled by the next', async () => {
    const name = freshName('store');
    const options = { capacity: '64MiB', spillDir };
    const [store, other] = [ndshm.Store.open(name, options), ndshm.Store.open(name)];
    const large = 40 * mebibyte;
    const first = await other.put(filled(large, 1));
    const putting = rejection(store.put(filled(large, 2)));
    await until(() => filesOf(other).length === 1, 'file');
    store.close();
    expect((await putting).code).toBe('ERR_NDSHM_CLOSED');
    expect(look(other, first)).toEqual([large, 1]);
    const second = await other.put(filled(large, 3));
    expect([stateOf(other, first), stateOf(other, second)]).toEqual(['spilled', 'sealed']);
    expect([look(other, first), look(other, second)]).toEqual([
      [large, 1],
      [large, 3],
    ]);
    other.close();
  });

  test('a damaged file is an error, and harms no other object', () => {
    const store = openStore({ spillDir });
    const refs = [1, 2, 3, 4, 5, 6].map((mark) => putThird(store, mark)) as ndshm.ObjectRef[];
    const [a, b, c] = refs as [ndshm.ObjectRef, ndshm.ObjectRef, ndshm.ObjectRef];
    const fileOf = ({ object, generation }: ndshm.ObjectRef): string =>
      join(store.stat().spillDir as string, `${object}.${generation}`);
    writeFileSync(fileOf(a), 'short');
    expect(thrownBy(() => store.get(a)).code).toBe('ERR_NDSHM_TRUNCATED');
    writeFileSync(fileOf(b), Buffer.alloc(2 * thirdBytes, 0xc1));
    expect(thrownBy(() => store.get(b)).code).toBe('ERR_NDSHM_CORRUPT_OBJECT');
    rmSync(fileOf(c));
    expect(thrownBy(() => store.get(c)).code).toBe('ERR_NDSHM_CORRUPT_OBJECT');
    expect([a, b, c].map((ref) => store.delete(ref))).toEqual([true, true, true]);
    expect(refs.slice(3).map((ref) => look(store, ref))).toEqual([4, 5, 6].map((mark) => [thirdBytes, mark]));
    store.close();
  });
});

describe('a folder that cannot be written', () => {
  test('is an error that says so, and nothing is lost', () => {
    const store = openStore({ spillDir });
    const refs = [1, 2, 3].map((mark) => putThird(store, mark));
    const folder = store.stat().spillDir as string;
    rmdirSync(folder);
    writeFileSync(folder, 'a file in its place');
    const error = thrownBy(() => putThird(store, 4));
    expect(error.code).toBe('ERR_NDSHM_CAPACITY');
    expect(error.message).toContain(`cannot spill to '${folder}'`);
    expect((error.cause as { code: string }).code).toBe('ENOTDIR');
    expect(refs.map((ref) => [stateOf(store, ref), look(store, ref)])).toEqual(
      [1, 2, 3].map((mark) => ['sealed', [thirdBytes, mark]]),
    );
    rmSync(folder);
    mkdirSync(folder);
    putThird(store, 4);
    expect(store.stat().spilledObjects).toBe(1);
    store.close();
  });

  test('where it cannot even be made is an error of open(), which leaves nothing', () => {
    const file = join(spillDir, 'file');
    writeFileSync(file, '');
    expect(thrownBy(() => openStore({ spillDir: join(file, 'below') })).code).toBe('ENOTDIR');
    rmSync(file);
  });
});

describeAsRoot('a disk that is full (needs root to mount one)', () => {
  test('is an error that says so, and nothing is lost; what is deleted makes room', async () => {
    const folder = join(spillDir, 'small');
    mkdirSync(folder);
    const peer = await Peer.start({
      wrap: ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=1m ndshm-test ${folder} && exec "$@"`, 'sh'],
    });
    const name = freshName('store');
    await openIn(peer, name, { capacity, spillDir: folder });
    const outcome = await peer.run(({ kept }, byteLength) => {
      const store = kept.get('store') as ndshm.Store;
      const put = (mark: number) => store.putSync({ bytes: new Uint8Array(byteLength).fill(mark) });
      const refs = [1, 2, 3, 4].map(put);
      let failure: { code?: string; cause?: { code?: string } } = {};
      try {
        put(5); // the disk has room for one
      } catch (error) {
        failure = error as typeof failure;
      }
      const states = store.list().map(({ state }) => state);
      const marks = refs.map((ref) => {
        const lease = store.lease<{ bytes: Uint8Array }>(ref);
        const whole = lease.value.bytes.every((byte) => byte === lease.value.bytes[0]);
        const mark = whole ? lease.value.bytes[0] : 'broken';
        lease.release();
        return mark;
      });
      const spilled = store.list().find(({ state }) => state === 'spilled');
      if (spilled !== undefined) store.delete(spilled.ref);
      put(6);
      const { spilledObjects } = store.stat();
      store.close();
      return { code: failure.code, cause: failure.cause?.code, states, marks, spilledObjects };
    }, thirdBytes);
    expect(outcome).toEqual({
      code: 'ERR_NDSHM_CAPACITY',
      cause: 'ENOSPC',
      states: expect.arrayContaining(['spilled', 'sealed', 'sealed', 'sealed']),
      marks: [1, 2, 3, 4],
      spilledObjects: 1,
    });
    await peer.kill();
    rmdirSync(folder);
  });
});

describe('the folder on disk', () => {
  test('is the one that was said first, whoever comes', () => {
    const store = openStore({ spillDir });
    const other = join(spillDir, 'other');
    const error = thrownBy(() => ndshm.Store.open(store.name, { spillDir: other }));
    expect(error.code).toBe('ERR_NDSHM_MISMATCH');
    expect(error.message).toContain(spillDir);
    expect(existsSync(other)).toBe(false);
    const same = ndshm.Store.open(store.name, { spillDir: relative(process.cwd(), spillDir) });
    const silent = ndshm.Store.open(store.name);
    expect(new Set([store, same, silent].map((each) => each.stat().spillDir)).size).toBe(1);
    for (const each of [store, same]) each.close();
    expect(readdirSync(spillDir)).toHaveLength(1);
    silent.close();
    expect(readdirSync(spillDir)).toEqual([]);
  });

  test('may be said later, for all who have the store open', () => {
    const store = openStore();
    const refs = [1, 2, 3].map((mark) => putThird(store, mark));
    expect(thrownBy(() => putThird(store, 4)).code).toBe('ERR_NDSHM_CAPACITY');
    const later = ndshm.Store.open(store.name, { spillDir });
    putThird(store, 4);
    expect(stateOf(later, refs[0] as ndshm.ObjectRef)).toBe('spilled');
    expect(dirname(store.stat().spillDir as string)).toBe(spillDir);
    later.close();
    store.close();
  });

  test('said by two at once is the same for both, or an error for one', async () => {
    const [one, two] = [await Peer.start(), await Peer.start()];
    const open = (peer: Peer, name: string, to: string): Promise<string | null> =>
      peer.run(
        ({ ndshm, kept }, storeName, options) => {
          (kept.get('store') as ndshm.Store | undefined)?.close();
          kept.delete('store');
          try {
            const store = ndshm.Store.open(storeName, options);
            kept.set('store', store);
            return store.stat().spillDir;
          } catch (error) {
            return (error as { code: string }).code;
          }
        },
        name,
        { capacity: '2MiB', spillDir: to },
      );
    for (let round = 0; round < 40; round++) {
      const name = freshName('store');
      const opened = await Promise.all([open(one, name, join(spillDir, 'a')), open(two, name, join(spillDir, 'b'))]);
      expect(opened.filter((each) => each === 'ERR_NDSHM_MISMATCH')).toHaveLength(1);
    }
    await Promise.all([one.kill(), two.kill()]);
    ndshm.gc();
    for (const each of ['a', 'b']) rmdirSync(join(spillDir, each));
  });

  test('is not that of an earlier store of the same name', () => {
    const store = openStore({ spillDir });
    const first = store.stat().spillDir as string;
    ndshm.unlink(store.name); // behind its back
    const next = ndshm.Store.open(store.name, { capacity });
    expect(next.stat().spillDir).toBeNull();
    const last = ndshm.Store.open(store.name, { spillDir });
    expect(next.stat().spillDir).toBe(last.stat().spillDir);
    expect(last.stat().spillDir).not.toBe(first);
    for (const each of [store, next, last]) each.close();
    ndshm.gc();
  });

  test('of processes that were all killed is removed by gc()', async () => {
    const name = freshName('store');
    const peer = await Peer.start();
    await openIn(peer, name, { capacity, spillDir });
    await peer.run(({ kept }) => {
      for (let count = 0; count < 3; count++) {
        (kept.get('store') as ndshm.Store).putSync({ bytes: new Uint8Array(900_000) });
      }
    });
    const [folder] = readdirSync(spillDir) as [string];
    expect(readdirSync(join(spillDir, folder))).toHaveLength(1);
    await peer.kill();
    expect(ndshm.gc()).toEqual(expect.arrayContaining([name, `${name}.pages.0`, `${name}.spill.0`]));
    expect(readdirSync(spillDir)).toEqual([]);
  });

  test('of processes that were all killed goes with their objects when the next comes to the name', async () => {
    const name = freshName('store');
    const peer = await Peer.start();
    await openIn(peer, name, { capacity, spillDir });
    await peer.run(({ kept }) => (kept.get('store') as ndshm.Store).putSync('value'));
    await peer.kill();
    const next = ndshm.Store.open(name, { capacity });
    expect(next.stat()).toMatchObject({ objects: 0, spillDir: null });
    next.close();
    ndshm.gc();
  });

  test('of a store that has left nothing else is removed by the next with that spillDir; others’ files are not', async () => {
    const name = freshName('store');
    const peer = await Peer.start();
    await openIn(peer, name, { capacity, spillDir });
    await peer.run(({ kept }) => {
      for (let count = 0; count < 3; count++) {
        (kept.get('store') as ndshm.Store).putSync({ bytes: new Uint8Array(900_000) });
      }
    });
    await peer.kill();
    for (const each of namesInShm()) rmSync(shmPath(each));
    const [orphan] = readdirSync(spillDir) as [string];
    const ofAnotherBoot = orphan.replace(/^ndshm-[0-9a-f]{8}/, 'ndshm-00000000');
    expect(ofAnotherBoot).not.toBe(orphan);
    mkdirSync(join(spillDir, ofAnotherBoot));
    writeFileSync(join(spillDir, 'notes.txt'), 'mine');
    const living = openStore({ spillDir });
    const store = openStore({ spillDir });
    expect(readdirSync(spillDir)).not.toContain(orphan);
    expect(readdirSync(spillDir)).toEqual(expect.arrayContaining([ofAnotherBoot, 'notes.txt']));
    expect(existsSync(living.stat().spillDir as string)).toBe(true);
    living.close();
    store.close();
    expect(readdirSync(spillDir).sort()).toEqual([ofAnotherBoot, 'notes.txt'].sort());
    rmdirSync(join(spillDir, ofAnotherBoot));
    rmSync(join(spillDir, 'notes.txt'));
  });

  test('that somebody has put a folder into stays, and keeps gc() from nothing', async () => {
    const [name, later] = [freshName('store'), freshName('zzz')];
    const peer = await Peer.start();
    await openIn(peer, name, { capacity, spillDir });
    await peer.call('a', 'create', later, { shape: 1, ephemeral: true });
    await peer.kill();
    const [folder] = readdirSync(spillDir) as [string];
    mkdirSync(join(spillDir, folder, '1.2'));
    expect(ndshm.gc()).toEqual(expect.arrayContaining([name, later]));
    expect(readdirSync(join(spillDir, folder))).toEqual(['1.2']);
    rmSync(join(spillDir, folder), { recursive: true });
  });

  test('goes with unlink(), and what get() gave of it stays', () => {
    const store = openStore({ spillDir });
    const first = putThird(store, 1);
    for (let mark = 2; mark < 5; mark++) putThird(store, mark);
    const value = store.get<Filled>(first);
    store.unlink();
    expect(readdirSync(spillDir)).toEqual([]);
    expect(thrownBy(() => store.get(first)).code).toBe('ERR_NDSHM_CLOSED');
    expect(seen(value)).toEqual([thirdBytes, 1]);
    store.close();
  });
});

describe('pages kept ready', () => {
  const options = { capacity: '256MiB', prefault: '64MiB' };

  test('are made in the background up to what was asked for, and no put makes others', async () => {
    const store = ndshm.Store.open(freshName('store'), options);
    await until(() => store.stat().readyBytes >= 64 * mebibyte, 'ready pages');
    const { usedBytes } = store.stat();
    expect(usedBytes).toBeLessThan(65 * mebibyte);
    expect(usedBytes).toBe(existingBytes(store.name));
    const ref = store.putSync(filled(30 * mebibyte, 1));
    expect(look(store, ref)).toEqual([30 * mebibyte, 1]);
    const inUse = (): number => store.stat().usedBytes - largeBytes(store.list());
    expect(inUse()).toBeLessThan(65 * mebibyte);
    store.close();
  });

  test('are never more than the capacity allows', async () => {
    const store = ndshm.Store.open(freshName('store'), { capacity: '48MiB', prefault: '40MiB' });
    await until(() => store.stat().readyBytes >= 32 * mebibyte, 'ready pages');
    const ref = await store.put(filled(44 * mebibyte, 1));
    expect(look(store, ref)).toEqual([44 * mebibyte, 1]);
    expect(store.stat().usedBytes).toBeLessThanOrEqual(48 * mebibyte);
    store.close();
  });

  test('of a store that is closed while they are made are nobody else’s before that has ended', async () => {
    const name = freshName('store');
    const store = ndshm.Store.open(name, { capacity: '2GiB', prefault: '1GiB' });
    const other = ndshm.Store.open(name);
    // What others do while it leaves: each time it has let go of something.
    const prototype = Reservoir.prototype as { close: (this: Reservoir) => void };
    const { close } = prototype;
    const refs: ndshm.ObjectRef[] = [];
    prototype.close = function () {
      refs.push(other.putSync(filled(mebibyte, 1)));
      close.call(this);
      refs.push(other.putSync(filled(mebibyte, 2)));
    };
    try {
      store.close();
    } finally {
      prototype.close = close;
    }
    await until(() => other.stat().usedBytes === existingBytes(name), 'end of what was under way');
    expect(refs.map((ref) => look(other, ref))).toEqual([
      [mebibyte, 1],
      [mebibyte, 2],
    ]);
    other.close();
  });
});
