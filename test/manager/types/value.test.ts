import { builtinTypes as types } from '../../../dist/manager/types';
import { FakeCaller, fatesOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';

describe('a value', () => {
  test('is of any kind', () => {
    const value = new types.value<unknown>({ a: 1 });
    expect(value.get()).toEqual({ a: 1 });
    value.set('text');
    expect(value.get()).toBe('text');
    expect(new types.value<undefined>(undefined).get()).toBeUndefined();
  });

  test('is added to if it is a number or bigint, and the amount as well', () => {
    const count = new types.value(1);
    expect([count.add(2), count.add(-0.5), count.get()]).toEqual([3, 2.5, 2.5]);
    expect(new types.value(2n ** 64n).add(1n)).toBe(2n ** 64n + 1n);
    for (const [value, amount] of [
      [1, 1n],
      [1n, 1],
      ['a', 'b'],
      [null, 1],
      [1, undefined],
    ]) {
      const wrong = new types.value<unknown>(value);
      expect(thrownBy(() => wrong.add(amount as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      expect(wrong.get()).toBe(value);
    }
  });

  test('is changed by one caller after the other, and by none that has gone', async () => {
    const value = new types.value(0);
    const callers = Array.from({ length: 10 }, () => new FakeCaller());
    const changes = callers.map((caller) =>
      caller.on(value).change(async (before) => {
        await new Promise(setImmediate);
        return before + 1;
      }),
    );
    callers[0]?.end(); // while its function runs
    callers[5]?.end(); // while it waits
    await Promise.allSettled(changes);
    expect(await fatesOf(changes)).toEqual([
      `caller ${callers[0]?.id} has gone`,
      1,
      2,
      3,
      4,
      `caller ${callers[5]?.id} has gone`,
      5,
      6,
      7,
      8,
    ]);
    expect(value.get()).toBe(8);
  });
});
