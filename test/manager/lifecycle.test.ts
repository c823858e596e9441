import type * as ndshm from 'ndshm';
import { within } from '../helpers/child';
import {
  type Client,
  clientOf,
  connectTo,
  isAlive,
  serveManager,
  startManager,
  type TestManager,
} from '../helpers/managers';
import { runProgram } from '../helpers/pool';
import { freshName } from '../helpers/shm';
import { codeOf } from '../helpers/sync';
import { Witness } from './fixtures/classes';

let manager: TestManager;
beforeAll(async () => {
  manager = await startManager({ execArgv: ['--expose-gc'] });
});

const limitMs = 20_000;

/** Asks again and again, each time a round trip, until the answer is right, or it is too late. */
async function until<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    if (performance.now() > end) throw new Error(`Still ${JSON.stringify(answer)}`);
  }
}

/** The labels of witnesses that have been disposed of, how often each. */
async function disposals(prefix: string): Promise<string[]> {
  using witness = await manager.Witness('the one who asks');
  return (await witness.disposals()).filter((label) => label.startsWith(prefix));
}

const labels = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
const gone = (prefix: string, count = 1) =>
  until(
    () => disposals(prefix),
    (found) => found.length >= count,
  );

/** Makes witnesses in a client, and keeps their proxies there. */
const witnessesOf = (client: Client, prefix: string, count: number): Promise<void> =>
  client.run(
    async ({ kept }, prefix, count) => {
      const made = Array.from({ length: count }, (_, n) => kept.get('manager').Witness(`${prefix}-${n}`));
      kept.set('witnesses', await Promise.all(made));
    },
    prefix,
    count,
  );

