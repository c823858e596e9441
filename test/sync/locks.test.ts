import { AsyncLocalStorage } from 'node:async_hooks';
import * as ndshm from 'ndshm';
import { randomFrom, rejection, within } from '../helpers/child';
import { deferred, LockPeer } from '../helpers/lock-peer';
import { exists, freshName, thrownBy } from '../helpers/shm';

// What LockManager is beyond the Web Locks API (test/sync/web-locks.test.ts): across processes that are killed, stopped
// and left alone, and as an object with a segment.

let segment: string;
let manager: ndshm.LockManager;
const peers: LockPeer[] = [];
beforeEach(async () => {
  segment = freshName('locks');
  manager = new ndshm.LockManager(segment);
  await manager.query(); // opens it: the last to close it takes its name away, and a killed peer cannot
});
afterEach(async () => {
  await Promise.all(peers.splice(0).map((peer) => peer.kill()));
  manager.close();
  if (exists(segment)) throw new Error('The segment outlives its last user');
});

async function startPeer(options?: { thread: boolean }): Promise<LockPeer> {
  const peer = await LockPeer.start(segment, options);
  peers.push(peer);
  return peer;
}

const never = new Promise<never>(() => {});
/** Requests a lock and holds it until `release` is called. */
function hold(name: string, options: ndshm.LockOptions = {}, from = manager) {
  const granted = deferred();
  const { promise, resolve: release } = deferred();
  const released = from.request(name, options, () => {
    granted.resolve();
    return promise;
  });
  released.catch(() => {}); // where a test does not look at it
  return { granted: granted.promise, released, release };
}
const isAvailable = (name: string, options: ndshm.LockOptions = {}) =>
  manager.request(name, { ...options, ifAvailable: true }, (lock) => lock !== null);

/** The table of lib/sync/lock-table.ts; behind it there are the names. */
function wordsOf({ data }: ndshm.SharedArray): Int32Array {
  const names = (1024 * 512) / 4;
  const table = 2 + 1024 + 1024 * 8;
  return (data as Int32Array).subarray(data.length - names - table, data.length - names);
}

describe('between processes', () => {
  test('a released lock goes to the next, in the order of the requests and not of the processes', async () => {
    const [one, two] = [await startPeer(), await startPeer()];
    const order: string[] = [];
    const mine = hold('a');
    await mine.granted;
    const first = await two.request('a');
    const second = await one.request('a');
    const third = manager.request('a', () => order.push('here'));
    const fourth = await two.request('a');
    mine.release();
    for (const [which, request] of Object.entries({ first, second })) {
      await request.granted();
      order.push(which);
      request.release(which);
      expect(await request.settled()).toEqual({ value: which });
    }
    await third;
    await fourth.granted();
    expect(order).toEqual(['first', 'second', 'here']);
  });

  test('a released lock is the next one’s before that has noticed', async () => {
    const peer = await startPeer();
    const mine = hold('a');
    await mine.granted;
    await peer.request('a');
    peer.process.kill('SIGSTOP');
    mine.release();
    await mine.released;
    expect(await manager.query()).toMatchObject({ held: [{ name: 'a', pid: peer.pid }], pending: [] });
  });

  test('the order of requests is not that of their places in the table', async () => {
    const order: number[] = [];
    const first = hold('first of all');
    const mine = hold('a');
    await mine.granted;
    const one = manager.request('a', () => order.push(1));
    first.release();
    await first.released; // whose place the next one takes
    const two = manager.request('a', () => order.push(2));
    expect((await manager.query()).pending).toHaveLength(2);
    mine.release();
    await Promise.all([one, two]);
    expect(order).toEqual([1, 2]);
  });

  test('a holder may stop for as long as it likes', async () => {
    const peer = await startPeer();
    await peer.hold('a');
    const waiting = hold('a');
    peer.process.kill('SIGSTOP');
    expect(await isAvailable('a')).toBe(false);
    const { held, pending } = await manager.query();
    expect([held.length, pending.length]).toEqual([1, 1]);
    await peer.kill();
    await within(waiting.granted, 'grant');
  });

  test('an abort over there lets the next one here through', async () => {
    const peer = await startPeer();
    const mine = hold('a', { mode: 'shared' });
    await mine.granted;
    const exclusive = await peer.request('a', { abortable: true });
    const shared = hold('a', { mode: 'shared' });
    expect((await manager.query()).pending.map(({ mode }) => mode)).toEqual(['exclusive', 'shared']);
    exclusive.abort('changed my mind');
    await within(shared.granted, 'grant');
    expect((await exclusive.settled()).error?.text).toBe('changed my mind');
  });

  test('query() tells whose locks they are, the same in every process', async () => {
    const [one, two] = [await startPeer(), await startPeer({ thread: true })];
    await one.hold('a', { mode: 'shared' });
    await two.hold('a', { mode: 'shared' });
    const waiting = hold('a');
    const here = await manager.query();
    expect(here.held).toMatchObject([
      { name: 'a', mode: 'shared', pid: one.pid },
      { name: 'a', mode: 'shared', pid: two.pid },
    ]);
    expect(here.pending).toMatchObject([{ name: 'a', mode: 'exclusive', pid: process.pid }]);
    expect(new Set([...here.held, ...here.pending].map(({ clientId }) => clientId)).size).toBe(3);
    expect(await one.query()).toEqual(here);
    expect(await two.query()).toEqual(here);
    waiting.released.catch(() => {});
  });
});

