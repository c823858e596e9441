import type { SharedArray } from 'ndshm';
import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { holdings, Peer } from '../helpers/child';
import { LockWords } from '../helpers/lock-words';
import { freshName } from '../helpers/shm';

describe('memory', () => {
  test('does not grow with a million calls, whichever way they come', async () => {
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    const name = freshName();
    await peer.call('a', 'create', name, { shape: 4 });
    const grown = await peer.run(async ({ kept }: PeerContext) => {
      const array = kept.get('a') as SharedArray;
      const nothing = (): void => {};
      const { signal } = new AbortController();
      const used = async (): Promise<number> => {
        await new Promise(setImmediate);
        globalThis.gc?.();
        const { heapUsed, external } = process.memoryUsage();
        return heapUsed + external;
      };
      /** Each call is begun by the one before, which is over by then. */
      const chain = (left: number): Promise<void> =>
        new Promise((done) => {
          const next = (n: number): void => {
            if (n === 0) done();
            else void array.write(() => void setImmediate(next, n - 1));
          };
          next(left);
        });
      const round = async (count: number): Promise<void> => {
        for (let n = 0; n < count; n++) {
          array.writeSync(nothing);
          array.readSync(nothing);
          if (n % 8 !== 0) continue;
          await array.write(nothing, { timeoutMs: 1000, signal });
          await array.read(nothing);
          if (n % 64 === 0) await Promise.all([array.write(nothing), array.read(nothing), array.snapshot(nothing)]);
        }
        await chain(count / 20);
      };
      await round(20_000);
      const before = await used();
      await round(400_000);
      return (await used()) - before;
    });
    expect(grown).toBeLessThan(1_000_000);
    await peer.kill();
    ndshm.unlink(name);
  });

  test('does not grow with calls that have to wait', async () => {
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    const grown = await peer.run(async ({ ndshm: library }: PeerContext, name) => {
      const a = library.create(name, { shape: 1, ephemeral: true });
      const b = library.open(name, { mode: 'r+' });
      const used = async (): Promise<number> => {
        await new Promise(setImmediate);
        globalThis.gc?.();
        return process.memoryUsage().rss;
      };
      const round = async (count: number): Promise<void> => {
        for (let n = 0; n < count; n++) {
          const changed = b.changed();
          const first = a.write(() => new Promise(setImmediate));
          await Promise.all([first, b.write(() => {}), b.read(() => {}), changed]);
        }
      };
      await round(1000);
      const before = await used();
      await round(4000);
      const after = await used();
      a.close();
      b.close();
      return after - before;
    }, freshName());
    // 1 kB for each of them would be 16 MB.
    expect(grown).toBeLessThan(8_000_000);
    await peer.kill();
  });
});

describe('arrays that are dropped without close()', () => {
  test('are collected, with their mappings and descriptors, after their locks were used', async () => {
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    const name = freshName();
    const mine = ndshm.create(name, { shape: 1 });
    await peer.on('', 'collect');
    const use = () =>
      peer.run(async ({ ndshm: library }: PeerContext, segment) => {
        for (let n = 0; n < 20; n++) {
          const array = library.open(segment, { mode: 'r+' });
          array.writeSync(() => {});
          array.readSync(() => {});
          const changed = array.changed();
          await Promise.all([array.write(() => {}), array.read(() => {}), array.snapshot(() => {}), changed]);
        }
      }, name);
    await use();
    await peer.on('', 'collect');
    const before = holdings(peer.pid);
    for (let round = 0; round < 5; round++) await use();
    await peer.on('', 'collect');
    expect(holdings(peer.pid)).toEqual(before);
    expect(ndshm.stat(name).peers.length).toBeLessThan(5);
    await peer.kill();
    mine.close();
    ndshm.unlink(name);
  });

  test('are not collected while one of their calls waits', async () => {
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    const name = freshName();
    const mine = ndshm.create(name, { shape: 1 });
    const entered = await mine.write(async () => {
      const calls = peer.run(async ({ ndshm: library }: PeerContext, segment) => {
        const calls = [
          library.open(segment, { mode: 'r+' }).write(() => 'written'),
          library.open(segment).read(() => 'read'),
          library
            .open(segment)
            .changed()
            .then(() => 'changed'),
        ];
        for (let round = 0; round < 5; round++) {
          globalThis.gc?.();
          await new Promise(setImmediate);
        }
        return Promise.all(calls);
      }, name);
      await peer.on('', 'collect');
      return { calls };
    });
    expect(await entered.calls).toEqual(['written', 'read', 'changed']);
    await peer.kill();
    mine.close();
    ndshm.unlink(name);
  });

  test('while they hold the lock count as dead', async () => {
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    const name = freshName();
    const mutex = new ndshm.Mutex(name);
    const lost = new LockWords(name);
    await peer.run(({ ndshm: library }: PeerContext, segment) => void new library.Mutex(segment).acquireSync(), name);
    expect(lost.owner).toBeGreaterThanOrEqual(0);
    await peer.on('', 'collect');
    expect(await mutex.acquire({ onAbandoned: 'repair', timeoutMs: 5000 })).toEqual({ abandoned: true });
    mutex.release();
    await peer.kill();
    mutex.close();
    mutex.unlink();
  });
});
