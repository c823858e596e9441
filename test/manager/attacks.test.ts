import { join } from 'node:path';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { decode } from '../../dist/codec/decode';
import { bytesOf, encode } from '../../dist/codec/encode';
import { rejection, within } from '../helpers/child';
import { Intruder, type Outcome, sentValue } from '../helpers/manager-intruder';
import { objectBytes, special } from '../helpers/object-bytes';
import { freshName } from '../helpers/shm';

// Whoever has the key can say anything. Each attack has to come to nothing: the attacker is told so, or is thrown out; the
// manager serves an honest client as before, has run nothing that is not public, and has kept nothing.

const mebibyte = 2 ** 20;
const limits = {
  maxMessageBytes: 8 * mebibyte,
  maxJsonBytes: mebibyte,
  maxBufferedBytes: 16 * mebibyte,
  maxArrayBytes: 8 * mebibyte,
  maxCalls: 100,
  maxObjects: 200,
  maxConnections: 8,
};
/** What a manager may have in use more than before: what limits allow, and much less than the floods would leave. */
const slackBytes = 2 * limits.maxBufferedBytes + 24 * mebibyte;

interface Probe {
  breaches(): number;
  pollution(): string[];
  memory(): { rss: number; used: number };
}

class Scene {
  #usedBytes = 0;

  private constructor(
    readonly manager: ndshm.Manager,
    private readonly probe: ndshm.Proxied<Probe>,
    private readonly stock: ndshm.Proxied<{ get(key: string): unknown; set(key: string, value: unknown): void }>,
  ) {}

  static async start(): Promise<Scene> {
    const modules = [join(__dirname, 'fixtures/targets.js')];
    const manager = await ndshm.Manager.start({ modules, limits, execArgv: ['--expose-gc'] });
    const scene = new Scene(manager, await manager.make<Probe>('Probe'), await manager.make('dict'));
    await scene.expectService();
    return scene;
  }

  async begin(): Promise<Intruder> {
    this.#usedBytes = (await this.probe.memory()).used;
    return Intruder.enter(this.manager.address);
  }

  /** While the attacker is still there. */
  async expectUnharmed(): Promise<void> {
    await within(this.expectService(), 'service for an honest client');
    expect(await this.probe.breaches()).toBe(0);
    expect(await this.probe.pollution()).toEqual([]);
    expect((await this.probe.memory()).used - this.#usedBytes).toBeLessThan(slackBytes);
  }

  private async expectService(): Promise<void> {
    const value = { at: Math.random(), all: new Map([[1, [2, { three: 3n }]]]) };
    await this.stock.set('honest', value);
    expect(await this.stock.get('honest')).toEqual(value);
  }

  /** Of the attacker nothing is left. */
  async expectAlone(): Promise<void> {
    await until('end of what the attacker had', async () => {
      const { connections, objects } = await this.manager.info();
      const types = objects.map(({ type }) => type).sort();
      return connections === 1 && types.join() === 'Probe,dict';
    });
  }
}

/** Asks again until it is so. */
async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  let isOver = false;
  const ask = async () => {
    while (!isOver && !(await condition())) await new Promise(setImmediate);
  };
  await within(ask(), what).finally(() => {
    isOver = true;
  });
}

let scene: Scene | undefined;
const theScene = async (): Promise<Scene> => {
  scene ??= await Scene.start();
  return scene;
};
afterAll(() => scene?.manager.close());

/** Runs an attack; gives what became of it, after all of the above has been looked at. */
async function attack<T>(run: (intruder: Intruder, manager: ndshm.Manager) => T | Promise<T>): Promise<T> {
  const attacked = await theScene();
  scene = undefined; // the next test has a manager of its own if this one is harmed
  const intruder = await attacked.begin();
  const outcome = await run(intruder, attacked.manager);
  await attacked.expectUnharmed();
  intruder.leave();
  await attacked.expectAlone();
  scene = attacked;
  return outcome;
}

const refusedWith = (code: string) => ({ refused: expect.any(String) as string, code });
const endedFor = (why: RegExp) => ({ ended: expect.stringMatching(why) as string });
const meaninglessEnd = endedFor(/no manager or client sends/);

const words = (text: string) => text.split(' ');
const bytes = (...parts: number[]) => new Uint8Array(parts);
const call = (target: number, path: unknown, ...args: unknown[]) => ['push', ['pipeline', target, path, args]];
/** A value with a reference beside it. */
const beside = (reference: unknown) => [[['bytes', bytes()], reference]];
const answer = (value: unknown) => ['resolve', 1, value];

