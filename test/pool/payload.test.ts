import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Table, vectorFromArray } from 'apache-arrow';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { encode } from '../../dist/codec/encode';
import { Attachments } from '../../dist/pool/attachments';
import { decodePayload, encodePayload } from '../../dist/pool/payload';
import { runs, timeoutMs } from '../helpers/arrays';
import { Peer } from '../helpers/child';
import { objectBytes, special } from '../helpers/object-bytes';
import { freshName, shmPath, thrownBy } from '../helpers/shm';
import { anyValue, bytesOf, differenceOf } from '../helpers/values';

let attachments: Attachments;
const made: ndshm.SharedArray[] = [];

const keep = (array: ndshm.SharedArray): ndshm.SharedArray => {
  made.push(array);
  return array;
};
/** 0, 1, 2 … in a new named array. */
function counting(shape: readonly number[], options: Partial<ndshm.CreateOptions> = {}): ndshm.SharedArray {
  const array = keep(ndshm.create(freshName('payload'), { shape, dtype: 'int32', ephemeral: true, ...options }));
  const data = array.data as Int32Array;
  data.forEach((_, n) => {
    data[n] = n;
  });
  return array;
}
const bytesFor = (value: unknown) => bytesOf(encodePayload(value));
/** What a worker would get. */
const through = <T>(value: T): T => decodePayload(bytesFor(value), attachments) as T;
const payloadOf = (...parts: unknown[]) => objectBytes({ document: [special(0), ['SharedArray', ...parts]] });
const errorOf = (...parts: unknown[]) => thrownBy(() => decodePayload(payloadOf(...parts), attachments));

beforeEach(() => {
  attachments = new Attachments();
});
afterEach(() => {
  attachments.close();
  for (const each of made.splice(0)) each.close();
});

describe('a value without named arrays', () => {
  test(
    'has the bytes that it has in a store, and comes out alike',
    () => {
      fc.assert(
        fc.property(anyValue, (value) => {
          const bytes = bytesFor(value);
          expect(Buffer.from(bytes).equals(bytesOf(encode(value)))).toBe(true);
          expect(differenceOf(decodePayload(bytes, attachments), value)).toBeUndefined();
        }),
        runs(300),
      );
    },
    timeoutMs,
  );

  test('may be an Arrow table', () => {
    const table = new Table({ n: vectorFromArray([1, 2, 3]) });
    expect(through({ table }).table.toString()).toBe(table.toString());
  });

  test('is refused where a store refuses it', () => {
    expect(thrownBy(() => encodePayload([{ f: () => 1 }]))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringContaining('value[0].f is a function') as string,
    });
  });
});