describe('killed with SIGKILL', () => {
  test('a holder’s lock goes to the next at once', async () => {
    for (let round = 0; round < 5; round++) {
      const peer = await startPeer();
      await peer.hold('a');
      const waiting = hold('a');
      expect(await isAvailable('a')).toBe(false);
      const exited = peer.kill();
      await within(waiting.granted, 'grant');
      waiting.release();
      await waiting.released;
      await exited;
    }
  });

  test('a holder’s lock is granted to a request that comes later', async () => {
    const peer = await startPeer();
    await peer.hold('a');
    await peer.kill();
    expect((await manager.query()).held).toEqual([]);
    expect(await isAvailable('a')).toBe(true);
  });

  test('one of several shared holders keeps an exclusive request waiting no longer', async () => {
    const [one, two] = [await startPeer(), await startPeer()];
    await one.hold('a', { mode: 'shared' });
    const theirs = await two.hold('a', { mode: 'shared' });
    const waiting = hold('a');
    await one.kill();
    expect((await manager.query()).held.map(({ pid }) => pid)).toEqual([two.pid]);
    theirs.release();
    await within(waiting.granted, 'grant');
  });

  test('the first in the queue lets those behind it through', async () => {
    const peer = await startPeer();
    const mine = hold('a', { mode: 'shared' });
    await mine.granted;
    await peer.request('a');
    const shared = hold('a', { mode: 'shared' });
    expect((await manager.query()).pending).toHaveLength(2);
    await peer.kill();
    await within(shared.granted, 'grant');
  });

  test('one in the middle of the queue does not tear it', async () => {
    const [one, two, three] = [await startPeer(), await startPeer(), await startPeer()];
    const mine = hold('a');
    await mine.granted;
    const first = await one.request('a');
    await two.request('a');
    const third = await three.request('a');
    await two.kill();
    // Whoever waits behind the dead removes its request, rather than watch it for ever.
    const array = ndshm.open(segment, { mode: 'r' });
    const states = wordsOf(array).subarray(2, 2 + 1024);
    for (const end = Date.now() + 5_000; states.filter((state) => state !== 0).length > 3; ) {
      if (Date.now() > end) throw new Error('The dead one’s request is still in the table');
      await new Promise(setImmediate);
    }
    array.close();
    mine.release();
    await first.granted();
    expect((await manager.query()).pending.map(({ pid }) => pid)).toEqual([three.pid]);
    first.release();
    await third.granted();
  });

  test('the holder and the first two of the queue leave the lock to the third', async () => {
    const [holder, one, two, three] = [await startPeer(), await startPeer(), await startPeer(), await startPeer()];
    await holder.hold('a');
    await one.request('a');
    await two.request('a');
    const third = await three.request('a');
    await Promise.all([one.kill(), two.kill(), holder.kill()]);
    expect(await third.granted()).toMatchObject({ name: 'a' });
  });

  test('a process with a thousand locks leaves room for as many', async () => {
    const peer = await startPeer();
    for (let n = 0; n < 1000; n += 250) {
      await Promise.all(Array.from({ length: 250 }, (_, k) => peer.hold(`lock ${n + k}`)));
    }
    expect((await manager.query()).held).toHaveLength(1000);
    await peer.kill();
    const mine = Array.from({ length: 1024 }, (_, n) => hold(`mine ${n}`));
    await Promise.all(mine.map(({ granted }) => granted));
    expect((await manager.query()).held).toHaveLength(1024);
  });

  // NDSHM_FUZZ=20 kills twenty times as many.
  test('at random moments, processes leave locks that exclude as before', async () => {
    const array = ndshm.create(freshName('storm'), { shape: 4, dtype: 'int32' });
    const rounds = array.data[3] as number;
    const names = ['a', 'b', 'c'];
    const random = randomFrom(20_251);
    const kills = 12 * Number(process.env['NDSHM_FUZZ'] ?? 1);
    const storming: LockPeer[] = [];
    const join = async () => {
      const peer = await startPeer();
      peer.send({ do: 'storm', array: array.name, names });
      storming.push(peer);
    };
    const goOn = async (peers: number) => {
      const seen = array.data[3] as number;
      while (storming.length < peers) await join();
      // All names in both modes, some rounds each.
      const wanted = seen + 60 + Math.floor(random() * 60);
      const end = Date.now() + 15_000;
      while ((array.data[3] as number) < wanted) {
        if (Date.now() > end) throw new Error(`Stuck: ${JSON.stringify(await manager.query())}`);
        await new Promise(setImmediate);
      }
    };
    for (let n = 0; n < kills; n++) {
      await goOn(3);
      const [victim] = storming.splice(Math.floor(random() * storming.length), 1) as [LockPeer];
      await victim.kill();
      for (const peer of [victim, ...storming]) {
        if (peer.has('violation')) throw new Error(await peer.event<string>('violation'));
      }
    }
    expect(array.data[3]).toBeGreaterThan(rounds);
    array.close();
    ndshm.unlink(array.name as string);
  });
});

