import { readdirSync, readFileSync } from 'node:fs';
import { Child, randomFrom } from '../helpers/child';
import { eventually } from '../helpers/lock-words';

// NDSHM_STORM_KILLS=500 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 4);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);

/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

/** Processes that were started as workers of this one, which it may not live to tell of. */
function workersOf(parent: Child): number[] {
  const isOne = (pid: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`"store":"pool-${parent.pid}-`);
    } catch {
      return false; // it has gone, or is not ours
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isOne(name))
    .map(Number);
}

const namesOf = (parent: Child): string[] =>
  readdirSync('/dev/shm').filter((name) => name.startsWith(`pool-${parent.pid}-`));

const ends: Record<string, (parent: Child) => unknown> = {
  'is killed': (parent) => parent.kill(),
  exits: (parent) => parent.send('exits'),
  'does not catch an exception': (parent) => parent.send('throws'),
};

describe(`Neither a process nor a name is left of a pool whose owner, seed ${seed},`, () => {
  test.each(Object.entries(ends))(
    '%s at any moment',
    async (_, end) => {
      const random = randomFrom(seed);
      let [everWorkers, everNames] = [0, 0];
      for (let n = 0; n < kills; n++) {
        const parent = new Child('pool-parent.js', [String(Math.floor(random() * 2 ** 31))]);
        for (let busy = Math.floor(random() * 30); busy >= 0; busy--) await parent.message();
        spin(random() * 2000);
        everWorkers += workersOf(parent).length;
        everNames += namesOf(parent).length;
        await end(parent);
        await parent.end();
        await eventually(`end of the workers of ${parent.pid}`, () => workersOf(parent).length === 0);
        expect(namesOf(parent)).toEqual([]);
      }
      expect(everWorkers).toBeGreaterThanOrEqual(2 * kills);
      expect(everNames).toBeGreaterThan(0);
    },
    60_000 + kills * 5000,
  );
});
