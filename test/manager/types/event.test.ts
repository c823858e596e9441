import { builtinTypes as types } from '../../../dist/manager/types';
import { fatesOf } from '../../helpers/callers';

describe('an event', () => {
  test('lets everybody go who waits, even if it is cleared at once, and nobody after that', async () => {
    const event = new types.event();
    const early = [event.wait(), event.wait(), event.wait({ timeoutMs: 20_000 })];
    expect([event.isSet, await fatesOf(early)]).toEqual([false, ['pending', 'pending', 'pending']]);
    event.set();
    event.clear();
    const late = event.wait();
    expect(await fatesOf([...early, late])).toEqual([undefined, undefined, undefined, 'pending']);
    event.set();
    event.set();
    expect([event.isSet, await fatesOf([late, event.wait()])]).toEqual([true, [undefined, undefined]]);
  });
});