describe('killed before any of the words that it stores', () => {
  // Each: what a peer is to do, with a lock that is held or waited for here; whether it is done; and who must get it.
  const shared = { mode: 'shared' } as const;
  const deeds: Record<
    string,
    (peer: LockPeer, die: () => void) => Promise<[Promise<unknown>, () => Promise<unknown>]>
  > = {
    'a request that is granted': async (peer, die) => {
      die();
      return [peer.request('a'), async () => {}];
    },
    'a request that waits': async (peer, die) => {
      const mine = hold('a');
      await mine.granted;
      die();
      return [peer.request('a'), async () => mine.release()];
    },
    'a release': async (peer, die) => {
      const theirs = await peer.hold('a');
      const waiting = [hold('a', shared), hold('a', shared)];
      await manager.query();
      die();
      theirs.release();
      return [
        theirs.settled(),
        async () => {
          await Promise.all(waiting.map(({ granted }) => within(granted, 'grant')));
          for (const { release } of waiting) release();
        },
      ];
    },
    'an abort': async (peer, die) => {
      const mine = hold('a', shared);
      await mine.granted;
      const theirs = await peer.request('a', { abortable: true });
      const behind = hold('a', shared);
      await manager.query();
      die();
      theirs.abort();
      return [
        theirs.settled(),
        async () => {
          await within(behind.granted, 'grant');
          mine.release();
          behind.release();
        },
      ];
    },
    'a theft': async (peer, die) => {
      const mine = hold('a');
      const behind = hold('a');
      await mine.granted;
      die();
      return [
        peer.request('a', { steal: true, exitCode: 0 }),
        async () => {
          mine.release(); // be it ours still or not
          await within(behind.granted, 'grant');
          behind.release();
        },
      ];
    },
  };

  test.each(Object.entries(deeds))('%s leaves the lock to others', async (_, deed) => {
    for (let store = 1, survived = false; !survived; store++) {
      const peer = await startPeer();
      const [done, next] = await deed(peer, () => peer.send({ do: 'dieAt', store }));
      survived = await done.then(
        () => true,
        () => false,
      );
      expect((await peer.kill()).signal).toBe('SIGKILL');
      await next();
      expect(
        await within(
          manager.request('a', () => 'free'),
          'grant',
        ),
      ).toBe('free');
      expect(await manager.query()).toEqual({ held: [], pending: [] });
      if (!survived) expect(store).toBeLessThan(100);
      else expect(store).toBeGreaterThan(3);
    }
  });
});

