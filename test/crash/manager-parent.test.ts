import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import * as ndshm from 'ndshm';
import { Child, randomFrom } from '../helpers/child';

// NDSHM_STORM_KILLS=500 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 4);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);
/** In which a manager has to be gone, whatever its objects do. */
const limitMs = 10_000;
const types = join(__dirname, '../manager/fixtures/storm-types.js');

/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

/** Processes that have `mark` in their environment, but for the one that was given it. */
function managersOf(parent: Child, mark: string): number[] {
  const isOne = (pid: string): boolean => {
    try {
      return Number(pid) !== parent.pid && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
    } catch {
      return false; // it has gone, or is not ours
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isOne(name))
    .map(Number);
}

/** What a dying process has in its environment is gone before its sockets are: those go with its last thread. */
function isGone(pid: number): boolean {
  try {
    const state = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.[0];
    return state === 'Z' && readdirSync(`/proc/${pid}/task`).length === 1;
  } catch {
    return true;
  }
}

/** Lets the parent go on to some moment of its life. */
const moments: Record<
  string,
  { readonly what: string; readonly come: (parent: Child, random: () => number) => Promise<void> }
> = {
  'while it starts it': {
    what: '',
    come: async (parent, random) => {
      await parent.message();
      spin(random() * 400_000); // about as long as that takes
    },
  },
  'while it has much to do': {
    what: '',
    come: async (parent, random) => {
      for (let messages = 2 + Math.floor(random() * 20); messages >= 0; messages--) await parent.message();
      spin(random() * 2000);
    },
  },
  'while a method never returns': {
    what: 'spin',
    come: async (parent) => {
      for (let messages = 0; messages < 6; messages++) await parent.message();
    },
  },
};

describe(`A manager whose starter, seed ${seed}, is killed`, () => {
  test.each(Object.entries(moments))(
    '%s is gone soon, and nothing of it is in the way of the next one',
    async (_, { what, come }) => {
      const random = randomFrom(seed);
      const folder = mkdtempSync(join(tmpdir(), 'ndshm-test-'));
      const address = join(folder, 'manager.sock');
      const namesBefore = readdirSync('/dev/shm').sort();
      let [everManagers, everSockets] = [0, 0];
      for (let n = 0; n < kills; n++) {
        const mark = `NDSHM_TEST_MARK=${process.pid}-${seed}-${what}-${n}.`;
        const [key, value] = mark.split('=') as [string, string];
        const parent = new Child('manager-parent.js', [address, types, what], { env: { [key]: value } });
        await come(parent, random);
        const managers = new Set(managersOf(parent, mark));
        everManagers += managers.size;
        everSockets += existsSync(address) ? 1 : 0;
        await parent.kill();
        const end = performance.now() + limitMs;
        for (;;) {
          for (const pid of managersOf(parent, mark)) managers.add(pid);
          if ([...managers].every(isGone)) break;
          if (performance.now() > end) throw new Error(`seed ${seed}: the manager is still there in round ${n}`);
          await turn();
        }
        ndshm.gc(); // rings whose connection was not complete
        expect(readdirSync('/dev/shm').sort()).toEqual(namesBefore);
      }
      expect(everManagers).toBeGreaterThan(0);
      if (what === 'spin') expect(everSockets).toBe(kills);
      const next = await ndshm.Manager.serve({ address });
      expect(await next.value(7).get()).toBe(7);
      await next.close();
      rmSync(folder, { recursive: true });
    },
    60_000 + kills * 15_000,
  );
});