/** What becomes of a client for each of these messages. */
const endOfEach = (messages: readonly unknown[]): Promise<Outcome[]> =>
  attack(async (_, { address }) => {
    const ends: Outcome[] = [];
    for (const message of messages) {
      const intruder = await Intruder.enter(address);
      intruder.say(message);
      ends.push(await intruder.ended());
    }
    return ends;
  });
const all = <T>(list: readonly unknown[], outcome: T): T[] => list.map(() => outcome);

describe('A message that no client sends ends the connection:', () => {
  const names = [
    ...words(
      'constructor __proto__ prototype toString hasOwnProperty __defineGetter__ then dup map serve session hosted',
    ),
    ...words('#session _session Symbol(Symbol.dispose) @@dispose'),
    '',
    0,
    -1,
    null,
  ];
  test.each<[string, (name: unknown) => unknown[]]>([
    ['alone', (name) => [name]],
    ['of a method', (name) => ['call', name]],
    ['before a method', (name) => [name, 'call']],
    ['of a result', (name) => ['o', name]],
    ['of a method of a result', (name) => ['o', 'call', name]],
  ])('a path of names that are not ours, %s', async (_, path) => {
    expect(await endOfEach(names.map((name) => call(0, path(name), 'info')))).toEqual(all(names, meaninglessEnd));
  });

  const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
  test.each<[string, unknown]>([
    ['a look at a path', ['push', ['pipeline', 0, ['call']]]],
    ['a look at nothing', ['push', ['pipeline', 0]]],
    ['a path that is no list', call(0, 'call', 'info')],
    ['a path that is an object', call(0, { join: 'call' }, 'info')],
    ['a target that is no number', ['push', ['pipeline', '0', ['call'], ['info']]]],
    ['a target that is a fraction', call(0.5, ['call'], 'info')],
    ['a function that is mapped over a value', ['push', ['remap', 0, ['call'], [], [['pipeline', 0]]]]],
    ['an import', ['push', ['import', 0]]],
    ['a promise', ['push', ['promise', -1]]],
    ['a stub', ['push', ['export', -1]]],
    ['a value without a call', ['push', 'ha'.repeat(1000)]],
    [
      'a list of what was pushed',
      [
        'push',
        [
          [
            ['pipeline', 0],
            ['pipeline', 0],
          ],
        ],
      ],
    ],
    ['a writable stream', ['push', ['writable', -1]]],
    ['a call as an argument', call(0, ['call'], 'make', ['pipeline', 0, ['call'], ['info']])],
    ['what was pushed as an argument', call(0, ['call'], 'make', ['pipeline', 0])],
    ['a remap as an argument', call(0, ['call'], 'make', ['remap', 0, [], [], []])],
    ['a stub as an argument', call(0, ['call'], 'make', ['export', -1])],
    ['a promise as an argument', call(0, ['call'], 'make', ['promise', -1])],
    ['a promise beside a value', call(0, ['call'], 'make', beside(['promise', -1]))],
    ['an import beside a value', call(0, ['call'], 'make', beside(['import', 0]))],
    ['a stub with the number of a call', call(0, ['call'], 'make', beside(['export', 2 ** 32 - 2]))],
    ['a stub with the number of everything', call(0, ['call'], 'make', beside(['export', 0]))],
    ['bytes in base64', call(0, ['call'], 'make', [[['bytes', 'TkRPQg==']]])],
    ['bytes of a kind', call(0, ['call'], 'make', [[['bytes', bytes(), 'Int8Array']]])],
    ['bare bytes', call(0, ['call'], 'make', bytes(1, 2, 3))],
    ['a list', call(0, ['call'], 'make', [['dict']])],
    ['an object', call(0, ['call'], 'make', { type: 'dict' })],
    ['an object with a prototype', call(0, ['call'], 'make', JSON.parse('{"__proto__": {"polluted": 1}}'))],
    ['an object with toJSON', call(0, ['call'], 'make', { toJSON: 1 })],
    ['a date', call(0, ['call'], 'make', ['date', 0])],
    ['a bigint', call(0, ['call'], 'make', ['bigint', '9'.repeat(10_000)])],
    ['an error', call(0, ['call'], 'make', ['error', 'Error', 'x'])],
    ['a request', call(0, ['call'], 'make', ['request', 'http://localhost/', { method: 'POST' }])],
    ['a response', call(0, ['call'], 'make', ['response', 'body', {}])],
    ['headers', call(0, ['call'], 'make', ['headers', [['a', 'b']]])],
    ['a URL', call(0, ['call'], 'make', ['url', 'http://localhost/'])],
    ['a blob', call(0, ['call'], 'make', ['blob', 'text/plain', ['readable', 1]])],
    ['lists within lists', call(0, ['call'], 'make', nested(500))],
    ['only lists', nested(500)],
    ['an answer that is a promise', answer(['promise', 1])],
    ['an answer that is an object of theirs', answer(JSON.parse('{"__proto__": 1}'))],
    ['an answer with another key', answer({ constructor: 1 })],
    ['an answer that is a list', answer([[1]])],
    ['a pull of no number', ['pull', '0']],
    ['a release of less than one', ['release', 0, 0]],
    ['a release of less than nothing', ['release', 0, -1]],
    ['a release of a part', ['release', 0, 0.5]],
    ['a write of no bytes', ['stream', ['pipeline', 1, ['write'], ['x']]]],
    ['a write of two', ['stream', ['pipeline', 1, ['write'], [['bytes', bytes()], 1]]]],
    ['an unknown word', ['eval', 'process.exit()']],
    ['a number', [1]],
    ['nothing', []],
    ['null', null],
    ['no list', 'push'],
    ['an object', { length: 2, 0: 'push' }],
  ])('%s', async (_, message) => {
    expect(await endOfEach([message])).toEqual([meaninglessEnd]);
  });

  test.each([
    ['lists', '[', ']'],
    ['objects', '{"a":', '}'],
  ])('JSON of %s within each other, hundreds of thousands deep', async (_, open, close) => {
    const depth = 150_000;
    const json = Buffer.from(`[${open.repeat(depth)}0${close.repeat(depth)}]`);
    const head = Buffer.alloc(12);
    head.writeUInt32LE(head.length + json.length, 0);
    head.writeUInt32LE(json.length, 4);
    const ended = await attack((intruder) => {
      intruder.stream.write(Buffer.concat([head, json]));
      return intruder.ended();
    });
    expect(ended).toEqual(endedFor(/./));
  });
});

