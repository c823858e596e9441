import { truncateSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { holdings, randomFrom } from '../helpers/child';
import { bit, eventually, LockWords, wordAt } from '../helpers/lock-words';
import { Locker, outcome, withLockers } from '../helpers/locker';
import { freshName, shmPath } from '../helpers/shm';

const seed = Number(process.env['NDSHM_STORM_SEED'] ?? 1);
/** All that somebody may be told whose words are spoilt. */
const acceptable = ['in', undefined, 'ERR_NDSHM_TIMEOUT', 'ERR_NDSHM_CONTROL_CORRUPT', 'ERR_NDSHM_ABANDONED'];

const tried = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return (error as { code?: string }).code ?? error;
  }
};

/** Every way in, none of which may take much longer than its timeoutMs. */
async function tryAll(array: ndshm.SharedArray): Promise<unknown[]> {
  const inside = () => 'in';
  const soon = { timeoutMs: 5 };
  const results = [
    tried(() => array.tryWrite(inside)),
    tried(() => array.tryRead(inside)),
    tried(() => array.writeSync(inside, soon)),
    tried(() => array.readSync(inside, soon)),
    tried(() => array.snapshotSync(inside, soon)),
    ...(await Promise.all(
      [array.write(inside, soon), array.read(inside, soon), array.snapshot(inside, soon)].map(outcome),
    )),
  ];
  const changed = await outcome(array.changed(soon));
  return [...results, typeof changed === 'number' ? 'in' : changed];
}

function heal(words: LockWords): void {
  for (const at of Object.values(wordAt)) if (at !== wordAt.version) words.set(at, 0);
  for (let group = 0; group < 8; group++) words.set(wordAt.readerSlots + 4 * group, 0);
  for (let slot = 0; slot < 256; slot++) words.setFlag(slot, 0);
  words.set(wordAt.version, 2);
  words.set(wordAt.version + 4, 0);
  words.set(wordAt.writer, bit.readers);
  words.set(wordAt.readerSlots, 0xffffffff);
}

describe('spoilt lock words', () => {
  const values = {
    'an owner that does not exist': 300,
    'the greatest owner of all': 0x1ff,
    'a dead owner': 200,
    'the turn of nobody': 300 << 9,
    'the turn of the dead': 200 << 9,
    'flags alone': 0xff << 24,
    'the unused bits': 0x3f << 18,
    'all bits': 0xffffffff,
  };

  test.each(Object.entries(values))('with %s in the word are errors or waits with an end', async (_, value) => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    const words = new LockWords(a.name as string);
    expect(await tryAll(a)).toEqual(expect.arrayContaining(['in']));
    words.set(wordAt.writer, value);
    for (const result of await tryAll(a)) expect(acceptable).toContain(result);
    heal(words);
    expect(await a.write(() => 'in')).toBe('in');
    a.close();
  });

  test('that say that the caller itself is inside, or all others read, do not confuse it for long', async () => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    const words = new LockWords(a.name as string);
    a.readSync(() => {});
    words.set(wordAt.writer, 1 | bit.readers);
    for (const result of await tryAll(a)) expect(acceptable).toContain(result);
    heal(words);
    for (let slot = 0; slot < 256; slot++) words.setFlag(slot, 1);
    for (let group = 0; group < 8; group++) words.set(wordAt.readerSlots + 4 * group, 0xffffffff);
    // Nobody lives in those slots: they are buried one by one.
    expect(await a.write(() => 'in', { timeoutMs: 5000 })).toBe('in');
    a.close();
  });

  test('random ones, changed while others use them, crash nobody and let nobody hang', async () => {
    await withLockers(2, async (mine, words, one, two) => {
      const before = holdings();
      const random = randomFrom(seed);
      const word = (): number => Math.floor(random() * 2 ** 32);
      const ats = Object.values(wordAt);
      let over = false;
      const use = async (locker: Locker): Promise<unknown[]> => {
        const seen = new Set<unknown>();
        for (let round = 0; !over; round++) {
          const method = (['writeSync', 'readSync', 'write', 'read'] as const)[round % 4] as 'write';
          seen.add(await outcome(locker.enter(method, { timeoutMs: 5 })));
        }
        return [...seen];
      };
      const users = [use(one), use(two)];
      for (let round = 0; round < 150; round++) {
        const at = ats[Math.floor(random() * ats.length)] as number;
        words.set(at, random() < 0.5 ? word() : Math.floor(random() * 0x40000));
        words.setFlag(Math.floor(random() * 256), word() & 1);
        if (round % 5 === 0) heal(words);
        if (round % 3 === 0) for (const result of await tryAll(mine)) expect(acceptable).toContain(result);
        await new Promise(setImmediate);
      }
      over = true;
      for (const seen of await Promise.all(users)) {
        for (const result of seen) expect(acceptable).toContain(result);
      }
      heal(words);
      expect(await one.enter('write', { timeoutMs: 5000 })).toBe('in');
      expect(holdings().descriptors).toBe(before.descriptors);
    });
  });

  test('taken away while it writes are an error to the owner, and no crash', async () => {
    const a = ndshm.create(freshName(), { shape: 1, ephemeral: true });
    const words = new LockWords(a.name as string);
    expect(tried(() => a.writeSync(() => words.set(wordAt.writer, 0)))).toBe('ERR_NDSHM_CONTROL_CORRUPT');
    heal(words);
    expect(await outcome(a.write(() => words.set(wordAt.writer, 7)))).toBe('ERR_NDSHM_CONTROL_CORRUPT');
    heal(words);
    expect(a.writeSync(() => 'in')).toBe('in');
    a.close();
  });
});

describe('a file that is truncated', () => {
  test.each(['async', 'sync'] as const)(
    'under a waiting lock (%s) ends the wait, and harms no other array',
    async (how) => {
      const name = freshName();
      const mine = ndshm.create(name, { shape: 4 });
      const other = await Locker.open(name);
      const fine = freshName();
      await other.peer.call('fine', 'create', fine, { shape: 4 });
      await mine
        .write(async () => {
          const waits =
            how === 'sync' ? [other.enter('writeSync')] : [other.enter('write'), other.peer.on('a', 'changed')];
          await other.waiting();
          if (how === 'async') await eventually('wait', () => other.words.get(wordAt.changeWaiters) === 3);
          truncateSync(shmPath(name), 4096);
          for (const result of await Promise.all(waits.map(outcome))) {
            expect(['in', 2, 'ERR_NDSHM_TRUNCATED', 'ERR_NDSHM_CONTROL_CORRUPT']).toContain(result);
          }
        })
        .catch((error: { code?: string }) => {
          expect(['ERR_NDSHM_TRUNCATED', 'ERR_NDSHM_CONTROL_CORRUPT']).toContain(error.code);
        });
      expect(await outcome(other.enter('write', { timeoutMs: 50 }))).toMatch(/^ERR_NDSHM_(TRUNCATED|CONTROL_CORRUPT)$/);
      expect(await outcome(mine.read(() => 'in', { timeoutMs: 50 }))).toMatch(
        /^ERR_NDSHM_(TRUNCATED|CONTROL_CORRUPT)$/,
      );
      await other.peer.on('fine', 'writeSync').catch((error) => expect(error.code).toBe('ERR_NDSHM_INVALID_ARGUMENT'));
      await other.kill();
      mine.close();
      ndshm.unlink(name);
      ndshm.unlink(fine);
    },
  );
});
