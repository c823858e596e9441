import { asCaller, callerNow, localCaller, onGone, orGone } from '../../../dist/manager/caller';
import { FakeCaller, fateOf } from '../../helpers/callers';
import { thrownBy } from '../../helpers/shm';

describe('callerNow()', () => {
  test('is whose call runs, call in call, until its first await', async () => {
    const [a, b] = [new FakeCaller(), new FakeCaller()];
    const seen = asCaller(a, () => [callerNow(), asCaller(b, callerNow), callerNow()]);
    expect(seen).toEqual([a, b, a]);
    const later = await asCaller(a, async () => {
      const before = callerNow();
      await Promise.resolve();
      return [before, callerNow()];
    });
    expect(later[0]).toBe(a);
    expect(later[1]).toBe(localCaller);
  });

  test('is the process itself again after a call that threw', () => {
    const thrown = thrownBy(() =>
      asCaller(new FakeCaller(), () => {
        throw new Error('by the call');
      }),
    );
    expect(thrown.message).toBe('by the call');
    expect(callerNow()).toBe(localCaller);
    expect(localCaller.signal.aborted).toBe(false);
  });
});

describe('onGone()', () => {
  test('calls back once, with the reason, unless it is not needed any more', () => {
    const caller = new FakeCaller();
    const [called, forgotten] = [jest.fn(), jest.fn()];
    onGone(caller, called);
    onGone(caller, forgotten)();
    caller.end();
    caller.end();
    expect(called.mock.calls).toEqual([[caller.signal.reason]]);
    expect(forgotten).not.toHaveBeenCalled();
    const late = jest.fn();
    onGone(caller, late);
    expect(late.mock.calls).toEqual([[caller.signal.reason]]);
  });

  test('adds one listener for a caller, however often it is called', () => {
    const caller = new FakeCaller();
    const added = jest.spyOn(caller.signal, 'addEventListener');
    for (let n = 0; n < 100; n++) onGone(caller, () => {})();
    expect(added).toHaveBeenCalledTimes(1);
  });
});

test('orGone() is the promise, or the reason of a caller that goes before', async () => {
  const caller = new FakeCaller();
  expect(await orGone(caller, 'value')).toBe('value');
  expect(await fateOf(orGone(caller, Promise.reject(new Error('failed'))))).toBe('failed');
  const never = orGone(caller, new Promise(() => {}));
  expect(await fateOf(never)).toBe('pending');
  caller.end();
  expect(await fateOf(never)).toBe(`caller ${caller.id} has gone`);
});
