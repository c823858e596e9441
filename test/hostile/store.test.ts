import { chmodSync, closeSync, openSync, statSync, truncateSync, writeSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { describeAsRoot, otherUser, Peer, type PeerContext, randomFrom, rejection } from '../helpers/child';
import { type Filled, filled, mebibyte, pageBytes, seen } from '../helpers/object-store';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const seed = Number(process.env['NDSHM_STORM_SEED'] ?? 1);
const headerBytes = 4096;
const controlBytes = 20_480;

/** All that somebody may be told whose store another process has written over. */
const acceptable = /^(ERR_NDSHM_[A-Z_]+|ENOSPC|ENOMEM|EAGAIN|right)$/;

describe('a ref', () => {
  const open = (): ndshm.Store => ndshm.Store.open(freshName('store'), { capacity: '2MiB' });
  const calls = (store: ndshm.Store, ref: ndshm.ObjectRef): (() => unknown)[] => [
    () => store.get(ref),
    () => store.lease(ref),
    () => store.has(ref),
    () => store.delete(ref),
  ];

  test('of anything but the form that put() gives is refused', async () => {
    const store = open();
    const ref = store.putSync('value');
    const numbers = [
      -1,
      2 ** 31,
      2 ** 53,
      1.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '0',
      0n,
      null,
      undefined,
      {},
      [0],
    ];
    const wrong: unknown[] = [null, undefined, 0, 1n, '', 'ref', [], {}, () => ref, Symbol('ref'), new Map()];
    wrong.push(
      ...[2, '1', undefined].map((ndshm) => ({ ...ref, ndshm })),
      ...[1, null, undefined].flatMap((text) => [
        { ...ref, store: text },
        { ...ref, storeId: text },
      ]),
      ...numbers.flatMap((number) => [
        { ...ref, object: number },
        { ...ref, generation: number },
      ]),
    );
    for (const each of wrong) {
      for (const call of calls(store, each as ndshm.ObjectRef)) {
        expect(thrownBy(call)).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
      }
      expect(await rejection(store.wait([each as ndshm.ObjectRef]))).toMatchObject({
        code: 'ERR_NDSHM_INVALID_ARGUMENT',
      });
    }
    expect(store.get(ref)).toBe('value');
    expect(store.get(JSON.parse(JSON.stringify(ref)))).toBe('value');
    store.close();
  });

  test('that names no object is stale, whatever its numbers', async () => {
    const store = open();
    const refs = [store.putSync('value'), store.putSync(filled(100_000, 1))];
    const numbers = [0, 1, 2, 1023, 1024, 16_383, 131_071, 131_072, 262_144, 2 ** 24, 2 ** 28, 2 ** 29, 2 ** 31 - 1];
    for (const ref of refs) {
      const wrong = numbers.flatMap((number) => [
        { ...ref, generation: number === ref.generation ? number + 1 : number },
        { ...ref, object: number, generation: 7 },
      ]);
      for (const each of wrong) {
        expect(thrownBy(() => store.get(each)).code).toBe('ERR_NDSHM_STALE_HANDLE');
        expect(thrownBy(() => store.lease(each)).code).toBe('ERR_NDSHM_STALE_HANDLE');
        expect([store.has(each), store.delete(each)]).toEqual([false, false]);
        expect(await store.wait([each])).toEqual({ ready: [each], pending: [] });
      }
    }
    expect(refs.map((ref) => store.has(ref))).toEqual([true, true]);
    store.close();
  });

  test('of another store, or of an earlier one of the same name, is stale', async () => {
    const [store, other] = [open(), open()];
    const foreign = other.putSync('value');
    store.putSync('mine');
    for (const call of calls(store, foreign)) {
      expect(thrownBy(call)).toMatchObject({
        code: 'ERR_NDSHM_STALE_HANDLE',
        message: expect.stringContaining(other.name),
      });
    }
    expect((await rejection(store.wait([foreign]))).code).toBe('ERR_NDSHM_STALE_HANDLE');
    const { name } = other;
    other.close();
    const next = ndshm.Store.open(name, { capacity: '2MiB' });
    next.putSync('next');
    for (const call of calls(next, foreign)) {
      expect(thrownBy(call)).toMatchObject({
        code: 'ERR_NDSHM_STALE_HANDLE',
        message: expect.stringContaining('earlier store'),
      });
    }
    next.close();
    store.close();
  });
});

/** What the functions that run in a peer have in common: to have a store written over, and to use it. */
interface Tools {
  /** A store with objects in every state. */
  readonly make: () => Subject;
  /** Every way to use it; the codes of what was thrown. */
  readonly use: (subject: Subject) => string[];
  readonly end: (subject: Subject) => void;
}

interface Subject {
  readonly store: ndshm.Store;
  readonly refs: ndshm.ObjectRef[];
  /** Of the segment, and of the reservoir. */
  readonly files: readonly [number, number];
}

/** A peer with the tools; a thread or process that hangs or crashes fails the test. */
async function start(prefix: string): Promise<Peer> {
  const peer = await Peer.start();
  await peer.run(({ ndshm, kept }: PeerContext, namePrefix) => {
    const fs = process.getBuiltinModule('node:fs');
    let count = 0;
    const fill = (byteLength: number, mark: number) => ({ bytes: new Uint8Array(byteLength).fill(mark) });
    const tried = (run: () => unknown): string => {
      try {
        run();
        return 'right';
      } catch (error) {
        return (error as { code?: string }).code ?? String((error as Error).stack);
      }
    };
    const tools: Tools = {
      make: () => {
        const store = ndshm.Store.open(`${namePrefix}-${count++}`, { capacity: '2MiB' });
        const put = (byteLength: number, mark: number) => store.putSync(fill(byteLength, mark));
        const refs = [put(500, 1), put(100_000, 2), put(200_000, 3), put(600, 4)];
        kept.set('leased', store.get(refs[1] as ndshm.ObjectRef));
        store.delete(put(500, 5));
        store.delete(put(150_000, 6));
        const limbo = put(120_000, 7);
        kept.set('limbo', store.get(limbo));
        store.delete(limbo);
        const open = (name: string) => fs.openSync(`/dev/shm/${name}`, 'r+');
        return { store, refs, files: [open(store.name), open(`${store.name}.pages.0`)] };
      },
      use: ({ store, refs }) => [
        ...refs.flatMap((ref) => [
          tried(() => store.has(ref)),
          tried(() => store.get(ref)),
          tried(() => store.lease(ref).release()),
        ]),
        tried(() => store.putSync(fill(500, 8))),
        tried(() => store.putSync(fill(5000, 8))),
        tried(() => store.putSync(fill(130_000, 8))),
        tried(() => store.createArray(70_000, 'uint8').close()),
        tried(() => store.createArray(70_000, 'uint8').seal()),
        tried(() => store.list()),
        tried(() => store.stat()),
        tried(() => ndshm.Store.open(store.name).close()),
        ...refs.map((ref) => tried(() => store.delete(ref))),
        tried(() => store.putSync(fill(1_000_000, 9))),
      ],
      end: ({ store, files }) => {
        store.close();
        kept.delete('leased');
        kept.delete('limbo');
        for (const file of files) fs.closeSync(file);
        for (const name of fs.readdirSync('/dev/shm')) {
          if (name === store.name || name.startsWith(`${store.name}.`)) fs.rmSync(`/dev/shm/${name}`);
        }
      },
    };
    kept.set('tools', tools);
  }, prefix);
  return peer;
}

const hostileWords = [0, 1, -1, 0x7fff_ffff, -0x8000_0000, 0x10_0000, 0x13];

describe('a store that another process of the same user writes over', () => {
  // Of the segment: kind and parameters, counters, ledger, lists of rows, directory of chunks, free ranges.
  test('with any word of its state changed gives right answers or errors', async () => {
    const peer = await start(freshName('hostile'));
    for (const value of hostileWords) {
      const codes = await peer.run(
        ({ kept, part }, word, first) => {
          const { writeSync, fstatSync } = process.getBuiltinModule('node:fs');
          const { make, use, end } = kept.get('tools') as Tools;
          const seen = new Map<string, string>();
          const bytes = Buffer.alloc(4);
          bytes.writeInt32LE(word);
          // Behind the head of 16 words and 4 counters. What is long is all of a kind: the first of each.
          const { Ledger } = part('sync/ledger') as { Ledger: { words: number } };
          const { Rows } = part('store/rows') as { Rows: { words: number } };
          const rowsAt = 20 + Ledger.words;
          const ats = [...Array(36).keys()];
          for (let n = 0; n < 12; n++) ats.push(rowsAt + n, rowsAt + 63 + n, rowsAt + Rows.words + n);
          for (const at of ats) {
            const subject = make();
            const { size } = fstatSync(subject.files[0]);
            if (first + 4 * at < size) writeSync(subject.files[0], bytes, 0, 4, first + 4 * at);
            for (const code of use(subject)) seen.set(code, `word ${at}`);
            end(subject);
          }
          return [...seen];
        },
        value,
        headerBytes,
      );
      for (const [code, where] of codes)
        expect(`${code} (${where} is ${value})`).toMatch(/^(ERR_NDSHM_\w+|ENOSPC|right) /);
    }
    await peer.kill();
  }, 120_000);

  test('with any word of a row changed gives right answers or errors', async () => {
    const peer = await start(freshName('hostile'));
    for (const value of hostileWords) {
      const codes = await peer.run(
        ({ kept }, word, first) => {
          const { readSync, writeSync } = process.getBuiltinModule('node:fs');
          const { make, use, end } = kept.get('tools') as Tools;
          const seen = new Map<string, string>();
          const bytes = Buffer.alloc(4);
          bytes.writeInt32LE(word);
          // Rows of 16 words, each with the maker's pid in its tenth: those that were ever used, wherever they lie.
          const rows: number[] = [];
          const scout = make();
          const page = Buffer.alloc(2 ** 19);
          readSync(scout.files[1], page, 0, page.length, first);
          for (let at = 0; at < page.length; at += 64) {
            if (page.readInt32LE(at + 36) === process.pid && page.readInt32LE(at + 44) === 0) rows.push(at);
          }
          end(scout);
          for (const row of rows) {
            for (let field = 0; field < 11; field++) {
              const subject = make();
              writeSync(subject.files[1], bytes, 0, 4, first + row + 4 * field);
              for (const code of use(subject)) seen.set(code, `field ${field} of the row at ${row}`);
              end(subject);
            }
          }
          return { rows: rows.length, codes: [...seen] };
        },
        value,
        headerBytes,
      );
      expect(codes.rows).toBeGreaterThanOrEqual(6);
      for (const [code, where] of codes.codes) {
        expect(`${code} (${where} is ${value})`).toMatch(/^(ERR_NDSHM_\w+|ENOSPC|right) /);
      }
    }
    await peer.kill();
  }, 120_000);

  test('with random words all over it gives right answers or errors', async () => {
    const peer = await start(freshName('hostile'));
    const random = randomFrom(seed);
    for (let round = 0; round < 5; round++) {
      const given = Math.floor(random() * 2 ** 31);
      const codes = await peer.run(
        ({ kept }, first, control, state) => {
          const { writeSync, fstatSync } = process.getBuiltinModule('node:fs');
          const { make, use, end } = kept.get('tools') as Tools;
          const seen = new Set<string>();
          let last = state;
          const next = (limit: number): number => {
            last = (Math.imul(last, 1_664_525) + 1_013_904_223) >>> 0;
            return Math.floor((last / 2 ** 32) * limit);
          };
          for (let trial = 0; trial < 40; trial++) {
            const subject = make();
            const size = fstatSync(subject.files[0]).size - first - control;
            for (let n = 0; n < 300; n++) {
              const bytes = Buffer.alloc(4);
              bytes.writeUInt32LE(next(2) === 0 ? next(2 ** 32) : next(2 ** 12));
              // Not the lock's words, which have a test of their own: they are behind the data.
              writeSync(subject.files[0], bytes, 0, 4, first + 64 + 4 * next(next(2) === 0 ? 2000 : size / 4 - 16));
              writeSync(subject.files[1], bytes, 0, 4, first + 4 * next(2 ** 18));
            }
            for (const code of use(subject)) seen.add(code);
            end(subject);
          }
          return [...seen];
        },
        headerBytes,
        controlBytes,
        given,
      );
      for (const code of codes) expect(`${code}`).toMatch(acceptable);
    }
    await peer.kill();
  }, 120_000);

  test('all the time, in lock words too, while others use it: they get errors or answers, and none hangs or dies', async () => {
    const [one, two] = [await start(freshName('hostile')), await start(freshName('hostile'))];
    const name = freshName('hostile');
    const store = ndshm.Store.open(name, { capacity: '2MiB' });
    const files = [name, `${name}.pages.0`].map((each) => openSync(shmPath(each), 'r+')) as [number, number];
    const bystander = ndshm.Store.open(freshName('bystander'), { capacity: '2MiB' });
    const kept = bystander.putSync(filled(100_000, 1));
    const using = [one, two].map((peer) =>
      peer.run(async ({ ndshm, kept: map }, storeName) => {
        const { use } = map.get('tools') as Tools;
        const seen = new Set<string>();
        map.set('over', false);
        while (map.get('over') === false) {
          const refs: ndshm.ObjectRef[] = [];
          try {
            const inPeer = ndshm.Store.open(storeName, { capacity: '2MiB' });
            try {
              refs.push(inPeer.putSync('x'), inPeer.putSync({ bytes: new Uint8Array(100_000) }));
            } catch (error) {
              seen.add((error as { code?: string }).code ?? String((error as Error).stack));
            }
            for (const code of use({ store: inPeer, refs, files: [0, 0] })) seen.add(code);
            inPeer.close();
          } catch (error) {
            seen.add((error as { code?: string }).code ?? String((error as Error).stack));
          }
          await new Promise(setImmediate);
        }
        return [...seen];
      }, name),
    );
    const random = randomFrom(seed);
    const size = statSync(shmPath(name)).size;
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(Math.floor(random() * (random() < 0.5 ? 2 ** 32 : 4096)));
      const ofState =
        random() < 0.1
          ? size - controlBytes + 64 + 4 * Math.floor(random() * 48)
          : 4160 + 4 * Math.floor(random() * 5000);
      writeSync(files[0], bytes, 0, 4, ofState);
      writeSync(files[1], bytes, 0, 4, headerBytes + 4 * Math.floor(random() * 2 ** 18));
      await new Promise(setImmediate);
    }
    for (const peer of [one, two]) await peer.run(({ kept: map }) => map.set('over', true).size);
    for (const codes of await Promise.all(using)) for (const code of codes) expect(code).toMatch(acceptable);
    expect(seen(bystander.get<Filled>(kept))).toEqual([100_000, 1]);
    for (const file of files) closeSync(file);
    store.close();
    bystander.close();
    await Promise.all([one.kill(), two.kill()]);
  }, 120_000);
});

