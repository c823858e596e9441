import { builtinTypes as types } from '../../../dist/manager/types';
import { callbacksLeftBy, FakeCaller, fateOf, fatesOf } from '../../helpers/callers';

type Options = { timeoutMs?: number; signal?: AbortSignal };

interface Waiting {
  /** Waits, as long as nobody lets it go. */
  wait: (caller: FakeCaller, options?: Options) => Promise<unknown>;
  /** Lets one go, or all. */
  letGo: () => unknown;
  /** What a wait gives that has been let go. */
  result?: unknown;
  /** Somebody holds something then. */
  holds?: boolean;
  /** Those who wait do it for each other. */
  parties?: number;
  object: Disposable;
}

/** One of each kind of waiting there is. */
const kinds: Record<string, () => Waiting> = {
  'get() of a queue': () => {
    const object = new types.queue<string>();
    return {
      object,
      wait: (a, o) => a.on(object).get(o),
      letGo: () => object.tryPut('item'),
      result: 'item',
      holds: true,
    };
  },
  'put() of a queue': () => {
    const object = new types.queue<string>({ maxItems: 1 });
    object.tryPut('first');
    return { object, wait: (a, o) => a.on(object).put('second', o), letGo: () => object.tryGet(), holds: true };
  },
  'join() of a queue': () => {
    const object = new types.queue<string>();
    object.tryPut('item');
    object.tryGet();
    return { object, wait: (a, o) => a.on(object).join(o), letGo: () => object.taskDone() };
  },
  'wait() of an event': () => {
    const object = new types.event();
    return { object, wait: (a, o) => a.on(object).wait(o), letGo: () => object.set() };
  },
  'acquire() of a lock': () => {
    const object = new types.lock();
    object.tryAcquire();
    return { object, wait: (a, o) => a.on(object).acquire(o), letGo: () => object.release(), holds: true };
  },
  'acquire() of an rlock': () => {
    const object = new types.rlock();
    object.tryAcquire();
    return { object, wait: (a, o) => a.on(object).acquire(o), letGo: () => object.release(), holds: true };
  },
  'run() of a lock': () => {
    const object = new types.lock();
    object.tryAcquire();
    return { object, wait: (a, o) => a.on(object).run(() => 'ran', o), letGo: () => object.release(), result: 'ran' };
  },
  'acquire() of a semaphore': () => {
    const object = new types.semaphore({ value: 0 });
    return { object, wait: (a, o) => a.on(object).acquire(o), letGo: () => object.release(), holds: true };
  },
  'run() of a semaphore': () => {
    const object = new types.semaphore({ value: 0 });
    return { object, wait: (a, o) => a.on(object).run(() => 'ran', o), letGo: () => object.release(), result: 'ran' };
  },
  'acquire() of a condition': () => {
    const object = new types.condition();
    object.tryAcquire();
    return { object, wait: (a, o) => a.on(object).acquire(o), letGo: () => object.release(), holds: true };
  },
  'wait() of a condition': () => {
    const object = new types.condition();
    const wait = async (a: FakeCaller, o?: Options) => {
      await a.on(object).acquire();
      try {
        await a.on(object).wait(o);
      } finally {
        if (!a.signal.aborted && object.locked) a.on(object).release();
      }
    };
    const letGo = async () => object.run(() => object.notify());
    return { object, wait, letGo };
  },
  'wait() of a barrier': () => {
    const object = new types.barrier({ parties: 3 });
    return {
      object,
      wait: (a, o) => a.on(object).wait(o),
      letGo: () => [object.wait(), object.wait()],
      result: 0,
      parties: 3,
    };
  },
};

const reason = new Error('no longer wanted');

interface End {
  before?: (caller: FakeCaller) => void;
  options?: () => Options;
  after?: (caller: FakeCaller) => void;
  error: string | RegExp;
}

/** How a wait is given up. */
const ends: Record<string, () => End> = {
  'its time is up': () => ({ options: () => ({ timeoutMs: 1 }), error: 'ERR_NDSHM_TIMEOUT' }),
  'its signal aborts': () => {
    const controller = new AbortController();
    return {
      options: () => ({ signal: controller.signal }),
      after: () => controller.abort(reason),
      error: reason.message,
    };
  },
  'its signal has aborted': () => ({ options: () => ({ signal: AbortSignal.abort(reason) }), error: reason.message }),
  'its caller goes': () => ({ after: (caller) => caller.end(), error: /^caller .* has gone$/ }),
  'its caller has gone': () => ({ before: (caller) => caller.end(), error: /^caller .* has gone$/ }),
};

