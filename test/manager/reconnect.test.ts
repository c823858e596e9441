import type * as ndshm from 'ndshm';
import { rejection, within } from '../helpers/child';
import { clientOf, connectTo, Gate, isAlive, startManager, type TestManager } from '../helpers/managers';
import { freshName } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

/** What the tests call of a dict. */
interface Dict {
  get(key: string): unknown;
  set(key: string, value: unknown): void;
}

let manager: TestManager;
let address: string;

/** As a manager that is killed, and started again by whoever looks after it. */
async function restart(options: ndshm.ManagerStartOptions = {}): Promise<void> {
  await manager.close();
  manager = await startManager({ ...options, address });
}

beforeEach(async () => {
  manager = await startManager();
  ({ address } = manager);
});
afterEach(() => manager.close());

const reconnected = (client: ndshm.Manager): Promise<void> =>
  within(
    new Promise((resolve) => {
      const stop = client.onReconnect(() => {
        stop();
        resolve();
      });
    }),
    'connection',
  );

test('a proxy of a name finds its object in the next manager, made anew with the same arguments', async () => {
  const client = await connectTo(manager);
  const stock = await client.getOrCreate('stock', 'dict', { apple: 1 });
  await stock.set('pear', 2);
  expect(await stock.size()).toBe(2);
  const before = await client.info();
  await restart();
  const again = reconnected(client);
  expect([await stock.get('apple'), await stock.get('pear')]).toEqual([1, undefined]); // no memory of its former life
  await again;
  expect((await client.info()).id).not.toBe(before.id);
  await stock.set('plum', 3);
  expect(await (await connectTo(manager)).getOrCreate('stock', 'dict').get('plum')).toBe(3); // the same object for all
});

test('a call under way fails, and what was called once the manager is gone waits for the next one', async () => {
  const client = await connectTo(manager);
  const workshop = await client.getOrCreate<Record<'never' | 'until' | 'echo', (...args: unknown[]) => unknown>>(
    'shop',
    'Workshop',
  );
  const underWay = workshop.never();
  await within(workshop.until('never'), 'call');
  const lost = rejection(underWay);
  await manager.close();
  const error = await lost;
  expect(error).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST' });
  const waiting = [workshop.echo(1), workshop.echo({ two: 2 }), client.info().then(({ pid }) => typeof pid)];
  manager = await startManager({ address });
  expect(await Promise.all(waiting)).toEqual([1, { two: 2 }, 'number']);
});

test('a proxy without a name says that its object is gone, also once there is a manager again', async () => {
  const client = await connectTo(manager);
  const ledger = await client.Ledger(1);
  const fn = await (await client.Workshop()).adder(1);
  await restart();
  expect((await client.info()).connections).toBe(2); // it is there
  const error = await rejection(ledger.add(1));
  expect(error).toMatchObject({
    code: 'ERR_NDSHM_STALE_PROXY',
    message: expect.stringMatching(/getOrCreate/) as string,
    cause: { code: 'ERR_NDSHM_MANAGER_LOST' },
  });
  expect(await codeOf(fn(1))).toBe('ERR_NDSHM_STALE_PROXY');
  expect(await codeOf((await client.Workshop()).callMethod(ledger, 'add', 1))).toBe('ERR_NDSHM_STALE_PROXY');
  expect(await (await client.Ledger(2)).total()).toBe(2);
});

test('what find() has found is missing until somebody makes it', async () => {
  const name = freshName('found');
  await manager.getOrCreate(name, 'dict');
  const client = await connectTo(manager);
  const found = await client.find<Dict>(name);
  await found.set('a', 1);
  await restart();
  expect(await codeOf(found.get('a'))).toBe('ERR_NDSHM_NO_OBJECT');
  expect(await codeOf(found.get('a'))).toBe('ERR_NDSHM_NO_OBJECT');
  await manager.getOrCreate(name, 'dict', { a: 5 });
  const other = await client.find<Dict>(name);
  expect(await other.get('a')).toBe(5);
});

test('a manager that comes back with other types says so where one is missing, and serves the rest', async () => {
  const client = await connectTo(manager);
  const ledger = await client.getOrCreate<{ add(n: number): number }>('ledger', 'Ledger');
  const stock = await client.getOrCreate('stock', 'dict');
  await restart({ modules: [] });
  await stock.set('a', 1);
  expect(await rejection(ledger.add(1))).toMatchObject({
    code: 'ERR_NDSHM_NO_OBJECT',
    message: expect.stringMatching(/no type 'Ledger'/) as string,
  });
  expect(await stock.get('a')).toBe(1);
});