describe('a reservoir that is truncated', () => {
  test.each([0, headerBytes, headerBytes + 3 * pageBytes, 'half'] as const)(
    'to %s bytes reads as zeros, is reported by the next call, and harms no other store',
    async (length) => {
      const peer = await Peer.start();
      const names = [freshName('store'), freshName('store')];
      const stores = names.map((name) => ndshm.Store.open(name, { capacity: '2MiB' })) as [ndshm.Store, ndshm.Store];
      const [store, other] = stores;
      const refs = [store.putSync(filled(mebibyte, 1)), store.putSync(filled(500, 2))];
      const fine = other.putSync(filled(mebibyte, 3));
      await peer.run(
        ({ ndshm, kept }, [first, second], [large], last) => {
          const opened = [first, second].map((name) => ndshm.Store.open(name as string));
          kept.set('stores', opened);
          kept.set('value', opened[0]?.get(large as ndshm.ObjectRef));
          kept.set('fine', opened[1]?.get(last));
        },
        names,
        refs,
        fine,
      );
      const path = shmPath(`${names[0]}.pages.0`);
      const { blocks } = statSync(path);
      truncateSync(
        path,
        length === 'half' ? headerBytes + Math.floor((blocks * 512) / 2 / pageBytes) * pageBytes : length,
      );
      const outcome = await peer.run(({ kept }, given) => {
        const [inPeer] = kept.get('stores') as [ndshm.Store];
        const { bytes } = kept.get('value') as Filled;
        const last = bytes[bytes.length - 1];
        const tried = (run: () => unknown): string => {
          try {
            run();
            return 'right';
          } catch (error) {
            return (error as { code?: string }).code ?? String((error as Error).stack);
          }
        };
        const codes = [
          () => inPeer.get(given[0] as ndshm.ObjectRef),
          () => inPeer.get(given[1] as ndshm.ObjectRef),
          () => inPeer.putSync({ bytes: new Uint8Array(100_000) }),
          () => inPeer.putSync('small'),
          () => inPeer.delete(given[1] as ndshm.ObjectRef),
          () => inPeer.list(),
        ].map(tried);
        const { bytes: ofOther } = kept.get('fine') as Filled;
        return { last, codes, ofOther: ofOther.every((byte) => byte === 3) };
      }, refs);
      expect(outcome).toEqual({ last: 0, codes: Array(6).fill('ERR_NDSHM_TRUNCATED'), ofOther: true });
      await peer.run(({ kept }) => {
        for (const each of kept.get('stores') as ndshm.Store[]) each.close();
      });
      await peer.kill();
      // This process has not looked yet: it is told as soon as it has.
      for (const ref of refs) {
        try {
          seen(store.get<Filled>(ref));
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(acceptable);
        }
      }
      expect(thrownBy(() => store.list()).code).toBe('ERR_NDSHM_TRUNCATED');
      expect(seen(other.get<Filled>(fine))).toEqual([mebibyte, 3]);
      store.close();
      other.close();
    },
  );
});

describeAsRoot('another user’s store (needs root to become another user)', () => {
  test('is not opened unless that is allowed', async () => {
    const name = freshName('store');
    const store = ndshm.Store.open(name, { capacity: '2MiB' });
    const ref = store.putSync(filled(100_000, 1));
    for (const each of [name, `${name}.pages.0`]) chmodSync(shmPath(each), 0o666);
    const peer = await Peer.start({ uid: otherUser });
    const read = (allowForeignOwner: boolean): Promise<number> =>
      peer.run(
        ({ ndshm }, storeName, allowed, given) => {
          const inPeer = ndshm.Store.open(storeName, { allowForeignOwner: allowed });
          const { bytes } = inPeer.get<Filled>(given);
          inPeer.close();
          return bytes[99_999] as number;
        },
        name,
        allowForeignOwner,
        ref,
      );
    expect((await rejection(read(false))).code).toBe('ERR_NDSHM_FOREIGN_OWNER');
    expect(await read(true)).toBe(1);
    await peer.kill();
    store.close();
  });
});
