import fc from 'fast-check';
import { builtinTypes as types } from '../../../dist/manager/types';
import { Deferred, FakeCaller, fateOf, fatesOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';
import { always, anyCaller, anyEnd, callerCount, Trial, WaitingModel } from '../../helpers/waiting-model';

const outOfRange = 'ERR_NDSHM_OUT_OF_RANGE';

describe('a semaphore', () => {
  test('has so many permits, given in the order of the calls', async () => {
    const semaphore = new types.semaphore({ value: 2 });
    const callers = [1, 2, 3, 4].map(() => new FakeCaller());
    const acquired = callers.map((caller) => caller.on(semaphore).acquire());
    expect(await fatesOf(acquired)).toEqual([undefined, undefined, 'pending', 'pending']);
    callers[1]?.on(semaphore).release();
    expect([await fatesOf(acquired), semaphore.value]).toEqual([[undefined, undefined, undefined, 'pending'], 0]);
    callers[0]?.end();
    callers[2]?.end();
    expect([await fateOf(acquired[3] as Promise<void>), semaphore.value]).toEqual([undefined, 1]);
    expect(new types.semaphore().value).toBe(1);
  });

  test('gives a permit at once or not at all by tryAcquire()', () => {
    const semaphore = new types.semaphore();
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    expect([a.on(semaphore).tryAcquire(), b.on(semaphore).tryAcquire(), semaphore.value]).toEqual([true, false, 0]);
    a.end();
    expect(semaphore.value).toBe(1);
    expect(thrownBy(() => a.on(semaphore).tryAcquire()).message).toBe(`caller ${a.id} has gone`);
  });

  test('gets more permits by release(), unless it is bounded', async () => {
    const semaphore = new types.semaphore({ value: 0 });
    semaphore.release(3);
    expect(semaphore.value).toBe(3);
    const bounded = new types.semaphore({ value: 2, bounded: true });
    expect(thrownBy(() => bounded.release()).code).toBe(outOfRange);
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    await a.on(bounded).acquire();
    expect(thrownBy(() => b.on(bounded).release()).code).toBe(outOfRange);
    expect(thrownBy(() => a.on(bounded).release(2)).code).toBe(outOfRange);
    expect(bounded.value).toBe(1);
    a.on(bounded).release();
    expect(bounded.value).toBe(2);
  });

  test('runs a function with a permit, which comes back however that ends', async () => {
    const semaphore = new types.semaphore();
    const caller = new FakeCaller();
    expect(await caller.on(semaphore).run(() => semaphore.value)).toBe(0);
    expect(await fateOf(caller.on(semaphore).run(() => Promise.reject(new Error('failed'))))).toBe('failed');
    const never = caller.on(semaphore).run(() => new Promise(() => {}));
    expect([await fateOf(never), semaphore.value]).toEqual(['pending', 0]);
    caller.end();
    expect([await fateOf(never), semaphore.value]).toEqual([`caller ${caller.id} has gone`, 1]);
  });

  test('that nobody refers to any more lets a function run to its end', async () => {
    const semaphore = new types.semaphore({ bounded: true });
    const later = new Deferred<string>();
    const ran = semaphore.run(() => later.promise);
    await fateOf(ran);
    semaphore[Symbol.dispose]();
    later.resolve('result');
    expect(await ran).toBe('result');
  });

  test('refuses what makes no sense', () => {
    const wrong = [{ value: -1 }, { value: 0.5 }, { value: 2 ** 31 }, { bounded: 1 }, { permits: 1 }];
    expect(wrong.map((options) => thrownBy(() => new types.semaphore(options as { value: number })).code)).toEqual([
      ...Array(3).fill(outOfRange),
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_INVALID_ARGUMENT',
    ]);
    const semaphore = new types.semaphore({ value: 2 ** 31 - 1 });
    for (const n of [0, -1, 0.5, 1]) expect(thrownBy(() => semaphore.release(n)).code).toBe(outOfRange);
    const almost = new types.semaphore({ value: 2 ** 31 - 2 });
    almost.release();
    expect(thrownBy(() => almost.release()).code).toBe(outOfRange);
    expect(semaphore.value).toBe(2 ** 31 - 1);
  });
});

class SemaphoreModel extends WaitingModel {
  readonly held: number[] = Array(callerCount).fill(0);

  constructor(
    public free: number,
    readonly limit: number,
  ) {
    super();
  }

  acquire(caller: number) {
    return this.request(caller, 'permits', () => {
      if (this.free === 0) return undefined;
      this.free--;
      this.held[caller] = this.#heldBy(caller) + 1;
      return 'undefined';
    });
  }

  release(caller: number, n: number): boolean {
    const back = Math.min(this.#heldBy(caller), n);
    const total = this.free + this.held.reduce((sum, each) => sum + each, 0);
    if (total + n - back > this.limit) return false;
    this.held[caller] = this.#heldBy(caller) - back;
    this.free += n;
    this.settle();
    return true;
  }

  protected leave(caller: number): void {
    this.free += this.#heldBy(caller);
    this.held[caller] = 0;
  }

  #heldBy(caller: number): number {
    return this.held[caller] as number;
  }
}

test.each([true, false])('no permit is lost or made, whatever comes together (bounded: %s)', (bounded) => {
  const step = fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({ act: fc.constant('acquire' as const), caller: anyCaller, timed: fc.boolean() }),
    },
    fc.record({ act: fc.constant('release' as const), caller: anyCaller, n: fc.integer({ min: 1, max: 2 }) }),
    anyEnd,
  );
  return always(step, async (steps) => {
    const semaphore = new types.semaphore({ value: 2, bounded });
    const model = new SemaphoreModel(2, bounded ? 2 : Number.POSITIVE_INFINITY);
    const trial = new Trial(model);
    for (const each of steps) {
      if (each.act === 'acquire') {
        trial.request(model.acquire(each.caller), (who, options) => who.on(semaphore).acquire(options), each.timed);
      } else if (each.act === 'release') {
        const mine = trial.caller(each.caller).on(semaphore);
        if (model.release(each.caller, each.n)) mine.release(each.n);
        else expect(thrownBy(() => mine.release(each.n)).code).toBe(outOfRange);
      } else await trial.happen(each);
      expect(semaphore.value).toBe(model.free);
    }
    await trial.check();
  });
});
