import * as ndshm from 'ndshm';
import { Child } from '../helpers/child';
import { LockWords } from '../helpers/lock-words';
import { Locker } from '../helpers/locker';
import { freshName, shmPath } from '../helpers/shm';
import { describeWithStrace, killingAt } from '../helpers/strace';

/** How many times a process that attaches the array and writes was killed, each time one system call later. */
async function killedAtEach(
  syscall: string,
  name: string,
  before: () => Promise<void>,
  after: (died: boolean) => Promise<void>,
): Promise<number> {
  for (let n = 1; ; n++) {
    await before();
    const child = new Child('lock-once.js', [name], { wrap: killingAt(syscall, n, shmPath(name)) });
    const { code, signal } = await child.end();
    const died = signal === 'SIGKILL';
    if (!died && code !== 0) throw new Error(`The child ended with ${code}: ${child.stderr}`);
    await after(died);
    if (!died) return n - 1;
  }
}

// lock-once.js attaches in three system calls that claim a slot: fcntl takes the byte, pread64 looks what its last
// holder has left, pwrite64 writes the record. Who finds a dead owner asks for his byte, takes it and gives it back.
describeWithStrace('SIGKILL in the place of a system call', () => {
  test.each(['pread64', 'fcntl', 'pwrite64'])(
    '%s while a slot is claimed leaves nothing in the way',
    async (syscall) => {
      const name = freshName();
      const mine = ndshm.create(name, { shape: 4 });
      const killed = await killedAtEach(
        syscall,
        name,
        async () => {},
        async (died) => {
          expect(ndshm.stat(name).peers).toHaveLength(1);
          expect(mine.writeSync((_, hold) => hold)).toEqual({ abandoned: false });
          expect(mine.readSync((_, hold) => hold)).toEqual({ abandoned: false });
          expect(mine.get(0)).toBe(died ? 0 : 1);
        },
      );
      expect(killed).toBeGreaterThanOrEqual(1);
      const others = Array.from({ length: 255 }, () => ndshm.open(name));
      for (const array of [...others, mine]) array.close();
      ndshm.unlink(name);
    },
  );

  test('fcntl while a dead owner is buried leaves him to be buried, and reported, by the next', async () => {
    const name = freshName();
    const mine = ndshm.create(name, { shape: 4 });
    const words = new LockWords(name);
    const killed = await killedAtEach(
      'fcntl',
      name,
      async () => {
        const owner = await Locker.open(name);
        await owner.hold('write');
        await owner.kill();
        expect(words.isWriting).toBe(true);
      },
      async (died) => {
        expect(mine.get(0)).toBe(died ? 0 : 1);
        const hold = await mine.write((_, held) => held, { onAbandoned: 'repair', timeoutMs: 10_000 });
        expect(hold).toEqual({ abandoned: died });
        expect(await mine.read((_, held) => held)).toEqual({ abandoned: false });
      },
    );
    // Its claim; the owner's byte: asked for, taken, given back.
    expect(killed).toBe(4);
    mine.close();
    ndshm.unlink(name);
  });

  test.each(['pread64', 'pwrite64'])(
    '%s while the slot of a dead owner is claimed leaves him to be reported by the next',
    async (syscall) => {
      const name = freshName();
      const mine = ndshm.create(name, { shape: 4 });
      let others: ndshm.SharedArray[] = [];
      const killed = await killedAtEach(
        syscall,
        name,
        async () => {
          const owner = await Locker.open(name);
          others = Array.from({ length: 254 }, () => ndshm.open(name));
          await owner.hold('write');
          await owner.kill(); // his is the one slot that is left
        },
        async (died) => {
          const hold = await mine.write((_, held) => held, { onAbandoned: 'repair', timeoutMs: 10_000 });
          expect(hold).toEqual({ abandoned: died });
          for (const array of others) array.close();
        },
      );
      expect(killed).toBeGreaterThanOrEqual(1);
      mine.close();
      ndshm.unlink(name);
    },
  );
});
