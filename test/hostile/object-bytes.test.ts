import { encode as pack } from '@msgpack/msgpack';
import { Field, Int32, List, Table, tableToIPC, vectorFromArray } from 'apache-arrow';
import fc from 'fast-check';
import { decode } from '../../dist/codec/decode';
import { encode } from '../../dist/codec/encode';
import { runs, timeoutMs } from '../helpers/arrays';
import { type ObjectSpec, objectBytes, special } from '../helpers/object-bytes';
import { thrownBy } from '../helpers/shm';
import { anyValue, bytesOf, differenceOf } from '../helpers/values';

const mebibyte = 2 ** 20;

/** Decodes what may be anything: a value or the one error. The room that it takes is in proportion to the bytes. */
function survives(object: Uint8Array): void {
  try {
    decode(object);
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_NDSHM_CORRUPT_OBJECT' });
  }
}

const errorOf = (spec: ObjectSpec) => thrownBy(() => decode(objectBytes(spec)));
const corrupt = { code: 'ERR_NDSHM_CORRUPT_OBJECT' };

/** What the process's memory has grown by at most, in bytes, and how long it took, in ms. */
function costOf(run: () => void): { grownBytes: number; tookMs: number } {
  const before = process.resourceUsage().maxRSS;
  const start = performance.now();
  run();
  return { grownBytes: (process.resourceUsage().maxRSS - before) * 1024, tookMs: performance.now() - start };
}

afterEach(() => {
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});

describe('the bytes of any value', () => {
  test(
    'with some of them changed give a value or ERR_NDSHM_CORRUPT_OBJECT',
    () => {
      const changes = fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { minLength: 1, maxLength: 8 });
      let refused = 0;
      fc.assert(
        fc.property(anyValue, changes, (value, changed) => {
          const encoded = encode(value);
          const object = bytesOf(encoded);
          for (const { at, to } of changed) object[at % encoded.head.length] = to;
          try {
            decode(object);
          } catch (error) {
            refused++;
            expect(error).toMatchObject(corrupt);
          }
        }),
        runs(2000),
      );
      expect(refused).toBeGreaterThan(200);
    },
    timeoutMs,
  );

  test('with a bit flipped anywhere', () => {
    const value = {
      list: [1, -1, 1.5, 'text', null, true, undefined, -0, 7n],
      map: new Map([[new Set([1]), new Error('x', { cause: 1 })]]),
      sparse: Object.assign([], { 7: 1 }),
      boxed: Object('x') as unknown,
      at: new Date(1),
      pattern: /a+/g,
      lone: '\ud800',
      odd: JSON.parse('{"__proto__":1}') as unknown,
      array: new Float64Array(3),
      buffer: new ArrayBuffer(8),
    };
    const encoded = encode({ ...value, again: value.list });
    for (let bit = 0; bit < encoded.head.length * 8; bit++) {
      const object = bytesOf(encoded);
      object[bit >> 3] = (object[bit >> 3] as number) ^ (1 << (bit & 7));
      survives(object);
    }
  });

  test(
    'cut off anywhere',
    () => {
      fc.assert(
        fc.property(anyValue, fc.nat(), (value, cut) => {
          const encoded = encode(value);
          const object = bytesOf(encoded);
          const end = cut % object.length;
          if (end < encoded.head.length) {
            expect(thrownBy(() => decode(object.slice(0, end)))).toMatchObject(corrupt);
          } else {
            survives(object.slice(0, end));
          }
        }),
        runs(500),
      );
    },
    timeoutMs,
  );

  test(
    'that are no object at all',
    () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
          expect(thrownBy(() => decode(bytes))).toMatchObject(corrupt);
        }),
        runs(300),
      );
      for (const bytes of [new Uint8Array(0), new Uint8Array(16), new Uint8Array(4096).fill(0xff)]) {
        expect(thrownBy(() => decode(bytes))).toMatchObject(corrupt);
      }
    },
    timeoutMs,
  );

  test(
    'with any document',
    () => {
      let decoded = 0;
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(3), (bytes, specials) => {
          // A list of so many, whose elements are noise.
          const document = Buffer.concat([Uint8Array.of(0x91 + specials), bytes]);
          try {
            decode(objectBytes({ document, buffers: [new Uint8Array(64)] }));
            decoded++;
          } catch (error) {
            expect(error).toMatchObject(corrupt);
          }
        }),
        runs(5000),
      );
      expect(decoded).toBeGreaterThan(0);
    },
    timeoutMs,
  );

  test(
    'with any parts in any special',
    () => {
      const tags = [
        'Map',
        'Set',
        'Date',
        'RegExp',
        'Error',
        'BigInt',
        '-0',
        'undefined',
        'UTF16',
        'Array',
        'Object',
        'List',
      ];
      const tag = fc.constantFrom(
        ...tags,
        'Entries',
        'Boxed',
        'ndarray',
        'Float64Array',
        'DataView',
        'ArrayBuffer',
        'Buffer',
        'x',
      );
      const part = fc.oneof(
        fc.constantFrom(special(0), special(1), special(2), special(99), 'C', '<f8', '0x1f', '__proto__', 'length'),
        fc.constantFrom<unknown>(null, -1, 0, 1, 1.5, 2 ** 32, 'RangeError', [], {}, [8], [2, 4], { a: special(1) }),
        fc.anything({ maxDepth: 1, withNullPrototype: false, withObjectString: true }).map(packable),
      );
      const specials = fc.array(fc.tuple(tag, fc.array(part, { maxLength: 5 })), { minLength: 1, maxLength: 4 });
      let decoded = 0;
      fc.assert(
        fc.property(part, specials, (root, all) => {
          const document = [[root, special(0)], ...all.map(([name, parts]) => [name, ...parts])];
          try {
            decode(objectBytes({ document, buffers: [new Uint8Array(64), new Uint8Array(8)] }));
            decoded++;
          } catch (error) {
            expect(error).toMatchObject(corrupt);
          }
        }),
        runs(5000),
      );
      expect(decoded).toBeGreaterThan(50);
    },
    timeoutMs,
  );
});

