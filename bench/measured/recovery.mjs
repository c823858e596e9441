// Members of the measurement of recovery: owners, which are killed inside the lock of each array they were given;
// waiters for the lock of one array; bystanders, which hand the lock of another array to and fro all the while.
import { setTimeout } from 'node:timers/promises';
import { open } from 'ndshm';
import { monotonicMs } from '../support/clock.mjs';
import { answer } from '../support/members.mjs';

const { role, names, id } = JSON.parse(process.argv[2]);
const [array, ...others] = names.map((name) => open(name, { mode: 'r+' }));
const options = { timeoutMs: 60_000, onAbandoned: 'repair' };

/** Resolves when this process is inside the lock, where it stays. */
const stayInside = (lock) =>
  new Promise((entered, failed) => {
    const inside = () => {
      entered();
      return new Promise(() => {});
    };
    lock.write(inside, options).catch(failed);
  });

let latencies = [];

async function passToAndFro() {
  for (;;) {
    const asked = monotonicMs();
    await array.write(async ({ data }) => {
      const entered = monotonicMs();
      const [released, by] = data;
      if (by !== id && released > asked) latencies.push(entered - released);
      await setTimeout(2);
      data.set([monotonicMs(), id]);
    }, options);
    await setTimeout(1); // less than the other one stays, which so finds the lock asked for when it leaves
  }
}

const roles = {
  owner: { own: () => Promise.all([array, ...others].map(stayInside)).then(() => 'inside') },
  waiter: {
    async wait() {
      const began = monotonicMs();
      return { began, entered: await array.write(monotonicMs, options) };
    },
  },
  blockingWaiter: {
    wait: () => ({ began: monotonicMs(), entered: array.writeSync(monotonicMs, options) }),
  },
  bystander: {
    begin() {
      passToAndFro();
    },
    latencies() {
      const all = latencies;
      latencies = [];
      return all;
    },
  },
};
answer(roles[role]);
