import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { describeWithNumpy, runPython } from '../helpers/python';
import { freshName, thrownBy } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

const condition = (name: string) => new ndshm.Condition(name, { ephemeral: true });

async function peerWith(name: string, thread = false): Promise<Peer> {
  const peer = await Peer.start({ thread });
  await peer.call('c', 'Condition', name, { ephemeral: true });
  return peer;
}

/** Has a peer wait, and is there once it does: it can be notified from now on. What the wait comes to, is `outcome`. */
async function waiting(peer: Peer, how = 'wait'): Promise<{ outcome: Promise<string> }> {
  const begun = peer.run(async ({ kept }, how) => {
    const c = kept.get('c') as ndshm.Condition;
    await c.acquire();
    if (how === 'waitSync') return; // blocks, so that the answer has to go first
    const wait = c.wait().then(
      () => 'notified',
      (error) => error.code,
    );
    kept.set(
      'wait',
      wait.finally(() => !c.closed && c.release()),
    );
  }, how);
  await begun;
  const outcome = peer.run(({ kept }, how) => {
    if (how === 'wait') return kept.get('wait') as Promise<string>;
    const c = kept.get('c') as ndshm.Condition;
    c.waitSync();
    c.release();
    return 'notified';
  }, how);
  outcome.catch(() => {});
  return { outcome };
}