/** What @msgpack/msgpack packs. */
function packable(value: unknown): unknown {
  try {
    pack(value);
    return value;
  } catch {
    return null;
  }
}

describe('a header that lies is refused:', () => {
  const document = [special(0), ['Uint8Array', 0]];
  const buffers = [new Uint8Array(64)];
  test.each<[string, NonNullable<ObjectSpec['lies']>]>([
    ['magic', { magic: 'NDOX' }],
    ['version', { version: 2 }],
    ['a document longer than the object', { documentBytes: 2 ** 32 - 1 }],
    ['a document that ends early', { documentBytes: 3 }],
    ['a document that goes on', { documentBytes: 30 }],
    ['an empty document', { documentBytes: 0 }],
    ['more buffers than bytes', { count: 2 ** 32 - 1 }],
    ['no buffers', { count: 0 }],
    ['a buffer that starts in the header', { table: [{ offset: 0n, byteLength: 64n }] }],
    ['a buffer that starts beyond the end', { table: [{ offset: 2n ** 40n, byteLength: 0n }] }],
    ['a buffer that ends beyond the end', { table: [{ offset: 64n, byteLength: 2n ** 40n }] }],
    ['a buffer whose end wraps around', { table: [{ offset: 64n, byteLength: 2n ** 64n - 64n }] }],
    ['a buffer at 2^64 - 64', { table: [{ offset: 2n ** 64n - 64n, byteLength: 64n }] }],
    ['a buffer that is not aligned', { table: [{ offset: 72n, byteLength: 8n }] }],
  ])('%s', (_what, lies) => {
    expect(errorOf({ document, buffers, lies })).toMatchObject(corrupt);
  });

  test('with both versions, where it is of another one', () => {
    expect(errorOf({ document, buffers, lies: { version: 7 } }).message).toMatch(/version 7.* version 1/);
  });

  test('and the truth is not', () => {
    expect(decode(objectBytes({ document, buffers }))).toEqual(new Uint8Array(64));
  });
});

