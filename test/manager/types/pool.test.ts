import { relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { moduleName } from '../../../dist/manager/modules';
import { HostedPool, type HostedPoolOptions } from '../../../dist/manager/types';
import { FakeCaller, fateOf } from '../../helpers/callers';
import { isAlive, Meeting, poolNames, task } from '../../helpers/pool';
import { thrownBy } from '../../helpers/shm';

const notExposed = 'ERR_NDSHM_NOT_EXPOSED';
const modules = [moduleName(task('').module)];

let pool: HostedPool;

describe('a pool', () => {
  beforeAll(() => {
    pool = new HostedPool(modules, { processes: 2 });
  });
  afterAll(() => pool.terminate());

  test('runs functions of the modules that it was told of, by any name of theirs', async () => {
    const path = task('').module as string;
    for (const module of [path, `./${relative(process.cwd(), path)}`, pathToFileURL(path).href]) {
      expect(await pool.apply({ module, export: 'pid' }, [])).not.toBe(process.pid);
    }
  });

  test('has the calls of a Pool', async () => {
    expect(pool.processes).toBe(2);
    expect(await pool.apply(task('countDone'), [{ data: [1, 2] }])).toBe(3);
    expect(await pool.map(task('env'), ['PATH', 'NONE'])).toEqual([process.env['PATH'], undefined]);
    expect(
      await pool.map(
        task('meetIf'),
        [
          [null, 1],
          [null, 2],
        ],
        { chunkSize: 1 },
      ),
    ).toEqual([1, 2]);
    expect(
      await pool.starmap(task('hangAt'), [
        [1, 0],
        [2, 0],
      ]),
    ).toEqual([1, 2]);
    const items = async function* () {
      yield [null, 1];
      yield [null, 2];
    };
    const ordered: unknown[] = [];
    for await (const value of pool.imap(task('meetIf'), items())) ordered.push(value);
    expect(ordered).toEqual([1, 2]);
    const unordered = new Set<unknown>();
    for await (const value of pool.imapUnordered(task('meetIf'), [
      [null, 1],
      [null, 2],
    ]))
      unordered.add(value);
    expect(unordered).toEqual(new Set([1, 2]));
  });

  test.each([
    ['a function', () => 1],
    ['a name', 'pid'],
    ['nothing', undefined],
    ['null', null],
    ['a module that it was not told of', { module: 'node:child_process', export: 'execSync' }],
    ['a path that it was not told of', { module: `${__dirname}/../../pool/fixtures/slow.js` }],
    ['a path where nothing is', { module: '/nonexistent/module.js' }],
    ['source text', { module: 'data:text/javascript,export default () => 1' }],
    ['what is no name', { module: { href: 'file:///etc/passwd' } }],
    ['a method that every object has', { ...task('constructor') }],
    ['an accessor that every object has', { ...task('__proto__') }],
  ])('does not run %s', async (_what, fn) => {
    const wrong = fn as ReturnType<typeof task>;
    const calls = [
      () => pool.apply(wrong),
      () => pool.map(wrong, [1]),
      () => pool.starmap(wrong, [[1]]),
      async () => pool.imap(wrong, [1]),
      async () => pool.imapUnordered(wrong, [1]),
    ];
    for (const call of calls) expect(await fateOf(call())).toBe(notExposed);
    if (fn !== undefined) {
      const make = () => new HostedPool(modules, { processes: 1, initializer: wrong });
      expect(thrownBy(make).code).toBe(notExposed);
    }
  });

  test('takes no options by which something else could be run', () => {
    for (const options of [{ execArgv: ['--require', 'x'] }, { env: { NODE_OPTIONS: '--require x' } }]) {
      const make = () => new HostedPool(modules, options as HostedPoolOptions);
      expect(thrownBy(make).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
  });

  test('knows no progress, whose reports nobody could wait for', async () => {
    const options = { onProgress: () => {} };
    expect(await fateOf(pool.map(task('env'), ['PATH'], options as object))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('runs an initializer', async () => {
    const own = new HostedPool(modules, { processes: 1, initializer: task('setUp'), initArgs: ['from initArgs'] });
    try {
      expect(await own.apply(task('whatWasSetUp'))).toEqual([['from initArgs']]);
    } finally {
      await own.close();
    }
  });

  test.each(['goes', 'aborts its signal'])('ends a call whose caller %s', async (how) => {
    const meeting = new Meeting();
    const caller = new FakeCaller();
    const controller = new AbortController();
    const call = caller.on(pool).apply(task('meet'), [meeting.names, 'met'], { signal: controller.signal });
    call.catch(() => {});
    await meeting.arrivals();
    expect(await fateOf(call)).toBe('pending');
    if (how === 'goes') caller.end();
    else controller.abort(new Error('not wanted'));
    expect(await fateOf(call)).toBe(how === 'goes' ? `caller ${caller.id} has gone` : 'not wanted');
    expect(await pool.apply(task('env'), ['PATH'])).toBe(process.env['PATH']);
  });

  test('refuses a caller that has gone, and a wrong signal', async () => {
    const caller = new FakeCaller();
    caller.end();
    expect(await fateOf(caller.on(pool).apply(task('pid')))).toBe(`caller ${caller.id} has gone`);
    expect(await fateOf(pool.apply(task('pid'), [], { signal: 5 as never }))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('ends with its last reference, and leaves no process', async () => {
    const own = new HostedPool(modules, { processes: 1 });
    const pid = await own.apply<number>(task('pid'));
    const names = poolNames();
    await own[Symbol.asyncDispose]();
    expect(isAlive(pid)).toBe(false);
    expect(poolNames().length).toBeLessThan(names.length);
    expect(await fateOf(own.apply(task('pid')))).toBe('ERR_NDSHM_CLOSED');
    await own.terminate();
  });
});