describe('What is not there', () => {
  test.each<[string, unknown[]]>([
    ['to be called', call(99, ['call'], 'info')],
    ['to be called, of the manager’s own', call(-99, ['call'], 'info')],
    ['to be pulled', ['pull', 99]],
    ['to be released', ['release', 99, 1]],
    ['to be released so often', ['release', 0, 2]],
    ['as a stream', call(0, ['call'], 'make', beside(['readable', 99]))],
    ['as a stream to be written to', ['stream', ['pipeline', 99, ['write'], [['bytes', bytes(1)]]]]],
  ])('ends the connection: %s', async (_, message) => {
    expect(await endOfEach([message])).toEqual([endedFor(/no such (entry|export)|refcount|not a pipe/)]);
  });

  test.each<[string, unknown[]]>([
    ['an answer that nobody has asked for', ['resolve', 99, 'x']],
    ['a refusal that nobody has asked for', ['reject', 99, null]],
    ['a stub that nobody has asked for', ['resolve', 99, beside(['export', -1])]],
  ])('is passed over: %s', async (_, message) => {
    const outcome = await attack((intruder) => {
      for (let n = 0; n < 1000; n++) intruder.say(message);
      return intruder.outcome(intruder.method(0, 'info'));
    });
    expect(outcome).toEqual({ given: expect.anything() });
  });

  test('is gone, what was released before', async () => {
    const outcome = await attack((intruder) => {
      intruder.say(['release', 0, 1]);
      return intruder.outcome(intruder.method(0, 'info'));
    });
    expect(outcome).toEqual(endedFor(/no such entry/));
  });
});