describe('a special that is wrong is refused:', () => {
  const cases: [string, unknown[]][] = [
    ['none of that number', [special(1), ['Map']]],
    ['not a list', [special(0), 'Map']],
    ['a special in place of one', [special(0), special(0)]],
    ['empty', [special(0), []]],
    ['of unknown kind', [special(0), ['Function', 'return 1', 0]]],
    ['of a kind that every object has', [special(0), ['constructor', 0]]],
    ['of a kind that is no text', [special(0), [7, 0]]],
    ['a bigint in decimal', [special(0), ['BigInt', '12']]],
    ['a bigint without digits', [special(0), ['BigInt', '0x']]],
    ['a bigint of something else', [special(0), ['BigInt', 5]]],
    ['text that is no bytes', [special(0), ['UTF16', 'x']]],
    ['a date of text', [special(0), ['Date', '2024']]],
    ['a pattern that does not compile', [special(0), ['RegExp', '(', '']]],
    ['flags that are none', [special(0), ['RegExp', 'a', 'x']]],
    ['a pattern without flags', [special(0), ['RegExp', 'a']]],
    ['a boxed object', [special(0), ['Boxed', {}]]],
    ['a boxed nothing', [special(0), ['Boxed']]],
    ['boxed in itself', [special(0), ['Boxed', special(0)]]],
    ['boxed before it is there', [special(0), ['Boxed', special(1)], ['-0']]],
    ['an error of unknown class', [special(0), ['Error', 'Function', 'x', null]]],
    ['an error of the class of all objects', [special(0), ['Error', 'constructor', 'x', null]]],
    ['an error with an odd message', [special(0), ['Error', 'Error', 5, null]]],
    ['an error with an odd stack', [special(0), ['Error', 'Error', 'x', []]]],
    ['a map with half an entry', [special(0), ['Map', 1]]],
    ['entries with half an entry', [special(0), ['Entries', 'a']]],
    ['entries with a key that is no text', [special(0), ['Entries', 1, 1]]],
    ['a list with holes of negative length', [special(0), ['Array', -1]]],
    ['a list with holes of broken length', [special(0), ['Array', 1.5]]],
    ['a list with holes that is too long', [special(0), ['Array', 2 ** 32]]],
    ['a list with a length of its own', [special(0), ['Array', 1, 'length', -1]]],
    ['a list of no list', [special(0), ['List', {}]]],
    ['an object that is a list', [special(0), ['Object', []]]],
    ['an object that is bytes', [special(0), ['Object', new Uint8Array(3)]]],
    ['an object that is itself', [special(0), ['Object', special(0)]]],
    ['a view of no buffer', [special(0), ['Uint8Array', 1]]],
    ['a view of a negative buffer', [special(0), ['Uint8Array', -1]]],
    ['a view of half a buffer', [special(0), ['Uint8Array', 0.5]]],
    ['a view of what every list has', [special(0), ['Uint8Array', 'length']]],
    ['a view of a method', [special(0), ['DataView', 'map']]],
    ['elements that do not fit', [special(0), ['Float64Array', 0]]],
    ['an array of unknown dtype', [special(0), ['ndarray', '|O', [3], 'C', 0]]],
    ['an array of big-endian elements', [special(0), ['ndarray', '>i2', [6], 'C', 0]]],
    ['an array larger than its buffer', [special(0), ['ndarray', '<i4', [4], 'C', 0]]],
    ['an array smaller than its buffer', [special(0), ['ndarray', '<i4', [2], 'C', 0]]],
    ['an array of negative length', [special(0), ['ndarray', '<i4', [-3, -1], 'C', 0]]],
    ['an array of too many dimensions', [special(0), ['ndarray', '<i4', [...Array<number>(64).fill(1), 3], 'C', 0]]],
    ['an array whose size overflows', [special(0), ['ndarray', '<i4', [2 ** 30, 2 ** 30, 2 ** 30], 'C', 0]]],
    ['an array without a shape', [special(0), ['ndarray', '<i4', 'C', 0]]],
    ['an array of unknown order', [special(0), ['ndarray', '<i4', [3], 'K', 0]]],
  ];
  test.each(cases)('%s', (_what, document) => {
    expect(errorOf({ document, buffers: [new Uint8Array(12)] })).toMatchObject(corrupt);
  });
});

