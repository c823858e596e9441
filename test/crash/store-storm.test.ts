import { mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import { Child, randomFrom } from '../helpers/child';
import { existingBytes, largeBytes, mebibyte } from '../helpers/object-store';
import { freshName, namesInShm } from '../helpers/shm';

// NDSHM_STORM_KILLS=1000 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 24);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);
const atOnce = 4;

/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

/** As test/children/store-storm.js fills them. */
function fill(words: Int32Array, first: number): Int32Array {
  let value = first;
  for (let n = 0; n < words.length; n++) {
    words[n] = value;
    value = (Math.imul(value, 1103515245) + 12345) | 0;
  }
  return words;
}

function isWhole(value: unknown): boolean {
  const words = (
    value instanceof ndshm.SharedArray ? value.data : (value as { words: Int32Array }).words
  ) as Int32Array;
  return Buffer.from(words.slice().buffer).equals(
    Buffer.from(fill(new Int32Array(words.length), words[0] as number).buffer),
  );
}

/** Whether what is there is whole, as far as nobody deletes it meanwhile; how many objects were looked at. */
function lookAtAll(store: ndshm.Store): number {
  let looked = 0;
  for (const { ref, state } of store.list()) {
    if (state !== 'sealed' && state !== 'spilled') continue;
    let lease: ndshm.Lease<unknown>;
    try {
      lease = store.lease(ref);
    } catch (error) {
      if ((error as { code?: string }).code === 'ERR_NDSHM_STALE_HANDLE') continue;
      throw error;
    }
    if (!isWhole(lease.value)) throw new Error(`seed ${seed}: ${JSON.stringify(ref)} is broken`);
    lease.release();
    looked++;
  }
  return looked;
}

describe.each([
  ['with room for all', '64MiB', false],
  ['that spills', '3MiB', true],
] as const)(`SIGKILL at random points of a store %s, seed ${seed}`, (_, capacity, spills) => {
  test(
    `after each of ${kills} kills the objects are whole, and in the end every page is accounted for`,
    async () => {
      const random = randomFrom(seed);
      const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-spill-'));
      const store = ndshm.Store.open(freshName('storm'), { capacity, ...(spills ? { spillDir } : {}) });
      // Somebody deletes it sooner or later; its pages are ours to read all the same.
      const leased = store.lease<{ words: Int32Array }>(store.putSync({ words: fill(new Int32Array(100_000), 7) }));
      let [begun, looked, everSpilled] = [0, 0, 0];
      const killOne = async (): Promise<void> => {
        const child = new Child('store-storm.js', [store.name, String(Math.floor(random() * 2 ** 31))]);
        for (let rounds = Math.floor(random() * 12); rounds >= 0; rounds--) {
          const message = await child.message<number | { broken: string }>();
          if (typeof message === 'object') throw new Error(`seed ${seed}: ${message.broken}`);
        }
        spin(random() * 1000);
        expect(await child.kill()).toEqual({ code: null, signal: 'SIGKILL' });
        everSpilled += store.stat().spilledObjects;
        if (begun % 4 === 0) looked += lookAtAll(store);
      };
      const lane = async (): Promise<void> => {
        while (begun++ < kills) await killOne();
      };
      await Promise.all(Array.from({ length: atOnce }, lane));

      looked += lookAtAll(store);
      expect(looked).toBeGreaterThan(0);
      expect(everSpilled > 0).toBe(spills);
      const objects = store.list();
      expect(objects.filter(({ state }) => state === 'making')).toEqual([]);
      const { usedBytes, readyBytes, capacityBytes } = store.stat();
      expect(usedBytes).toBe(existingBytes(store.name));
      expect(usedBytes).toBeLessThanOrEqual(capacityBytes);
      const chunkBytes = usedBytes - readyBytes - largeBytes(objects);
      expect(isWhole(leased.value)).toBe(true);
      leased.release();

      for (const { ref, state } of objects) expect(store.delete(ref)).toBe(state !== 'deleted');
      expect(store.stat()).toMatchObject({ objects: 0, objectBytes: 0, usedBytes: existingBytes(store.name) });
      const empty = store.stat();
      expect(empty.usedBytes - empty.readyBytes).toBe(chunkBytes);
      expect(chunkBytes).toBeLessThan(2 * mebibyte);
      store.close();
      expect(namesInShm()).toEqual([]);
      expect(readdirSync(spillDir)).toEqual([]);
      rmdirSync(spillDir);
    },
    60_000 + kills * 1000,
  );
});
