import type { Lock, LockOptions } from 'ndshm';
import * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { deferred, LockPeer } from '../helpers/lock-peer';
import { exists, freshName } from '../helpers/shm';

// What the web-platform-tests (the directory web-locks, as of 2025) demand of navigator.locks, in words and code of our
// own, of a LockManager. A describe() for each of their files. Their windows and frames are processes here, their
// workers are worker threads.
//
// Left out:
// - bfcache/*, partitioned-web-locks, opaque-origin, secure-context, idlharness, and of non-fully-active the cases of a
//   document that is not active: nothing in Node is a document, an origin, a secure context or an interface of WebIDL.
// - clientids: compares with the ids of service workers.
// - crashtests/iframe-append-2: moves frames about. worker-termination is here.
// - of frames and windows, what happens when one navigates or reloads: a process can only end.
// - of signal, that `self` is no signal: it is no more than another object here.
// Changed: a lock that a case never gives back is given back when its manager is closed.

let manager: ndshm.LockManager;
let segment: string;
beforeEach(() => {
  segment = freshName('locks');
  manager = new ndshm.LockManager(segment);
});
afterEach(() => {
  manager.close();
  if (exists(segment)) throw new Error('The segment outlives its last user');
});

const request = (...args: unknown[]) => (manager.request as (...args: unknown[]) => Promise<unknown>)(...args);
const never = new Promise<never>(() => {});
const notCalled = () => {
  throw new Error('The callback was called');
};

/** Requests a lock and holds it until `release` is called. */
function hold(name: string, options: LockOptions = {}) {
  const granted = deferred<Lock | null>();
  const { promise, resolve: release } = deferred<unknown>();
  const released = manager.request(name, options, (lock) => {
    granted.resolve(lock);
    return promise;
  });
  released.catch(() => {}); // where a test does not look at it
  return { granted: granted.promise, released, release };
}

/** Whether the lock could be had at once. */
const isAvailable = (name: string, options: LockOptions = {}) =>
  manager.request(name, { ...options, ifAvailable: true }, (lock) => lock !== null);

async function expectNotSupported(promise: Promise<unknown>) {
  const error = await rejection(promise);
  expect(error).toBeInstanceOf(DOMException);
  expect(error.name).toBe('NotSupportedError');
}

describe('acquire', () => {
  test('a name and a callback are required', async () => {
    expect(await rejection(request())).toBeInstanceOf(TypeError);
    expect(await rejection(request('a'))).toBeInstanceOf(TypeError);
  });

  test.each(['other', null, 1])('%p is no mode', async (mode) => {
    expect(await rejection(request('a', { mode }, notCalled))).toBeInstanceOf(TypeError);
  });

  test.each(['exclusive', 'shared'] as const)('%s is a mode, and the lock’s', async (mode) => {
    expect(await manager.request('a', { mode }, (lock) => lock.mode)).toBe(mode);
  });

  test.each<[string, LockOptions]>([
    ['steal and ifAvailable', { steal: true, ifAvailable: true }],
    ['steal and shared', { steal: true, mode: 'shared' }],
    ['steal and a signal', { steal: true, signal: new AbortController().signal }],
    ['ifAvailable and a signal', { ifAvailable: true, signal: new AbortController().signal }],
  ])('%s exclude each other', async (_, options) => {
    await expectNotSupported(request('a', options, notCalled));
  });

  test.each([[undefined], [null], [123], ['abc'], [[]], [{}], [Promise.resolve()]])(
    '%p is no callback',
    async (callback) => {
      expect(await rejection(request('a', callback))).toBeInstanceOf(TypeError);
      expect(await rejection(request('a', {}, callback))).toBeInstanceOf(TypeError);
    },
  );

  test('the promise resolves after the callback’s', async () => {
    const order: string[] = [];
    const { released, release, granted } = hold('a');
    await granted;
    const inner = released.then(() => order.push('released'));
    const outer = manager.request('a', () => order.push('next'));
    order.push('holding');
    release(undefined);
    await Promise.all([inner, outer]);
    expect(order[0]).toBe('holding');
    expect(order.toSorted()).toEqual(['holding', 'next', 'released']);
  });

  test.each<[string, (error: unknown) => unknown]>([
    [
      'throws',
      (error) => {
        throw error;
      },
    ],
    ['rejects', (error) => Promise.reject(error)],
  ])('the promise rejects with what a callback %s', async (_, fail) => {
    const reason = { name: 'reason' };
    const promise = manager.request('a', () => fail(reason));
    expect(Promise.resolve(promise)).toBe(promise);
    expect(await rejection(promise)).toBe(reason);
    expect(await isAvailable('a')).toBe(true);
  });

  test('a thrown thenable is passed on without a look at its then()', async () => {
    const then = jest.fn();
    // oxlint-disable-next-line unicorn/no-thenable -- what the case is about
    const thenable = { then };
    const promise = manager.request('a', async () => {
      throw thenable;
    });
    const reason = await promise.catch((error: unknown) => [error]);
    expect(reason).toEqual([thenable]);
    expect(then).not.toHaveBeenCalled();
  });
});