describe('Nothing but public methods can be called,', () => {
  const hidden = [
    ...words(
      '_hidden __hidden #private private field data data.breach shared then constructor __proto__ toString valueOf',
    ),
    ...words('__defineGetter__ __lookupGetter__ hasOwnProperty isPrototypeOf Symbol(Symbol.iterator) @@iterator call'),
    ...words('apply open.call length prototype name'),
    '',
  ];
  const inherited = {
    Target: ['emit', 'on', 'once', 'addListener', 'listeners', 'eventNames', '_events', 'domain'],
    ListTarget: ['push', 'map', 'slice', 'at', 'concat', 'length', '0', 'forEach', 'sort'],
    StreamTarget: ['read', '_read', 'pipe', 'push', 'destroy', 'resume', 'emit', 'setEncoding', 'iterator', 'toArray'],
  };

  test.each(Object.entries(inherited))('of a %s', async (type, more) => {
    const names = [...hidden, ...more];
    const outcomes = await attack(async (intruder) => {
      const target = intruder.method(0, 'make', type);
      expect(await intruder.outcome(intruder.method(target, 'open'))).toEqual({ given: 'open' });
      return Promise.all(names.map((name) => intruder.result(target, name)));
    });
    expect(outcomes).toEqual(all(names, refusedWith('ERR_NDSHM_NOT_EXPOSED')));
  });

  test.each<[string, unknown]>([
    ['a number', 0],
    ['null', null],
    ['undefined', ['undefined']],
    ['a list that reads like a name', sentValue([['open']])],
    ['an object that reads like a name', sentValue([[{ toString: 'open', length: 4 }]])],
  ])('a name that is %s', async (_, name) => {
    const outcome = await attack((intruder) => {
      const target = intruder.method(0, 'make', 'Target');
      return intruder.outcome(intruder.method(target, name));
    });
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_NOT_EXPOSED'));
  });

  test('of the manager itself', async () => {
    const names = ['register', 'add', 'clear', 'root', 'types', 'hosted', 'constructor', 'manager', 'close', 'connect'];
    const outcomes = await attack((intruder) => Promise.all(names.map((name) => intruder.result(0, name, 'x'))));
    expect(outcomes).toEqual(all(names, refusedWith('ERR_NDSHM_NOT_EXPOSED')));
  });

  test('and no type made that is not registered', async () => {
    const types = [
      'constructor',
      'toString',
      '__proto__',
      'hasOwnProperty',
      'Object',
      'Function',
      'process',
      'Manager',
      '',
    ];
    const outcomes = await attack((intruder) =>
      Promise.all(
        types.flatMap((type) => [intruder.result(0, 'make', type), intruder.result(0, 'getOrCreate', 'x', type)]),
      ),
    );
    expect(outcomes).toEqual(all([...types, ...types], refusedWith('ERR_NDSHM_NO_OBJECT')));
  });

  test.each(['constructor', '__proto__', 'toString', 'then'])(
    'an object named %s is none but the one',
    async (name) => {
      const outcomes = await attack(async (intruder) => {
        const missing = await intruder.outcome(intruder.method(0, 'find', name));
        const made = intruder.method(0, 'getOrCreate', name, 'value', 7);
        const value = await intruder.outcome(intruder.method(made, 'get'));
        return [missing, value, await intruder.outcome(intruder.method(0, 'remove', name))];
      });
      expect(outcomes).toEqual([refusedWith('ERR_NDSHM_NO_OBJECT'), { given: 7 }, { given: true }]);
    },
  );

  test.each<[string, unknown]>([
    ['of a module that is not the manager’s', { module: 'node:child_process', export: 'execSync' }],
    ['of a file', { module: join(__dirname, '../pool/fixtures/tasks.js'), export: 'mix' }],
    ['of a URL', { module: 'data:text/javascript,export const f = () => 1', export: 'f' }],
    ['by its source', { source: '() => process.exit(1)' }],
    ['as a text', '() => process.exit(1)'],
  ])('a function %s, in a pool', async (_, fn) => {
    const outcome = await attack((intruder) => {
      const pool = intruder.methodWith(0, 'make', [['pool', { processes: 1 }]]);
      return intruder.outcome(intruder.methodWith(pool, 'apply', [[fn, []]]));
    });
    expect(outcome).toMatchObject({ code: expect.stringMatching(/NOT_EXPOSED|INVALID_ARGUMENT/) });
  });
});

describe('An id', () => {
  test.each<[string, unknown]>([
    ['that was guessed', 'AAAAAAAAAAAAAAAA'],
    ['that is empty', ''],
    ['that is the name of a property', '__proto__'],
    ['that is a number', 0],
    ['that is missing', null],
  ])('%s gives nothing', async (_, id) => {
    const outcome = await attack((intruder) =>
      intruder.outcome(
        intruder.methodWith(0, 'make', [
          ['list', [special(0)]],
          ['Home', id],
        ]),
      ),
    );
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_NO_OBJECT'));
  });

  test('of an object that was released gives nothing', async () => {
    const outcome = await attack(async (intruder) => {
      const made = intruder.method(0, 'make', 'dict');
      const { given } = (await intruder.outcome(made)) as { given: { o: ['export', number]; i: string } };
      intruder.say(['release', made, 1]);
      intruder.say(['release', given.o[1], 1]);
      return intruder.outcome(
        intruder.methodWith(0, 'make', [
          ['list', [special(0)]],
          ['Home', given.i],
        ]),
      );
    });
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_NO_OBJECT'));
  });
});

