import { writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { eventually } from '../helpers/lock-words';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

type Closable = { close(): void };
const ephemeral = true;

/** What inspect() says while `made` is open. */
async function seen<T extends Closable>(made: T, name: string, act: (made: T) => unknown = () => {}) {
  try {
    await act(made);
    return ndshm.inspect(name);
  } finally {
    made.close();
  }
}

describe('inspect()', () => {
  test.each<[string, (name: string) => Closable, object]>([
    ['Mutex', (name) => new ndshm.Mutex(name, { ephemeral }), {}],
    ['RWLock', (name) => new ndshm.RWLock(name, { ephemeral }), {}],
    [
      'Semaphore',
      (name) => new ndshm.Semaphore(name, { value: 3, bounded: true, ephemeral }),
      { value: 3, initial: 3, bounded: true, undo: true },
    ],
    ['Condition', (name) => new ndshm.Condition(name, { ephemeral }), { waiting: 0 }],
    ['Event', (name) => new ndshm.Event(name, { ephemeral }), { isSet: false }],
    [
      'Barrier',
      (name) => new ndshm.Barrier(name, { parties: 2, ephemeral }),
      { parties: 2, waiting: 0, broken: false },
    ],
    [
      'Value',
      (name) => new ndshm.Value(name, { dtype: 'float32', value: 0.5, ephemeral }),
      { dtype: 'float32', value: 0.5 },
    ],
    [
      'Queue',
      (name) => new ndshm.Queue(name, { maxItems: 7, ephemeral }),
      { items: 0, maxItems: 7, maxBytes: 2 ** 20, shutDown: false },
    ],
    ['Store', (name) => ndshm.Store.open(name, { capacity: '1MiB' }), { capacityBytes: 2 ** 20 }],
  ])('knows a new %s', async (kind, make, facts) => {
    const name = freshName();
    expect(await seen(make(name), name)).toEqual({ kind, facts, claims: [] });
  });

  test('knows an ArrayTable', async () => {
    const name = freshName();
    expect((await seen(ndshm.ArrayTable.open(name), name))?.kind).toBe('ArrayTable');
  });

  test('counts permits, and says who holds them, as long as they live', async () => {
    const name = freshName();
    const mine = new ndshm.Semaphore(name, { value: 5, ephemeral });
    mine.tryAcquire();
    const peer = await Peer.start();
    await peer.call('s', 'Semaphore', name);
    await peer.on('s', 'tryAcquire');
    await peer.on('s', 'tryAcquire');
    const pidOf = (slot: number) => ndshm.stat(name).peers.find((each) => each.slot === slot)?.pid;
    const { facts, claims } = ndshm.inspect(name) as ndshm.PrimitiveInfo;
    expect(facts['value']).toBe(2);
    expect(claims.map(({ slot, holds }) => [pidOf(slot), holds])).toEqual(
      expect.arrayContaining([
        [process.pid, '1 permit'],
        [peer.pid, '2 permits'],
      ]),
    );
    await peer.kill();
    expect(ndshm.inspect(name)).toMatchObject({ facts: { value: 4 }, claims: [{ holds: '1 permit' }] });
    mine.close();
  });

  test('counts the items of a queue, also after its counters have gone round', async () => {
    const name = freshName();
    const queue = new ndshm.Queue(name, { maxItems: 3, ephemeral });
    for (let n = 0; n < 5; n++) {
      expect(queue.tryPut(n)).toBe(true);
      expect(ndshm.inspect(name)?.facts['items']).toBe(1);
      queue.tryGet();
    }
    for (let n = 0; n < 3; n++) queue.tryPut(n);
    expect(ndshm.inspect(name)?.facts['items']).toBe(3);
    queue.close();
  });

  test('says who holds and who awaits which name of a lock manager', async () => {
    const name = freshName();
    const manager = new ndshm.LockManager(name);
    let release = (): void => {};
    const held = new Promise<void>((granted) => {
      void manager.request('db', () => {
        granted();
        return new Promise<void>((done) => {
          release = done;
        });
      });
    });
    await held;
    const waiting = manager.request('db', { mode: 'shared' }, () => 'had it');
    await eventually('a request that waits', () => ndshm.inspect(name)?.facts['pending'] === 1);
    expect(ndshm.inspect(name)?.claims).toEqual([
      { slot: 0, holds: '"db" (exclusive)', waitsFor: null },
      { slot: 0, holds: null, waitsFor: '"db" (shared)' },
    ]);
    release();
    expect(await waiting).toBe('had it');
    expect(ndshm.inspect(name)).toEqual({ kind: 'LockManager', facts: { held: 0, pending: 0 }, claims: [] });
    manager.close();
  });

  test('says who waits at a barrier and for a condition', async () => {
    const [barrierName, conditionName] = [freshName(), freshName()];
    const barrier = new ndshm.Barrier(barrierName, { parties: 2, ephemeral });
    const condition = new ndshm.Condition(conditionName, { ephemeral });
    const arrived = barrier.wait();
    const notified = condition.run(() => condition.wait());
    await eventually('one who waits', () => ndshm.inspect(conditionName)?.facts['waiting'] === 1);
    expect(ndshm.inspect(conditionName)?.claims).toEqual([{ slot: 0, holds: null, waitsFor: 'a notification' }]);
    expect(ndshm.inspect(barrierName)).toMatchObject({
      facts: { waiting: 1 },
      claims: [{ slot: 0, waitsFor: 'the other parties' }],
    });
    await Promise.all([barrier.wait(), condition.run(() => condition.notify())]);
    await Promise.all([arrived, notified]);
    expect(ndshm.inspect(barrierName)).toMatchObject({ facts: { waiting: 0 }, claims: [] });
    barrier.close();
    condition.close();
  });

  test.each([Number.NaN, Number.NEGATIVE_INFINITY])('tells a Value of %p in a way that JSON keeps', (number) => {
    using value = new ndshm.Value(freshName(), { dtype: 'float64', value: number, ephemeral });
    expect(ndshm.inspect(value.name)?.facts['value']).toBe(String(number));
  });

  test('reads what a Value and an Event hold now', async () => {
    const name = freshName();
    const value = new ndshm.Value(name, { dtype: 'int64', ephemeral });
    expect(await seen(value, name, (v) => v.store(-(2n ** 62n)))).toMatchObject({
      facts: { value: String(-(2n ** 62n)) },
    });
    const event = new ndshm.Event(name, { ephemeral });
    expect(await seen(event, name, (e) => e.set())).toMatchObject({ facts: { isSet: true } });
  });

  test('gives null for arrays, files and primitives that are not whole', () => {
    const name = freshName();
    const pretend = (words: number[]) => {
      ndshm.fromArray(name, words, { dtype: 'int32', ifExists: 'replace' }).close();
      return ndshm.inspect(name);
    };
    expect(pretend([])).toBeNull();
    const semaphore = Array.from(new Int32Array(new Uint8Array(Buffer.from('Semaphore'.padEnd(24, '\0'))).buffer));
    expect(pretend([...semaphore, 1, 0])).toBeNull();
    expect(pretend([...semaphore, 1, ...Array(20).fill(7)])).toBeNull();
    expect(pretend([...semaphore, -5, ...Array(2000).fill(7)])).toBeNull();
    const inherited = Array.from(new Int32Array(new Uint8Array(Buffer.from('toString'.padEnd(24, '\0'))).buffer));
    expect(pretend([...inherited, 1, ...Array(20).fill(7)])).toBeNull();
    ndshm.unlink(name);
    writeFileSync(shmPath(name), 'hello');
    expect(ndshm.inspect(name)).toBeNull();
    ndshm.unlink(name);
    expect(thrownBy(() => ndshm.inspect(name)).code).toBe('ENOENT');
    expect(thrownBy(() => ndshm.inspect('a/b')).code).toBe('ERR_NDSHM_INVALID_NAME');
  });

  test('leaves words that say nonsense alone, and throws at none of them', () => {
    const name = freshName();
    for (const kind of ['Semaphore', 'Barrier', 'Condition', 'Value', 'Queue', 'LockManager', 'Store', 'Event']) {
      for (const filling of [-1, 2 ** 31 - 1, 0x5a5a5a5a]) {
        const words = new Int32Array(150_000).fill(filling);
        new Uint8Array(words.buffer).set(Buffer.from(kind.padEnd(24, '\0')));
        words[6] = 20_000;
        ndshm.fromArray(name, words, { ifExists: 'replace' }).close();
        expect(ndshm.inspect(name)?.kind).toBe(kind);
      }
    }
    ndshm.unlink(name);
  });
});