describe('steal', () => {
  const stolen = { error: { name: 'AbortError', code: 20, text: expect.stringContaining('steal') } };

  test.each([false, true])('tells the holder in another process, with a thread: %s', async (thread) => {
    const peer = await startPeer({ thread });
    const theirs = await peer.hold('a');
    expect(await manager.request('a', { steal: true }, (lock) => lock.mode)).toBe('exclusive');
    expect(await theirs.settled()).toEqual(stolen);
  });

  test('takes the lock from all shared holders, and those who wait get it after the thief', async () => {
    const [one, two] = [await startPeer(), await startPeer()];
    const holders = [await one.hold('a', { mode: 'shared' }), await two.hold('a', { mode: 'shared' })];
    const mine = hold('a', { mode: 'shared' });
    await mine.granted;
    const waiting = await one.request('a');
    const thief = await two.hold('a', { steal: true });
    for (const holder of holders) expect(await holder.settled()).toEqual(stolen);
    await expect(mine.released).rejects.toMatchObject({ name: 'AbortError' });
    expect((await manager.query()).held).toMatchObject([{ pid: two.pid, mode: 'exclusive' }]);
    expect(waiting.isGranted()).toBe(false);
    thief.release();
    await waiting.granted();
  });

  test('leaves the thief’s lock alone when the robbed callback ends', async () => {
    const peer = await startPeer();
    const theirs = await peer.hold('a');
    const thief = hold('a', { steal: true });
    await thief.granted;
    theirs.release('too late');
    expect(await theirs.settled()).toEqual(stolen);
    expect((await peer.query()).held).toMatchObject([{ pid: process.pid }]);
    expect(await isAvailable('a')).toBe(false);
  });

  test('is what a callback that ends at the same moment hears of', async () => {
    const victim = hold('a');
    await victim.granted;
    const thief = manager.request('a', { steal: true }, () => 'stolen');
    victim.release();
    await expect(victim.released).rejects.toMatchObject({ name: 'AbortError' });
    expect(await thief).toBe('stolen');
  });

  test('by a thief who is killed leaves the lock to those who wait', async () => {
    const peer = await startPeer();
    hold('a');
    const waiting = hold('a');
    await peer.hold('a', { steal: true });
    await peer.kill();
    await within(waiting.granted, 'grant');
  });

  test('is noticed by a holder that asked for its lock in the same turn', async () => {
    const first = hold('a');
    const second = hold('a', { steal: true });
    const third = hold('a', { steal: true });
    await third.granted;
    for (const { released } of [first, second]) await expect(released).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('the process', () => {
  test('ends with a lock held, which goes to the next', async () => {
    const peer = await startPeer();
    await peer.hold('a');
    const waiting = hold('a');
    peer.send({ do: 'disconnect' });
    expect(await peer.end()).toEqual({ code: 0, signal: null });
    await within(waiting.granted, 'grant');
  });

  test('lives as long as its request waits', async () => {
    const peer = await startPeer();
    const mine = hold('a');
    await mine.granted;
    await peer.request('a', { exitCode: 7 });
    peer.send({ do: 'disconnect' });
    mine.release();
    expect(await peer.end()).toEqual({ code: 7, signal: null });
  });

  test('takes the default segment away at its end', async () => {
    const name = `ndshm-locks-${process.geteuid?.()}`;
    const others = exists(name); // other programs of this user
    const [one, two] = [await LockPeer.start(''), await LockPeer.start('')];
    const lock = freshName('lock');
    const theirs = await one.hold(lock);
    expect(exists(name)).toBe(true);
    expect(await (await two.request(lock, { ifAvailable: true })).granted()).toBeNull();
    theirs.release();
    await theirs.settled();
    expect(await (await two.request(lock, { exitCode: 0 })).granted()).toMatchObject({ name: lock });
    for (const peer of [one, two]) {
      peer.send({ do: 'disconnect' });
      expect(await peer.end()).toEqual({ code: 0, signal: null });
    }
    expect(exists(name)).toBe(others);
  });
});

describe('at its limits', () => {
  test('1024 requests fit, and one more is refused', async () => {
    const mine = Array.from({ length: 1000 }, (_, n) => hold(`lock ${n}`, { mode: 'shared' }));
    for (let n = 0; n < 24; n++) mine.push(hold('lock 0'));
    expect((await manager.query()).pending).toHaveLength(24);
    for (const options of [{}, { ifAvailable: true }, { steal: true }]) {
      const refused = await rejection(manager.request('one more', options, () => {}));
      expect(refused).toMatchObject({ code: 'ERR_NDSHM_FULL' });
    }
    // A thief needs no room of its own.
    expect(await manager.request('lock 1', { steal: true }, () => 'stolen')).toBe('stolen');
    mine[2]?.release();
    await mine[2]?.released;
    expect(await manager.request('one more', () => 'fits')).toBe('fits');
  });

  test('hundreds who wait for one lock get it in order', async () => {
    const granted: number[] = [];
    await Promise.all(Array.from({ length: 600 }, (_, n) => manager.request('a', () => granted.push(n))));
    expect(granted).toEqual(Array.from({ length: 600 }, (_, n) => n));
  });

  test('a name of 255 units fits, one of 256 does not', async () => {
    const longest = '\uD800'.repeat(255);
    await manager.request(longest, async () => expect((await manager.query()).held).toMatchObject([{ name: longest }]));
    const error = await rejection(manager.request(`${longest}x`, () => {}));
    expect(error).toBeInstanceOf(RangeError);
    expect(error.code).toBe('ERR_NDSHM_OUT_OF_RANGE');
  });

  test('the order holds where the tickets need their second word', async () => {
    const array = ndshm.open(segment, { mode: 'r+' });
    const words = wordsOf(array); // last ticket, high and low, …
    words[1] = -4; // 2 ** 32 - 4
    const granted: number[] = [];
    const all = Array.from({ length: 8 }, (_, n) => manager.request('a', () => granted.push(n)));
    expect((await manager.query()).pending).toHaveLength(7);
    await Promise.all(all);
    expect(granted).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect([...words.subarray(0, 2)]).toEqual([1, 4]);
    array.close();
  });

  test('names that look alike are different', async () => {
    expect(await manager.request('ab', () => isAvailable('a'))).toBe(true);
    expect(await manager.request('a', () => isAvailable('ab'))).toBe(true);
    expect(await manager.request('', () => isAvailable('\0'))).toBe(true);
    // Of one hash in the table.
    expect(await manager.request('lock-1dop8', () => isAvailable('lock-1zp10'))).toBe(true);
  });
});

describe('words that somebody has scribbled over', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('make requests wait or fail, and end nothing else: seed %i', async (seed) => {
    const random = randomFrom(seed);
    const anyWord = () => Math.floor(random() * 2 ** 32);
    const { held } = await manager.request('a', () => manager.query());
    const [slot, generation] = String(held[0]?.clientId).split('-').slice(1).map(Number) as [number, number];
    const array = ndshm.open(segment, { mode: 'r+' });
    const words = wordsOf(array);
    for (let n = 0; n < words.length; n++) {
      // Small numbers are states, modes, slots and generations that mean something.
      if (random() < 0.7) words[n] = random() < 0.5 ? ([0, 1, 2, slot, generation][n % 5] as number) : anyWord();
    }
    const settled = (options: ndshm.LockOptions) =>
      manager.request('a', options, () => 'granted').catch(() => 'failed');
    expect(await manager.query()).toEqual({ held: expect.any(Array), pending: expect.any(Array) });
    for (const options of [{ signal: AbortSignal.timeout(50) }, { ifAvailable: true }, { steal: true }]) {
      expect(await within(settled(options), 'answer')).toMatch(/granted|failed/);
    }
    array.close();
  });
});

describe('the manager', () => {
  test('makes its segment at the first use', async () => {
    const name = freshName('locks');
    const lazy = new ndshm.LockManager(name);
    expect(exists(name)).toBe(false);
    await lazy.query();
    expect(exists(name)).toBe(true);
    lazy.close();
    expect(exists(name)).toBe(false);
  });

  test('of a persistent segment leaves it until unlink()', async () => {
    const name = freshName('locks');
    const options = { ephemeral: false };
    const one = new ndshm.LockManager(name, options);
    await one.query();
    one.close();
    expect(exists(name)).toBe(true);
    const two = new ndshm.LockManager(name, options);
    two.unlink();
    expect(exists(name)).toBe(false);
    expect(await two.request('a', () => 'works on')).toBe('works on');
    two.close();
  });

  test('gives up at close() what it holds and what it waits for', async () => {
    const peer = await startPeer();
    const closing = new ndshm.LockManager(segment);
    const mine = hold('a', {}, closing);
    await mine.granted;
    const waiting = rejection(closing.request('a', () => never));
    const theirs = await peer.request('a');
    closing.close();
    expect(closing.closed).toBe(true);
    await expect(mine.released).rejects.toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
    expect((await waiting).code).toBe('ERR_NDSHM_CLOSED');
    await theirs.granted();
    mine.release();
    closing.close();
  });

  test('does nothing once it is closed, opened before or not', async () => {
    for (const closed of [new ndshm.LockManager(segment), new ndshm.LockManager(freshName('locks'))]) {
      if (closed.name === segment) await closed.query();
      closed[Symbol.dispose]();
      expect((await rejection(closed.request('a', () => {}))).code).toBe('ERR_NDSHM_CLOSED');
      expect((await rejection(closed.query())).code).toBe('ERR_NDSHM_CLOSED');
      expect(thrownBy(() => closed.unlink()).code).toBe('ERR_NDSHM_CLOSED');
      if (closed.name !== segment) expect(exists(closed.name)).toBe(false);
    }
  });

  test('refuses names and options that are wrong, and a segment of something else', async () => {
    const make = (...args: unknown[]) => new (ndshm.LockManager as new (...args: unknown[]) => unknown)(...args);
    expect(thrownBy(() => make()).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => make('a/b')).code).toBe('ERR_NDSHM_INVALID_NAME');
    expect(thrownBy(() => make(segment, { persistent: true })).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');

    const array = ndshm.create(freshName('array'), { shape: 100_000, dtype: 'int32', ephemeral: true });
    const wrong = new ndshm.LockManager(array.name as string);
    expect((await rejection(wrong.request('a', () => {}))).code).toBe('ERR_NDSHM_MISMATCH');
    wrong.close();
    array.close();
  });

  test('refuses requests that are wrong, with our codes', async () => {
    const request = (...args: unknown[]) =>
      rejection((manager.request as (...args: unknown[]) => Promise<unknown>).apply(manager, args));
    for (const args of [
      [123, () => {}],
      ['a', { ifAvailable: 1 }, () => {}],
      ['a', { steal: 'yes' }, () => {}],
      ['a', { timeoutMs: 100 }, () => {}],
      ['a', 'exclusive', () => {}],
    ]) {
      expect(await request(...args)).toMatchObject({ name: 'TypeError', code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    }
    // As on the web.
    expect(await manager.request('a', null as unknown as ndshm.LockOptions, () => 'granted')).toBe('granted');
  });

  test('calls back in the async context of the request', async () => {
    const context = new AsyncLocalStorage<string>();
    const first = hold('a');
    await first.granted;
    const seen = context.run('asked here', () => manager.request('a', () => context.getStore()));
    first.release();
    expect(await seen).toBe('asked here');
  });
});
