import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ExtensionCodec, encode as pack, decode as unpack } from '@msgpack/msgpack';
import fc from 'fast-check';
import { decode } from '../../dist/codec/decode';
import { encode } from '../../dist/codec/encode';
import { runs, timeoutMs } from '../helpers/arrays';
import { objectBytes, special } from '../helpers/object-bytes';
import { bytesOf, differenceOf } from '../helpers/values';

const documentOf = (value: unknown): Buffer => {
  const head = Buffer.from(encode(value).head);
  return head.subarray(16 + 16 * head.readUInt32LE(12));
};

describe('the bytes of objects', () => {
  test('are those that docs/format.md shows', () => {
    const page = readFileSync(resolve(__dirname, '../../docs/format.md'), 'utf8');
    const lines = page.matchAll(/^([0-9a-f]{2}) {2}((?:[0-9a-f]{2} )*[0-9a-f]{2}) {2,}\S/gm);
    const shown = new Uint8Array(72);
    for (const [, offset, bytes] of lines) {
      shown.set(Buffer.from((bytes as string).replaceAll(' ', ''), 'hex'), Number.parseInt(offset as string, 16));
    }
    const value = { n: 1, x: Float64Array.of(0.5) };
    const object = Buffer.from(bytesOf(encode(value)));
    object.fill(0, encode(value).head.length, 64); // bytes without meaning
    expect(object).toEqual(Buffer.from(shown));
    expect(decode(shown)).toEqual(value);
  });

  test('of a value that msgpack can say are msgpack of it and nothing else', () => {
    const value = { text: 'ü', list: [1, -1, 2.5, null, true, 2 ** 40], nested: { a: { b: [] } } };
    expect(documentOf(value)).toEqual(Buffer.from(pack([value])));
  });

  test('have nothing deeper than 36 levels, and no key __proto__', () => {
    let deep: unknown = JSON.parse('{"__proto__": 1}');
    for (let n = 0; n < 1000; n++) deep = n % 2 === 0 ? [deep, new Map([[deep, n]])] : { deep };
    const document = documentOf(deep);
    expect(() => unpack(document)).not.toThrow(); // it refuses such a key
    expect(depthOf(unpack(document))).toBeLessThanOrEqual(36);
  });

  test('are what another implementation of msgpack reads', () => {
    const extensionCodec = new ExtensionCodec();
    extensionCodec.register({
      type: 1,
      encode: () => null,
      decode: (bytes) => ({ special: Buffer.from(bytes).readUInt32LE() }),
    });
    const shared = { a: 1 };
    const value = { one: shared, two: shared, at: new Date(5), big: -255n, list: [undefined, -0] };
    const to = (index: number) => ({ special: index });
    expect(unpack(documentOf(value), { extensionCodec })).toEqual([
      { one: to(0), two: to(0), at: to(1), big: to(2), list: [to(3), to(4)] },
      ['Object', { a: 1 }],
      ['Date', 5],
      ['BigInt', '-0xff'],
      ['undefined'],
      ['-0'],
    ]);
  });
});

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe('objects that others have written are read', () => {
  const json = fc.oneof(
    fc.jsonValue({ maxDepth: 4 }),
    fc.object({ maxDepth: 2, values: [fc.double(), fc.maxSafeInteger(), fc.string({ maxLength: 300 }), fc.boolean()] }),
  );

  test(
    'whatever msgpack has packed',
    () => {
      fc.assert(
        fc.property(json, (value) => {
          fc.pre(!JSON.stringify(value).includes('"__proto__"'));
          const asPacked = unpack(pack(value)); // it has no -0
          expect(differenceOf(decode(objectBytes({ document: [value] })), asPacked)).toBeUndefined();
        }),
        runs(1000),
      );
    },
    timeoutMs,
  );

  test.each<[string, string, unknown]>([
    ['uint 8', 'ccff', 255],
    ['uint 16', 'cdffff', 65535],
    ['uint 32', 'ceffffffff', 2 ** 32 - 1],
    ['uint 64 that is small', 'cf0000000000000005', 5],
    ['uint 64 up to 2^53 - 1', 'cf001fffffffffffff', 2 ** 53 - 1],
    ['uint 64 from 2^53 on', 'cf0020000000000000', 2n ** 53n],
    ['uint 64 at its end', 'cfffffffffffffffff', 2n ** 64n - 1n],
    ['int 8', 'd080', -128],
    ['int 16', 'd18000', -32768],
    ['int 32', 'd280000000', -(2 ** 31)],
    ['int 64 that is small', 'd3fffffffffffffffb', -5],
    ['int 64 down to 1 - 2^53', 'd3ffe0000000000001', 1 - 2 ** 53],
    ['int 64 from -2^53 on', 'd3ffe0000000000000', -(2n ** 53n)],
    ['int 64 at its end', 'd38000000000000000', -(2n ** 63n)],
    ['float 32', 'ca3fc00000', 1.5],
    ['float 64', 'cb3ff8000000000000', 1.5],
    ['minus zero', 'cb8000000000000000', -0],
    ['str 8', 'd903616263', 'abc'],
    ['str 16', 'da0003616263', 'abc'],
    ['str 32', 'db00000003616263', 'abc'],
    ['text with a byte order mark', 'a4efbbbf61', '\ufeffa'],
    ['text that is not UTF-8', 'a361ff62', 'a\ufffdb'],
    ['array 16', 'dc000101', [1]],
    ['array 32', 'dd0000000101', [1]],
    ['map 16', 'de0001a16101', { a: 1 }],
    ['map 32', 'df00000001a16101', { a: 1 }],
    ['a key as str 8', '81d9016101', { a: 1 }],
    ['a key as str 32', '81db000000016101', { a: 1 }],
    ['bin 8', 'c4020102', Uint8Array.of(1, 2)],
    ['bin 16', 'c500020102', Uint8Array.of(1, 2)],
    ['bin 32', 'c6000000020102', Uint8Array.of(1, 2)],
  ])('%s', (_what, hex, value) => {
    const got = decode(objectBytes({ document: Buffer.from(`91${hex}`, 'hex') }));
    expect(got).toEqual(value);
    expect(Object.is(got, -0)).toBe(Object.is(value, -0));
  });

  test('bytes among them as copies', () => {
    const object = objectBytes({ document: [new Uint8Array([1, 2])] });
    expect((decode(object) as Uint8Array).buffer).not.toBe(object.buffer);
  });

  test('keys with the same beginning, end or length apart, again and again', () => {
    const names = Array.from({ length: 5000 }, (_, n) => `key${n}${'x'.repeat(n % 30)}`);
    const object = objectBytes({ document: [Object.fromEntries(names.map((name, n) => [name, n]))] });
    for (let time = 0; time < 3; time++) expect(Object.keys(decode(object) as object)).toEqual(names);
  });

  test('specials in any order, also before those that they need', () => {
    const document = [[special(1), special(0)], ['Set', special(1), special(2)], ['Map', 'self', special(1)], ['-0']];
    const [map, set] = decode(objectBytes({ document })) as [Map<string, unknown>, Set<unknown>];
    expect(map.get('self')).toBe(map);
    expect([...set]).toEqual([map, 0]);
  });

  test('where an object begins within a buffer', () => {
    const object = objectBytes({
      document: [special(0), ['Float64Array', 0]],
      buffers: [new Uint8Array(Float64Array.of(2.5).buffer)],
    });
    const memory = new Uint8Array(object.length + 128);
    memory.set(object, 64);
    const got = decode(memory.subarray(64, 64 + object.length)) as Float64Array;
    expect(got).toEqual(Float64Array.of(2.5));
    expect(got.buffer).toBe(memory.buffer);
  });
});
