import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { describeWithNumpy, runPython } from '../helpers/python';
import { freshName, thrownBy } from '../helpers/shm';
import { codeOf, dyingAtEachStore } from '../helpers/sync';

const broken = 'ERR_NDSHM_BROKEN_BARRIER';

const barrier = (name: string, parties: number, action?: ndshm.BarrierOptions['action']) =>
  new ndshm.Barrier(name, { parties, ephemeral: true, ...(action === undefined ? {} : { action }) });

async function peersWith(name: string, parties: number, count = parties): Promise<Peer[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const peer = await Peer.start({ thread: n === 2 });
      await peer.call('b', 'Barrier', name, { parties, ephemeral: true });
      return peer;
    }),
  );
}

/** Once so many have arrived. They arrive in other processes: looked for, as nothing tells. */
async function arrivals(b: ndshm.Barrier, count: number): Promise<void> {
  while (b.waiting < count) await new Promise(setImmediate);
}

const sorted = (places: unknown[]) => [...places].sort((a, b) => Number(a) - Number(b));

describe('a barrier', () => {
  test.each(['wait', 'waitSync'])('lets all parties go at once, round after round, by %s()', async (how) => {
    const name = freshName();
    const b = barrier(name, 4);
    const reached = new ndshm.Value(`${name}-reached`, { ephemeral: true });
    const peers = await peersWith(name, 4);
    const rounds = 200;
    const places = await Promise.all(
      peers.map((peer) =>
        peer.run(
          async ({ ndshm, kept }, counter, how, rounds) => {
            const b = kept.get('b') as ndshm.Barrier;
            const reached = new ndshm.Value(counter, { ephemeral: true });
            const places: number[] = [];
            for (let round = 1; round <= rounds; round++) {
              reached.add(1);
              places.push(how === 'wait' ? await b.wait() : b.waitSync());
              if (reached.load() < 4 * round) throw new Error('let go before all had arrived');
              if (reached.load() > 4 * (round + 1)) throw new Error('a round ahead');
            }
            reached.close();
            return places;
          },
          `${name}-reached`,
          how,
          rounds,
        ),
      ),
    );
    for (let round = 0; round < rounds; round++) {
      expect(sorted(places.map((each) => each[round]))).toEqual([0, 1, 2, 3]);
    }
    expect(b.waiting).toBe(0);
    b.close();
    reached.close();
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('of one party never waits, and several parties may be of one process', async () => {
    const one = barrier(freshName(), 1);
    expect([await one.wait(), one.waitSync()]).toEqual([0, 0]);
    one.close();
    const three = barrier(freshName(), 3);
    expect(await Promise.all([three.wait(), three.wait(), three.wait()])).toEqual([0, 1, 2]);
    three.close();
  });

  test.each([
    ['is killed', (peer: Peer) => peer.kill()],
    ['closes it', (peer: Peer) => peer.on('b', 'close')],
  ])('breaks for all who wait when one of them %s', async (_how, end) => {
    const name = freshName();
    const b = barrier(name, 4);
    const [first, second] = (await peersWith(name, 4, 2)) as [Peer, Peer];
    const waits = [codeOf(b.wait()), codeOf(first.on('b', 'waitSync')), codeOf(second.on('b', 'wait'))];
    await arrivals(b, 3);
    await end(second);
    expect(await Promise.all(waits.slice(0, 2))).toEqual([broken, broken]);
    expect([b.broken, b.waiting]).toEqual([true, 0]);
    expect(await codeOf(b.wait())).toBe(broken);
    expect(await codeOf(first.on('b', 'wait'))).toBe(broken);
    b.reset();
    expect(b.broken).toBe(false);
    const places = [b.wait(), b.wait(), first.on('b', 'wait'), first.on('b', 'wait')];
    expect(sorted(await Promise.all(places))).toEqual([0, 1, 2, 3]);
    b.close();
    await Promise.all([first.kill(), second.kill()]);
  });

  test('that nobody waits at does not mind who dies', async () => {
    const name = freshName();
    const b = barrier(name, 2);
    const [first, second] = (await peersWith(name, 2)) as [Peer, Peer];
    await Promise.all([first.on('b', 'wait'), second.on('b', 'wait')]);
    await first.kill();
    expect(sorted(await Promise.all([b.wait(), second.on('b', 'wait')]))).toEqual([0, 1]);
    b.close();
    await second.kill();
  });

  test.each([false, true])(
    'is passed, broken or still to be reached wherever a process dies, with action: %s',
    async (acts) => {
      const name = freshName();
      const action = acts ? () => {} : undefined;
      const b = barrier(name, 2, action);
      let waiting: Promise<unknown> = Promise.resolve();
      const seen = new Set<unknown>();
      const died = await dyingAtEachStore(
        async (peer) => {
          await peer.run(
            ({ ndshm, kept }, name, acts) => {
              const action = acts ? { action: () => {} } : {};
              kept.set('b', new ndshm.Barrier(name, { parties: 2, ephemeral: true, ...action }));
            },
            name,
            acts,
          );
          waiting = b.wait().catch((error: ndshm.CodedError) => error.code);
          await arrivals(b, 1);
        },
        (peer) => peer.on('b', 'wait'),
        async () => {
          // Who died had not arrived: the next one makes it complete. If it has arrived and died, that is told at once.
          const next = b.wait({ timeoutMs: 5000 }).catch((error: ndshm.CodedError) => error.code);
          const first = await waiting;
          seen.add(first);
          expect([0, broken]).toContain(first);
          if (first === broken) b.reset();
          else if (b.waiting === 1) await b.wait(); // it was let go, and `next` is of the round after
          await next;
          if (b.broken) b.reset();
          expect(await Promise.all([b.wait(), b.wait()])).toEqual([0, 1]);
        },
      );
      expect(died).toBeGreaterThan(2);
      expect(seen.has(broken)).toBe(acts);
      b.close();
    },
  );

  test('is broken for the others by one whose time is up, or whose signal aborts', async () => {
    const name = freshName();
    const b = barrier(name, 3);
    const [peer] = (await peersWith(name, 3, 1)) as [Peer];
    const other = codeOf(peer.on('b', 'waitSync'));
    await arrivals(b, 1);
    expect(await codeOf(b.wait({ timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    expect(await other).toBe(broken);
    b.reset();
    expect(thrownBy(() => b.waitSync({ timeoutMs: 1 })).code).toBe('ERR_NDSHM_TIMEOUT');
    expect(b.broken).toBe(true);
    b.reset();
    const abort = new AbortController();
    const reason = new Error('enough');
    const aborted = b.wait({ signal: abort.signal });
    const waits = codeOf(b.wait());
    await arrivals(b, 2);
    abort.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    expect(await waits).toBe(broken);
    b.close();
    await peer.kill();
  });

  test('reset() throws those out who wait, and a newcomer is of the next round', async () => {
    const name = freshName();
    const b = barrier(name, 3);
    const [peer] = (await peersWith(name, 3, 1)) as [Peer];
    const waits = [codeOf(b.wait()), codeOf(peer.on('b', 'wait'))];
    await arrivals(b, 2);
    b.reset();
    const places = [b.wait(), b.wait(), peer.on('b', 'wait')];
    expect(await Promise.all(waits)).toEqual([broken, broken]);
    expect(sorted(await Promise.all(places))).toEqual([0, 1, 2]);
    b.close();
    await peer.kill();
  });

  test('abort() throws everybody out, also those who come later', async () => {
    const name = freshName();
    const b = barrier(name, 3);
    const [peer] = (await peersWith(name, 3, 1)) as [Peer];
    const waits = [codeOf(b.wait()), codeOf(peer.on('b', 'wait'))];
    await arrivals(b, 2);
    await peer.on('b', 'abort');
    expect(await Promise.all(waits)).toEqual([broken, broken]);
    expect(await codeOf(b.wait())).toBe(broken);
    expect(b.broken).toBe(true);
    b.close();
    await peer.kill();
  });

  test('the last to arrive runs its action, once, before anybody goes on', async () => {
    const log: string[] = [];
    const name = freshName();
    const act = async () => {
      await new Promise(setImmediate);
      log.push('action');
    };
    const [a, b] = [barrier(name, 2, act), barrier(name, 2, act)] as const;
    const went = (place: number) => log.push(`${place}`);
    await Promise.all([a.wait().then(went), b.wait().then(went)]);
    expect(log[0]).toBe('action');
    expect(log.slice(1).sort()).toEqual(['0', '1']);
    a.close();
    b.close();
  });

  test.each(['wait', 'waitSync'] as const)(
    'an action that fails in %s() breaks it, and the failure is its own',
    async (how) => {
      const name = freshName();
      const fail = () => {
        throw new Error('mine');
      };
      const [a, b] = [barrier(name, 2, fail), barrier(name, 2, fail)] as const;
      const first = codeOf(a.wait());
      await arrivals(b, 1);
      await expect((async () => b[how]())()).rejects.toThrow('mine');
      expect(await first).toBe(broken);
      expect(b.broken).toBe(true);
      a.close();
      b.close();
    },
  );

  test('an action that dies in its process breaks it; one that returns a promise does not suit waitSync()', async () => {
    const name = freshName();
    const b = barrier(name, 2, async () => {});
    const [peer] = await peersWith(name, 2, 1);
    const acting = peer?.run(({ ndshm, kept }, name) => {
      (kept.get('b') as ndshm.Barrier).close();
      const action = () => process.kill(process.pid, 'SIGKILL') as never;
      return new ndshm.Barrier(name, { parties: 2, ephemeral: true, action }).wait();
    }, name);
    acting?.catch(() => {});
    expect(await codeOf(b.wait())).toBe(broken);
    b.reset();
    const first = codeOf(b.wait());
    await arrivals(b, 1);
    expect(thrownBy(() => b.waitSync()).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(await first).toBe(broken);
    b.close();
  });

  test('rejects who waits at close(), and refuses wrong options', async () => {
    const name = freshName();
    const b = barrier(name, 2);
    expect(thrownBy(() => barrier(name, 3)).code).toBe('ERR_NDSHM_MISMATCH');
    expect(thrownBy(() => barrier(name, 0)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(thrownBy(() => new ndshm.Barrier(name, {} as ndshm.BarrierOptions)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => barrier(name, 2, 1 as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(b.parties).toBe(2);
    const waiting = codeOf(b.wait());
    b.close();
    b.close();
    expect(await waiting).toBe('ERR_NDSHM_CLOSED');
    for (const use of [() => b.waiting, () => b.broken, () => b.abort(), () => b.reset(), () => b.waitSync()]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
  });
});

describeWithNumpy('a barrier beside Python', () => {
  const program = `
import threading, time
def outcome(wait, *args):
    try: return wait(*args)
    except threading.BrokenBarrierError: return 'broken'
    except Exception as e: return str(e)
def meet(b, waits, meanwhile=None):
    """What so many waits give; meanwhile() runs once all of them are inside."""
    seen = [None] * len(waits)
    def one(n): seen[n] = outcome(b.wait, *waits[n])
    threads = []
    for n in range(len(waits)):
        threads.append(threading.Thread(target=one, args=(n,)))
        threads[-1].start()
        while meanwhile is not None and b.n_waiting <= n: time.sleep(0.001)
    if meanwhile: meanwhile()
    for each in threads: each.join()
    return sorted(map(str, seen)) + [b.n_waiting, b.broken]
def fail(): raise Exception('mine')
b = threading.Barrier(3)
print(json.dumps([
    meet(b, [(), (), ()]),
    meet(b, [(), ()], b.reset),
    meet(b, [(), (), ()]),
    meet(b, [(), ()], b.abort),
    meet(b, [()]),
    (b.reset(), meet(b, [(), (), ()]))[1],
    meet(threading.Barrier(3, fail), [(), (), ()]),
    (b.abort(), b.abort(), b.reset(), b.reset(), meet(b, [(), (), ()]))[4],
]))
`;
  test('gives what threading.Barrier gives', async () => {
    const expected = runPython<unknown[]>(program);
    const outcome = (wait: Promise<number>) =>
      wait.then(String, (error: ndshm.CodedError) => (error.code === broken ? 'broken' : error.message));
    const meet = async (b: ndshm.Barrier, waits: number, meanwhile?: () => void) => {
      const all = Array.from({ length: waits }, () => outcome(b.wait()));
      if (meanwhile !== undefined) await arrivals(b, waits);
      meanwhile?.();
      return [...(await Promise.all(all)).sort(), b.waiting, b.broken];
    };
    const b = barrier(freshName(), 3);
    const failing = barrier(freshName(), 3, () => {
      throw new Error('mine');
    });
    const seen = [
      await meet(b, 3),
      await meet(b, 2, () => b.reset()),
      await meet(b, 3),
      await meet(b, 2, () => b.abort()),
      await meet(b, 1),
    ];
    b.reset();
    seen.push(await meet(b, 3), await meet(failing, 3));
    for (const again of ['abort', 'abort', 'reset', 'reset'] as const) b[again]();
    seen.push(await meet(b, 3));
    expect(seen).toEqual(expected);
    b.close();
    failing.close();
  });
});