describe('a SharedArray', () => {
  test.each(['r', 'r+', 'c'] as const)('opened in mode %s arrives in that mode, as the same memory', (mode) => {
    const owner = counting([4, 3]);
    const sent = keep(ndshm.open(owner.name as string, { mode }));
    const got = through(sent);
    expect(got).not.toBe(sent);
    expect([got.mode, got.handle]).toEqual([mode, sent.handle]);
    owner.set([0, 0], 7);
    expect(got.get(0, 0)).toBe(7);
    if (mode === 'r') {
      expect(thrownBy(() => got.set([0, 1], 8))).toMatchObject({ code: 'ERR_NDSHM_READ_ONLY' });
    } else {
      got.set([0, 1], 8);
      expect(owner.get(0, 1)).toBe(mode === 'r+' ? 8 : 1);
    }
  });

  test.each(ndshm.dtypes)('of %s arrives with dtype, shape and order', (dtype) => {
    for (const shape of [[], [0], [2, 3], [2, 0, 3]]) {
      for (const order of ['C', 'F'] as const) {
        const sent = keep(ndshm.create(freshName(dtype), { shape, dtype, order, ephemeral: true }));
        const got = through(sent);
        expect([got.dtype, got.shape, got.strides, got.handle]).toEqual([dtype, shape, sent.strides, sent.handle]);
      }
    }
  });

  test('takes a few bytes, however large it is', () => {
    const large = keep(ndshm.create(freshName('large'), { shape: 2 ** 23, dtype: 'uint8', ephemeral: true }));
    const encoded = encodePayload([large]);
    expect(encoded.byteLength).toBeLessThan(500);
    expect(encoded.buffers).toEqual([]);
  });

  test('arrives wherever in a value it is', () => {
    const a = counting([3]);
    const b = counting([2]);
    const value = {
      list: [[a]],
      map: new Map<unknown, unknown>([
        [a, b],
        ['b', b],
      ]),
      set: new Set([b]),
      error: new Error('of an array', { cause: { a } }),
      beside: new Float64Array([1.5]),
    };
    const got = through(value);
    const [[inList]] = got.list as [[ndshm.SharedArray]];
    expect(inList.toNested()).toEqual([0, 1, 2]);
    expect([...got.map.keys()][0]).toBe(inList);
    const inMap = got.map.get(inList);
    expect((inMap as ndshm.SharedArray).toNested()).toEqual([0, 1]);
    expect(got.map.get('b')).toBe(inMap);
    expect([...got.set]).toEqual([inMap]);
    expect((got.error.cause as { a: unknown }).a).toBe(inList);
    expect(got.beside).toEqual(value.beside);
  });

  test('that is in a value twice is one object', () => {
    const a = counting([3]);
    const view = a.slice('1:');
    const [first, second, third, fourth] = through([a, a, view, view]);
    expect(first).toBe(second);
    expect(third).toBe(fourth);
    expect(third?.base).toBe(first);
  });

  test('may be a view with gaps, steps and reversals, and of one element', () => {
    const a = counting([4, 6]);
    const views = [
      a.slice('::2', '1:4'),
      a.slice('::-1', '::-2'),
      a.transpose(),
      a.row(2),
      a.slice(null, 3),
      a.slice(1, 2),
      a.slice('2:2'),
      a.reshape([2, 12]),
    ];
    const got = through(views);
    got.forEach((view, n) => {
      const sent = views[n] as ndshm.SharedArray;
      expect([view.shape, view.strides, view.toNested()]).toEqual([sent.shape, sent.strides, sent.toNested()]);
      expect(view.handle).toEqual(sent.handle);
    });
    got[0]?.set([0, 0], 99);
    expect(a.get(0, 1)).toBe(99);
    expect(new Set(got.map((view) => view.base)).size).toBe(1);
  });

  test('may be raw memory, or a file that somebody else made', () => {
    const raw = freshName('raw');
    writeFileSync(shmPath(raw), Buffer.alloc(8 + 24, 1));
    const sent = keep(ndshm.openRaw(raw, { dtype: 'uint16', shape: [3, 4], byteOffset: 8, order: 'F', mode: 'r+' }));
    const got = through({ sent }).sent;
    expect([got.handle, got.mode]).toEqual([sent.handle, 'r+']);
    got.set([2, 3], 5);
    expect(sent.get(2, 3)).toBe(5);

    const plain = freshName('plain');
    ndshm.save(sent, shmPath(plain));
    const file = keep(ndshm.open(plain));
    expect(file.handle.id).toBeNull();
    expect(through(file).toNested()).toEqual(sent.toNested());
  });

  test('arrives in another process', async () => {
    const sent = counting([3]);
    const peer = await Peer.start();
    const seen = await peer.run(
      ({ part }, bytes) => {
        const { Attachments: Class } = part('pool/attachments') as typeof import('../../dist/pool/attachments');
        const { decodePayload: decode } = part('pool/payload') as typeof import('../../dist/pool/payload');
        const [array] = decode(bytes, new Class()) as [ndshm.SharedArray];
        array.set(0, 41);
        return array.toNested();
      },
      bytesFor([sent]),
    );
    expect(seen).toEqual([41, 1, 2]);
    expect(sent.get(0)).toBe(41);
    await peer.kill();
  });

  test('that is closed says so', () => {
    const whole = counting([3]);
    const view = counting([3]).slice('1:');
    const anonymous = ndshm.anonymous({ shape: 3 });
    for (const array of [whole, view, anonymous]) {
      array.close();
      expect(thrownBy(() => encodePayload([array]))).toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
    }
  });

  test('that is anonymous is refused, with the place and what to do', () => {
    const anonymous = keep(ndshm.anonymous({ shape: 3 }));
    for (const array of [anonymous, anonymous.slice('1:')]) {
      expect(thrownBy(() => encodePayload({ deep: [1, { array }] }))).toMatchObject({
        code: 'ERR_NDSHM_ANONYMOUS',
        message: expect.stringMatching(/value\.deep\[1\]\.array is an anonymous array.*ephemeral: true/) as string,
      });
    }
  });

  test.each([3, 100_000])('that a store gave (%d elements) is copied', async (length) => {
    using store = ndshm.Store.open(freshName('store'), { capacity: '8MiB' });
    const stored = store.get<ndshm.SharedArray>(await store.put(counting([length])));
    const encoded = encodePayload([stored, stored.slice('1:')]);
    expect(encoded.byteLength).toBeGreaterThan(2 * 4 * length - 4);
    const [got, tail] = decodePayload(bytesOf(encoded), attachments) as ndshm.SharedArray[];
    store.close();
    expect([got?.name, got?.mode, got?.get(length - 1)]).toEqual([null, 'r', length - 1]);
    expect(tail?.shape).toEqual([length - 1]);
  });
});