describe('A value', () => {
  test.each<[string, unknown[], unknown[]]>([
    ['with a reference that is not there', ['Reference', 5, 'id', 'type'], []],
    ['with a reference of no number', ['Reference', 'length', 'id', 'type'], [['export', -1]]],
    ['with a stream for a reference', ['Iterator', 'constructor'], []],
    ['with a signal that is none', ['AbortSignal', -1], []],
    ['with an array of no stream', ['ArrayCopy', 'float64', [2], 0], [['export', -1]]],
    ['with an array of an unknown type', ['ArrayCopy', '__proto__', [2], 0], [['export', -1]]],
    ['with an array of a negative shape', ['ArrayCopy', 'float64', [-2], 0], [['export', -1]]],
    ['with an array of no shape', ['ArrayCopy', 'float64', { length: 1e9 }, 0], [['export', -1]]],
    ['of an unknown kind', ['constructor', 1], []],
    ['of a kind of the runtime', ['Function', 'return process'], []],
  ])('%s is refused', async (_, tag, references) => {
    const outcome = await attack((intruder) =>
      intruder.outcome(intruder.methodWith(0, 'make', [['list', [special(0)]], tag], references)),
    );
    expect(outcome).toEqual({ refused: expect.any(String) as string, code: expect.stringMatching(/^ERR_NDSHM_/) });
  });

  test('whose bytes were changed anywhere is refused, or is another value', async () => {
    const good = objectBytes({
      document: [
        ['list', [special(0), { text: 'x'.repeat(50) }, [1, 2.5, null]]],
        ['Map', [['a', special(1)]]],
        ['Date', 0],
      ],
    });
    await attack(async (intruder) => {
      const change = fc.record({ at: fc.nat(good.length - 1), to: fc.nat(255) });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
          const bad = good.slice();
          for (const { at, to } of changes) bad[at] = to;
          const made = intruder.method(0, 'make', [[['bytes', bad]]]);
          expect(await intruder.outcome(made)).not.toHaveProperty('ended');
          intruder.say(['release', made, 1]);
        }),
        { numRuns: 300 },
      );
    });
  });

  test.each<[string, Uint8Array]>([
    ['lists within lists', Buffer.concat([Buffer.alloc(200_000, 0x91), bytes(0xc0)])],
    ['maps within maps', Buffer.concat([Buffer.alloc(200_000, 0x81), bytes(0xc0)])],
    ['a list that says it is very long', bytes(0x91, 0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['a map that says it is very large', bytes(0x91, 0xdf, 0xff, 0xff, 0xff, 0xff)],
    ['a text that says it is very long', bytes(0x91, 0xdb, 0xff, 0xff, 0xff, 0xff)],
    ['nothing', bytes()],
  ])('of %s is refused', async (_, document) => {
    const outcome = await attack((intruder) => intruder.outcome(intruder.method(0, 'make', sentValue(document))));
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_CORRUPT_OBJECT'));
  });

  test('that goes in a circle comes back as a circle', async () => {
    const outcome = await attack(async (intruder) => {
      const target = intruder.method(0, 'make', 'Target');
      const circle = [
        [special(0)],
        ['Object', { self: special(0), list: special(1) }],
        ['List', [special(0), special(1)]],
      ];
      return (await intruder.outcome(intruder.methodWith(target, 'given', circle))) as {
        given: [[['bytes', Uint8Array]]];
      };
    });
    const circle = decode(outcome.given[0][0][1]) as { self: unknown; list: unknown[] };
    expect(circle.self).toBe(circle);
    expect(circle.list[1]).toBe(circle.list);
  });

  const hostileKeys = [
    '__proto__',
    'constructor',
    'prototype',
    'toJSON',
    'toString',
    'then',
    'hasOwnProperty',
    'length',
  ];
  test.each(hostileKeys)('with the key %s pollutes nothing, and is kept as it is', async (key) => {
    const outcomes = await attack(async (intruder) => {
      const evil = JSON.parse(`{"${key}": {"polluted": 1, "${key}": {"polluted": 2}}}`) as object;
      const whole = (...args: unknown[]) => [[['bytes', bytesOf(encode(args))]]];
      const dict = intruder.method(0, 'make', whole('dict', evil));
      const namespace = intruder.call(0, ['call'], ['make', whole('namespace', evil)]);
      await intruder.result(dict, 'update', whole(evil));
      await intruder.result(dict, 'set', whole('value', evil));
      const given = (target: number, name: string) => intruder.outcome(intruder.method(target, name));
      return [
        await given(dict, 'keys'),
        await given(namespace, 'keys'),
        await given(namespace, 'toObject'),
        await given(dict, 'entries'),
      ];
    });
    const values = outcomes.map((outcome) => decode((outcome as { given: [[['bytes', Uint8Array]]] }).given[0][0][1]));
    expect(values[0]).toEqual([key, 'value']);
    expect(values[1]).toEqual([key]);
    expect(Object.keys(values[2] as object)).toEqual([key]);
    expect(Object.getPrototypeOf(values[2])).toBe(Object.prototype);
  });

  test.each(['throwingGetter', 'proxy', 'hostileError', 'nothingToThrow', 'thenable'])(
    'that cannot be told is an error for whoever asked: %s',
    async (method) => {
      const outcome = await attack((intruder) => {
        const giver = intruder.method(0, 'make', 'Giver');
        return intruder.outcome(intruder.method(giver, method));
      });
      expect(outcome).toMatchObject({ refused: expect.any(String) });
    },
  );
});

