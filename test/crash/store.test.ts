import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import { Peer, type PeerContext } from '../helpers/child';
import { Bystander, dyingAtEachStep, existingBytes, filled, seen } from '../helpers/object-store';
import { freshName, namesInShm, shmPath } from '../helpers/shm';
import { describeWithStrace, killingAt } from '../helpers/strace';

type Store = ndshm.Store;
type Refs = readonly ndshm.ObjectRef[];

const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-spill-'));
afterAll(() => rmSync(spillDir, { recursive: true }));

const openIn = (peer: Peer, name: string): Promise<void> =>
  peer.run(({ ndshm, kept }, storeName) => {
    kept.set('store', ndshm.Store.open(storeName));
  }, name);

interface Act {
  readonly title: string;
  readonly options?: ndshm.StoreOptions;
  /** What the bystander does before. */
  readonly before?: (bystander: Bystander) => void;
  /** Runs in the peer that dies. */
  readonly work: (context: PeerContext, refs: Refs) => unknown;
  /** How many bytes of rows and slots it adds where it gets through. */
  readonly grows?: number;
  /** The least number of steps that it consists of: fewer, and the test would not look inside. */
  readonly steps: number;
}

const makeWarm = ({ store }: Bystander): void => {
  store.delete(store.putSync(filled(300_000, 7)));
};

const acts: readonly Act[] = [
  {
    title: 'put of a small object',
    work: ({ kept }) => (kept.get('store') as Store).putSync({ bytes: new Uint8Array(500).fill(5) }),
    steps: 5,
  },
  {
    title: 'put of the first small object of its size',
    work: ({ kept }) => (kept.get('store') as Store).putSync({ bytes: new Uint8Array(3000).fill(5) }),
    grows: 69_632,
    steps: 12,
  },
  {
    title: 'put of a large object into fresh pages',
    work: async ({ kept }) => {
      await (kept.get('store') as Store).put({ bytes: new Uint8Array(300_000).fill(5) });
    },
    steps: 12,
  },
  {
    title: 'put of a large object into pages used before',
    before: makeWarm,
    work: ({ kept }) => (kept.get('store') as Store).putSync({ bytes: new Uint8Array(300_000).fill(5) }),
    steps: 12,
  },
  {
    title: 'createArray() and seal()',
    work: ({ kept }) => {
      const draft = (kept.get('store') as Store).createArray(300_000, 'uint8');
      draft.array.fill(5);
      draft.seal();
    },
    steps: 14,
  },
  {
    title: 'createArray() and close()',
    before: makeWarm,
    work: ({ kept }) => {
      const draft = (kept.get('store') as Store).createArray(300_000, 'uint8');
      draft.array.fill(5);
      draft.close();
    },
    steps: 16,
  },
  {
    title: 'delete of a small object',
    before: ({ store }) => {
      for (let mark = 20; mark < 24; mark++) store.putSync(filled(500, mark));
    },
    work: ({ kept }) => {
      const store = kept.get('store') as Store;
      const own = store.list().find(({ byteLength, ref: { object } }) => byteLength < 2000 && object % 131_072 === 2);
      if (own === undefined || !store.delete(own.ref)) throw new Error('there was nothing to delete');
    },
    steps: 6,
  },
  {
    title: 'delete of a large object',
    before: ({ store }) => {
      store.putSync(filled(200_000, 20));
    },
    work: ({ kept }) => {
      const store = kept.get('store') as Store;
      const own = store.list().find(({ byteLength }) => byteLength > 200_000 && byteLength < 250_000);
      if (own === undefined || !store.delete(own.ref)) throw new Error('there was nothing to delete');
    },
    steps: 8,
  },
  {
    title: 'delete of an object that another process reads',
    work: ({ kept }, refs) => {
      if (!(kept.get('store') as Store).delete(refs[1] as ndshm.ObjectRef)) throw new Error('it was gone');
    },
    steps: 6,
  },
  {
    title: 'get of a large object',
    work: ({ kept }, refs) => {
      kept.set('value', (kept.get('store') as Store).get(refs[2] as ndshm.ObjectRef));
    },
    steps: 2,
  },
  {
    title: 'put that spills',
    options: { spillDir },
    before: ({ store }) => {
      for (let mark = 20; mark < 22; mark++) store.putSync(filled(400_000, mark));
    },
    work: ({ kept }) => (kept.get('store') as Store).putSync({ bytes: new Uint8Array(800_000).fill(5) }),
    steps: 25,
  },
  {
    title: 'delete of a spilled object',
    options: { spillDir },
    before: (bystander) => {
      const { store, refs } = bystander;
      store.putSync(filled(800_000, 20));
      bystander.look(refs[2]);
      store.putSync(filled(800_000, 21));
    },
    work: ({ kept }) => {
      const store = kept.get('store') as Store;
      const spilled = store.list().find(({ state }) => state === 'spilled');
      if (spilled === undefined || !store.delete(spilled.ref)) throw new Error('nothing was spilled');
    },
    steps: 6,
  },
  {
    title: 'close() in the middle of everything',
    before: makeWarm,
    work: ({ kept }, refs) => {
      const store = kept.get('store') as Store;
      store.createArray(250_000, 'uint8');
      kept.set('value', store.get(refs[2] as ndshm.ObjectRef));
      store.close();
    },
    steps: 20,
  },
];