describe('what the caller knows', () => {
  class Ticket {
    constructor(readonly number: number) {}
  }
  const instance = (value: object): ['Ticket', number] | undefined =>
    value instanceof Ticket ? ['Ticket', value.number] : undefined;

  test('goes as it says, as one object', () => {
    const ticket = new Ticket(7);
    const bytes = bytesOf(encodePayload({ ticket, array: counting([1]), again: [ticket] }, { instance }));
    const got = decodePayload(bytes, attachments, {
      instance: ([kind, number]) => (kind === 'Ticket' ? new Ticket(number as number) : undefined),
    }) as { ticket: Ticket; array: ndshm.SharedArray; again: [Ticket] };
    expect(got.ticket).toEqual(ticket);
    expect(got.again[0]).toBe(got.ticket);
    expect(got.array).toBeInstanceOf(ndshm.SharedArray);
    expect(thrownBy(() => decodePayload(bytes, attachments))).toMatchObject({ code: 'ERR_NDSHM_CORRUPT_OBJECT' });
  });

  test('is refused as it says', () => {
    const refusal = new Error('no tickets');
    const refuse = (_value: object, where: () => string) => {
      throw Object.assign(refusal, { where: where() });
    };
    expect(thrownBy(() => encodePayload([{ t: new Ticket(1) }], { instance: refuse }))).toBe(refusal);
    expect(refusal).toMatchObject({ where: 'value[0].t' });
    const bytes = bytesOf(encodePayload(new Ticket(1), { instance }));
    const fail = () => {
      throw refusal;
    };
    expect(thrownBy(() => decodePayload(bytes, attachments, { instance: fail }))).toBe(refusal);
  });
});

/** Descriptors of this process, and its mappings of the segment. */
function holdings({ name }: ndshm.SharedArray): { fds: number; maps: number } {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return { fds: readdirSync('/proc/self/fd').length, maps: lines.filter((line) => line.endsWith(`/${name}`)).length };
}