describe('held', () => {
  test('a callback need not be async', async () => {
    const promise = manager.request('a', () => 123);
    expect(Promise.resolve(promise)).toBe(promise);
    expect(await promise).toBe(123);
  });

  test.each(['resolves', 'rejects'])('a lock is held until the callback’s promise %s', async (how) => {
    const order: string[] = [];
    const granted = deferred();
    const { promise, resolve, reject } = deferred();
    const first = manager
      .request('a', () => {
        granted.resolve();
        return promise;
      })
      .catch((error: Error) => order.push(error.message));
    await granted.promise;
    const second = manager.request('a', () => order.push('second'));
    expect(await isAvailable('a')).toBe(false);
    order.push('ends');
    if (how === 'resolves') resolve();
    else reject(new Error('rejected'));
    await Promise.all([first, second]);
    expect(order[0]).toBe('ends');
    expect(order.slice(1).toSorted()).toEqual(how === 'resolves' ? ['second'] : ['rejected', 'second']);
  });

  test('a lock keeps out its own client', async () => {
    expect(await manager.request('a', () => isAvailable('a'))).toBe(false);
  });
});

describe('lock-attributes', () => {
  test.each(['exclusive', 'shared'] as const)('a lock has the name and the mode %s', async (mode) => {
    await manager.request('resource', { mode }, (lock) => {
      expect(lock.name).toBe('resource');
      expect(lock.mode).toBe(mode);
    });
    await manager.request('resource', (lock) => expect(lock.mode).toBe('exclusive'));
  });
});

describe('ifAvailable', () => {
  const ifAvailable = true;

  test('a free lock is granted', async () => {
    await manager.request('a', { ifAvailable }, (lock) => expect(lock).toMatchObject({ name: 'a' }));
    expect.assertions(1);
  });

  test('the callback gets null where the lock is held, and its value is passed on', async () => {
    await manager.request('a', async () => {
      expect(await manager.request('a', { ifAvailable }, async (lock) => [lock])).toEqual([null]);
    });
    expect.assertions(1);
  });

  test.each<[string, (error: unknown) => unknown]>([
    [
      'thrown',
      (error) => {
        throw error;
      },
    ],
    ['rejected', (error) => Promise.reject(error)],
  ])('what a callback with null has %s is passed on', async (_, fail) => {
    const reason = { name: 'reason' };
    await manager.request('a', async () => {
      const promise = manager.request('a', { ifAvailable }, (lock) => {
        expect(lock).toBeNull();
        return fail(reason);
      });
      expect(Promise.resolve(promise)).toBe(promise);
      expect(await rejection(promise)).toBe(reason);
    });
    expect.assertions(3);
  });

  test('a lock of another name does not matter', async () => {
    expect(await manager.request('a', () => isAvailable('different'))).toBe(true);
  });

  test.each([
    ['shared', 'shared', true],
    ['shared', 'exclusive', false],
    ['exclusive', 'shared', false],
  ] as const)('where %s is held, %s is available: %s', async (mode, wanted, available) => {
    expect(await manager.request('a', { mode }, () => isAvailable('a', { mode: wanted }))).toBe(available);
  });

  test('a lock is available once its release is done', async () => {
    await manager.request('a', async () => {
      await manager.request('b', () => {});
      expect(await isAvailable('b')).toBe(true);
    });
    expect.assertions(1);
  });
});