const workIn = (peer: Peer, work: Act['work'], refs: Refs): Promise<void> =>
  peer.run(
    async (context, source, given) => {
      const { runInThisContext } = process.getBuiltinModule('node:vm');
      await runInThisContext(`(${source})`)(context, given);
    },
    work.toString(),
    refs,
  );

describe('SIGKILL at any step of', () => {
  test.each(acts)(
    '$title leaves whole objects, pages that are all accounted for, and a store that goes on',
    async ({ options, before, work, grows = 0, steps }) => {
      let bystander: Bystander;
      const killed = await dyingAtEachStep(
        async (peer) => {
          bystander = new Bystander(options);
          before?.(bystander);
          await openIn(peer, bystander.name);
        },
        (peer) => workIn(peer, work, bystander.refs),
        (died) => bystander.end(died ? [0, grows] : [grows]),
      );
      expect(killed).toBeGreaterThanOrEqual(steps);
      expect(readdirSync(spillDir)).toEqual([]);
    },
    120_000,
  );

  test('taking back what a dead process was making, and what it read, leaves it to the next', async () => {
    let bystander: Bystander;
    const killed = await dyingAtEachStep(
      async (peer) => {
        bystander = new Bystander();
        const { name, store, refs } = bystander;
        const deleted = store.putSync(filled(200_000, 20));
        const dead = await Peer.start();
        await openIn(dead, name);
        await dead.run(({ kept }, ref) => {
          const inDead = kept.get('store') as Store;
          kept.set('draft', inDead.createArray(250_000, 'uint8'));
          kept.set('value', inDead.get(ref));
        }, deleted);
        store.delete(deleted);
        await openIn(peer, name);
        await dead.kill();
        expect(refs.map((ref) => store.has(ref))).toEqual([true, true, true]);
      },
      (peer) => peer.run(({ kept }) => (kept.get('store') as Store).list().length),
      () => bystander.end(),
    );
    expect(killed).toBeGreaterThanOrEqual(6);
  }, 120_000);

  test('rebuilding the lists after a death under the lock leaves that to the next', async () => {
    let bystander: Bystander;
    const killed = await dyingAtEachStep(
      async (peer) => {
        bystander = new Bystander({ spillDir });
        const { name, store, refs } = bystander;
        store.delete(refs[1]); // in limbo: it is leased
        store.putSync(filled(900_000, 20));
        store.putSync(filled(900_000, 21)); // something is spilled
        makeWarm(bystander);
        await openIn(peer, name);
        const dead = await Peer.start();
        await openIn(dead, name);
        const death = dead.run(({ kept, part }) => {
          const { Extents } = part('store/extents') as {
            Extents: { prototype: { take: (...given: unknown[]) => void } };
          };
          const { prototype } = Extents;
          const { take } = prototype;
          prototype.take = function (...given) {
            take.apply(this, given);
            process.kill(process.pid, 'SIGKILL');
          };
          (kept.get('store') as Store).putSync({ bytes: new Uint8Array(100_000) });
        });
        await expect(death).rejects.toThrow('The child ended');
      },
      (peer) => peer.run(({ kept }) => (kept.get('store') as Store).list().length),
      () => bystander.end(),
    );
    expect(killed).toBeGreaterThanOrEqual(8);
    expect(readdirSync(spillDir)).toEqual([]);
  }, 120_000);

  const options = { capacity: '2MiB', spillDir };

  test('making a store leaves one that works, or none', async () => {
    let name: string;
    const killed = await dyingAtEachStep(
      async () => {
        name = freshName('made');
      },
      (peer) =>
        peer.run(
          ({ ndshm, kept }, storeName, given) => {
            kept.set('store', ndshm.Store.open(storeName, given));
          },
          name,
          options,
        ),
      () => {
        const store = ndshm.Store.open(name, options);
        const refs = [30, 31, 32].map((mark) => store.putSync(filled(900_000, mark)));
        expect(refs.map((ref) => seen(store.get(ref)))).toEqual([30, 31, 32].map((mark) => [900_000, mark]));
        expect(store.stat()).toMatchObject({ objects: 3, spilledObjects: 1, usedBytes: existingBytes(name) });
        store.close();
        expect(namesInShm()).toEqual([]);
        expect(readdirSync(spillDir)).toEqual([]);
      },
    );
    expect(killed).toBeGreaterThanOrEqual(2);
  });

  test('close() by the last process leaves what gc() takes away, in memory and on disk', async () => {
    let name: string;
    const killed = await dyingAtEachStep(
      async (peer) => {
        name = freshName('last');
        await peer.run(
          ({ ndshm, kept }, storeName, given) => {
            const store = ndshm.Store.open(storeName, given);
            kept.set('store', store);
            for (let count = 0; count < 3; count++) store.putSync({ bytes: new Uint8Array(900_000) });
            store.createArray(300_000, 'uint8');
          },
          name,
          options,
        );
        expect(readdirSync(spillDir)).toHaveLength(1);
      },
      (peer) => peer.run(({ kept }) => (kept.get('store') as Store).close()),
      (died) => {
        const removed = ndshm.gc();
        if (!died) expect(removed.filter((each) => each.startsWith(name))).toEqual([]);
        expect(namesInShm()).toEqual([]);
        // Who dies between taking the member away that says where the folder is, and the folder, leaves it to the next
        // store that has its folder there.
        if (!died) expect(readdirSync(spillDir)).toEqual([]);
        ndshm.Store.open(freshName('next'), options).close();
        expect(readdirSync(spillDir)).toEqual([]);
      },
    );
    expect(killed).toBeGreaterThanOrEqual(6);
  });
});