describe('a document that is wrong is refused:', () => {
  test.each([
    ['not a list', '80'],
    ['an empty list', '90'],
    ['a second one behind it', '91c0c0'],
    ['the byte that means nothing', '91c1'],
    ['an extension of another type', '91d6020000000000'],
    ["msgpack's own time", '91d6ff00000000'],
    ['a special by a number of 1 byte', '91d40100'],
    ['a special by a number of 8 bytes', '91d7010000000000000000'],
    ['a special as an extension of any length', '91c7040100000000'],
    ['a key that is a number', '918101c0'],
    ['a key that is a list', '918190c0'],
    ['a key that is a special', '9281d60100000000c091a32d30'],
    ['the key __proto__', `9181a9${Buffer.from('__proto__').toString('hex')}81a8706f6c6c75746564c3`],
    ['text that ends early', '91a5616263'],
    ['a list that ends early', '93c0'],
    ['a map that ends early', '9182a161c0'],
  ])('%s', (_what, hex) => {
    expect(errorOf({ document: Buffer.from(hex, 'hex') })).toMatchObject(corrupt);
  });
});

describe('nobody is made to take more than the bytes are worth:', () => {
  const lists = (levels: number, claimed: number) => {
    const head = Buffer.from([0xdd, 0, 0, 0, 0]);
    head.writeUInt32BE(claimed, 1);
    return Buffer.concat([Uint8Array.of(0x91), ...Array<Buffer>(levels).fill(head), Buffer.alloc(claimed, 0xc0)]);
  };
  const repeated = (count: number, parts: readonly unknown[]) =>
    pack([special(0), ...Array<readonly unknown[]>(count).fill(parts)], { maxDepth: 1000 });

  const bombs: [string, () => ObjectSpec][] = [
    ['lists in lists that each claim all the rest', () => ({ document: lists(500, 50_000) })],
    ['a list that claims 4 billion elements', () => ({ document: Buffer.from('91ddffffffff', 'hex') })],
    ['a map that claims 4 billion entries', () => ({ document: Buffer.from('91dfffffffff', 'hex') })],
    ['text that claims 4 GB', () => ({ document: Buffer.from('91dbffffffff', 'hex') })],
    ['bytes that claim 4 GB', () => ({ document: Buffer.from('91c6ffffffff', 'hex') })],
    [
      '100,000 levels of lists',
      () => ({ document: Buffer.concat([Buffer.alloc(100_000, 0x91), Uint8Array.of(0xc0)]) }),
    ],
    [
      '100,000 levels of maps',
      () => ({
        document: Buffer.concat([
          Uint8Array.of(0x91),
          Buffer.alloc(300_000, Buffer.from('81a161', 'hex')),
          Uint8Array.of(0xc0),
        ]),
      }),
    ],
    ['lists of 32 Mi holes', () => ({ document: repeated(100, ['Array', 2 ** 25]) })],
    ['lists of 4 Gi holes', () => ({ document: repeated(100, ['Array', 2 ** 32 - 1, '7', 1]) })],
    [
      'one buffer copied a thousand times',
      () => ({ document: repeated(1000, ['ArrayBuffer', 0]), buffers: [new Uint8Array(mebibyte)] }),
    ],
    [
      'one table read ten thousand times',
      () => ({
        document: repeated(10_000, ['Arrow', 0]),
        buffers: [tableToIPC(new Table({ ['x'.repeat(1e5)]: vectorFromArray([1]) }), 'stream')],
      }),
    ],
    [
      'arrays with 2^53 elements of nothing',
      () => ({ document: repeated(100, ['ndarray', '<f8', [0, 2 ** 40], 'C', 0]), buffers: [new Uint8Array(0)] }),
    ],
  ];

  test.each(bombs)('%s', (_what, make) => {
    const object = objectBytes(make());
    const { grownBytes, tookMs } = costOf(() => survives(object));
    expect(grownBytes).toBeLessThan(100 * mebibyte);
    expect(tookMs).toBeLessThan(5000);
  });

  test.each([
    ['a bigint of a million digits', ['BigInt', `0x${'f'.repeat(1e6)}`]],
    ['a pattern of a million characters', ['RegExp', 'a?'.repeat(5e5), '']],
    ['a pattern nested a hundred thousand deep', ['RegExp', '('.repeat(1e5) + ')'.repeat(1e5), '']],
    ['a pattern that would never end if it ran', ['RegExp', '(a+)+$', '']],
  ])('%s', (_what, parts) => {
    const object = objectBytes({ document: [special(0), parts] });
    const { grownBytes, tookMs } = costOf(() => survives(object));
    expect(grownBytes).toBeLessThan(100 * mebibyte);
    expect(tookMs).toBeLessThan(5000);
  });

  test('while what is as deep as Python packs is read', () => {
    const depth = 509; // and the document, and the special
    let root: unknown = 'inside';
    for (let n = 0; n < depth; n++) root = [root];
    let got = decode(objectBytes({ document: [root] }));
    for (let n = 0; n < depth; n++) got = (got as unknown[])[0];
    expect(got).toBe('inside');
  });
});