describe('mode-exclusive', () => {
  test('requests are granted in order', async () => {
    const granted: number[] = [];
    await Promise.all([1, 2, 3].map((n) => manager.request('a', () => granted.push(n))));
    expect(granted).toEqual([1, 2, 3]);
  });

  test('another name is granted beside a held one', async () => {
    const granted: string[] = [];
    let inner: Promise<unknown> | undefined;
    await manager.request('a', async () => {
      inner = manager.request('a', () => granted.push('a again'));
      await manager.request('b', () => granted.push('b'));
    });
    await inner;
    expect(granted).toEqual(['b', 'a again']);
  });
});

describe('mode-shared', () => {
  test('requests are granted in order', async () => {
    const granted: number[] = [];
    const names = ['a', 'b', 'c', 'a', 'b', 'c'];
    await Promise.all(names.map((name, n) => manager.request(name, { mode: 'shared' }, () => granted.push(n))));
    expect(granted).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('shared locks are held together', async () => {
    const mode = 'shared';
    expect(await manager.request('a', { mode }, () => manager.request('a', { mode }, () => 'both'))).toBe('both');
  });
});

describe('mode-mixed', () => {
  const mode = 'shared';
  const heldModes = async () => (await manager.query()).held.map((lock) => lock.mode);
  const five = <T>(make: () => T) => Array.from({ length: 5 }, make);

  test('an exclusive request waits for the shared locks before it; another name does not', async () => {
    const granted: string[] = [];
    const { promise, resolve } = deferred();
    const shared = [1, 2, 3].map((n) =>
      manager.request('a', { mode }, () => {
        granted.push(`a ${n}`);
        return promise;
      }),
    );
    const exclusive = manager.request('a', (lock) => {
      granted.push('a exclusive');
      return lock.mode;
    });
    await manager.request('b', () => granted.push('b'));
    expect(granted).toEqual(['a 1', 'a 2', 'a 3', 'b']);
    resolve();
    expect(await exclusive).toBe('exclusive');
    await Promise.all(shared);
    expect(granted).toEqual(['a 1', 'a 2', 'a 3', 'b', 'a exclusive']);
  });

  test('the release of an exclusive lock grants all shared requests', async () => {
    const exclusive = hold('a');
    five(() => hold('a', { mode }));
    const before = await manager.query();
    expect([before.held.length, before.pending.length]).toEqual([1, 5]);
    exclusive.release(undefined);
    await exclusive.released;
    expect(await heldModes()).toEqual(five(() => 'shared'));
  });

  test('an exclusive request between shared ones parts them', async () => {
    const first = five(() => hold('a', { mode }));
    const exclusive = hold('a');
    five(() => hold('a', { mode }));
    expect(await heldModes()).toEqual(five(() => 'shared'));
    for (const { release } of first) release(undefined);
    await Promise.all(first.map(({ released }) => released));
    expect(await heldModes()).toEqual(['exclusive']);
    exclusive.release(undefined);
    await exclusive.released;
    expect(await heldModes()).toEqual(five(() => 'shared'));
  });
});

describe('query-empty', () => {
  test('nothing is held or pending', async () => {
    expect(await manager.query()).toEqual({ held: [], pending: [] });
  });
});

describe('query', () => {
  const mode = 'shared';
  /** Of the locks of a name: their modes, held and pending. */
  async function modesOf(name: string) {
    const { held, pending } = await manager.query();
    const modes = (list: ndshm.LockInfo[]) => list.filter((lock) => lock.name === name).map((lock) => lock.mode);
    return { held: modes(held), pending: modes(pending) };
  }
  const clientsOf = (list: ndshm.LockInfo[], name: string) =>
    list.filter((lock) => lock.name === name).map(({ clientId }) => clientId);

  test('a snapshot has the properties of the specification, and the pid', async () => {
    const { granted } = hold('a');
    hold('a');
    await granted;
    const info = { name: 'a', mode: 'exclusive', clientId: expect.any(String), pid: process.pid };
    expect(await manager.query()).toEqual({ held: [info], pending: [info] });
  });

  test('a held lock is listed once', async () => {
    await manager.request('a', async () => expect(await modesOf('a')).toEqual({ held: ['exclusive'], pending: [] }));
    await manager.request('a', { mode }, async () =>
      expect(await modesOf('a')).toEqual({ held: ['shared'], pending: [] }),
    );
    expect.assertions(2);
  });

  test('several held locks are listed', async () => {
    await manager.request('a', () =>
      manager.request('b', { mode }, async () => {
        expect((await modesOf('a')).held).toEqual(['exclusive']);
        expect((await modesOf('b')).held).toEqual(['shared']);
      }),
    );
    expect.assertions(2);
  });

  test('held and pending are told apart', async () => {
    const { granted } = hold('a');
    await granted;
    const second = jest.fn();
    manager.request('a', second).catch(() => {});
    expect(await isAvailable('a')).toBe(false);
    expect(await modesOf('a')).toEqual({ held: ['exclusive'], pending: ['exclusive'] });
    expect(second).not.toHaveBeenCalled();
  });

  test('shared locks are listed as often as they are held', async () => {
    await manager.request('a', { mode }, () =>
      manager.request('a', { mode }, async () =>
        expect(await modesOf('a')).toEqual({ held: ['shared', 'shared'], pending: [] }),
      ),
    );
    expect.assertions(1);
  });

  test('pending shared requests are listed as often as they are made', async () => {
    await hold('a').granted;
    hold('a', { mode });
    hold('a', { mode });
    expect(await modesOf('a')).toEqual({ held: ['exclusive'], pending: ['shared', 'shared'] });
  });

  test('the locks of one context have one clientId', async () => {
    await manager.request('a', () =>
      manager.request('b', async () => {
        const { held } = await manager.query();
        expect(clientsOf(held, 'a')).toHaveLength(1);
        expect(clientsOf(held, 'b')).toEqual(clientsOf(held, 'a'));
      }),
    );
    expect.assertions(2);
  });

  test.each([false, true])('the locks of two contexts have two, with a thread: %s', async (thread) => {
    const peer = await LockPeer.start(segment, { thread });
    await peer.hold('a', { mode });
    await manager.request('a', { mode }, async () => {
      expect(new Set(clientsOf((await manager.query()).held, 'a')).size).toBe(2);
    });
    expect.assertions(1);
    await peer.kill();
  });

  test('a deadlock can be seen', async () => {
    const peer = await LockPeer.start(segment, { thread: true });
    await peer.hold('a');
    await hold('b').granted;
    await peer.request('b');
    expect(await (await peer.request('b', { ifAvailable: true })).granted()).toBeNull();
    hold('a');
    const { held, pending } = await manager.query();
    expect(clientsOf(held, 'a')).toHaveLength(1);
    expect(clientsOf(held, 'b')).toHaveLength(1);
    expect(clientsOf(pending, 'b')).toEqual(clientsOf(held, 'a'));
    expect(clientsOf(pending, 'a')).toEqual(clientsOf(held, 'b'));
    await peer.kill();
  });
});

describe('query-ordering', () => {
  test('pending requests of several processes are listed in the order in which they were made', async () => {
    const peers = [await LockPeer.start(segment), await LockPeer.start(segment), await LockPeer.start(segment)];
    const [one, two, three] = peers as [LockPeer, LockPeer, LockPeer];
    const pendingPids = async () => (await manager.query()).pending.map(({ pid }) => pid);
    const mine = hold('a');
    await mine.granted;
    const first = await one.request('a');
    const second = await two.request('a');
    await three.request('a');
    expect(await pendingPids()).toEqual([one.pid, two.pid, three.pid]);

    await three.request('a');
    await one.request('a');
    await two.request('a');
    mine.release(undefined);
    for (const request of [first, second]) {
      await request.granted();
      request.release();
      await request.settled();
    }
    expect(await pendingPids()).toEqual([three.pid, one.pid, two.pid]);
    await Promise.all(peers.map((peer) => peer.kill()));
  });
});

describe('resource-names', () => {
  test.each([[''], ['abc\0def'], ['\uD800'], ['\uDC00'], ['\uDC00\uD800'], ['\uFFFF'], ['Straße 東京 🔒']])(
    '%j is a name',
    async (name) => {
      await manager.request(name, async (lock) => {
        expect(lock.name).toBe(name);
        expect((await manager.query()).held.map((info) => info.name)).toEqual([name]);
      });
      expect.assertions(2);
    },
  );

  test('a lone surrogate is not the replacement character', async () => {
    await manager.request('\uD800', () => manager.request('\uFFFD', (lock) => expect(lock.name).toBe('\uFFFD')));
    expect.assertions(1);
  });

  test('a name may have a hyphen, but not in front', async () => {
    for (const name of ['-', '-foo']) await expectNotSupported(request(name, notCalled));
    expect(await manager.request('x-anything', (lock) => lock.name)).toBe('x-anything');
  });
});

describe('signal', () => {
  const abortError = { name: 'AbortError' };

  test.each([['string'], [12.34], [false], [{}], [Symbol('signal')], [() => {}], [null]])(
    '%p is no signal',
    async (signal) => {
      expect(await rejection(request('a', { signal }, notCalled))).toBeInstanceOf(TypeError);
    },
  );

  test('an aborted signal rejects with AbortError', async () => {
    await expect(request('a', { signal: AbortSignal.abort() }, notCalled)).rejects.toMatchObject(abortError);
  });

  test.each(['My dog ate it.', undefined])('an aborted signal rejects with its reason: %p', async (given) => {
    const signal = AbortSignal.abort(given);
    expect(await rejection(request('a', { signal }, notCalled))).toBe(signal.reason);
  });

  test('a waiting request is aborted', async () => {
    const controller = new AbortController();
    hold('a');
    const waiting = request('a', { signal: controller.signal }, notCalled);
    const { held, pending } = await manager.query();
    expect([held.length, pending.length]).toEqual([1, 1]);
    controller.abort();
    await expect(waiting).rejects.toMatchObject(abortError);
    expect((await manager.query()).pending).toEqual([]);
  });

  test('a waiting request is aborted by a timeout', async () => {
    hold('a');
    const waiting = request('a', { signal: AbortSignal.timeout(10) }, notCalled);
    await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  test('a signal that is not aborted changes nothing', async () => {
    expect(await manager.request('a', { signal: new AbortController().signal }, () => 'got it')).toBe('got it');
  });

  test('an abort in the same turn comes before the grant', async () => {
    const controller = new AbortController();
    const promise = request('a', { signal: controller.signal }, notCalled);
    controller.abort();
    await expect(promise).rejects.toMatchObject(abortError);
    expect(await manager.request('a', () => 'free')).toBe('free');
  });

  test.each(['before', 'after'])('an abort after the grant, %s the release, changes nothing', async (when) => {
    const controller = new AbortController();
    const { granted, release, released } = hold('a', { signal: controller.signal });
    await granted;
    if (when === 'before') controller.abort();
    release('resolved');
    if (when === 'after') controller.abort();
    expect(await released).toBe('resolved');
  });

  test('an aborted request lets the next one through', async () => {
    const controller = new AbortController();
    const { released } = hold('a', { signal: controller.signal });
    const next = manager.request('a', () => 'next');
    controller.abort();
    await expect(released).rejects.toMatchObject(abortError);
    expect(await next).toBe('next');
  });

  test.each(['My cat handled it', undefined])('a waiting request rejects with the reason: %p', async (given) => {
    const controller = new AbortController();
    await hold('a').granted;
    const { released } = hold('a', { signal: controller.signal });
    controller.abort(given);
    expect(await rejection(released)).toBe(controller.signal.reason);
  });
});

describe('steal', () => {
  const steal = true;

  test('a free lock is granted', async () => {
    expect(await manager.request('a', { steal }, (lock) => lock.name)).toBe('a');
  });

  test('a held lock is taken away, and its promise rejects with AbortError', async () => {
    const victim = manager.request('a', () => never);
    const rejected = rejection(victim);
    expect(await manager.request('a', { steal }, (lock) => lock.name)).toBe('a');
    const error = await rejected;
    expect(error).toBeInstanceOf(DOMException);
    expect(error.name).toBe('AbortError');
  });

  test('a thief comes before those who wait, and they get the lock after it', async () => {
    hold('a');
    const order: string[] = [];
    const waiting = manager.request('a', () => order.push('waiting'));
    await manager.request('a', { steal }, () => order.push('thief'));
    await waiting;
    expect(order).toEqual(['thief', 'waiting']);
  });

  test('the last thief wins', async () => {
    hold('a');
    const first = hold('a', { steal });
    await manager.request('a', { steal }, () => {});
    await expect(first.released).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('storage-buckets', () => {
  test('managers of different segments have different locks, those of one segment the same', async () => {
    const same = new ndshm.LockManager(segment);
    const other = new ndshm.LockManager(freshName('locks'));
    const available = (of: ndshm.LockManager) => of.request('a', { ifAvailable: true }, (lock) => lock !== null);
    await manager.request('a', async () => {
      expect(await available(same)).toBe(false);
      expect(await available(other)).toBe(true);
    });
    expect.assertions(2);
    same.close();
    other.close();
  });
});

// workers, frames, windows
describe.each([
  ['a thread', true],
  ['a process', false],
])('%s', (_, thread) => {
  let peer: LockPeer;
  beforeEach(async () => {
    await manager.query(); // opens the segment here too: the last to close it takes it away, and a killed peer cannot
    peer = await LockPeer.start(segment, { thread });
  });
  afterEach(() => peer.kill());

  test('shares shared locks with this one', async () => {
    const theirs = await peer.hold('a', { mode: 'shared' });
    await manager.request('a', { mode: 'shared' }, async () => {
      theirs.release('released');
      expect(await theirs.settled()).toEqual({ value: 'released' });
    });
    expect.assertions(1);
  });

  test('and this one keep each other out', async () => {
    const theirs = await peer.hold('a');
    const granted = jest.fn();
    const blocked = manager.request('a', granted);
    expect(await isAvailable('a')).toBe(false);
    expect(granted).not.toHaveBeenCalled();
    theirs.release();
    await blocked;
    expect(granted).toHaveBeenCalledTimes(1);
  });

  test('and another keep each other out', async () => {
    const other = await LockPeer.start(segment, { thread });
    const theirs = await peer.hold('a');
    const blocked = await other.request('a');
    expect(await (await other.request('a', { ifAvailable: true })).granted()).toBeNull();
    expect(blocked.isGranted()).toBe(false);
    theirs.release();
    expect(await blocked.granted()).toEqual({ name: 'a', mode: 'exclusive' });
    await other.kill();
  });

  const end = async (which: LockPeer) => {
    if (!thread) return void (await which.kill());
    which.send({ do: 'terminate' });
    await which.event('terminated');
  };

  test('that is ended releases its locks', async () => {
    await peer.hold('a');
    const blocked = manager.request('a', () => 'granted');
    expect(await isAvailable('a')).toBe(false);
    await end(peer);
    expect(await blocked).toBe('granted');
    expect(await manager.query()).toEqual({ held: [], pending: [] });
  });

  test('that is ended takes its requests with it', async () => {
    const mine = hold('a');
    await mine.granted;
    await peer.request('a');
    const blocked = manager.request('a', () => 'granted');
    await end(peer);
    mine.release(undefined);
    expect(await blocked).toBe('granted');
  });

  test('can be ended in the middle of a request', async () => {
    peer.send({ do: 'request', id: 'last', name: 'a', abortable: true });
    await end(peer);
    expect(await manager.request('a', () => 'granted')).toBe('granted');
  });
});