describe('A handle of an array', () => {
  let array: ndshm.SharedArray;
  beforeAll(() => {
    array = ndshm.create(freshName('secret'), { shape: 4, ephemeral: true });
  });
  afterAll(() => array.close());
  const handOver = (intruder: Intruder, handle: object, mode = 'r+') => {
    const giver = intruder.method(0, 'make', 'Giver');
    return intruder.outcome(intruder.methodWith(giver, 'bytes', [[special(0)], ['SharedArray', handle, mode]]));
  };

  test('means nothing where no memory is shared', async () => {
    const outcome = await attack((intruder) => handOver(intruder, array.handle));
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_CORRUPT_OBJECT'));
  });

  test.each<[string, (handle: ndshm.ArrayHandle) => object, string]>([
    ['outside of the directory', (handle) => ({ ...handle, name: '../../etc/passwd' }), 'r+'],
    ['that is a device', (handle) => ({ ...handle, name: '/dev/zero' }), 'r+'],
    ['with another id', (handle) => ({ ...handle, id: '0'.repeat(32) }), 'r+'],
    ['with a larger shape', (handle) => ({ ...handle, shape: [2 ** 40] }), 'r+'],
    ['with another type', (handle) => ({ ...handle, dtype: 'constructor' }), 'r+'],
    ['of no name', (handle) => ({ ...handle, name: null }), 'r+'],
    ['in an unknown mode', (handle) => handle, '__proto__'],
    ['that is a text', () => 'handle' as unknown as object, 'r+'],
  ])('is refused where it is shared: %s', async (_, change, mode) => {
    const outcome = await attack(async (_intruder, manager) => {
      const sharing = await Intruder.enter(manager.address, { shares: true });
      const made = await handOver(sharing, change(array.handle), mode);
      sharing.leave();
      return made;
    });
    expect(outcome).toEqual({
      refused: expect.any(String) as string,
      code: expect.stringMatching(/^ERR_NDSHM_|^E[A-Z]+$/),
    });
  });
});

describe('A callback, iterator or signal of theirs', () => {
  const garbage: [string, unknown[]][] = [
    ['nothing', ['resolve', null]],
    ['a number', ['resolve', 7]],
    ['bytes that are no value', ['resolve', [[['bytes', bytes(1, 2, 3)]]]]],
    ['an object', ['resolve', { o: ['export', -9], i: 'id', t: 'type' }]],
    ['an object that is none', ['resolve', { o: 1, i: 'id', t: 'type' }]],
    ['a step without a value', ['resolve', { done: false }]],
    ['a step with a broken value', ['resolve', { done: false, value: [[['bytes', bytes(1)]]] }]],
    ['an abort without a reason', ['resolve', { aborted: true }]],
    ['an abort with a broken reason', ['resolve', { aborted: true, reason: ['bytes', bytes(1)] }]],
    ['no error', ['reject', null]],
    ['an error without words', ['reject', ['error']]],
    ['an error with broken bytes', ['reject', ['error', 'x', 'y', null, { ndshm: ['bytes', bytes(1)] }]]],
    [
      'an error with hostile properties',
      ['reject', ['error', 'x', 'y', null, JSON.parse('{"__proto__": {"polluted": 1}, "code": {}}')]],
    ],
  ];
  const uses: [string, (intruder: Intruder) => number][] = [
    [
      'a callback',
      (intruder) => {
        const dict = intruder.method(0, 'make', 'dict');
        return intruder.methodWith(
          dict,
          'change',
          [
            ['k', special(0)],
            ['Reference', 0, 'id', 'function'],
          ],
          [['export', -5]],
        );
      },
    ],
    [
      'an iterator',
      (intruder) => {
        const giver = intruder.method(0, 'make', 'Giver');
        return intruder.methodWith(giver, 'count', [[special(0)], ['Iterator', 0]], [['export', -5]]);
      },
    ],
    [
      'a signal',
      (intruder) => {
        const event = intruder.method(0, 'make', 'event');
        return intruder.methodWith(
          event,
          'wait',
          [[{ signal: special(0), timeoutMs: 50 }], ['AbortSignal', 0]],
          [['export', -5]],
        );
      },
    ],
  ];
  test.each(
    uses.flatMap(([use, begin]) => garbage.map(([what, [kind, value]]) => [use, what, begin, kind, value] as const)),
  )('%s that answers with %s harms nobody else', async (_, _what, begin, kind, value) => {
    await attack(async (intruder) => {
      let answers = 0;
      // An iterator that never ends by itself would go on for ever, as any other: it is the attacker's own call.
      intruder.onPush = (id) => intruder.say([kind, id, ++answers < 5 ? value : null]);
      const outcome = await intruder.outcome(begin(intruder));
      expect(Object.keys(outcome)).not.toEqual([]);
    });
  });

  test('that never answers waits for nobody else, and is forgotten with its connection', async () => {
    await attack(async (intruder, manager) => {
      const called = new Promise<void>((resolve) => {
        intruder.onPush = () => resolve();
      });
      const dict = intruder.method(0, 'getOrCreate', 'held', 'dict');
      intruder.methodWith(
        dict,
        'change',
        [
          ['k', special(0)],
          ['Reference', 0, 'id', 'function'],
        ],
        [['export', -5]],
      );
      await within(called, 'callback');
      const held = await manager.find('held');
      const changed = held['change']?.('k', () => 'honest') as Promise<unknown>;
      intruder.leave();
      expect(await within(changed, 'turn of the honest client')).toBe('honest');
      await manager.remove('held');
      held[Symbol.dispose]();
    });
  });

  // JavaScript takes such a value for a promise, and nobody waits for what then() itself gives.
  test('that fails as the then() of a value does not end the manager', async () => {
    const next = await attack(async (intruder) => {
      const called = new Promise<void>((resolve) => {
        intruder.onPush = (id) => {
          intruder.say(['reject', id, ['error', 'Error', 'from then()']]);
          resolve();
        };
      });
      const list = intruder.method(0, 'make', 'list');
      // oxlint-disable-next-line unicorn/no-thenable -- it is the attack
      const thenable = Object.fromEntries([['then', special(0)]]);
      intruder.methodWith(list, 'push', [[thenable], ['Reference', 0, 'id', 'function']], [['export', -5]]);
      intruder.method(list, 'get', 0);
      await within(called, 'call of then()');
      return intruder.result(list, 'length');
    });
    expect(next).toEqual({ given: 1 });
  });
});

