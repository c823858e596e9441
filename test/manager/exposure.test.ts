import { EventEmitter } from 'node:events';
import type * as ndshm from 'ndshm';
import { Manager } from 'ndshm';
import { rejection } from '../helpers/child';
import { type Client, clientOf, serveManager, startManager, type TestManager } from '../helpers/managers';
import { codeOf } from '../helpers/sync';

type Anything = Record<string, (...args: unknown[]) => Promise<unknown>>;

class Base {
  inherited() {
    return 'of the base class';
  }
  _internal() {
    return 'internal';
  }
}

class Example extends Base {
  static made = 0;
  field = 'a field';
  arrow = () => 'an arrow function in a field';
  #value = 1;
  static create() {
    return new Example();
  }
  plain() {
    return 'plain';
  }
  override inherited() {
    return `${super.inherited()}, overridden`;
  }
  get value() {
    return this.#value;
  }
  set value(value) {
    this.#value = value;
  }
  set sink(_value: number) {}
  async later(value: unknown) {
    return value;
  }
  [Symbol.iterator]() {
    return [1][Symbol.iterator]();
  }
  override toString() {
    return 'secret';
  }
}
// Whoever waits for such an object, instead of passing it on, waits for ever.
for (const name of ['then', 'catch']) Object.defineProperty(Example.prototype, name, { value: () => 'no promise' });

class Emitter extends EventEmitter {
  fire() {
    return this.emit('fired');
  }
}
class Numbers extends Array<number> {
  sum() {
    return this.reduce((sum, each) => sum + each, 0);
  }
}
class Table extends Map<string, number> {
  total() {
    return [...this.values()].reduce((sum, each) => sum + each, 0);
  }
}

type Public = Pick<Example, 'plain' | 'inherited' | 'later' | 'value'>;

let manager: TestManager;
let client: Client;
beforeAll(async () => {
  manager = await serveManager();
  for (const Class of [Example, Emitter, Numbers, Table]) await manager.register(Class.name, Class);
  client = await clientOf(manager);
});

/** The names that a proxy's error says there are. */
async function namesOf(type: string): Promise<string[]> {
  const { message } = await rejection(manager.make<Anything>(type)['nope']?.() as Promise<unknown>);
  return (/it has: (.*)$/.exec(message)?.[1] ?? '').split(', ');
}

test('proxies have the public methods and getters of a class and its base classes', async () => {
  const example = await manager.make<Public>('Example');
  expect([await example.plain(), await example.inherited(), await example.later({ a: 1 })]).toEqual([
    'plain',
    'of the base class, overridden',
    { a: 1 },
  ]);
  expect(await example.value()).toBe(1);
  expect((await namesOf('Example')).sort()).toEqual(['catch', 'inherited', 'later', 'plain', 'value']);
});

test.each([
  ['_internal', 'begins with an underscore'],
  ['field', 'is a field'],
  ['arrow', 'is a field'],
  ['#value', 'is private'],
  ['sink', 'has only a setter'],
  ['create', 'is static'],
  ['made', 'is static'],
  ['constructor', 'is of Object'],
  ['hasOwnProperty', 'is of Object'],
  ['__proto__', 'is of Object'],
  ['__defineGetter__', 'is of Object'],
  ['valueOf', 'is of Object'],
  ['toLocaleString', 'is of Object'],
  ['prototype', 'is none'],
  ['', 'is the method of functions'],
  ['call', 'is of Function'],
  ['bind', 'is of Function'],
  ['Symbol(Symbol.iterator)', 'is no symbol'],
])('%p cannot be called, which %s', async (name) => {
  // What a proxy would not even send, such as names that all objects have.
  const code = await client.run(async ({ kept, part }, name) => {
    const { reachOf } = part('manager/remote') as {
      reachOf: (proxy: object) => { call(name: string, args: unknown[]): Promise<unknown> };
    };
    const example = await kept.get('manager').make('Example');
    return reachOf(example)
      .call(name, [])
      .then(
        (value) => `gave ${JSON.stringify(value)}`,
        (error: { code: string }) => error.code,
      );
  }, name);
  expect(code).toBe('ERR_NDSHM_NOT_EXPOSED');
});