describe('attachments', () => {
  test('are made once for each segment and mode, whatever is sent of it and how often', () => {
    const a = counting([10]);
    const readOnly = keep(ndshm.open(a.name as string));
    const before = holdings(a);
    const got = through([a, readOnly, a.slice('1:')]);
    const after = holdings(a);
    expect(after).toEqual({ fds: before.fds + 2, maps: before.maps + 2 });
    for (let n = 0; n < 100; n++) {
      const [again, againReadOnly, view] = through([a, readOnly, a.slice(`${n % 10}:`)]);
      expect(again).toBe(got[0]);
      expect(againReadOnly).toBe(got[1]);
      expect(view?.base).toBe(got[0]);
    }
    expect(holdings(a)).toEqual(after);
  });

  test('of an array that somebody has closed are made anew', () => {
    const a = counting([3]);
    const first = through(a);
    first.close();
    const second = through(a);
    expect(second).not.toBe(first);
    expect(second.toNested()).toEqual([0, 1, 2]);
  });

  test('stay when a view is closed', () => {
    const a = counting([3]);
    const whole = through(a);
    const [view, other] = through([a.slice('1:'), a.slice('2:')]);
    view?.close();
    expect(thrownBy(() => view?.get(0))).toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
    expect([whole.get(0), other?.get(0)]).toEqual([0, 2]);
    expect(through(a)).toBe(whole);
  });

  test('are all closed at the end', () => {
    const sent = Array.from({ length: 20 }, () => counting([3]));
    const before = readdirSync('/proc/self/fd').length;
    const got = through([...sent, ...sent.map((array) => array.slice('1:'))]);
    expect(readdirSync('/proc/self/fd').length).toBe(before + 20);
    attachments.close();
    expect(got.every((array) => array.closed)).toBe(true);
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });

  test('that are let go of can still be read, until nobody does', async () => {
    const count = 40;
    const sent = Array.from({ length: count }, (_, n) => counting([n + 1]));
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    const before = await peer.on<{ descriptors: number }>('none', 'holdings');
    await peer.run(({ part, kept }, payloads) => {
      const { Attachments: Class } = part('pool/attachments') as typeof import('../../dist/pool/attachments');
      const { decodePayload: decode } = part('pool/payload') as typeof import('../../dist/pool/payload');
      const mine = new Class();
      kept.set('attachments', mine);
      kept.set(
        'used',
        payloads.map((bytes) => decode(bytes, mine)),
      );
    }, sent.map(bytesFor));
    await peer.on('none', 'collect');
    const last = await peer.run(({ kept }) =>
      (kept.get('used') as ndshm.SharedArray[]).map((array) => array.get(array.size - 1)),
    );
    expect(last).toEqual(sent.map((_, n) => n));
    await peer.on('none', 'drop', 'used');
    await peer.on('none', 'collect');
    const after = await peer.on<{ descriptors: number }>('none', 'holdings');
    expect(after.descriptors - before.descriptors).toBeLessThan(10);
    expect(after.descriptors - before.descriptors).toBeGreaterThan(0); // the last ones are kept
    await peer.kill();
    ndshm.gc();
  });

  test('are found by the id, not by the name', () => {
    const name = freshName('replaced');
    const old = keep(ndshm.fromArray(name, [1, 2], { dtype: 'int32' }));
    const sent = bytesFor(old);
    const first = decodePayload(sent, attachments);
    const next = keep(ndshm.create(name, { shape: 2, dtype: 'int32', ifExists: 'replace' }));
    expect(decodePayload(sent, attachments)).toBe(first); // attached already, and the one that was meant
    expect(through(next).toNested()).toEqual([0, 0]);
    const others = new Attachments();
    expect(thrownBy(() => decodePayload(sent, others))).toMatchObject({ code: 'ERR_NDSHM_STALE_HANDLE' });
    others.close();
    ndshm.unlink(name);
    expect(thrownBy(() => decodePayload(sent, others))).toMatchObject({ code: 'ENOENT' });
  });

  test('of a file without an id are made anew once the name means another', () => {
    const name = freshName('raw');
    writeFileSync(shmPath(name), Buffer.alloc(8, 1));
    const raw = keep(ndshm.openRaw(name, { dtype: 'uint8' }));
    const sent = bytesFor(raw);
    const first = decodePayload(sent, attachments) as ndshm.SharedArray;
    expect(decodePayload(sent, attachments)).toBe(first);
    writeFileSync(shmPath(`${name}.next`), Buffer.alloc(8, 2));
    renameSync(shmPath(`${name}.next`), shmPath(name));
    expect([first.get(0), (decodePayload(sent, attachments) as ndshm.SharedArray).get(0)]).toEqual([1, 2]);
    ndshm.unlink(name);
    expect(thrownBy(() => decodePayload(sent, attachments))).toMatchObject({ code: 'ENOENT' });
  });
});

