import { readdirSync, readFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { Child, randomFrom } from '../helpers/child';
import { eventually } from '../helpers/lock-words';
import { freshName, namesInShm } from '../helpers/shm';

// NDSHM_STORM_KILLS=1000 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 12);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);

interface Report {
  readonly calls: number;
  readonly lost: number;
  readonly suicides: number;
}
type Message = { readonly pids: readonly number[] } | { readonly broken: string } | Report;

/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

/** Undefined if there is none any more; else what /proc says of it. */
function statusOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return undefined;
  }
}

/** Whether it was one that still was its worker. */
function kill(worker: number, parent: Child, signal: NodeJS.Signals): boolean {
  if (!new RegExp(`^PPid:\\s+${parent.pid}$`, 'm').test(statusOf(worker) ?? '')) return false;
  try {
    return process.kill(worker, signal);
  } catch {
    return false; // it has gone meanwhile
  }
}

/** Not by the pool's own process: that waits for the worker, if it is stopped while it has the lock of the store. */
async function stopFor(worker: number, parent: Child, microseconds: number): Promise<void> {
  if (!kill(worker, parent, 'SIGSTOP')) return;
  await eventually(`stop of ${worker}`, () => !/^State:\s+[RSD]/m.test(statusOf(worker) ?? ''));
  spin(microseconds);
}

async function next(parent: Child): Promise<Exclude<Message, { broken: string }>> {
  const message = await parent.message<Message>();
  if ('broken' in message) throw new Error(`seed ${seed}: ${message.broken}`);
  return message;
}

describe.each<[string, ndshm.PoolOptions]>([
  ['that stay', {}],
  ['that are replaced after 50 tasks', { maxTasksPerChild: 50 }],
])(`A pool's workers %s are stopped and killed at random, seed ${seed}`, (_, options) => {
  test(
    `each call settles as it has to, and nothing is left after ${kills} kills`,
    async () => {
      const random = randomFrom(seed);
      const parent = new Child('pool-storm.js', [freshName(), String(seed), JSON.stringify(options)], {
        execArgv: ['--expose-gc'],
      });
      let killed = 0;
      while (killed < kills) {
        const { pids } = (await next(parent)) as { pids: readonly number[] };
        for (let count = 1 + Math.floor(random() * 2); count > 0; count--) {
          const worker = pids[Math.floor(random() * pids.length)] as number;
          spin(random() * 3000);
          if (random() < 0.3) await stopFor(worker, parent, random() * 30_000);
          if (random() < 0.2) kill(worker, parent, 'SIGCONT');
          else if (kill(worker, parent, 'SIGKILL')) killed++;
          else kill(worker, parent, 'SIGCONT');
        }
        parent.send('killed');
      }
      await next(parent);
      parent.send('enough');
      const { calls, lost, suicides } = (await next(parent)) as Report;
      expect(await parent.end()).toEqual({ code: 0, signal: null });
      expect(calls).toBeGreaterThan(kills);
      expect(lost).toBeLessThanOrEqual(killed + suicides);
      expect(readdirSync('/dev/shm').filter((name) => name.startsWith(`pool-${parent.pid}-`))).toEqual([]);
      ndshm.gc(); // arrays whose last user was killed
      expect(namesInShm()).toEqual([]);
      if (process.env['NDSHM_STORM_KILLS'] !== undefined)
        process.stderr.write(`${calls} calls, ${killed} kills, ${lost} lost\n`);
    },
    120_000 + kills * 2000,
  );
});
