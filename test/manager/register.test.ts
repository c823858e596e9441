import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { classesFile, clientOf, connectTo, serveManager, startManager } from '../helpers/managers';
import { runProgram } from '../helpers/pool';
import { codeOf } from '../helpers/sync';
import { Ledger } from './fixtures/classes';

const esModule = join(__dirname, 'fixtures/classes.mjs');

describe('register()', () => {
  test('of a class that needs nothing from outside sends its source', async () => {
    const manager = await startManager({ modules: [] });
    const makeCounter = await manager.register(
      'Counter',
      class {
        #count: number;
        constructor(from = 0) {
          this.#count = from;
        }
        add(by = 1) {
          this.#count += by;
          return this.#count;
        }
        get pid() {
          return process.pid;
        }
      },
    );
    const counter = await makeCounter(5);
    expect([await counter.add(), await counter.add(4), await counter.pid()]).toEqual([
      6,
      10,
      (await manager.info()).pid,
    ]);
    const client = await clientOf(manager);
    const seen = await client.run(async ({ kept }) => {
      const manager = kept.get('manager') as unknown as { Counter(n: number): { add(): Promise<number> } };
      return manager.Counter(100).add();
    });
    expect(seen).toBe(101);
    await client.kill();
  });

  test('of a class of a module names the module', async () => {
    const manager = await startManager({ modules: [] });
    const makeLedger = await manager.register('Book', Ledger);
    const book = await makeLedger(1, 2);
    expect(await book.add(3)).toBe(6);
    expect((await manager.info()).types).toContain('Book');
  });

  test('of a class that needs something from outside is refused with what it needs', async () => {
    const manager = await startManager({ modules: [] });
    const outside = 5;
    class Needy {
      get() {
        return outside;
      }
    }
    expect(await rejection(manager.register('Needy', Needy))).toMatchObject({
      code: 'ERR_NDSHM_FUNCTION',
      message: expect.stringMatching(/outside/) as string,
    });
    expect(await codeOf(manager.make('Needy'))).toBe('ERR_NDSHM_NO_OBJECT');
  });

  test('takes the class itself where the manager is in this process', async () => {
    const manager = await serveManager();
    const outside: number[] = [];
    class Needy {
      add(n: number) {
        outside.push(n);
        return outside;
      }
    }
    const makeNeedy = await manager.register('Needy', Needy);
    expect(await makeNeedy().add(3)).toEqual([3]);
    expect(outside).toEqual([3]);
    const client = await clientOf(manager);
    await client.run(({ kept }) =>
      (kept.get('manager') as unknown as { Needy(): { add(n: number): Promise<unknown> } }).Needy().add(4),
    );
    expect(outside).toEqual([3, 4]);
    await client.kill();
  });

  test.each([
    ['start()', startManager],
    ['serve()', serveManager],
  ])('exposes what it is told, and nothing else, in a manager by %s', async (_how, make) => {
    const manager = await make();
    const makeBook = await manager.register('Narrow', Ledger, { exposed: ['total'] });
    const book = await makeBook(4, 5);
    expect(await book.total()).toBe(9);
    expect(await rejection(book.add(1))).toMatchObject({
      code: 'ERR_NDSHM_NOT_EXPOSED',
      message: expect.stringMatching(/it has: total$/) as string,
    });
    for (const exposed of [['nope'], ['_audit'], ['constructor'], ['toString'], 'total', [7]]) {
      const refused = manager.register('Bad', Ledger, { exposed } as ndshm.RegisterOptions);
      expect(await codeOf(refused)).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
    expect((await manager.info()).types).not.toContain('Bad');
    await manager.close();
  });

  test.each([
    ['start()', startManager],
    ['serve()', serveManager],
  ])('refuses names that are taken and what is no class, in a manager by %s', async (_how, make) => {
    const manager = await make();
    expect(await codeOf(manager.register('dict', Ledger))).toBe('ERR_NDSHM_MISMATCH');
    expect(await codeOf(manager.register('', Ledger))).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(await codeOf(manager.register('X', 5 as never))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(await codeOf(manager.register('X', (() => 1) as never))).toMatch(/ERR_NDSHM_(INVALID_ARGUMENT|FUNCTION)/);
    expect(await codeOf(manager.register('X', Ledger, { expose: [] } as never))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    await manager.register('Ledger', Ledger); // as it is already
    await manager.close();
  });

  test('is not for clients', async () => {
    const manager = await startManager();
    const client = await connectTo(manager);
    expect(await rejection(client.register('Book', Ledger))).toMatchObject({
      code: 'ERR_NDSHM_UNSUPPORTED',
      message: expect.stringMatching(/started the manager/) as string,
    });
  });
});

describe('modules', () => {
  test.each([
    ['a path', esModule],
    ['a URL', pathToFileURL(esModule)],
  ])('of ES may be told by %s: their classes are there before anybody can connect', async (_what, module) => {
    const manager = await startManager({ modules: [module, classesFile] });
    const { types } = await manager.info();
    expect(types).toEqual(expect.arrayContaining(['Greeter', 'Standard', 'Ledger', 'Workshop']));
    expect(types.filter((type) => /hidden|default|notAClass|number/i.test(type))).toEqual([]);
    const greeter = manager.make<{ greet(name: string): string }>('Greeter', 'Good day');
    expect(await greeter.greet('Ada')).toBe('Good day, Ada');
    expect(await manager.make<{ name: string }>('Standard').name()).toBe('by default');
  });

  test('that cannot be found or loaded are told at the start', async () => {
    expect(await codeOf(startManager({ modules: ['./nowhere.js'] }))).toBe('ERR_NDSHM_FUNCTION');
    const broken = join(__dirname, 'fixtures/broken.mjs');
    expect(await rejection(startManager({ modules: [broken] }))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringMatching(/broken on purpose/) as string,
      cause: { name: 'RangeError' },
    });
    expect(await codeOf(startManager({ modules: 'x.js' as never }))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('are what pools of the manager run functions of, and nothing else', async () => {
    const manager = await startManager({ modules: [esModule] });
    const pool = await manager.pool({ processes: 1 });
    expect(await pool.apply({ module: esModule, export: 'double' }, [21])).toBe(42);
    expect(await codeOf(pool.apply({ module: classesFile, export: 'notAClass' }, []))).toBe('ERR_NDSHM_NOT_EXPOSED');
    expect(await codeOf(pool.apply((() => 1) as never, []))).toBe('ERR_NDSHM_NOT_EXPOSED');
    pool[Symbol.dispose]();
  });
});

test('an ES module program starts, serves, connects and registers', async () => {
  const source = `
    import { Manager } from 'ndshm';
    import { Greeter } from './test/manager/fixtures/classes.mjs';
    const started = await Manager.start();
    const makeGreeter = await started.register('Greeter', Greeter);
    console.log(await (await makeGreeter('Hello')).greet('you'));
    const served = await Manager.serve({ modules: ['./test/manager/fixtures/classes.mjs'] });
    console.log(await served.Greeter('Hi').greet('there'));
    const client = await Manager.connect({ address: started.address });
    console.log(await client.Greeter('Bye').greet('now'));
    await Promise.all([client.close(), served.close(), started.close()]);`;
  expect(await runProgram(source, ['--input-type=module'])).toEqual({
    code: 0,
    stdout: 'Hello, you\nHi, there\nBye, now\n',
    stderr: '',
  });
});