describe.each(Object.entries(kinds))('%s', (_name, make) => {
  test('resolves once it is let go, and not before', async () => {
    const { wait, letGo, result } = make();
    const waiting = wait(new FakeCaller(), { timeoutMs: 20_000 });
    expect(await fateOf(waiting)).toBe('pending');
    await letGo();
    expect(await waiting).toBe(result);
  });

  test.each(Object.entries(ends))('is given up when %s, and the next in line is served', async (_how, makeEnd) => {
    const { wait, letGo, result, parties } = make();
    const { before, options, after, error } = makeEnd();
    const [caller, other] = [new FakeCaller(), new FakeCaller()];
    before?.(caller);
    const first = wait(caller, options?.());
    const next = parties === undefined ? wait(other) : undefined; // whom a party that gives up takes along
    first.catch(() => {});
    if (after !== undefined) expect(await fateOf(first)).toBe('pending');
    after?.(caller);
    const failure = await first.then(
      () => 'resolved',
      (thrown: Error & { code?: string }) => thrown.code ?? thrown.message,
    );
    expect(failure).toEqual(typeof error === 'string' ? error : expect.stringMatching(error));
    if (next === undefined) return;
    expect(await fateOf(next)).toBe('pending');
    await letGo();
    expect(await next).toBe(result);
  });

  test('fails, also for whoever comes later, once nobody refers to the object', async () => {
    const { wait, object } = make();
    const waiting = [wait(new FakeCaller()), wait(new FakeCaller())];
    expect(await fatesOf(waiting)).toEqual(['pending', 'pending']);
    object[Symbol.dispose]();
    object[Symbol.dispose]();
    const closed = 'ERR_NDSHM_CLOSED';
    expect(await fatesOf([...waiting, wait(new FakeCaller())])).toEqual([closed, closed, closed]);
  });

  test('refuses wrong options, and lets nobody wait for them', async () => {
    const { wait, letGo, result } = make();
    const wrong = [{ timeoutMs: -1 }, { timeoutMs: '1' }, { signal: {} }, { deadline: 1 }] as unknown as Options[];
    expect(await fatesOf(wrong.map((options) => wait(new FakeCaller(), options)))).toEqual([
      'ERR_NDSHM_OUT_OF_RANGE',
      ...Array(3).fill('ERR_NDSHM_INVALID_ARGUMENT'),
    ]);
    const waiting = wait(new FakeCaller());
    expect(await fateOf(waiting)).toBe('pending');
    await letGo();
    expect(await waiting).toBe(result);
  });

  test('leaves no listener and no timer behind', async () => {
    const { wait, letGo, holds = false } = make();
    const caller = new FakeCaller();
    const added = jest.spyOn(AbortSignal.prototype, 'addEventListener');
    const removed = jest.spyOn(AbortSignal.prototype, 'removeEventListener');
    const timers = jest.spyOn(globalThis, 'setTimeout');
    const cleared = jest.spyOn(globalThis, 'clearTimeout');
    const { signal } = new AbortController();
    const left = await callbacksLeftBy(async () => {
      const waiting = wait(caller, { timeoutMs: 20_000, signal });
      await fateOf(waiting);
      await letGo();
      await waiting;
    });
    expect(left).toBe(holds ? 1 : 0);
    const on = (spy: { mock: { contexts: unknown[] } }) => spy.mock.contexts.filter((each) => each === signal).length;
    expect(on(added)).toBeGreaterThan(0);
    expect(on(removed)).toBe(on(added));
    expect(cleared.mock.calls.map(([timer]) => timer)).toEqual(
      expect.arrayContaining(timers.mock.results.map(({ value }) => value as unknown)),
    );
    jest.restoreAllMocks();
  });
});

test('a thousand waits of one caller end with it', async () => {
  const event = new types.event();
  const caller = new FakeCaller();
  const warned = jest.spyOn(process, 'emitWarning');
  const waits = Array.from({ length: 1000 }, () => caller.on(event).wait());
  caller.end();
  const fates = new Set(await fatesOf(waits));
  expect([...fates]).toEqual([`caller ${caller.id} has gone`]);
  expect(warned).not.toHaveBeenCalled();
  warned.mockRestore();
});
