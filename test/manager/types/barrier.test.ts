import { builtinTypes as types } from '../../../dist/manager/types';
import { FakeCaller, fateOf, fatesOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';

const broken = 'ERR_NDSHM_BROKEN_BARRIER';

describe('a barrier', () => {
  test('lets all parties go at once, round after round, each with its index', async () => {
    const barrier = new types.barrier({ parties: 3 });
    for (let round = 0; round < 3; round++) {
      const first = [barrier.wait(), barrier.wait({ timeoutMs: 20_000 })];
      expect(await fatesOf(first)).toEqual(['pending', 'pending']);
      expect([barrier.waiting, barrier.parties, barrier.broken]).toEqual([2, 3, false]);
      expect(await fatesOf([...first, barrier.wait()])).toEqual([0, 1, 2]);
      expect(barrier.waiting).toBe(0);
    }
    const two = Array.from({ length: 6 }, () => barrier.wait());
    expect(await fatesOf(two)).toEqual([0, 1, 2, 0, 1, 2]);
    const one = new types.barrier({ parties: 1 });
    expect(await fatesOf([one.wait(), one.wait()])).toEqual([0, 0]);
  });

  test.each(['goes', 'aborts', 'has no more time'])('breaks for all who wait when one %s', async (how) => {
    const barrier = new types.barrier({ parties: 4 });
    const leaving = new FakeCaller();
    const controller = new AbortController();
    const options = { signal: controller.signal, ...(how === 'has no more time' ? { timeoutMs: 1 } : {}) };
    const waits = [barrier.wait(), leaving.on(barrier).wait(options), barrier.wait()];
    if (how === 'goes') leaving.end();
    if (how === 'aborts') controller.abort(new Error('aborted'));
    const failures = await Promise.allSettled(waits);
    expect(failures.map((each) => each.status)).toEqual(['rejected', 'rejected', 'rejected']);
    const own = { goes: `caller ${leaving.id} has gone`, aborts: 'aborted' }[how] ?? 'ERR_NDSHM_TIMEOUT';
    expect(await fatesOf(waits)).toEqual([broken, own, broken]);
    expect([barrier.broken, barrier.waiting, await fateOf(barrier.wait())]).toEqual([true, 0, broken]);
    barrier.reset();
    const again = Array.from({ length: 4 }, () => barrier.wait());
    expect([barrier.broken, await fatesOf(again)]).toEqual([false, [0, 1, 2, 3]]);
  });

  test('does not mind who goes that has not arrived, has passed, or was refused', async () => {
    const barrier = new types.barrier({ parties: 2 });
    const caller = new FakeCaller();
    const mine = caller.on(barrier);
    expect(await fatesOf([mine.wait(), barrier.wait()])).toEqual([0, 1]);
    expect(await fateOf(mine.wait({ timeoutMs: -1 }))).toBe('ERR_NDSHM_OUT_OF_RANGE');
    const waiting = barrier.wait();
    caller.end();
    expect(await fateOf(mine.wait())).toBe(`caller ${caller.id} has gone`);
    expect([barrier.broken, barrier.waiting]).toEqual([false, 1]);
    expect(await fatesOf([waiting, barrier.wait()])).toEqual([0, 1]);
  });

  test('is passed by all who had arrived when the last one came, though one goes in the same turn', async () => {
    const barrier = new types.barrier({ parties: 2 });
    const caller = new FakeCaller();
    const waits = [caller.on(barrier).wait(), barrier.wait()];
    caller.end();
    const next = barrier.wait();
    expect([await fatesOf(waits), barrier.broken]).toEqual([[0, 1], false]);
    expect(await fatesOf([next, barrier.wait()])).toEqual([0, 1]);
  });

  test('is broken by abort(), and whole again after reset(), which ends the waits', async () => {
    const barrier = new types.barrier({ parties: 2 });
    const first = barrier.wait();
    barrier.abort();
    expect([await fateOf(first), barrier.broken, await fateOf(barrier.wait())]).toEqual([broken, true, broken]);
    barrier.reset();
    const second = barrier.wait();
    barrier.reset();
    const third = [barrier.wait(), barrier.wait()];
    expect([await fateOf(second), await fatesOf(third), barrier.broken]).toEqual([broken, [0, 1], false]);
  });

  test('has at least one party', () => {
    for (const parties of [0, -1, 1.5, 2 ** 31]) {
      expect(thrownBy(() => new types.barrier({ parties })).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    }
    expect(thrownBy(() => new types.barrier(undefined as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });
});