describe('a condition', () => {
  test('is a lock among processes', async () => {
    const name = freshName();
    const c = condition(name);
    const peer = await peerWith(name);
    await c.acquire();
    expect(await peer.on('c', 'tryAcquire')).toBe(undefined);
    expect(await codeOf(peer.on('c', 'acquire', { timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    const got = peer.on('c', 'acquireSync');
    c.release();
    expect(await got).toEqual({ abandoned: false });
    expect(c.tryAcquire()).toBe(undefined);
    await peer.on('c', 'release');
    expect(c.tryAcquire()).toEqual({ abandoned: false });
    c.release();
    expect(await c.run(() => 5)).toBe(5);
    expect(c.runSync(() => 6)).toBe(6);
    await expect(c.run(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    c.acquireSync({ timeoutMs: 0 });
    c.release();
    c.close();
    await peer.kill();
  });

  test.each([1, 2, 3, 4])('notify(%s) wakes so many, the longest waiting first, each once', async (n) => {
    const name = freshName();
    const c = condition(name);
    const peers = await Promise.all([peerWith(name), peerWith(name), peerWith(name, true)]);
    const order: number[] = [];
    const waits: Promise<unknown>[] = [];
    for (const [at, peer] of peers.entries()) {
      const { outcome } = await waiting(peer, at === 1 ? 'waitSync' : 'wait');
      if (at === 1) await c.run(() => {}); // it waits by then: it held the lock until it did
      waits.push(outcome.then(() => order.push(at)));
    }
    await c.run(() => c.notify(n));
    await Promise.all(waits.slice(0, n));
    expect(order.toSorted((a, b) => a - b)).toEqual([0, 1, 2].slice(0, n));
    // Nobody else has been woken: those who are left take exactly the notifications that come now.
    for (let left = n; left < 3; left++) {
      await c.run(() => c.notify());
      await waits[left];
    }
    expect(order).toHaveLength(3);
    c.close();
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('notifyAll() wakes all who wait, and nobody who waits later', async () => {
    const c = condition(freshName());
    const log: string[] = [];
    const waits = ['a', 'b', 'c'].map((name) => c.run(() => c.wait().then(() => log.push(name))));
    await c.run(() => c.notifyAll());
    await Promise.all(waits);
    expect(log).toEqual(['a', 'b', 'c']);
    await c.run(() => c.notify(5));
    expect(await codeOf(c.run(() => c.wait({ timeoutMs: 20 })))).toBe('ERR_NDSHM_TIMEOUT');
    c.close();
  });

  test('a notified waiter that dies before it has the lock again passes its notification on', async () => {
    const name = freshName();
    const c = condition(name);
    const first = await peerWith(name);
    const second = await peerWith(name);
    await waiting(first);
    const { outcome } = await waiting(second);
    await c.acquire();
    c.notify();
    // The first one cannot take the lock before it is killed: we hold it.
    await first.kill();
    c.release();
    expect(await outcome).toBe('notified');
    c.close();
    await second.kill();
  });

  test('a waiter that died takes no notification, and keeps none for those who wait later', async () => {
    const name = freshName();
    const c = condition(name);
    const first = await peerWith(name);
    const second = await peerWith(name);
    await waiting(first);
    const { outcome } = await waiting(second);
    await first.kill();
    await c.run(() => c.notify());
    expect(await outcome).toBe('notified');
    await waiting(second);
    await c.acquire();
    c.notify();
    await second.kill();
    c.release();
    expect(await codeOf(c.run(() => c.wait({ timeoutMs: 20 })))).toBe('ERR_NDSHM_TIMEOUT');
    c.close();
  });

  test('waitFor() hands a shared counter between processes', async () => {
    const name = freshName();
    const c = condition(name);
    const counter = ndshm.create(`${name}-counter`, { shape: 1, dtype: 'int32', ephemeral: true });
    const peers = await Promise.all([0, 1, 2].map((n) => peerWith(name, n === 2)));
    const rounds = 60;
    const turns = peers.map((peer, me) =>
      peer.run(
        async ({ ndshm, kept }, counterName, me, rounds) => {
          const c = kept.get('c') as ndshm.Condition;
          const counter = ndshm.open(counterName, { mode: 'r+' });
          const mine = () => Number(counter.get(0)) % 3 === me;
          for (let round = 0; round < rounds; round++) {
            if (round % 2 === 0) await c.run(() => c.waitFor(mine));
            c.runSync(() => {
              if (round % 2 === 1) c.waitForSync(mine);
              counter.set(0, Number(counter.get(0)) + 1);
              c.notifyAll();
            });
          }
          counter.close();
        },
        `${name}-counter`,
        me,
        rounds,
      ),
    );
    await Promise.all(turns);
    expect(counter.get(0)).toBe(3 * rounds);
    counter.close();
    c.close();
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('waitFor() gives what the predicate gave, and looks once more when the time is up', async () => {
    const c = condition(freshName());
    let looks = 0;
    expect(await c.run(() => c.waitFor(() => 'at once'))).toBe('at once');
    expect(await c.run(() => c.waitFor(() => (++looks === 2 ? looks : 0), { timeoutMs: 1 }))).toBe(2);
    expect(c.runSync(() => c.waitForSync(() => (++looks === 4 ? looks : 0), { timeoutMs: 1 }))).toBe(4);
    expect(await codeOf(c.run(() => c.waitFor(() => false, { timeoutMs: 1 })))).toBe('ERR_NDSHM_TIMEOUT');
    expect(thrownBy(() => c.runSync(() => c.waitForSync(() => false, { timeoutMs: 1 }))).code).toBe(
      'ERR_NDSHM_TIMEOUT',
    );
    expect(await codeOf(c.waitFor('no' as never))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    c.close();
  });

  test('the lock is held again however a wait has ended', async () => {
    const name = freshName();
    const c = condition(name);
    const peer = await peerWith(name);
    await c.acquire();
    const abort = new AbortController();
    const reason = new Error('enough');
    const wait = c.wait({ signal: abort.signal });
    await peer.on('c', 'acquire');
    abort.abort(reason);
    const ended = jest.fn();
    wait.catch(ended);
    await peer.on('c', 'notify', 0); // the peer still has the lock, and so the wait cannot end
    expect(ended).not.toHaveBeenCalled();
    await peer.on('c', 'release');
    await expect(wait).rejects.toBe(reason);
    expect(await peer.on('c', 'tryAcquire')).toBe(undefined);
    c.release();
    await expect(c.run(() => c.wait({ signal: abort.signal }))).rejects.toBe(reason);
    expect(thrownBy(() => c.runSync(() => c.waitSync({ timeoutMs: 1 }))).code).toBe('ERR_NDSHM_TIMEOUT');
    c.acquireSync({ timeoutMs: 1000 });
    c.release();
    c.close();
    await peer.kill();
  });

  test('tells of one who died inside the lock, until it is repaired', async () => {
    const name = freshName();
    const c = condition(name);
    const peer = await peerWith(name);
    const other = await peerWith(name);
    const { outcome } = await waiting(other);
    await peer.run(async ({ kept }) => {
      const c = kept.get('c') as ndshm.Condition;
      await c.acquire();
      c.notify();
    });
    await peer.kill();
    expect(await codeOf(c.acquire({ timeoutMs: 5000 }))).toBe('ERR_NDSHM_ABANDONED');
    expect(await codeOf(c.run(() => {}))).toBe('ERR_NDSHM_ABANDONED');
    const failing = () => Promise.reject(new Error('mine'));
    await expect(c.run(failing, { onAbandoned: 'repair' })).rejects.toThrow('mine');
    expect(await codeOf(c.run(() => {}))).toBe('ERR_NDSHM_ABANDONED');
    const { abandoned } = await c.acquire({ onAbandoned: 'repair' });
    expect(abandoned).toBe(true);
    c.notifyAll();
    c.release();
    await expect(outcome).resolves.toMatch(/notified|ERR_NDSHM_ABANDONED/);
    expect(await c.run((hold) => hold.abandoned)).toBe(false);
    c.close();
    await other.kill();
  });

  test('refuses what needs the lock from one who does not hold it, and wrong arguments', async () => {
    const c = condition(freshName());
    for (const use of [() => c.release(), () => c.notify(), () => c.notifyAll(), () => c.waitSync()]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_NOT_OWNED');
    }
    expect(await codeOf(c.wait())).toBe('ERR_NDSHM_NOT_OWNED');
    await c.run(async () => {
      expect(thrownBy(() => c.notify(-1)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
      expect(await codeOf(c.wait({ timeoutMs: -1 }))).toBe('ERR_NDSHM_OUT_OF_RANGE');
      expect(await codeOf(c.wait({ timeout: 1 } as object))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      c.notify(0); // still held
    });
    expect(thrownBy(() => new ndshm.Condition('x', { lock: 1 } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => new ndshm.Event(c.name)).code).toBe('ERR_NDSHM_MISMATCH');
    c.close();
  });

  test('takes 1024 waiters and refuses one more, which has the lock still', async () => {
    const name = freshName();
    const c = condition(name);
    const peer = await peerWith(name);
    const waits = peer.run(async ({ kept }) => {
      const c = kept.get('c') as ndshm.Condition;
      const waits: Promise<void>[] = [];
      for (let n = 0; n < 1024; n++) waits.push(c.run(() => c.wait()));
      await c.run(() => {}); // the last of them waits by then
      kept.set('waits', waits);
    });
    await waits;
    await c.acquire();
    expect(await codeOf(c.wait())).toBe('ERR_NDSHM_FULL');
    c.notifyAll();
    c.release();
    const all = await peer.run(async ({ kept }) => (await Promise.all(kept.get('waits') as Promise<void>[])).length);
    expect(all).toBe(1024);
    c.close();
    await peer.kill();
  });

  test('rejects who waits at close()', async () => {
    const c = condition(freshName());
    const wait = codeOf(c.run(() => c.wait()));
    await c.run(() => {});
    c.close();
    c.close();
    expect(await wait).toBe('ERR_NDSHM_CLOSED');
    for (const use of [() => c.acquireSync(), () => c.notify(), () => c.waitSync()]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
  });
});

describeWithNumpy('a condition beside Python', () => {
  const program = `
import threading
c = threading.Condition()
def counts(waiters, notifications):
    """How many have been woken after each notify(n), of so many waiters."""
    def wait():
        with c:
            ready.release()
            c.wait()
    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=wait) for _ in range(waiters)]
    for each in threads: each.start()
    for _ in threads: ready.acquire()
    seen = []
    for n in notifications:
        with c:
            c.notify(n)
            seen.append(waiters - len(c._waiters))
    for each in threads: each.join()
    return seen
print(json.dumps([counts(*each) for each in given]))
`;
  test('wakes as many as threading.Condition does', async () => {
    const cases: [number, number[]][] = [
      [3, [1, 1, 1]],
      [4, [2, 0, 5]],
      [5, [5, 1]],
      [2, [0, 1, 1]],
    ];
    const expected = runPython<number[][]>(program, cases);
    const c = condition(freshName());
    const seen = [];
    for (const [waiters, notifications] of cases) {
      let woken = 0;
      const waits = Array.from({ length: waiters }, () => c.run(() => c.wait().then(() => woken++)));
      const counts = [];
      for (const n of notifications) {
        await c.run(() => c.notify(n));
        // A wait that begins now comes behind them all: whoever is notified has gone on when its time is up.
        await codeOf(c.run(() => c.wait({ timeoutMs: 20 })));
        counts.push(woken);
      }
      await Promise.all(waits);
      seen.push(counts);
    }
    expect(seen).toEqual(expected);
    c.close();
  });
});