describe('an object that nobody named goes', () => {
  test('when its proxy is disposed of, once', async () => {
    const label = freshName('using');
    {
      using witness = await manager.Witness(label);
      expect(await witness.read()).toBe(label);
    }
    expect(await disposals(label)).toEqual([label]);
    const twice = await manager.Witness(`${label}-twice`);
    twice[Symbol.dispose]();
    twice[Symbol.dispose]();
    expect(await disposals(`${label}-twice`)).toEqual([`${label}-twice`]);
    expect(await codeOf((async () => twice.read())())).toBe('ERR_NDSHM_STALE_PROXY');
  });

  test('by Symbol.asyncDispose where it has that', async () => {
    const label = freshName('async');
    (await manager.AsyncWitness(label))[Symbol.dispose]();
    expect(await disposals(label)).toEqual([`${label}, asynchronously`]);
  });

  test('with a warning where its disposer throws, and the manager goes on', async () => {
    const source = `const { Manager } = require('ndshm');
      (async () => {
        process.on('warning', ({ message }) => console.log(message.replace(/^.*Error: /, '')));
        const manager = await Manager.serve();
        await manager.register('Throws', class { [Symbol.dispose]() { throw new Error('thrown'); } });
        await manager.register('Rejects', class { async [Symbol.asyncDispose]() { throw new Error('rejected'); } });
        for (const make of ['Throws', 'Rejects']) (await manager.make(make))[Symbol.dispose]();
        while ((await manager.info()).objects.length > 0);
        await manager.close();
      })();`;
    const { code, stdout } = await runProgram(source);
    expect([code, stdout]).toEqual([0, 'thrown\nrejected\n']);
  });

  test('with the last of several proxies', async () => {
    const label = freshName('shared');
    const first = await manager.Witness(label);
    const workshop = await manager.Workshop();
    const second = (await workshop.callBack(async () => first)) as typeof first;
    expect(await second.read()).toBe(label);
    first[Symbol.dispose]();
    expect([await second.read(), await disposals(label)]).toEqual([label, []]);
    workshop[Symbol.dispose]();
    second[Symbol.dispose]();
    // Another object had it in its hands, and may still have it: it goes without being disposed of.
    expect((await manager.info()).objects.filter(({ type }) => type === 'Witness')).toEqual([]);
    expect(await disposals(label)).toEqual([]);
  });

  test('even if nobody waited for it, or its result came too late', async () => {
    const label = freshName('unwanted');
    const client = await connectTo(manager);
    const all = labels(label, 20).map((each) => client.Witness(each));
    const failed = all.map(async (each) => (await each).read()).map((each) => each.catch(() => {}));
    await client.close();
    await Promise.all(failed);
    await Promise.allSettled(all);
    const { objects } = await until(
      () => manager.info(),
      ({ objects }) => objects.every(({ type }) => type !== 'Witness'),
    );
    expect(objects.filter(({ type }) => type === 'Witness')).toEqual([]);
    const found = await disposals(label);
    expect(new Set(found).size).toBe(found.length); // none twice
  });

  test('though it was given to somebody who had ended by then', async () => {
    const label = freshName('late');
    const workshop = await manager.getOrCreate<{ keep(key: string, value: unknown): void; note(entry: string): void }>(
      'late',
      'Workshop',
    );
    const witness = await manager.getOrCreate<Witness>(label, 'Witness', label);
    await workshop.keep('witness', witness);
    const client = await clientOf(manager);
    await client.run(async ({ kept }) => {
      const same = await kept
        .get('manager')
        .find<{ keptAfter(entry: string, key: string): Promise<object>; log(): string[] }>('late');
      same.keptAfter('now', 'witness').catch(() => {});
      await same.log(); // the call before it has come
    });
    const { connections } = await manager.info();
    await client.kill();
    await until(
      () => manager.info(),
      (info) => info.connections < connections,
    );
    await workshop.note('now');
    const references = async () => (await manager.info()).objects.find(({ name }) => name === label)?.references;
    expect(await until(references, (count) => count === 1)).toBe(1);
    await manager.remove(label);
  });

  test('when its proxies are collected', async () => {
    const label = freshName('collected');
    const client = await clientOf(manager, {}, { execArgv: ['--expose-gc'] });
    await witnessesOf(client, label, 50);
    expect(await disposals(label)).toEqual([]);
    await client.run(async ({ kept }) => {
      kept.delete('witnesses');
    });
    await until(
      async () => {
        await client.on('', 'collect');
        return disposals(label);
      },
      (found) => found.length === 50,
    );
    expect((await disposals(label)).sort()).toEqual(labels(label, 50).sort());
    await client.kill();
  });

  test.each<[string, (client: Client) => Promise<unknown>]>([
    ['closes its connection', (client) => client.run(({ kept }) => kept.get('manager').close())],
    ['is killed', (client) => client.kill()],
    ['ends', (client) => client.on('', 'exit', 0).catch(() => {})],
  ])('when its process %s', async (_how, end) => {
    const label = freshName('process');
    const client = await clientOf(manager);
    await witnessesOf(client, label, 10);
    await end(client);
    expect((await gone(label, 10)).sort()).toEqual(labels(label, 10).sort());
    expect(await disposals(label)).toHaveLength(10);
    await client.kill();
  });

  test('not while its process forgets a proxy of a name', async () => {
    const label = freshName('named');
    const witness = await manager.getOrCreate<Witness>(label, 'Witness', label);
    witness[Symbol.dispose]();
    const again = await manager.find<Witness>(label);
    expect([await again.read(), await disposals(label)]).toEqual([label, []]);
    await manager.remove(label);
    expect([await again.read(), await disposals(label)]).toEqual([label, []]);
    again[Symbol.dispose]();
    expect(await disposals(label)).toEqual([label]);
  });

  test('not while another object has it', async () => {
    const label = freshName('in-dict');
    const client = await clientOf(manager);
    await client.run(async ({ kept }, label) => {
      const dict = await kept.get('manager').getOrCreate('of-witnesses', 'dict');
      await dict.set('it', await kept.get('manager').Witness(label));
    }, label);
    await client.kill();
    const again = (await manager.getOrCreate('of-witnesses', 'dict').get('it')) as unknown as ndshm.Proxied<Witness>;
    expect([await again.read(), await disposals(label)]).toEqual([label, []]);
  });
});

