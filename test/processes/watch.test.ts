import * as ndshm from 'ndshm';
import { describeWithNumpy, runPython } from '../helpers/python';
import { freshName, shmPath } from '../helpers/shm';

const make = (name: string, value: number) =>
  ndshm.create(name, { shape: [4], ifExists: 'replace', init: (a) => a.fill(value) }).close();

/** The value in the next array that the watch gives. */
async function nextValue(watch: AsyncIterator<ndshm.SharedArray>): Promise<unknown> {
  const { value, done } = await watch.next();
  if (done) return 'done';
  const first = value.get(0);
  value.close();
  return first;
}

describe('watch', () => {
  test('gives the new array after each replacement, and nothing for the one that was there', async () => {
    const name = freshName();
    make(name, 1);
    const watch = ndshm.watch(name);
    make(name, 2);
    expect(await nextValue(watch)).toBe(2);
    const later = nextValue(watch);
    make(name, 3);
    expect(await later).toBe(3);
    await watch.return?.();
    ndshm.unlink(name);
  });

  test('gives at once what replaced the caller’s own array before the watch began', async () => {
    const name = freshName();
    make(name, 1);
    const mine = ndshm.open(name);
    make(name, 2);
    const watch = ndshm.watch(name, { since: mine });
    expect(await nextValue(watch)).toBe(2);
    mine.close();
    await watch.return?.();
    ndshm.unlink(name);
  });

  test('gives the latest of several replacements, once', async () => {
    const name = freshName();
    make(name, 1);
    const watch = ndshm.watch(name);
    for (let n = 2; n <= 5; n++) make(name, n);
    expect(await nextValue(watch)).toBe(5);
    const later = nextValue(watch);
    make(name, 6);
    expect(await later).toBe(6);
    await watch.return?.();
    ndshm.unlink(name);
  });

  test('waits for a name that is not there, or no longer', async () => {
    const name = freshName();
    const watch = ndshm.watch(name);
    const first = nextValue(watch);
    make(name, 1);
    expect(await first).toBe(1);
    ndshm.unlink(name);
    const second = nextValue(watch);
    make(name, 2);
    expect(await second).toBe(2);
    await watch.return?.();
    ndshm.unlink(name);
  });

  test('ends by return, also while somebody waits for it', async () => {
    const watch = ndshm.watch(freshName());
    const waiting = nextValue(watch);
    await watch.return?.();
    expect(await waiting).toBe('done');
    expect(await nextValue(watch)).toBe('done');
  });

  test('ends by its signal, with the signal’s reason', async () => {
    const controller = new AbortController();
    const watch = ndshm.watch(freshName(), { signal: controller.signal });
    const waiting = nextValue(watch);
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    expect(() => ndshm.watch(freshName(), { signal: controller.signal })).toThrow(/aborted/);
  });

  test('takes no notice of those who open and close the same array', async () => {
    const name = freshName();
    make(name, 1);
    const watch = ndshm.watch(name);
    const waiting = nextValue(watch);
    for (let n = 0; n < 20; n++) {
      ndshm.open(name).close();
      await new Promise(setImmediate);
    }
    make(name, 2);
    expect(await waiting).toBe(2);
    await watch.return?.();
    ndshm.unlink(name);
  });

  test('gives arrays in the mode asked for', async () => {
    const name = freshName();
    const watch = ndshm.watch(name, { mode: 'r+' });
    make(name, 1);
    const { value } = await watch.next();
    value.set(0, 8);
    value.close();
    using check = ndshm.open(name);
    expect(check.get(0)).toBe(8);
    await watch.return?.();
    ndshm.unlink(name);
  });
});

describeWithNumpy('watch beside numpy', () => {
  test('gives a file that numpy saves, complete, each time', async () => {
    const name = freshName();
    const watch = ndshm.watch(name);
    for (const value of [1, 2]) {
      const given = nextValue(watch);
      runPython('np.save(open(given["path"], "wb"), np.full(1000, given["value"], dtype="float64")); print("null")', {
        path: shmPath(name),
        value,
      });
      expect(await given).toBe(value);
    }
    await watch.return?.();
    ndshm.unlink(name);
  });
});
