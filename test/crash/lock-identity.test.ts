import { writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { describeAsRoot } from '../helpers/child';
import { Locker, outcome } from '../helpers/locker';
import { freshName } from '../helpers/shm';

const newNamespace = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];

async function withArray(use: (mine: ndshm.SharedArray, name: string) => Promise<void>): Promise<void> {
  const name = freshName();
  const mine = ndshm.create(name, { shape: 4 });
  await use(mine, name);
  mine.close();
  ndshm.unlink(name);
}

/** The array is said to be abandoned, once, and is then as good as ever. */
async function expectAbandonedOnce(mine: ndshm.SharedArray): Promise<void> {
  expect(await outcome(mine.write(() => 'in', { timeoutMs: 5000 }))).toBe('ERR_NDSHM_ABANDONED');
  expect(await mine.write((_, hold) => hold, { onAbandoned: 'repair' })).toEqual({ abandoned: true });
  expect(await mine.write((_, hold) => hold)).toEqual({ abandoned: false });
}

describe('who holds the lock is told by the kernel:', () => {
  test('the last of 256 peers that died inside is buried by whoever gets its slot', async () => {
    await withArray(async (mine, name) => {
      const owner = await Locker.open(name);
      const others = Array.from({ length: 254 }, () => ndshm.open(name, { mode: 'r+' }));
      await owner.hold('write');
      await owner.kill();
      const heir = ndshm.open(name, { mode: 'r+' });
      expect(() => ndshm.open(name)).toThrow(/256 peer slots/);
      expect(await outcome(heir.write(() => 'in', { timeoutMs: 5000 }))).toBe('ERR_NDSHM_ABANDONED');
      await expectAbandonedOnce(mine);
      for (const array of [heir, ...others]) array.close();
    });
  });

  test('a closed attachment’s slot, used again, is not blamed for what its last holder did', async () => {
    await withArray(async (mine, name) => {
      const first = ndshm.open(name, { mode: 'r+' });
      const second = first.write(() => new Promise(() => {}));
      first.close();
      void outcome(second);
      const heirs = Array.from({ length: 255 }, () => ndshm.open(name, { mode: 'r+' }));
      await expectAbandonedOnce(mine);
      for (const heir of heirs) {
        expect(heir.tryWrite((_, hold) => hold)).toEqual({ abandoned: false });
        heir.close();
      }
    });
  });
});

describeAsRoot('pids do not matter (needs root):', () => {
  test('a new process with the dead owner’s pid is not taken for it', async () => {
    await withArray(async (mine, name) => {
      const owner = await Locker.open(name);
      await owner.hold('write');
      const { pid } = owner.peer;
      await owner.kill();
      let namesake: Locker;
      do {
        // Whoever forks in between gets it instead; then once more.
        writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
        namesake = await Locker.open(name);
      } while (namesake.peer.pid !== pid && (await namesake.kill()));
      expect(await outcome(namesake.enter('write', { timeoutMs: 5000 }))).toBe('ERR_NDSHM_ABANDONED');
      await expectAbandonedOnce(mine);
      expect(await namesake.enter('write')).toBe('in');
      await namesake.kill();
    });
  });

  test('an owner in another pid namespace is waited for while it lives', async () => {
    await withArray(async (mine, name) => {
      const owner = await Locker.open(name, { wrap: newNamespace });
      expect(await owner.peer.run(() => process.pid)).toBe(1);
      await owner.hold('write');
      for (const method of ['write', 'read'] as const) {
        expect(await outcome(mine[method](() => 'in', { timeoutMs: 60 }))).toBe('ERR_NDSHM_TIMEOUT');
      }
      const waiting = mine.write((_, hold) => hold);
      await owner.release();
      expect(await waiting).toEqual({ abandoned: false });
      // And it waits for us.
      const entered = mine.write(async () => {
        const theirs = owner.enter('write');
        await owner.waiting();
        return { theirs };
      });
      expect(await (await entered).theirs).toBe('in');
      await owner.kill();
    });
  });

  test('an owner in another pid namespace that is killed is buried', async () => {
    await withArray(async (mine, name) => {
      const owner = await Locker.open(name, { wrap: newNamespace });
      await owner.hold('write');
      const waiting = outcome(mine.write(() => 'in'));
      await owner.kill();
      expect(await waiting).toBe('ERR_NDSHM_ABANDONED');
      await expectAbandonedOnce(mine);
    });
  });
});
