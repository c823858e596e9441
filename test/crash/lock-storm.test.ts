import * as ndshm from 'ndshm';
import { Child, randomFrom } from '../helpers/child';
import { LockWords } from '../helpers/lock-words';
import { freshName } from '../helpers/shm';

// NDSHM_STORM_KILLS=5000 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 40);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);
const atOnce = 4;
const elements = 200;

/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

describe(`SIGKILL at random points under locks, seed ${seed}`, () => {
  test(
    `after each of ${kills} kills the locks go on, and what they protect is whole or said to be abandoned`,
    async () => {
      const random = randomFrom(seed);
      const [name, guarded] = [freshName('storm'), freshName('storm')];
      const spec = { shape: elements, dtype: 'int32' } as const;
      const array = ndshm.create(name, spec);
      const protectedArray = ndshm.create(guarded, spec);
      const mutex = new ndshm.Mutex(`${guarded}-mutex`);
      const outcomes = { whole: 0, abandoned: 0, stopped: 0 };

      const repair = (of: ndshm.SharedArray, { abandoned }: ndshm.Hold): void => {
        const { data } = of as ndshm.SharedArray<'int32'>;
        outcomes[abandoned ? 'abandoned' : 'whole']++;
        if (!abandoned) expect([...data]).toEqual([...new Array(elements - 1).fill(data[0]), 0]);
        of.fill(0);
      };
      let begun = 0;
      const killOne = async (): Promise<void> => {
        const child = new Child('lock-storm.js', [name, guarded, String(Math.floor(random() * 2 ** 31))]);
        for (let rounds = Math.floor(random() * 20); rounds >= 0; rounds--) {
          const message = await child.message<number | { broken: string }>();
          if (typeof message === 'object') throw new Error(`seed ${seed}: ${message.broken}`);
        }
        spin(random() * 400);
        if (random() < 0.2) {
          outcomes.stopped++;
          child.process.kill('SIGSTOP');
          spin(random() * 3000);
        }
        expect(await child.kill()).toEqual({ code: null, signal: 'SIGKILL' });
        await array.write(repair, { onAbandoned: 'repair', timeoutMs: 10_000 });
        await mutex.run((hold) => repair(protectedArray, hold), { onAbandoned: 'repair', timeoutMs: 10_000 });
      };
      const lane = async (): Promise<void> => {
        while (begun++ < kills) await killOne();
      };
      await Promise.all(Array.from({ length: atOnce }, lane));

      expect(outcomes.whole).toBeGreaterThan(0);
      expect(ndshm.stat(name).peers).toHaveLength(1);
      expect(await array.write((_, hold) => hold)).toEqual({ abandoned: false });
      expect(new LockWords(name).owner).toBe(-1);
      array.close();
      protectedArray.close();
      mutex.close();
      for (const each of [name, guarded, `${guarded}-mutex`]) ndshm.unlink(each);
    },
    60_000 + kills * 500,
  );
});