test('reconnectMs: 0 does not wait', async () => {
  const client = await connectTo(manager, { reconnectMs: 0 });
  const stock = await client.getOrCreate('stock', 'dict');
  await stock.set('a', 1);
  await manager.close();
  const error = await rejection(stock.get('a'));
  expect(error).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST', message: expect.stringMatching(/again/) as string });
  expect(await codeOf(client.dict())).toBe('ERR_NDSHM_MANAGER_LOST');
  manager = await startManager({ address });
  expect(await stock.get('a')).toBeUndefined(); // it tries once at each call
});

test('a time in which no manager comes ends the wait with the reason', async () => {
  const client = await connectTo(manager, { reconnectMs: 50 });
  const stock = await client.getOrCreate('stock', 'dict');
  await stock.size();
  await manager.close();
  expect(await rejection(stock.size())).toMatchObject({
    code: 'ERR_NDSHM_MANAGER_LOST',
    cause: { code: expect.stringMatching(/ENOENT|ECONNREFUSED/) as string },
  });
});

test('close() ends the wait for a manager', async () => {
  const client = await connectTo(manager, { reconnectMs: 60_000 });
  const stock = await client.getOrCreate('stock', 'dict');
  await stock.size();
  await manager.close();
  const waiting = [rejection(stock.size()), rejection(Promise.resolve(client.dict()))];
  await client.close();
  for (const error of await within(Promise.all(waiting), 'end of the wait')) {
    expect(error).toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
  }
  expect(await codeOf(stock.size())).toBe('ERR_NDSHM_CLOSED');
});

test('a connection that breaks while the manager lives is made again, and the object is the same', async () => {
  const gate = await Gate.before(manager);
  const client = await connectTo({ address: gate.address }, { sharedMemory: false });
  const stock = await client.getOrCreate('stock', 'dict');
  const ledger = await client.Ledger(1);
  await stock.set('a', 1);
  gate.cut();
  const lost = await Promise.allSettled([stock.get('a')]);
  expect(await stock.get('a')).toBe(1);
  expect(lost[0]?.status === 'rejected' ? (lost[0].reason as { code: string }).code : 'ERR_NDSHM_MANAGER_LOST').toBe(
    'ERR_NDSHM_MANAGER_LOST',
  );
  expect(await codeOf(ledger.total())).toBe('ERR_NDSHM_STALE_PROXY');
  await client.close();
});

test('onReconnect() tells of each new connection, until it is stopped', async () => {
  const gate = await Gate.before(manager);
  const client = await connectTo({ address: gate.address }, { sharedMemory: false });
  let told = 0;
  const stop = client.onReconnect(() => told++);
  const toldAfterCut = async () => {
    const underWay = (await client.Workshop()).never();
    gate.cut();
    await rejection(underWay);
    await client.info();
    return told;
  };
  expect([await toldAfterCut(), await toldAfterCut()]).toEqual([1, 2]);
  stop();
  expect(await toldAfterCut()).toBe(2);
  await client.close();
});

test('many proxies and calls at once share one new connection', async () => {
  const client = await connectTo(manager);
  const values = await Promise.all(
    Array.from({ length: 20 }, (_, n) => client.getOrCreate<{ add(n: number): number }>(`v${n}`, 'value', n)),
  );
  await restart();
  const sums = await Promise.all(values.flatMap((value) => [value.add(1), value.add(1)]));
  expect(sums).toEqual(values.flatMap((_, n) => [n + 1, n + 2]));
  expect((await manager.info()).connections).toBe(2);
});

test('a manager that is killed, not closed, is found again as well', async () => {
  const client = await clientOf(manager);
  await client.run(async ({ kept }) => {
    kept.set('stock', await kept.get('manager').getOrCreate('stock', 'dict'));
  });
  const workshop = await manager.Workshop();
  const { pid } = await manager.info();
  expect(await codeOf(workshop.end())).toBe('ERR_NDSHM_MANAGER_LOST');
  await manager.close();
  expect(isAlive(pid)).toBe(false);
  manager = await startManager({ address });
  const size = await client.run(({ kept }) => (kept.get('stock') as { size(): Promise<number> }).size());
  expect(size).toBe(0);
  await client.kill();
});
