import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import { Child, randomFrom } from '../helpers/child';
import { eventually } from '../helpers/lock-words';
import { freshName } from '../helpers/shm';

// NDSHM_STORM_KILLS=1000 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 40);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);
const atOnce = 3;
const names = 'lock rlock semaphore condition barrier event state queue again seen'.split(' ');
const permits = 3;
/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

async function next(child: Child): Promise<void> {
  const message = await child.message<number | { broken: string }>();
  if (typeof message === 'object') throw new Error(`seed ${seed}: ${message.broken}`);
}

/** Puts items, each another one, as long as they are taken; gives how to stop that, and what was put. */
function feed(put: (item: string) => Promise<void>, prefix: string): () => Promise<string[]> {
  const items: string[] = [];
  let isOver = false;
  const run = async () => {
    while (!isOver) {
      await put(`${prefix} ${items.length}`);
      items.push(`${prefix} ${items.length}`);
    }
  };
  const running = run();
  return async () => {
    isOver = true;
    await running;
    return items;
  };
}

describe(`SIGKILL at random points of a manager's clients, seed ${seed}`, () => {
  test(
    `${kills} kills leave no lock held, no item lost that was not on its way, and nothing else either`,
    async () => {
      const random = randomFrom(seed);
      const namesBefore = readdirSync('/dev/shm').sort();
      const manager = await ndshm.Manager.start({ modules: [join(__dirname, '../manager/fixtures/storm-types.js')] });
      const { pid } = await manager.info();
      const ones = ndshm.create(freshName('ones'), { shape: 1000 });
      ones.fill(1);
      const named = await Promise.all([
        manager.getOrCreate('lock', 'lock'),
        manager.getOrCreate('rlock', 'rlock'),
        manager.getOrCreate('semaphore', 'semaphore', { value: permits }),
        manager.getOrCreate('condition', 'condition'),
        manager.getOrCreate('barrier', 'barrier', { parties: 2 }),
        manager.getOrCreate('event', 'event'),
        manager.getOrCreate('state', 'dict'),
        manager.getOrCreate('queue', 'queue', { maxItems: 20 }),
        manager.getOrCreate('again', 'queue', { maxItems: 20, redeliver: true }),
        manager.getOrCreate('seen', 'dict'),
      ]);
      const [lock, rlock, semaphore, condition, , , state, queue, again, seen] = named;
      const stops = [feed((item) => queue.put(item), 'once'), feed((item) => again.put(item), 'again')];

      const start = () =>
        new Child('manager-storm.js', [manager.address, String(Math.floor(random() * 2 ** 31)), ones.name as string]);
      const survivors = [start(), start()];
      let begun = 0;
      const killOne = async (): Promise<void> => {
        const child = start();
        for (let rounds = Math.floor(random() * 10); rounds >= 0; rounds--) await next(child);
        spin(random() * 2000);
        expect(await child.kill()).toEqual({ code: null, signal: 'SIGKILL' });
      };
      const lane = async (): Promise<void> => {
        while (begun++ < kills) await killOne();
      };
      await Promise.all(Array.from({ length: atOnce }, lane));
      const [once, often] = (await Promise.all(stops.map((stop) => stop()))) as [string[], string[]];
      for (const survivor of survivors) {
        await next(survivor); // it goes on after all of that
        survivor.send('enough');
        expect({ ...(await survivor.end()), stderr: survivor.stderr }).toEqual({ code: 0, signal: null, stderr: '' });
      }

      const rest = async (of: typeof queue): Promise<string[]> => {
        const items: string[] = [];
        while ((await of.size()) > 0) items.push((await of.get()) as string);
        return items;
      };
      const done = new Set([...((await seen.keys()) as string[]), ...(await rest(queue)), ...(await rest(again))]);
      expect(once.filter((item) => !done.has(item)).length).toBeLessThanOrEqual(kills);
      expect(often.filter((item) => !done.has(item))).toEqual([]);
      expect((await state.get('locked')) as number).toBeGreaterThan(kills);

      expect([await lock.locked(), await rlock.locked(), await semaphore.value()]).toEqual([false, false, permits]);
      await condition.acquire({ timeoutMs: 1000 });
      await condition.release();
      const { connections, objects } = await manager.info();
      expect(connections).toBe(1);
      expect(new Map(objects.map(({ name, references }) => [name, references]))).toEqual(
        new Map(names.map((name) => [name, 1])),
      );
      await manager.close();
      await eventually('end of the manager', () => !existsSync(`/proc/${pid}`));
      ones.close();
      ndshm.unlink(ones.name as string);
      expect(readdirSync('/dev/shm').sort()).toEqual(namesBefore);
    },
    60_000 + kills * 1000,
  );
});