test('closing a manager disposes of all of its objects, once', async () => {
  const label = freshName('closed');
  const own = await serveManager();
  const client = await connectTo(own);
  await own.Witness(`${label}-0`);
  await client.Witness(`${label}-1`);
  await client.getOrCreate(label, 'Witness', `${label}-2`);
  const far = await clientOf(own);
  await witnessesOf(far, `${label}-far`, 3);
  await own.close();
  const disposed = (Witness as unknown as { disposed: string[] }).disposed.filter((each) => each.startsWith(label));
  expect(disposed.sort()).toEqual([...labels(label, 3), ...labels(`${label}-far`, 3)].sort());
  await far.kill();
});

describe('what a client holds when it is killed', () => {
  test('goes to those who wait', async () => {
    const [lock, queue] = [freshName('lock'), freshName('queue')];
    const client = await clientOf(manager);
    await client.run(
      async ({ kept }, lock, queue) => {
        const manager = kept.get('manager');
        await manager.getOrCreate(lock, 'lock').acquire();
        const gets = await manager.getOrCreate(queue, 'queue');
        void gets.get().catch(() => {}); // waits in front of all others
        await gets.size();
      },
      lock,
      queue,
    );
    const acquired = manager.getOrCreate(lock, 'lock').acquire({ timeoutMs: limitMs });
    const items = await manager.getOrCreate(queue, 'queue');
    const item = items.get({ timeoutMs: limitMs });
    await client.kill();
    await acquired;
    await items.put('for the living');
    expect(await item).toBe('for the living');
  });

  test('is told to methods that asked whose call it is', async () => {
    const workshop = await manager.getOrCreate<Record<'until' | 'log', (entry?: string) => unknown>>(
      'told',
      'Workshop',
    );
    const client = await clientOf(manager);
    const ids = await client.run(async ({ kept }) => {
      const same = await kept.get('manager').find<{ noteEndOfCaller(label: string): void; caller(): number }>('told');
      await same.noteEndOfCaller('theirs');
      return [await same.caller(), await same.caller()];
    });
    expect(ids[0]).toBe(ids[1]);
    expect(await (await manager.Workshop()).caller()).not.toBe(ids[0]);
    await client.kill();
    await within(workshop.until('theirs: ERR_NDSHM_MANAGER_LOST') as Promise<unknown>, 'signal');
  });
});

test('callbacks that the manager has forgotten are given up', async () => {
  const makeCollector = await manager.register(
    'Collector',
    class {
      async collect() {
        for (let round = 0; round < 5; round++) {
          (globalThis as unknown as { gc(): void }).gc();
          await new Promise(setImmediate);
        }
      }
    },
  );
  const collector = await makeCollector();
  const workshop = await manager.getOrCreate<Record<'keep' | 'forget' | 'echo', (...args: unknown[]) => unknown>>(
    'forgetful',
    'Workshop',
  );
  const client = await clientOf(manager, {}, { execArgv: ['--expose-gc'] });
  await client.run(async ({ kept }) => {
    const same = await kept.get('manager').find<{ keep(key: string, value: unknown): void }>('forgetful');
    const fn = () => 1;
    kept.set('weak', new WeakRef(fn));
    await same.keep('fn', fn);
  });
  const isThere = () =>
    client.run(async ({ kept }) => {
      globalThis.gc?.();
      await new Promise(setImmediate);
      return (kept.get('weak') as WeakRef<object>).deref() !== undefined;
    });
  expect(await isThere()).toBe(true);
  await workshop.forget('fn');
  await until(
    async () => {
      await collector.collect();
      return isThere();
    },
    (there) => !there,
  );
  await client.kill();
});

