import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { Locker, withLockers } from '../helpers/locker';
import { freshName } from '../helpers/shm';

const elements = 64;
const rounds = 1500;

/** Writers that count up all elements of an array, one after the other, and readers that look whether they are equal. */
async function work({ kept }: PeerContext, count: number): Promise<string[]> {
  const array = kept.get('a') as ndshm.SharedArray<'int32'>;
  const { data } = array;
  const countUp = (): void => {
    const value = (data[0] as number) + 1;
    for (let n = 0; n < data.length; n++) data[n] = value;
  };
  const tryToCountUp = (): boolean => {
    countUp();
    return true;
  };
  const torn: string[] = [];
  const look = (): void => {
    const last = data[data.length - 1];
    for (const value of data) if (value !== last) torn.push(`${value} ${last}`);
  };
  for (let n = 0; n < count; n++) {
    if (n % 3 === 0) array.writeSync(countUp);
    else if (n % 3 === 1) await array.write(countUp);
    else while (array.tryWrite(tryToCountUp) === undefined) await new Promise(setImmediate);
    if (n % 7 === 0) array.readSync(look);
    if (n % 7 === 1) await array.read(look);
    if (n % 7 === 2) array.tryRead(look);
    if (n % 7 === 3 && array.snapshotSync((same) => same.data.every((value) => value === same.data[0])) !== true) {
      torn.push('snapshot');
    }
  }
  return torn;
}

describe('the lock excludes', () => {
  test('writers of several processes and threads from each other, and from readers', async () => {
    const name = freshName();
    const mine = ndshm.create(name, { shape: elements, dtype: 'int32' });
    const lockers = await Promise.all(
      [false, false, true, true].map((thread) => Locker.open(name, thread ? { thread } : {})),
    );
    const torn = await Promise.all(lockers.map((locker) => locker.peer.run(work, rounds)));
    expect(torn).toEqual([[], [], [], []]);
    expect(mine.readSync(({ data }) => [...data])).toEqual(new Array(elements).fill(4 * rounds));
    expect(mine.version).toBe(2 * 4 * rounds);
    await Promise.all(lockers.map((locker) => locker.end()));
    mine.close();
    ndshm.unlink(name);
  });

  test('many attachments of one thread from each other', async () => {
    const name = freshName();
    const arrays = [ndshm.create(name, { shape: elements, dtype: 'int32', ephemeral: true })];
    while (arrays.length < 256) arrays.push(ndshm.open(name, { mode: 'r+' }) as ndshm.SharedArray<'int32'>);
    let inside = 0;
    let readers = 0;
    const calls = arrays.flatMap((array) => [
      array.write(async ({ data }) => {
        expect([inside++, readers]).toEqual([0, 0]);
        data[0] = (data[0] as number) + 1;
        await new Promise(setImmediate);
        inside--;
      }),
      array.read(async () => {
        expect(inside).toBe(0);
        readers++;
        await new Promise(setImmediate);
        readers--;
      }),
    ]);
    await Promise.all(calls);
    expect(arrays[0]?.get(0)).toBe(256);
    for (const array of arrays) array.close();
  });
});

describe('the lock lets in together', () => {
  test('readers of several processes and threads, and calls of one', async () => {
    await withLockers(2, async (mine, words, one, two) => {
      const thread = await Locker.open(words.name, { thread: true });
      const all = [one, two, thread];
      for (const reader of all) await reader.hold('read');
      expect(await mine.read(() => mine.read(() => 'in'))).toBe('in');
      expect(await Promise.all([mine.read(() => 'in'), mine.read(() => 'in')])).toEqual(['in', 'in']);
      expect(mine.tryWrite(() => 'in')).toBeUndefined();
      const writing = mine.write(() => 'in');
      for (const reader of all) await reader.release();
      expect(await writing).toBe('in');
      await thread.end();
    });
  });

  test('256 readers, whom a writer then waits for one by one', async () => {
    const name = freshName();
    const arrays = [ndshm.create(name, { shape: 1, ephemeral: true })];
    while (arrays.length < 256) arrays.push(ndshm.open(name) as ndshm.SharedArray<'float64'>);
    const leave: (() => void)[] = [];
    const reads = arrays.slice(1).map((array) => array.read(() => new Promise<void>((done) => leave.push(done))));
    while (leave.length < 255) await new Promise(setImmediate);
    const [writer] = arrays as [ndshm.SharedArray];
    let entered = false;
    const writing = writer.write(() => {
      entered = true;
    });
    for (const each of leave) {
      expect(writer.tryWrite(() => 'in')).toBeUndefined();
      expect(entered).toBe(false);
      each();
    }
    await Promise.all([writing, ...reads]);
    for (const array of arrays) array.close();
  });
});