describeWithStrace('SIGKILL in the place of a system call on the pages', () => {
  const syscalls = ['fallocate', 'fcntl', 'mmap'];

  test.each(syscalls)(
    '%s leaves whole objects, and pages that are all accounted for',
    async (syscall) => {
      let killed = 0;
      for (let n = 1; ; n++) {
        const bystander = new Bystander();
        const store = shmPath(`${bystander.name}.pages.0`);
        const peer = await Peer.start({ wrap: killingAt(syscall, n, store) });
        const died = await openIn(peer, bystander.name)
          .then(() =>
            peer.run(({ kept }, ref) => {
              const store = kept.get('store') as Store;
              const large = store.putSync({ bytes: new Uint8Array(300_000).fill(5) });
              const draft = store.createArray(200_000, 'uint8');
              draft.array.fill(6);
              draft.seal();
              store.lease(ref).release();
              store.delete(large);
              store.putSync({ bytes: new Uint8Array(10_000).fill(7) });
              store.createArray(150_000, 'uint8').close();
            }, bystander.refs[2]),
          )
          .then(
            () => false,
            () => true,
          );
        if (!died) peer.send({ of: 'none', method: 'exit', args: [0] }); // to kill it would be to kill strace
        expect(await peer.end()).toEqual(died ? { code: null, signal: 'SIGKILL' } : { code: 0, signal: null });
        bystander.end([0, 65_536]);
        if (!died) break;
        killed++;
      }
      expect(killed).toBeGreaterThanOrEqual(1);
    },
    60_000,
  );
});