describe('no prototype is touched', () => {
  test('by entries: __proto__ is a key like any other', () => {
    const got = decode(objectBytes({ document: [special(0), ['Entries', '__proto__', { polluted: true }, 'a', 1]] }));
    expect(Object.getPrototypeOf(got)).toBe(Object.prototype);
    expect(Object.keys(got as object)).toEqual(['__proto__', 'a']);
  });

  test('by lists with names', () => {
    const got = decode(
      objectBytes({ document: [special(0), ['Array', 1, '__proto__', { polluted: true }, 'push', 1]] }),
    );
    expect(Object.getPrototypeOf(got)).toBe(Array.prototype);
    expect(Object.keys(got as object)).toEqual(['__proto__', 'push']);
  });

  test('by keys that objects have', () => {
    const names = [
      'constructor',
      'toString',
      'hasOwnProperty',
      'valueOf',
      '__defineSetter__',
      'then',
      'toJSON',
      'length',
    ];
    const value = Object.fromEntries(names.map((name) => [name, { polluted: true }]));
    expect(differenceOf(decode(objectBytes({ document: [value] })), value)).toBeUndefined();
  });
});

describe('an Arrow stream', () => {
  const table = new Table({
    n: vectorFromArray([1.5, null, 3, 4]),
    text: vectorFromArray(['a', 'b', 'a', 'c']), // as a dictionary
    lists: vectorFromArray([[1, 2], [], null, [3]], new List(new Field('item', new Int32()))),
    flags: vectorFromArray([true, false, null, true]),
  });
  const [part] = encode(table).buffers;
  const stream = Buffer.from(part?.bytes as Uint8Array);
  const tableOf = (bytes: Uint8Array) =>
    decode(objectBytes({ document: [special(0), ['Arrow', 0]], buffers: [bytes] }));

  test('as it was gives the table', () => {
    expect(tableOf(stream)?.toString()).toBe(table.toString());
  });

  // Without a look at the counts in it first, a few hundred of these are enough to end the process for lack of memory.
  test(
    'with bytes changed gives a table or ERR_NDSHM_CORRUPT_OBJECT, and takes no memory',
    () => {
      const changes = fc.array(fc.record({ at: fc.nat(), to: fc.constantFrom(0, 1, 4, 127, 128, 255) }), {
        minLength: 1,
        maxLength: 4,
      });
      let decoded = 0;
      const { grownBytes } = costOf(() => {
        fc.assert(
          fc.property(changes, (changed) => {
            const bytes = Buffer.from(stream);
            for (const { at, to } of changed) bytes[at % bytes.length] = to;
            try {
              tableOf(bytes);
              decoded++;
            } catch (error) {
              expect(error).toMatchObject(corrupt);
            }
          }),
          runs(5000),
        );
      });
      expect(decoded).toBeGreaterThan(100);
      expect(grownBytes).toBeLessThan(400 * mebibyte);
    },
    timeoutMs,
  );

  test('cut off anywhere within a message is refused', () => {
    for (let end = 1; end < stream.length - 8; end += 3) {
      const bytes = stream.subarray(0, end);
      try {
        tableOf(bytes);
      } catch (error) {
        expect(error).toMatchObject(corrupt);
      }
    }
    expect(thrownBy(() => tableOf(stream.subarray(0, 100)))).toMatchObject(corrupt);
  });

  test.each<[string, number]>([
    ['a count below zero', -1],
    ['a count of 2^31 - 1', 2 ** 31 - 1],
    ['a count of a million', 1e6],
  ])('with %s in any place is refused, or a table all the same', (_what, count) => {
    const { grownBytes, tookMs } = costOf(() => {
      for (let at = 0; at + 4 <= stream.length; at += 4) {
        const bytes = Buffer.from(stream);
        bytes.writeInt32LE(count, at);
        survives(objectBytes({ document: [special(0), ['Arrow', 0]], buffers: [bytes] }));
      }
    });
    expect(grownBytes).toBeLessThan(100 * mebibyte);
    expect(tookMs).toBeLessThan(20_000);
  });
});
