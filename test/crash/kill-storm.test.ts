import { readdirSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { Child, randomFrom } from '../helpers/child';
import { freshName } from '../helpers/shm';

// NDSHM_STORM_KILLS=5000 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 200);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);
const atOnce = 3;

/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

function verify(name: string): void {
  const array = ndshm.open(name);
  const { data } = array;
  expect((data as Float64Array).every((value) => value === data[0])).toBe(true);
  array.close();
}

/** Names in /dev/shm that start so and that list() leaves out or finds fault with. */
function unexplained(prefix: string): string[] {
  const listed = new Map(ndshm.list().map((info) => [info.name, info]));
  return readdirSync('/dev/shm').filter((name) => {
    if (!name.startsWith(prefix)) return false;
    const info = listed.get(name);
    return info?.problem !== null || info.kind !== 'array';
  });
}

/** Replacements on their way whose maker is dead; looked at twice, since a living one may finish between. */
function orphanedTemporaries(): string[] {
  const orphans = (): string[] =>
    ndshm.list().flatMap(({ kind, name, peers }) => (kind === 'temporary' && peers.length === 0 ? [name] : []));
  const before = orphans();
  return before.length === 0 ? [] : orphans().filter((name) => before.includes(name));
}

describe(`SIGKILL at random points, seed ${seed}`, () => {
  test(
    `${kills} kills leave no half-made name and nothing that list() cannot explain`,
    async () => {
      const random = randomFrom(seed);
      const prefix = freshName('storm');
      const replaced = `${prefix}-replaced`;
      ndshm.fromArray(replaced, new Float64Array(500).fill(1)).close();
      const living = ndshm.fromArray(`${prefix}-living`, new Float64Array(10).fill(7), { ephemeral: true });
      const livingRead = ndshm.open(replaced);
      const firstId = ndshm.stat(replaced).id;

      let begun = 0;
      const killOne = async (): Promise<void> => {
        const child = new Child('array-storm.js', [prefix, String(Math.floor(random() * 2 ** 31))]);
        const progress = 1 + Math.floor(random() * 4);
        for (let count = 0; count < progress; count++) {
          const message = await child.message<number | { broken: string }>();
          if (typeof message === 'object') throw new Error(`seed ${seed}: ${message.broken}`);
        }
        spin(random() * 400);
        expect(await child.kill()).toEqual({ code: null, signal: 'SIGKILL' });
        verify(replaced);
        expect(ndshm.gc()).not.toContain(living.name);
        expect(ndshm.stat(living.name as string).peers).toHaveLength(1);
        expect(orphanedTemporaries()).toEqual([]);
      };
      const lane = async (): Promise<void> => {
        while (begun++ < kills) await killOne();
      };
      await Promise.all(Array.from({ length: atOnce }, lane));

      expect(unexplained(prefix)).toEqual([]);
      for (const { name, ephemeral, peers } of ndshm.list().filter((info) => info.name.startsWith(prefix))) {
        expect({ name, dead: ephemeral && peers.length === 0 }).toEqual({ name, dead: false });
        verify(name);
      }
      expect(readdirSync('/dev/shm').filter((name) => name.includes('-ephemeral-') && name.startsWith(prefix))).toEqual(
        [],
      );
      expect([...(living.data as Float64Array)]).toEqual(new Array(10).fill(7));
      expect([livingRead.get(0), ndshm.stat(replaced).id === firstId]).toEqual([1, false]);
      living.close();
      livingRead.close();
    },
    60_000 + kills * 500,
  );
});