describe('Too much', () => {
  /** Its last words are lost if more was sent to it than it has read. */
  const tooMuch = endedFor(/More than \d+|The connection has ended/);
  const chunk = ['bytes', new Uint8Array(2 ** 18)];
  /** As long as it is let in, many times what it may send. */
  async function flood(intruder: Intruder, count: number, once: (n: number) => unknown): Promise<Outcome> {
    let isOver = false;
    const ended = intruder.ended().then((outcome) => {
      isOver = true;
      return outcome;
    });
    for (let n = 0; n < count && !isOver; n++) {
      await once(n);
      await new Promise(setImmediate);
    }
    return ended;
  }

  test('written into a stream that nobody reads ends the connection', async () => {
    const ended = await attack((intruder) => {
      const pipe = intruder.pipe();
      return flood(intruder, 800, () => intruder.streamed(['pipeline', pipe, ['write'], [chunk]]));
    });
    expect(ended).toEqual(tooMuch);
  });

  test.each<[string, number]>([
    ['that never ends', 60],
    ['with too long a chunk', 1],
  ])('for an array, a stream %s is refused', async (_, count) => {
    const outcome = await attack(async (intruder) => {
      const pipe = intruder.pipe();
      const giver = intruder.method(0, 'make', 'Giver');
      const given = intruder.methodWith(
        giver,
        'bytes',
        [[special(0)], ['ArrayCopy', 'uint8', [1000], 0]],
        [['readable', pipe]],
      );
      for (let n = 0; n < count; n++) {
        intruder.streamed(['pipeline', pipe, ['write'], [chunk]]);
        await new Promise(setImmediate); // one message for all of them would be too long itself
      }
      return intruder.outcome(given);
    });
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_CORRUPT_OBJECT'));
  });

  test('for an array, a stream that ends early is refused', async () => {
    const outcome = await attack((intruder) => {
      const pipe = intruder.pipe();
      const giver = intruder.method(0, 'make', 'Giver');
      const given = intruder.methodWith(
        giver,
        'bytes',
        [[special(0)], ['ArrayCopy', 'uint8', [1000], 0]],
        [['readable', pipe]],
      );
      intruder.streamed(['pipeline', pipe, ['close'], []]);
      return intruder.outcome(given);
    });
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_CORRUPT_OBJECT'));
  });

  test('for an array, a stream in a value that is broken elsewhere, or is read twice, is refused', async () => {
    const outcomes = await attack((intruder) => {
      const array = (shape: number) => ['ArrayCopy', 'uint8', [shape], 0];
      const give = (...specials: unknown[][]) => {
        const pipe = intruder.pipe();
        const giver = intruder.method(0, 'make', 'Giver');
        const given = intruder.methodWith(
          giver,
          'bytes',
          [specials.map((_, n) => special(n)), ...specials],
          [['readable', pipe]],
        );
        intruder.streamed(['pipeline', pipe, ['close'], []]);
        return intruder.outcome(given);
      };
      return Promise.all([
        give(array(10), ['Home', 'x']),
        give(array(10), array(10)),
        give(array(10), array(9 * mebibyte)),
        give(array(10), array(-1)),
      ]);
    });
    for (const outcome of outcomes) expect(outcome).toMatchObject({ code: expect.stringMatching(/^ERR_NDSHM_/) });
  });

  test('memory reserved for arrays that never come is refused', async () => {
    const outcome = await attack((intruder) => {
      const giver = intruder.method(0, 'make', 'Giver');
      const promise = () =>
        intruder.methodWith(
          giver,
          'bytes',
          [[special(0)], ['ArrayCopy', 'uint8', [5 * mebibyte], 0]],
          [['readable', intruder.pipe()]],
        );
      promise();
      return intruder.outcome(promise());
    });
    expect(outcome).toEqual(refusedWith('ERR_NDSHM_LIMIT'));
  });

  test.each<[string, (intruder: Intruder, n: number) => unknown]>([
    ['calls that are not pulled', (intruder) => intruder.method(0, 'info')],
    ['calls that are not released', (intruder) => intruder.outcome(intruder.method(0, 'info'))],
    ['calls that wait', (intruder) => intruder.say(['pull', intruder.method(1, 'wait')])],
    ['streams', (intruder) => intruder.pipe()],
  ])('of %s ends the connection', async (_, once) => {
    const ended = await attack((intruder) => {
      intruder.method(0, 'make', 'event');
      return flood(intruder, 1000, (n) => once(intruder, n));
    });
    expect(ended).toEqual(tooMuch);
  });

  test.each([
    ['pulled', false],
    ['released', true],
  ])('of results that are not %s is refused', async (_, pulls) => {
    const outcomes = await attack(async (intruder) => {
      const value = intruder.methodWith(0, 'make', [['value', 'x'.repeat(2 * mebibyte)]]);
      const ids = Array.from({ length: 95 }, () => intruder.method(value, 'get'));
      if (!pulls) return [await intruder.outcome(ids[94] as number)];
      return Promise.all(ids.map((id) => intruder.outcome(id)));
    });
    expect(outcomes.at(-1)).toEqual(refusedWith('ERR_NDSHM_LIMIT'));
  });

  test('of objects ends the connection', async () => {
    const ended = await attack((intruder) =>
      flood(intruder, 1000, async () => {
        const made = intruder.method(0, 'make', 'dict');
        await intruder.outcome(made);
        intruder.say(['release', made, 1]);
      }),
    );
    expect(ended).toEqual(tooMuch);
  });

  test('for a client that never reads is not kept for it', async () => {
    await attack(async (intruder) => {
      const value = intruder.methodWith(0, 'make', [['value', 'x'.repeat(2 * mebibyte)]]);
      await intruder.outcome(value);
      intruder.stream.pause();
      for (let n = 0; n < 95; n++) intruder.say(['pull', intruder.method(value, 'get')]);
    });
  });

  test('of connections is turned away, and the others go on', async () => {
    await attack(async (_, manager) => {
      const crowd: Intruder[] = [];
      let refusal: unknown;
      for (let n = 0; n < 2 * limits.maxConnections && refusal === undefined; n++) {
        await Intruder.enter(manager.address).then(
          (each) => crowd.push(each),
          (error: unknown) => {
            refusal = error;
          },
        );
      }
      expect(refusal).toMatchObject({ code: expect.stringMatching(/MANAGER_LOST|EPIPE|ECONNRESET/) });
      expect(crowd).toHaveLength(limits.maxConnections - 2);
      expect(await rejection(ndshm.Manager.connect({ address: manager.address }))).toMatchObject({
        code: expect.stringMatching(/MANAGER_LOST|EPIPE|ECONNRESET/),
      });
      for (const each of crowd) each.leave();
    });
  });

  test('beyond the length of a message ends the connection', async () => {
    const ended = await attack((intruder) => {
      intruder.say([
        'push',
        ['pipeline', 0, ['call'], ['make', [[['bytes', new Uint8Array(limits.maxMessageBytes)]]]]],
      ]);
      return intruder.ended();
    });
    expect(ended).toEqual(endedFor(/./));
  });
});
