import { statSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { rejection, within } from '../helpers/child';
import { clientOf, connectTo, Gate, isAlive, serveManager, startManager, type TestManager } from '../helpers/managers';
import { freshName, thrownBy } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

const range = (count: number) => Array.from({ length: count }, (_, n) => n);

describe.each([
  ['start()', startManager],
  ['serve()', serveManager],
])('a manager by %s', (_how, make) => {
  let manager: TestManager;
  beforeAll(async () => {
    manager = await make();
  });

  test('gives all of this user that know its address the same object by its name', async () => {
    const name = freshName('stock');
    const stock = await manager.getOrCreate(name, 'dict');
    await stock.set('apple', { price: 1.2, sizes: new Float32Array([1, 2]) });
    const other = await clientOf(manager);
    const seen = await other.run(async ({ kept }, name) => {
      const stock = await kept.get('manager').getOrCreate(name, 'dict');
      await stock.set('pear', process.pid);
      return stock.get('apple');
    }, name);
    expect(seen).toEqual({ price: 1.2, sizes: new Float32Array([1, 2]) });
    expect(await stock.get('pear')).toBe(other.pid);
    expect(statSync(manager.address).mode & 0o777).toBe(0o600);
    await other.kill();
  });

  test('makes an object of its own for each who asks without a name', async () => {
    const [one, two] = await Promise.all([manager.Ledger(1), manager.make<{ add(n: number): number }>('Ledger', 10)]);
    expect(await Promise.all([one.add(1), two.add(1)])).toEqual([2, 11]);
  });

  test('takes the arguments of getOrCreate() only where there is nothing of that name', async () => {
    const name = freshName('ledger');
    const one = await manager.getOrCreate<{ total: number }>(name, 'Ledger', 5);
    const two = await manager.getOrCreate<{ total: number }>(name, 'Ledger', 7);
    expect([await one.total(), await two.total()]).toEqual([5, 5]);
    expect(await rejection(manager.getOrCreate(name, 'dict'))).toMatchObject({
      code: 'ERR_NDSHM_MISMATCH',
      message: expect.stringMatching(/is a Ledger, not a dict/) as string,
    });
  });

  test('makes one object for all who ask for it at once', async () => {
    const name = freshName('count');
    const clients = await Promise.all(range(4).map(() => connectTo(manager)));
    const values = await Promise.all(clients.map((client) => client.getOrCreate(name, 'value', 0)));
    await Promise.all(values.flatMap((value) => range(25).map(() => (value as ndshm.Proxied<Count>).add(1))));
    expect(await (values[0] as ndshm.Proxied<Count>).get()).toBe(100);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('finds what there is, and takes names away', async () => {
    const name = freshName('list');
    expect(await codeOf(manager.find(name))).toBe('ERR_NDSHM_NO_OBJECT');
    const list = await manager.getOrCreate(name, 'list', ['a']);
    const found = await manager.find<ListLike>(name);
    expect(await found.push('b')).toBe(2);
    expect([await manager.remove(name), await manager.remove(name)]).toEqual([true, false]);
    expect(await list.toArray()).toEqual(['a', 'b']); // it lives on for those who have it
    expect(await codeOf(manager.find(name))).toBe('ERR_NDSHM_NO_OBJECT');
    expect(await (await manager.getOrCreate(name, 'list')).toArray()).toEqual([]);
    await manager.remove(name);
  });

  test('tells what it has', async () => {
    const name = freshName('told');
    const before = await manager.info();
    using named = await manager.getOrCreate(name, 'dict');
    using unnamed = await manager.Ledger();
    const info = await manager.info();
    expect(info).toMatchObject({ pid: expect.any(Number) as number, id: before.id, connections: before.connections });
    expect(info.types).toEqual(expect.arrayContaining(['dict', 'list', 'value', 'Ledger', 'Workshop']));
    expect(info.types).not.toContain('notAClass');
    expect(info.objects).toEqual([
      ...before.objects,
      { type: 'dict', name, references: 1 },
      { type: 'Ledger', name: null, references: 1 },
    ]);
    expect([await named.size(), await unnamed.total()]).toEqual([0, 0]);
  });

  test('makes nothing of types that it does not have, and says which it has', async () => {
    for (const type of ['nope', '', 'constructor', '__proto__', 'notAClass', 'toString']) {
      expect(await rejection(manager.make(type))).toMatchObject({
        code: 'ERR_NDSHM_NO_OBJECT',
        message: expect.stringMatching(/It has: dict, list/) as string,
      });
    }
    expect(await codeOf(manager.getOrCreate(freshName(), 'nope'))).toBe('ERR_NDSHM_NO_OBJECT');
  });

  test('says what is wrong with names', async () => {
    expect(await codeOf(manager.getOrCreate('', 'dict'))).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(await codeOf(manager.find('x'.repeat(251)))).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(await codeOf(manager.remove(7 as unknown as string))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    const odd = `${freshName()} ../ü\0\u{1f600}`;
    await manager.getOrCreate(odd, 'dict');
    expect(await manager.remove(odd)).toBe(true);
  });

  test('throws what a constructor throws, and nothing is left of the object', async () => {
    const { objects } = await manager.info();
    const error = await rejection(manager.getOrCreate(freshName(), 'barrier', { parties: -1 }));
    expect(error).toMatchObject({ code: 'ERR_NDSHM_OUT_OF_RANGE' });
    expect((await manager.info()).objects).toEqual(objects);
  });
});

interface Count {
  add(n: number): number;
  get(): number;
}
interface ListLike {
  push(item: string): number;
}

describe('a manager', () => {
  let manager: TestManager;
  beforeAll(async () => {
    manager = await startManager();
  });

  test('has a method for each type of its own', async () => {
    expect(await (await manager.dict({ a: 1 })).entries()).toEqual([['a', 1]]);
    expect(await (await manager.list([1, 2])).toArray()).toEqual([1, 2]);
    expect(await (await manager.namespace({ b: 2 })).toObject()).toEqual({ b: 2 });
    expect(await (await manager.value('v')).get()).toBe('v');
    expect(await (await manager.array('int16', [1, 2])).toArray()).toEqual(new Int16Array([1, 2]));
    expect(await (await manager.array('int16', 3)).length()).toBe(3);
    const queue = await manager.queue({ maxItems: 1 });
    expect([await queue.tryPut('x'), await queue.tryPut('y'), await queue.get()]).toEqual([true, false, 'x']);
    const event = await manager.event();
    await Promise.all([event.wait(), event.set()]);
    for (const lock of [await manager.lock(), await manager.rlock(), await manager.condition()]) {
      await lock.acquire();
      await lock.release();
      expect(await codeOf(lock.release())).toBe('ERR_NDSHM_NOT_OWNED');
    }
    const semaphore = await manager.semaphore({ value: 1 });
    expect([await semaphore.tryAcquire(), await semaphore.tryAcquire()]).toEqual([true, false]);
    const barrier = await manager.barrier({ parties: 2 });
    expect((await Promise.all([barrier.wait(), barrier.wait()])).sort()).toEqual([0, 1]);
  });

  test('refuses what it does not know', async () => {
    const { Manager } = ndshm;
    const bad: [() => Promise<unknown>, string][] = [
      [() => Manager.start({ adress: 'x' } as object), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => Manager.serve({ env: {} } as object), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => Manager.connect({} as ndshm.ManagerConnectOptions), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => Manager.connect({ address: 'http://x' }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => Manager.connect({ address: '/nowhere/at/all.sock' }), 'ENOENT'],
      [() => Manager.connect({ address: manager.address, reconnectMs: -1 }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => Manager.connect({ address: manager.address, authKey: 'short' }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => Manager.connect({ address: manager.address, authKey: 'x'.repeat(32) }), 'ERR_NDSHM_AUTH'],
      [() => Manager.serve({ sharedMemory: 1 as unknown as boolean }), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => Manager.serve({ limits: { maxCalls: 0 } }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => Manager.serve({ limits: { most: 1 } as object }), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => Manager.start({ address: manager.address }), 'EADDRINUSE'],
      [() => Manager.serve({ address: manager.address }), 'EADDRINUSE'],
      [async () => Manager.proxy(1 as unknown as object), 'ERR_NDSHM_INVALID_ARGUMENT'],
    ];
    for (const [run, code] of bad) expect([run.toString(), await codeOf(run())]).toEqual([run.toString(), code]);
    expect(thrownBy(() => new (Manager as unknown as new () => unknown)())).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
    });
  });

  test('can have the address of one that has ended', async () => {
    const first = await serveManager({ address: `${manager.address}.own` });
    expect(first.address).toBe(`${manager.address}.own`);
    await first.close();
    const second = await startManager({ address: first.address });
    expect((await second.info()).pid).not.toBe(process.pid);
    await second.close();
  });

  test('by network makes a key, and lets nobody in without it', async () => {
    const remote = await startManager({ address: 'tcp://127.0.0.1:0' });
    expect(remote.address).toMatch(/^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/);
    expect(remote.authKey).toHaveLength(32);
    const client = await clientOf(remote);
    const pid = await client.run(async ({ kept }) => (await kept.get('manager').info()).pid);
    expect(pid).toBe((await remote.info()).pid);
    const { address } = remote;
    expect(await codeOf(ndshm.Manager.connect({ address, authKey: 'y'.repeat(32) }))).toBe('ERR_NDSHM_AUTH');
    expect(await codeOf(ndshm.Manager.connect({ address }))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    await client.kill();
  });

  test('may be used from a worker thread, and started in one', async () => {
    const thread = await clientOf(manager, {}, { thread: true });
    const name = freshName('by-thread');
    const pid = await thread.run(async ({ kept, ndshm }, name) => {
      await kept.get('manager').getOrCreate(name, 'value', 'from a thread');
      const own = await ndshm.Manager.start();
      const { pid } = await own.info();
      await own.close();
      const served = await ndshm.Manager.serve();
      const { pid: servedBy } = await served.info();
      await served.close();
      return { pid, isOwn: servedBy === process.pid };
    }, name);
    expect(pid).toEqual({ pid: expect.any(Number) as number, isOwn: true });
    expect(await (await manager.find<Count>(name)).get()).toBe('from a thread');
    await thread.kill();
  });

  test('closed twice, and whatever is called after it', async () => {
    const own = await startManager();
    const ledger = await own.Ledger();
    const client = await connectTo(own, { reconnectMs: 0 });
    const far = await client.Ledger();
    await Promise.all([own.close(), own.close()]);
    await own.close();
    for (const call of [
      () => own.info(),
      () => own.dict(),
      () => own.getOrCreate('x', 'dict'),
      () => own.remove('x'),
    ]) {
      expect(await codeOf(Promise.resolve(call()))).toBe('ERR_NDSHM_CLOSED');
    }
    expect(await codeOf(own.register('Late', class {}))).toBe('ERR_NDSHM_MANAGER_LOST');
    expect(await codeOf(ledger.add(1))).toBe('ERR_NDSHM_STALE_PROXY');
    expect(await codeOf(far.add(1))).toBe('ERR_NDSHM_STALE_PROXY');
    expect(await codeOf(client.info())).toBe('ERR_NDSHM_MANAGER_LOST');
    expect(own.address).toMatch(/\.sock$/);
  });

  test('ends with its block', async () => {
    let pid: number;
    {
      await using own = await startManager();
      ({ pid } = await own.info());
    }
    expect(isAlive(pid)).toBe(false);
  });
});

describe('calls', () => {
  let manager: TestManager;
  beforeAll(async () => {
    manager = await startManager();
  });

  test('need not wait for what they are made of: all are on their way before the first answer', async () => {
    const workshop = await manager.getOrCreate<{ until(entry: string): void }>('gated', 'Workshop');
    const gate = await Gate.before(manager);
    const client = await connectTo({ address: gate.address }, { sharedMemory: false });
    gate.shut();
    let answers = 0;
    const count = <T>(value: T) => {
      answers++;
      return value;
    };
    const ledger = client.Ledger(1, 2);
    const results = [
      ledger.add(3).then(count), // of an object that is not there yet
      client.dict().set('a', 1).then(count),
      client.Workshop().moneyByReference(21).double().then(count), // of what a call of it will give
      client.find<{ note(entry: string): void }>('gated').note('all is there').then(count),
    ];
    await within(workshop.until('all is there'), 'note'); // the manager has run the last of the calls
    expect(answers).toBe(0);
    gate.open();
    expect(await Promise.all(results)).toEqual([6, undefined, 42, undefined]);
    await client.close();
  });

  test('of what is no object say so', async () => {
    const workshop = await manager.Workshop();
    const pending = workshop.echo(5) as Promise<unknown> & { double(): Promise<number> };
    expect(await codeOf(pending.double())).toMatch(/ERR_NDSHM_(NOT_EXPOSED|PROTOCOL)/);
    await pending;
    expect(await codeOf(pending.double())).toBe('ERR_NDSHM_NOT_EXPOSED');
    const failing = manager.make<{ add(n: number): number }>('nope');
    expect(await codeOf(failing.add(1))).toBe('ERR_NDSHM_NO_OBJECT');
    expect(await codeOf(failing)).toBe('ERR_NDSHM_NO_OBJECT');
    expect(await workshop.echo(1)).toBe(1);
  });

  test.each([true, false])(
    'run in the order in which they were made, whatever they bring (%s)',
    async (sharedMemory) => {
      const client = await connectTo(manager, { sharedMemory });
      const list = await client.list<unknown>();
      const large = ndshm.anonymous({ shape: 300_000, dtype: 'uint8' });
      const named = ndshm.create(freshName(), { shape: 300_000, dtype: 'uint8', ephemeral: true });
      const items = [1, { two: 2 }, 'three', large, 'after large', named, 6n, 'x'.repeat(10_000), null];
      const lengths = await Promise.all(items.map((item) => list.push(item)));
      expect(lengths).toEqual(range(items.length).map((n) => n + 1));
      const kinds = (await list.toArray()).map((item) => (item instanceof ndshm.SharedArray ? item.nbytes : item));
      expect(kinds).toEqual(items.map((item) => (item instanceof ndshm.SharedArray ? item.nbytes : item)));
      const many = await Promise.all(range(2000).map((n) => list.push(n)));
      expect(many).toEqual(range(2000).map((n) => items.length + n + 1));
      named.close();
      await client.close();
    },
  );

  test('do not wait for those before them that wait', async () => {
    const workshop = await manager.Workshop();
    const waiting = workshop.until('go');
    expect(await workshop.echo('meanwhile')).toBe('meanwhile');
    await workshop.note('go');
    await within(waiting, 'end of the wait');
  });

  test('of many clients at once all get their own answers', async () => {
    const clients = await Promise.all(range(3).map(() => clientOf(manager)));
    const name = freshName('shared');
    const sums = await Promise.all(
      clients.map((client, n) =>
        client.run(
          async ({ kept }, name, n) => {
            const shared = kept.get('manager').getOrCreate(name, 'value', 0);
            const echoes = kept.get('manager').Workshop();
            const all = await Promise.all(
              Array.from({ length: 300 }, async (_, k) => {
                await (shared as unknown as { add(n: number): Promise<number> }).add(1);
                return echoes.echo([n, k]);
              }),
            );
            return all.every((each, k) => JSON.stringify(each) === JSON.stringify([n, k]));
          },
          name,
          n,
        ),
      ),
    );
    expect(sums).toEqual([true, true, true]);
    expect(await (await manager.find<Count>(name)).get()).toBe(900);
    await Promise.all(clients.map((client) => client.kill()));
  });
});