describe('a program', () => {
  const ends = { code: 0, stdout: '', stderr: '' };
  const connect = () =>
    `const { Manager } = require('ndshm');
     const connected = Manager.connect({ address: ${JSON.stringify(manager.address)} });`;

  test('ends though it is connected and has proxies', async () => {
    const source = `${connect()}
      connected.then(async (manager) => {
        globalThis.all = [await manager.dict(), await manager.getOrCreate('idle', 'list'), await manager.Workshop()];
        await globalThis.all[0].set('a', 1);
      });`;
    expect(await runProgram(source)).toEqual(ends);
  });

  test('ends though it has started a manager, which ends as well', async () => {
    const source = `const { Manager } = require('ndshm');
      Manager.start().then(async (manager) => {
        globalThis.dict = await manager.dict();
        console.log((await manager.info()).pid);
      });`;
    const { code, stdout, stderr } = await runProgram(source);
    expect([code, stderr]).toEqual([0, '']);
    await until(
      () => manager.info().then(() => isAlive(Number(stdout))),
      (alive) => !alive,
    );
  });

  test('goes on while a call is under way', async () => {
    const workshop = await manager.getOrCreate<Record<'until' | 'note', (entry: string) => unknown>>(
      'calls',
      'Workshop',
    );
    const source = `${connect()}
      connected.then(async (manager) => {
        const workshop = await manager.find('calls');
        const answer = workshop.until('answer');
        await workshop.note('asked');
        await answer;
        console.log('answered');
      });`;
    const ended = runProgram(source);
    await within(workshop.until('asked') as Promise<unknown>, 'program');
    await workshop.note('answer');
    expect(await ended).toEqual({ ...ends, stdout: 'answered\n' });
  });

  test('goes on while it waits for the next value of an iterator', async () => {
    const source = `${connect()}
      connected.then(async (manager) => {
        let sum = 0;
        for await (const n of await (await manager.Workshop()).count(100)) sum += n;
        console.log(sum);
      });`;
    expect(await runProgram(source)).toEqual({ ...ends, stdout: '4950\n' });
  });

  test('goes on while the manager has a function of it', async () => {
    const workshop = await manager.getOrCreate<Record<'until' | 'callKept', (...args: string[]) => unknown>>(
      'listeners',
      'Workshop',
    );
    const source = `${connect()}
      connected.then(async (manager) => {
        const workshop = await manager.find('listeners');
        await workshop.keep('listener', (text) => {
          console.log(text);
          setImmediate(() => manager.close());
          return 'heard';
        });
        await workshop.note('listening');
      });`;
    const ended = runProgram(source);
    await within(workshop.until('listening') as Promise<unknown>, 'program');
    expect(await workshop.callKept('listener', 'hello')).toBe('heard');
    expect(await ended).toEqual({ ...ends, stdout: 'hello\n' });
  });

  test('that serves goes on until close()', async () => {
    const source = `const { Manager } = require('ndshm');
      Manager.serve().then((manager) => {
        manager.register('Closer', class {
          close() { setImmediate(() => manager.close()); return 'closing'; }
        }).then(() => console.log(manager.address));
        ${connect().replace('const { Manager }', 'const { Manager: Again }')}
        connected.then((other) => other.find('addresses')).then((list) => list.push(manager.address));
      });`;
    const list = await manager.getOrCreate('addresses', 'list');
    const ended = runProgram(source);
    const [address] = await until(
      () => list.toArray(),
      ({ length }) => length > 0,
    );
    const client = await connectTo({ address: address as string });
    expect(await client.make<{ close(): string }>('Closer').close()).toBe('closing');
    expect(await ended).toEqual({ ...ends, stdout: `${address as string}\n` });
  });

  test('ends, as does a worker thread in it, though that is connected', async () => {
    const source = `
      const { Worker } = require('node:worker_threads');
      const thread = new Worker(\`${connect()}
        connected.then(async (manager) => {
          globalThis.dict = await manager.dict({ a: 1 });
          require('node:worker_threads').parentPort.postMessage(await globalThis.dict.get('a'));
        });\`, { eval: true });
      thread.on('message', (message) => console.log('message', message));
      thread.on('exit', (code) => console.log('exit', code));`;
    expect(await runProgram(source)).toEqual({ ...ends, stdout: 'message 1\nexit 0\n' });
  });

  test('that throws ends with its error, whatever it has open', async () => {
    const source = `${connect()}
      connected.then(async (manager) => {
        const workshop = await manager.Workshop();
        await workshop.fail('coded');
      });`;
    const { code, stderr } = await runProgram(source);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/ERR_OWN/)]);
  });
});