describe('a payload that is wrong is an error:', () => {
  const handle = { ndshm: 1, name: 'ndshm-test-nowhere', id: '00', dtype: 'int32', shape: [3], order: 'C' };

  test.each<[string, unknown[]]>([
    ['no handle', []],
    ['a handle of nothing', [null, 'r']],
    ['a handle of another version', [{ ...handle, ndshm: 2 }, 'r']],
    ['a name that leads elsewhere', [{ ...handle, name: '../etc/passwd' }, 'r']],
    ['a name that is a special', [{ ...handle, name: special(0) }, 'r']],
    ['an unknown dtype', [{ ...handle, dtype: 'object' }, 'r']],
    ['an endless shape', [{ ...handle, shape: [2 ** 60, 2 ** 60] }, 'r']],
    ['a mode that is none', [handle, 'w']],
    ['no mode', [handle]],
    ['a mode that is a list', [handle, ['r']]],
    ['an order that is none', [{ ...handle, order: 'K' }, 'r']],
    ['a view of nothing', [{ ...handle, view: {} }, 'r']],
  ])('%s', (_what, parts) => {
    expect(errorOf(...parts).code).toMatch(/^(ERR_NDSHM_|ENOENT)/);
  });

  test.each<[string, object]>([
    ['a view past the end', { shape: [3], strides: [4], byteOffset: 4 }],
    ['a view before the beginning', { shape: [2], strides: [-4], byteOffset: 0 }],
    ['a view between elements', { shape: [1], strides: [4], byteOffset: 2 }],
    ['a view with strides that are no numbers', { shape: [1], strides: ['x'], byteOffset: 0 }],
    ['a view with more axes than strides', { shape: [1, 1], strides: [4], byteOffset: 0 }],
  ])('%s', (_what, view) => {
    const a = counting([3]);
    expect(errorOf({ ...a.handle, view }, 'r')).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    expect(through(a).toNested()).toEqual([0, 1, 2]); // and the whole array was not closed
  });

  test('a shape or dtype that the segment does not have, attached before or not', () => {
    const a = counting([3]);
    through(a);
    for (const lie of [{ shape: [2] }, { shape: [300] }, { dtype: 'float32' }, { order: 'F' }, { id: 'f' }]) {
      expect(errorOf({ ...a.handle, ...lie }, 'r+')).toMatchObject({ code: 'ERR_NDSHM_STALE_HANDLE' });
    }
  });

  test(
    'any bytes changed',
    () => {
      const bytes = bytesFor([counting([3]), counting([2, 2]).transpose(), 'text'.repeat(100), { n: 1.5 }]);
      const changes = fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { minLength: 1, maxLength: 3 });
      let decoded = 0;
      fc.assert(
        fc.property(changes, (changed) => {
          const object = bytes.slice();
          for (const { at, to } of changed) object[at % object.length] = to;
          try {
            decodePayload(object, attachments);
            decoded++;
          } catch (error) {
            expect((error as { code?: string }).code).toMatch(/^(ERR_NDSHM_|E[A-Z]+$)/);
          }
        }),
        runs(1000),
      );
      expect(decoded).toBeGreaterThan(50);
    },
    timeoutMs,
  );
});
