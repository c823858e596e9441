import { builtinTypes as types } from '../../../dist/manager/types';
import { Deferred, FakeCaller, fateOf, fatesOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';

const notOwned = 'ERR_NDSHM_NOT_OWNED';

type Condition = InstanceType<typeof types.condition>;

/** Waits inside the lock, and lets it go. */
async function waitInside(condition: Condition, caller: FakeCaller, options = {}): Promise<string> {
  await caller.on(condition).acquire();
  await caller.on(condition).wait(options);
  caller.on(condition).release();
  return 'woken';
}

async function waiters(condition: Condition, count: number) {
  const callers = Array.from({ length: count }, () => new FakeCaller());
  const waits = callers.map((caller) => waitInside(condition, caller));
  await fatesOf(waits);
  return { callers, waits };
}

const wake = (condition: Condition, n: number) => condition.run(() => condition.notify(n));

describe('a condition', () => {
  test('wakes so many of those who wait as notify() says, the longest waiting first', async () => {
    const condition = new types.condition();
    const { waits } = await waiters(condition, 4);
    await wake(condition, 0);
    expect(await fatesOf(waits)).toEqual(['pending', 'pending', 'pending', 'pending']);
    await condition.run(() => condition.notify());
    expect(await fatesOf(waits)).toEqual(['woken', 'pending', 'pending', 'pending']);
    await wake(condition, 2);
    expect(await fatesOf(waits)).toEqual(['woken', 'woken', 'woken', 'pending']);
    await wake(condition, 5); // more than there are, which is not kept for later
    expect(await fatesOf(waits)).toEqual(['woken', 'woken', 'woken', 'woken']);
    const later = await waiters(condition, 2);
    expect(await fatesOf(later.waits)).toEqual(['pending', 'pending']);
    await condition.run(() => condition.notifyAll());
    expect(await fatesOf(later.waits)).toEqual(['woken', 'woken']);
  });

  test('lets the lock go while it waits, and holds it afterwards, however that ends', async () => {
    const condition = new types.condition();
    const caller = new FakeCaller();
    const mine = caller.on(condition);
    const signal = AbortSignal.abort(new Error('not wanted'));
    for (const [options, error] of [
      [{ timeoutMs: 1 }, 'ERR_NDSHM_TIMEOUT'],
      [{ signal }, 'not wanted'],
      [{ timeoutMs: -1 }, 'ERR_NDSHM_OUT_OF_RANGE'],
    ] as const) {
      await mine.acquire();
      const waiting = mine.wait(options);
      const failure = await waiting.catch((thrown: Error & { code?: string }) => thrown.code ?? thrown.message);
      expect([failure, condition.locked]).toEqual([error, true]);
      mine.release();
    }
    await mine.acquire();
    const waiting = mine.wait();
    expect([await fateOf(waiting), condition.locked]).toEqual(['pending', false]);
    await wake(condition, 1);
    expect([await fateOf(waiting), condition.locked]).toEqual([undefined, true]);
  });

  test('goes on only once it has the lock again', async () => {
    const condition = new types.condition();
    const { waits } = await waiters(condition, 1);
    await condition.acquire();
    condition.notify();
    expect(await fatesOf(waits)).toEqual(['pending']);
    condition.release();
    expect(await fatesOf(waits)).toEqual(['woken']);
  });

  test('is given up only once it has the lock again', async () => {
    const condition = new types.condition();
    const caller = new FakeCaller();
    const controller = new AbortController();
    await caller.on(condition).acquire();
    const waiting = caller.on(condition).wait({ signal: controller.signal });
    await condition.acquire();
    controller.abort(new Error('not wanted'));
    expect(await fateOf(waiting)).toBe('pending');
    condition.release();
    expect([await fateOf(waiting), condition.locked]).toEqual(['not wanted', true]);
  });

  test('needs the lock', async () => {
    const condition = new types.condition();
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    await a.on(condition).acquire();
    const mine = b.on(condition);
    expect(await fatesOf([mine.wait(), mine.waitFor(() => true)])).toEqual([notOwned, notOwned]);
    expect([thrownBy(() => mine.notify()).code, thrownBy(() => mine.notifyAll()).code]).toEqual([notOwned, notOwned]);
    expect(thrownBy(() => a.on(condition).notify(-1)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
  });

  test.each(['before it is notified', 'before it has the lock again'])(
    'wakes the next one in the place of one that goes %s',
    async (when) => {
      const condition = new types.condition();
      const { callers, waits } = await waiters(condition, 3);
      const [first] = callers as [FakeCaller];
      await condition.acquire();
      if (when === 'before it is notified') first.end();
      condition.notify();
      if (when === 'before it has the lock again') {
        expect(await fateOf(waits[1] as Promise<string>)).toBe('pending'); // the first one is on its way
        first.end();
      }
      condition.release();
      expect(await fatesOf(waits)).toEqual([`caller ${first.id} has gone`, 'woken', 'pending']);
    },
  );

  test('wakes the next one in the place of one that goes in the same turn', async () => {
    const condition = new types.condition();
    const { callers, waits } = await waiters(condition, 2);
    await condition.run(() => {
      condition.notify();
      callers[0]?.end();
    });
    expect(await fatesOf(waits)).toEqual([`caller ${callers[0]?.id} has gone`, 'woken']);
  });
});

describe('waitFor() of a condition', () => {
  test('looks at once, and after every notification, inside the lock', async () => {
    const condition = new types.condition();
    const mine = new FakeCaller().on(condition);
    await mine.acquire();
    expect(await mine.waitFor(() => 'there')).toBe('there');
    const seen: boolean[] = [];
    let state = 0;
    const waiting = mine.waitFor(async () => {
      seen.push(condition.locked);
      return state > 1 && { state };
    });
    for (const expected of ['pending', { state: 2 }]) {
      expect(await fateOf(waiting.then(undefined, undefined))).toBe('pending');
      await condition.run(() => {
        state++;
        condition.notifyAll();
      });
      expect(await fateOf(waiting)).toEqual(expected);
    }
    expect([seen, condition.locked]).toEqual([[true, true, true], true]);
  });

  test('has looked once more when its time is up', async () => {
    const condition = new types.condition();
    await condition.acquire();
    let looks = 0;
    expect(await condition.waitFor(() => ++looks === 2 && 'late', { timeoutMs: 1 })).toBe('late');
    await expect(condition.waitFor(() => false, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'ERR_NDSHM_TIMEOUT' });
    expect(condition.locked).toBe(true);
  });

  test('fails with what the predicate throws, and with its caller', async () => {
    const condition = new types.condition();
    const caller = new FakeCaller();
    const mine = caller.on(condition);
    await mine.acquire();
    const failed = mine.waitFor(() => Promise.reject(new Error('by the predicate')));
    expect([await fateOf(failed), condition.locked]).toEqual(['by the predicate', true]);
    expect(await fateOf(mine.waitFor(5 as never))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    const never = mine.waitFor(() => new Deferred().promise);
    expect(await fateOf(never)).toBe('pending');
    caller.end();
    expect([await fateOf(never), condition.locked]).toEqual([`caller ${caller.id} has gone`, false]);
  });
});
