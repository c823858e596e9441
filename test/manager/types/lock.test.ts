import fc from 'fast-check';
import { builtinTypes as types } from '../../../dist/manager/types';
import { callbacksLeftBy, Deferred, FakeCaller, fateOf, fatesOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';
import { always, anyCaller, anyEnd, Trial, WaitingModel } from '../../helpers/waiting-model';

const notOwned = 'ERR_NDSHM_NOT_OWNED';

describe.each(['lock', 'rlock', 'condition'] as const)('a %s', (type) => {
  const make = () => new types[type]();

  test('is held by one caller at a time, in the order of the calls', async () => {
    const lock = make();
    const callers = [new FakeCaller(), new FakeCaller(), new FakeCaller()] as const;
    const acquired = callers.map((caller) => caller.on(lock).acquire());
    for (const [n, caller] of callers.entries()) {
      expect(await fatesOf(acquired)).toEqual([0, 1, 2].map((other) => (other <= n ? undefined : 'pending')));
      expect(lock.locked).toBe(true);
      caller.on(lock).release();
    }
    expect(lock.locked).toBe(false);
  });

  test('is had at once or not at all by tryAcquire()', () => {
    const lock = make();
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    expect([a.on(lock).tryAcquire(), b.on(lock).tryAcquire(), lock.locked]).toEqual([true, false, true]);
    a.on(lock).release();
    expect(b.on(lock).tryAcquire()).toBe(true);
    const gone = new FakeCaller();
    gone.end();
    b.on(lock).release();
    expect(thrownBy(() => gone.on(lock).tryAcquire()).message).toBe(`caller ${gone.id} has gone`);
    expect(lock.locked).toBe(false);
  });

  test('is released by its holder alone, and not more often than it was acquired', async () => {
    const lock = make();
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    await a.on(lock).acquire();
    expect(thrownBy(() => b.on(lock).release()).code).toBe(notOwned);
    expect(thrownBy(() => lock.release()).code).toBe(notOwned);
    expect(lock.locked).toBe(true);
    a.on(lock).release();
    expect(thrownBy(() => a.on(lock).release()).code).toBe(notOwned);
  });

  test('is free again when its holder has gone, for the next one who has not', async () => {
    const lock = make();
    const [a, b, c] = [new FakeCaller(), new FakeCaller(), new FakeCaller()];
    const acquired = [a, b, c].map((caller) => caller.on(lock).acquire());
    b.end();
    a.end();
    expect(await fatesOf(acquired)).toEqual([undefined, `caller ${b.id} has gone`, undefined]);
    c.end();
    expect(lock.locked).toBe(false);
  });

  test('is never given to the caller whose end frees it', async () => {
    const lock = make();
    const a = new FakeCaller();
    const held = a.on(lock).acquire();
    const again = type === 'rlock' ? [] : [a.on(lock).acquire()];
    const next = new FakeCaller().on(lock).acquire();
    a.end();
    expect(await fatesOf([held, ...again, next])).toEqual([
      undefined,
      ...again.map(() => `caller ${a.id} has gone`),
      undefined,
    ]);
  });

  test('is held while a function runs, however that ends', async () => {
    const lock = make();
    const caller = new FakeCaller();
    const later = new Deferred<string>();
    const ran = caller.on(lock).run(() => later.promise);
    expect([await fateOf(ran), lock.locked]).toEqual(['pending', true]);
    later.resolve('result');
    expect([await ran, lock.locked]).toEqual(['result', false]);
    const thrown = [
      caller.on(lock).run(() => {
        throw new Error('at once');
      }),
      caller.on(lock).run(() => Promise.reject(new Error('later'))),
      caller.on(lock).run(5 as never),
    ];
    expect(await fatesOf(thrown)).toEqual(['at once', 'later', 'ERR_NDSHM_INVALID_ARGUMENT']);
    expect(lock.locked).toBe(false);
  });

  test('is free again when a caller goes whose function runs, even if that never ends', async () => {
    const lock = make();
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    const ran = a.on(lock).run(() => new Promise(() => {}));
    await fateOf(ran);
    const next = b.on(lock).run(() => 'next');
    a.end();
    expect(await fatesOf([ran, next])).toEqual([`caller ${a.id} has gone`, 'next']);
    expect(lock.locked).toBe(false);
  });

  test('runs nothing for a caller that goes as soon as it has been let in', async () => {
    const lock = make();
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    await a.on(lock).acquire();
    const fn = jest.fn();
    const ran = b.on(lock).run(fn);
    a.on(lock).release();
    b.end();
    expect([await fateOf(ran), lock.locked]).toEqual([`caller ${b.id} has gone`, false]);
    expect(fn).not.toHaveBeenCalled();
  });

  test('that nobody refers to any more is held by nobody', async () => {
    const lock = make();
    const later = new Deferred<string>();
    const ran = new FakeCaller().on(lock).run(() => later.promise);
    await fateOf(ran);
    lock[Symbol.dispose]();
    expect(lock.locked).toBe(false);
    later.resolve('result');
    expect(await ran).toBe('result');
  });
});

test('a lock is not given to a call whose signal aborts in the same turn', async () => {
  const lock = new types.lock();
  const [holder, aborting, next] = [new FakeCaller(), new FakeCaller(), new FakeCaller()];
  await holder.on(lock).acquire();
  const controller = new AbortController();
  controller.signal.addEventListener('abort', () => holder.on(lock).release()); // before anybody else is told
  const acquired = [aborting.on(lock).acquire({ signal: controller.signal }), next.on(lock).acquire()];
  controller.abort(new Error('not wanted'));
  expect(await fatesOf(acquired)).toEqual(['not wanted', undefined]);
});

test('nothing of a lock is left with a caller that has released it', async () => {
  const lock = new types.lock();
  const caller = new FakeCaller();
  const left = await callbacksLeftBy(async () => {
    for (let times = 0; times < 10; times++) {
      await caller.on(lock).acquire();
      caller.on(lock).release();
    }
  });
  expect(left).toBe(0);
});

test('an rlock is not taken again by its holder before those who wait longer', async () => {
  const lock = new types.rlock();
  const [a, b] = [new FakeCaller(), new FakeCaller()];
  await lock.acquire();
  const acquired = [a.on(lock).acquire(), b.on(lock).acquire(), a.on(lock).acquire()];
  lock.release();
  expect(await fatesOf(acquired)).toEqual([undefined, 'pending', 'pending']);
});

test('a lock makes its holder wait who takes it again, an rlock counts', async () => {
  const [lock, rlock] = [new types.lock(), new types.rlock()];
  const caller = new FakeCaller();
  await caller.on(lock).acquire();
  expect(await fateOf(caller.on(lock).acquire())).toBe('pending');
  expect(caller.on(lock).tryAcquire()).toBe(false);
  const mine = caller.on(rlock);
  await mine.acquire();
  const next = new FakeCaller().on(rlock).acquire();
  expect(await mine.run(() => mine.run(() => 'inside'))).toBe('inside'); // before those in line
  await mine.acquire();
  expect(mine.tryAcquire()).toBe(true);
  for (let times = 0; times < 3; times++) {
    expect(await fateOf(next)).toBe('pending');
    mine.release();
  }
  expect(await fateOf(next)).toBeUndefined();
});

class LockModel extends WaitingModel {
  holder: number | undefined;
  #depth = 0;

  constructor(readonly reentrant: boolean) {
    super();
  }

  acquire(caller: number) {
    const isReentry = this.reentrant && this.holder === caller;
    return this.request(caller, isReentry ? 'none' : 'lock', () => {
      if (this.holder !== undefined && !(this.reentrant && this.holder === caller)) return undefined;
      this.holder = caller;
      this.#depth++;
      return 'undefined';
    });
  }

  release(caller: number): boolean {
    if (this.holder !== caller) return false;
    if (--this.#depth === 0) this.leave(caller);
    this.settle();
    return true;
  }

  protected leave(caller: number): void {
    if (this.holder !== caller) return;
    this.holder = undefined;
    this.#depth = 0;
  }
}

test.each(['lock', 'rlock'] as const)('a %s is held by whom it should be, whatever comes together', (type) => {
  const step = fc.oneof(
    fc.record({ act: fc.constant('acquire' as const), caller: anyCaller, timed: fc.boolean() }),
    fc.record({ act: fc.constant('release' as const), caller: anyCaller }),
    fc.record({ act: fc.constant('tryAcquire' as const), caller: anyCaller }),
    anyEnd,
  );
  return always(step, async (steps) => {
    const lock = new types[type]();
    const model = new LockModel(type === 'rlock');
    const trial = new Trial(model);
    for (const each of steps) {
      if (each.act === 'acquire') {
        trial.request(model.acquire(each.caller), (who, options) => who.on(lock).acquire(options), each.timed);
      } else if (each.act === 'release') {
        const mine = trial.caller(each.caller).on(lock);
        if (model.release(each.caller)) mine.release();
        else expect(thrownBy(() => mine.release()).code).toBe(notOwned);
      } else if (each.act === 'tryAcquire') {
        const mine = trial.caller(each.caller).on(lock);
        if (model.isGone(each.caller)) thrownBy(() => mine.tryAcquire());
        else {
          const attempt = model.acquire(each.caller);
          model.giveUp(attempt, 'not now');
          expect(mine.tryAcquire()).toBe(attempt.fate !== 'not now');
        }
      } else await trial.happen(each);
      expect(lock.locked).toBe(model.holder !== undefined);
    }
    await trial.check();
  });
});
