import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { describeWithNumpy, runPython } from '../helpers/python';
import { exists, freshName, thrownBy } from '../helpers/shm';
import { codeOf, dyingAtEachStore } from '../helpers/sync';

function semaphore(name: string, options: ndshm.SemaphoreOptions = {}): ndshm.Semaphore {
  return new ndshm.Semaphore(name, { ephemeral: true, ...options });
}

/** A process that has the semaphore open, as 's', with the same options. */
async function peerWith(name: string, options: ndshm.SemaphoreOptions, thread = false): Promise<Peer> {
  const peer = await Peer.start({ thread });
  await peer.call('s', 'Semaphore', name, { ephemeral: true, ...options });
  return peer;
}

describe('a semaphore', () => {
  test('counts the permits that are free, in all processes', async () => {
    const name = freshName();
    const s = semaphore(name, { value: 3 });
    const peer = await peerWith(name, { value: 3 });
    await s.acquire();
    await peer.on('s', 'acquire');
    s.acquireSync({ timeoutMs: 0 });
    expect(s.value).toBe(0);
    expect(s.tryAcquire()).toBe(false);
    expect(await peer.on('s', 'tryAcquire')).toBe(false);
    s.release(2);
    expect([s.value, s.tryAcquire(), s.value]).toEqual([2, true, 1]);
    s.close();
    await peer.on('s', 'close');
    expect(exists(name)).toBe(false);
    await peer.kill();
  });

  test('lets no more than so many of four processes in, and all of them get through', async () => {
    const name = freshName();
    const inside = new ndshm.Value(`${name}-inside`, { ephemeral: true });
    const s = semaphore(name, { value: 2 });
    const peers = await Promise.all(Array.from({ length: 4 }, (_, n) => peerWith(name, { value: 2 }, n === 3)));
    const highest = await Promise.all(
      peers.map((peer) =>
        peer.run(async ({ ndshm, kept }, counter) => {
          const permits = kept.get('s') as ndshm.Semaphore;
          const inside = new ndshm.Value(counter, { ephemeral: true });
          let highest = 0;
          const one = async () => {
            highest = Math.max(highest, inside.add(1) + 1);
            await new Promise(setImmediate);
            inside.sub(1);
          };
          for (let round = 0; round < 50; round++) {
            await Promise.all([permits.run(one), permits.run(one)]);
            permits.runSync(() => {
              highest = Math.max(highest, inside.add(1) + 1);
              inside.sub(1);
            });
          }
          return highest;
        }, `${name}-inside`),
      ),
    );
    expect(Math.max(...highest)).toBe(2);
    expect([s.value, inside.load()]).toEqual([2, 0]);
    await Promise.all(peers.map((peer) => peer.kill()));
    s.close();
    inside.close();
  });

  test.each([
    ['is killed', (peer: Peer) => peer.kill()],
    ['closes it', (peer: Peer) => peer.on('s', 'close')],
    ['exits', (peer: Peer) => codeOf(peer.on('s', 'exit', 0)).then(() => peer.end())],
  ])('gives back to one who waits what a process held that %s', async (_how, end) => {
    const name = freshName();
    const s = semaphore(name, { value: 2 });
    const peer = await peerWith(name, { value: 2 });
    await peer.on('s', 'acquire');
    await peer.on('s', 'acquire');
    const got = Promise.all([s.acquire(), s.acquire()]);
    expect(await codeOf(s.acquire({ timeoutMs: 20 }))).toBe('ERR_NDSHM_TIMEOUT');
    await end(peer);
    await got;
    expect(s.value).toBe(0);
    s.release(2);
    expect(s.value).toBe(2);
    s.close();
    await peer.kill();
  });

  test('gives back what a worker thread held that was terminated', async () => {
    const name = freshName();
    const s = semaphore(name);
    const peer = await peerWith(name, {}, true);
    await peer.on('s', 'acquire');
    const got = s.acquire();
    await peer.on('s', 'terminate');
    await got;
    s.close();
    await peer.kill();
  });

  test('gives back what a killed process held also to one who waits blocked', async () => {
    const name = freshName();
    const holder = await peerWith(name, {});
    const waiter = await peerWith(name, {});
    await holder.on('s', 'acquire');
    const got = waiter.on('s', 'acquireSync');
    await holder.kill();
    await got;
    await waiter.kill();
  });

  test('loses nothing with a process that is killed while it waits', async () => {
    const name = freshName();
    const s = semaphore(name);
    const peer = await peerWith(name, {});
    s.acquireSync();
    await peer.run(({ kept }) => {
      void (kept.get('s') as ndshm.Semaphore).acquire();
    });
    await peer.kill();
    s.release();
    expect([s.value, s.tryAcquire()]).toEqual([1, true]);
    s.close();
  });

  test('is whole wherever a process dies that acquires and releases', async () => {
    const name = freshName();
    const s = semaphore(name, { value: 2 });
    const died = await dyingAtEachStore(
      (peer) => peer.call('s', 'Semaphore', name, { value: 2, ephemeral: true }),
      (peer) =>
        peer.run(async ({ kept }) => {
          const permits = kept.get('s') as ndshm.Semaphore;
          permits.acquireSync();
          await permits.acquire();
          permits.release();
          permits.release();
        }),
      async () => {
        s.acquireSync({ timeoutMs: 5000 });
        await s.acquire({ timeoutMs: 5000 });
        expect([s.tryAcquire(), s.value]).toEqual([false, 0]);
        s.release(2);
        expect(s.value).toBe(2);
      },
    );
    expect(died).toBeGreaterThan(8);
    s.close();
  });

  test('gives permits to callers of one process in the order of their calls', async () => {
    const s = semaphore(freshName(), { value: 0 });
    const order: number[] = [];
    const all = Promise.all([0, 1, 2, 3].map((n) => s.acquire().then(() => order.push(n))));
    s.release(4);
    await all;
    expect(order).toEqual([0, 1, 2, 3]);
    s.close();
  });

  test('gives a waiter up at its timeout, its abort and close()', async () => {
    const s = semaphore(freshName(), { value: 0 });
    const abort = new AbortController();
    const reason = new Error('enough');
    const aborted = s.acquire({ signal: abort.signal });
    abort.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    expect(await codeOf(s.acquire({ timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    expect(thrownBy(() => s.acquireSync({ timeoutMs: 1 })).code).toBe('ERR_NDSHM_TIMEOUT');
    s.release();
    expect(s.value).toBe(1); // none of them took it
    s.acquireSync();
    const waiting = codeOf(s.acquire());
    s.close();
    s.close();
    expect(await waiting).toBe('ERR_NDSHM_CLOSED');
    for (const use of [() => s.value, () => s.tryAcquire(), () => s.release(), () => s.acquireSync()]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
    expect(await codeOf(s.acquire())).toBe('ERR_NDSHM_CLOSED');
  });

  test('run() and runSync() give the permit back, also if the function throws or closes', async () => {
    const s = semaphore(freshName());
    expect(await s.run(() => s.value)).toBe(0);
    expect(s.runSync(() => s.value)).toBe(0);
    const fail = () => {
      throw new Error('mine');
    };
    await expect(s.run(fail)).rejects.toThrow('mine');
    expect(() => s.runSync(fail)).toThrow('mine');
    expect(s.value).toBe(1);
    await s.run(() => s.close());
  });

  test('of the unbounded kind grows by what is released beyond; a bounded one refuses that', async () => {
    const name = freshName();
    const s = semaphore(name);
    s.release(2);
    expect(s.value).toBe(3);
    s.acquireSync();
    s.release(3);
    expect(s.value).toBe(5);
    expect(thrownBy(() => s.release(2 ** 31 - 1)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(s.value).toBe(5);
    s.close();
    const bounded = semaphore(name, { value: 2, bounded: true });
    const peer = await peerWith(name, { value: 2, bounded: true });
    await peer.on('s', 'acquire');
    bounded.acquireSync();
    for (const n of [2, 3]) {
      const error = thrownBy(() => bounded.release(n));
      expect([error.code, error.message]).toEqual(['ERR_NDSHM_OUT_OF_RANGE', expect.stringContaining('holds 1')]);
    }
    expect(bounded.value).toBe(0);
    bounded.release();
    expect(thrownBy(() => bounded.release()).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(bounded.value).toBe(1);
    bounded.close();
    await peer.kill();
  });

  test('without undo, what is used up stays so when its process dies, and anybody may release', async () => {
    const name = freshName();
    const options = { value: 1, undo: false, bounded: true };
    const s = semaphore(name, options);
    const peer = await peerWith(name, options);
    await peer.on('s', 'acquire');
    await peer.kill();
    expect([s.value, s.tryAcquire()]).toEqual([0, false]);
    s.release();
    expect(s.value).toBe(1);
    expect(thrownBy(() => s.release()).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    s.close();
  });

  test('refuses wrong options, and a name that was made otherwise', () => {
    const name = freshName();
    const s = semaphore(name, { value: 2 });
    const other = () => new ndshm.Semaphore(name, { value: 3 });
    const event = () => new ndshm.Event(name);
    expect([thrownBy(other).code, thrownBy(event).code]).toEqual(['ERR_NDSHM_MISMATCH', 'ERR_NDSHM_MISMATCH']);
    expect(thrownBy(() => semaphore(name, { value: 2, bounded: true })).code).toBe('ERR_NDSHM_MISMATCH');
    for (const value of [-1, 0.5, 2 ** 31]) {
      expect(thrownBy(() => semaphore(name, { value })).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    }
    for (const n of [0, -1, 1.5]) expect(thrownBy(() => s.release(n)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(thrownBy(() => semaphore(name, { permits: 2 } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => semaphore(name, { bounded: 1 } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    s.close();
  });
});

describeWithNumpy('a semaphore beside Python', () => {
  const program = `
import multiprocessing
def run(kind, ops):
    s = getattr(multiprocessing, kind)(2)
    seen = []
    for op in ops:
        try:
            seen.append(s.acquire(False) if op == 'acquire' else s.release())
        except ValueError:
            seen.append('refused')
        seen.append(s.get_value())
    return seen
print(json.dumps([run(kind, given) for kind in ('Semaphore', 'BoundedSemaphore')]))
`;
  test('does the same as multiprocessing.Semaphore and BoundedSemaphore', () => {
    const ops = Array.from({ length: 60 }, (_, n) => ((n * n + (n >> 2)) % 5 < 3 ? 'acquire' : 'release'));
    const expected = runPython<unknown[][]>(program, ops);
    for (const [n, bounded] of [false, true].entries()) {
      const s = semaphore(freshName(), { value: 2, bounded });
      const seen = ops.flatMap((op): unknown[] => {
        if (op === 'acquire') return [s.tryAcquire(), s.value];
        try {
          s.release();
          return [null, s.value];
        } catch {
          return ['refused', s.value];
        }
      });
      expect(seen).toEqual(expected[n]);
      s.close();
    }
  });
});