test('what a class inherits of the runtime is internal', async () => {
  expect(await namesOf('Emitter')).toEqual(['fire']);
  expect(await namesOf('Numbers')).toEqual(['sum']);
  expect(await namesOf('Table')).toEqual(['total']);
  for (const [type, name] of [
    ['Emitter', 'on'],
    ['Numbers', 'push'],
    ['Table', 'set'],
  ] as const) {
    expect(await codeOf(manager.make<Anything>(type)[name]?.() as Promise<unknown>)).toBe('ERR_NDSHM_NOT_EXPOSED');
  }
});

test('unless it was exposed by name', async () => {
  const makeOpen = await manager.register('OpenTable', Table, { exposed: ['set', 'total', 'size'] });
  const table = await makeOpen();
  await table.set('a', 5);
  expect([await table.total(), await table.size()]).toEqual([5, 1]);
  expect(await codeOf(table.get('a'))).toBe('ERR_NDSHM_NOT_EXPOSED');
});

test('what an instance has of its own does not change what can be called', async () => {
  class Changing {
    grow() {
      Object.assign(this, { extra: () => 'extra', grow: () => 'replaced' });
      return 'grown';
    }
  }
  const makeChanging = await manager.register('Changing', Changing);
  const changing = (await makeChanging()) as ndshm.Proxied<Changing> & Anything;
  expect([await changing.grow(), await changing.grow()]).toEqual(['grown', 'replaced']);
  expect(await codeOf(changing['extra']?.() as Promise<unknown>)).toBe('ERR_NDSHM_NOT_EXPOSED');
});

test('a plain object by reference has the functions that it had when it was marked', async () => {
  const workshop = await manager.Workshop();
  const own = Manager.proxy({
    get: () => 'got',
    _hidden: () => 'hidden',
    data: 5,
    constructor: () => 'constructed',
  } as Record<string, unknown>);
  own['late'] = () => 'late';
  expect(await workshop.callMethod(own, 'get')).toBe('got');
  const remote = await startManager();
  const far = await remote.Workshop();
  expect(await far.callMethod(own, 'get')).toBe('got');
  for (const name of ['_hidden', 'data', 'late']) {
    expect(await codeOf(Promise.resolve(far.callMethod(own, name)))).toBe('ERR_NDSHM_NOT_EXPOSED');
  }
});

test('a proxy looks like an object with methods, and like nothing else', async () => {
  const example = await manager.make('Example');
  expect(Object.keys(example)).toEqual([]);
  expect('then' in example).toBe(false);
  expect(await Promise.resolve(example)).toBe(example);
  expect(JSON.stringify(example)).toBe('{}');
  expect(Object.prototype.toString.call(example)).toBe('[object Proxied Example]');
  expect(Object.getOwnPropertyNames(example)).toEqual([]);
  const { plain } = example as unknown as { plain: () => Promise<string> };
  expect((example as unknown as { plain: unknown }).plain).toBe(plain); // the same function each time
  expect(await codeOf((async () => plain.call({} as never))())).toBe('ERR_NDSHM_STALE_PROXY');
  expect(() => ((example as unknown as { plain: unknown }).plain = 1)).not.toThrow();
});

test('the manager itself has no other methods for connections than those of its own', async () => {
  const codes = await client.run(async ({ kept, part }) => {
    const { openSession } = part('manager/client') as {
      openSession: (options: object) => Promise<{
        root: { call(name: string, args: unknown[]): Promise<unknown> };
        close(reason: Error): void;
      }>;
    };
    const { checkLimits } = part('manager/limits') as { checkLimits: () => object };
    const { address } = kept.get('manager');
    const session = await openSession({ address, limits: checkLimits(), timeoutMs: 5000, sharedMemory: true });
    const names = ['register', 'add', 'root', 'clear', 'constructor', 'connect', 'close', '#hosted', ''];
    const codes = names.map((name) =>
      session.root.call(name, ['X', class {}]).catch((error: { code: string }) => error.code),
    );
    const all = await Promise.all(codes);
    session.close(new Error('over'));
    return all;
  });
  expect(new Set(codes)).toEqual(new Set(['ERR_NDSHM_NOT_EXPOSED']));
});
