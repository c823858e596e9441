import fc from 'fast-check';
import { emptyFrame, type FrameLimits, FrameReader, FrameWriter, lastMark } from '../../dist/manager/frames';
import { runs, timeoutMs } from '../helpers/arrays';
import { thrownBy } from '../helpers/shm';

const limits: FrameLimits = { maxMessageBytes: 2 ** 28, maxJsonBytes: 2 ** 22 };

function framesOf(messages: readonly unknown[], given = limits): Buffer[] {
  const writer = new FrameWriter(given);
  for (const message of messages) writer.add(message);
  return writer.take().map((piece) => Buffer.from(piece));
}

const bytesOf = (messages: readonly unknown[]): Buffer => Buffer.concat(framesOf(messages));

/** What comes of these bytes when they are cut at these places. */
function read(bytes: Buffer, cuts: readonly number[] = [], given = limits): unknown[] {
  const messages: unknown[] = [];
  const reader = new FrameReader(given, (message) => messages.push(message));
  const places = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  places.slice(1).forEach((end, n) => {
    // In the same memory again and again, as a socket or a ring may have it: nothing of it may be kept.
    const chunk = Buffer.from(bytes.subarray(places[n], end));
    reader.push(chunk);
    chunk.fill(0xee);
  });
  return messages;
}

/** One frame of these parts, which need not fit together. */
function frame(parts: {
  readonly json?: string | Buffer;
  readonly attachments?: readonly Buffer[];
  readonly total?: number;
  readonly jsonBytes?: number;
  readonly count?: number;
  readonly lengths?: readonly number[];
}): Buffer {
  const json = Buffer.from((parts.json ?? '[]') as string);
  const attachments = parts.attachments ?? [];
  const lengths = parts.lengths ?? attachments.map(({ length }) => length);
  const head = Buffer.alloc(12 + 4 * lengths.length);
  const body = Buffer.concat([json, ...attachments]);
  head.writeUInt32LE(parts.total ?? head.length + body.length, 0);
  head.writeUInt32LE(parts.jsonBytes ?? json.length, 4);
  head.writeUInt32LE(parts.count ?? lengths.length, 8);
  for (const [n, length] of lengths.entries()) head.writeUInt32LE(length, 12 + 4 * n);
  return Buffer.concat([head, body]);
}

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 0, max: 5000 }).map((length) => new Uint8Array(length).fill(length)),
);
const key = fc.oneof(fc.string(), fc.constantFrom('bytes', '0', '__proto__', 'toJSON', 'length', 'constructor'));
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, true, false, 0, 1, 'bytes', '\u0000', '\ufffd'),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
    fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
    bytes,
    bytes.map((value) => ['bytes', value]),
    fc.array(tie('tree'), { maxLength: 6 }),
    fc.array(fc.tuple(key, tie('tree')), { maxLength: 6 }).map((entries) => Object.fromEntries(entries)),
  ),
}));

describe('messages', () => {
  test(
    'come out as they went in, however their bytes are cut',
    () => {
      fc.assert(
        fc.property(fc.array(tree, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 20 }), (messages, places) => {
          const whole = bytesOf(messages);
          const cuts = places.map((place) => place % (whole.length + 1));
          expect(read(whole, cuts)).toEqual(messages);
        }),
        runs(500),
      );
    },
    timeoutMs,
  );

  test('come out as they went in, cut at every place', () => {
    const messages = [['a', ['bytes', new Uint8Array([1, 2, 3])], 'é€😀'], { b: new Uint8Array(0) }, 7];
    const whole = Buffer.concat([bytesOf(messages), emptyFrame(), bytesOf(['last'])]);
    for (let cut = 0; cut <= whole.length; cut++) expect(read(whole, [cut])).toEqual([...messages, 'last']);
    expect(read(whole, Array.from(whole.keys()))).toEqual([...messages, 'last']);
  });

  test('of one turn are one frame', () => {
    expect(framesOf([1, 'two', [3]])).toHaveLength(1);
    expect(new FrameWriter(limits).take()).toEqual([]);
  });

  test('are taken as they are when they are added', () => {
    const writer = new FrameWriter(limits);
    const message = { list: [1] };
    writer.add(message);
    message.list.push(2);
    expect(read(Buffer.concat(writer.take()))).toEqual([{ list: [1] }]);
  });

  test('are left as they were, and their bytes are not copied', () => {
    const writer = new FrameWriter(limits);
    const attached = new Uint8Array([1, 2]);
    const message = ['call', ['bytes', attached, 'ArrayBuffer']];
    writer.add(message);
    expect(message).toEqual(['call', ['bytes', attached, 'ArrayBuffer']]);
    expect((message[1] as unknown[])[1]).toBe(attached);
    expect(writer.take()[1]).toBe(attached);
  });

  test('that say what stands for bytes elsewhere are not mistaken for it', () => {
    const messages = [
      ['pipeline', 1, ['bytes', 0], ['bytes', 0]],
      ['bytes', new Uint8Array([9])],
      [[0, 1, 1]],
      [[1, 1]],
    ];
    expect(read(bytesOf(messages))).toEqual(messages);
  });

  test('have bytes in a buffer of their own, from its start, as Uint8Array', () => {
    const large = new Uint8Array(3 * 2 ** 20 + 5).map((_, n) => n * 7);
    const whole = bytesOf([[Buffer.from([1, 2, 3]), large]]);
    for (const cuts of [[], [whole.length - 1], [30, 70_000, 2 ** 21 + 1]]) {
      const [[small, again]] = read(whole, cuts) as [[Uint8Array, Uint8Array]];
      expect(Object.getPrototypeOf(small)).toBe(Uint8Array.prototype);
      expect([small.byteOffset, small.buffer.byteLength, [...small]]).toEqual([0, 3, [1, 2, 3]]);
      expect([again.byteOffset, again.buffer.byteLength]).toEqual([0, large.length]);
      expect(Buffer.compare(again, large)).toBe(0);
    }
  });

  test('say about how many bytes they are', () => {
    const writer = new FrameWriter(limits);
    expect(writer.add('four')).toBeGreaterThanOrEqual(6);
    expect(writer.add(['é'.repeat(100)])).toBeGreaterThanOrEqual(200);
    const size = writer.add(['bytes', new Uint8Array(1000)]);
    expect(size).toBeGreaterThanOrEqual(1000);
    expect(size).toBeLessThan(1100);
  });

  test.each([[undefined], [() => 1], [Symbol('s')]])('that are none are refused: %p', (message) => {
    expect(thrownBy(() => new FrameWriter(limits).add(message)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('that go round in circles are refused, and what they hold is left as it was', () => {
    const circle: unknown[] = [new Uint8Array(1)];
    circle.push(circle);
    expect(thrownBy(() => new FrameWriter(limits).add(circle))).toBeInstanceOf(Error);
    expect(circle[0]).toEqual(new Uint8Array(1));
  });
});

describe('limits at the sender', () => {
  const small: FrameLimits = { maxMessageBytes: 2000, maxJsonBytes: 1000 };

  test.each([
    { what: 'JSON', message: 'x'.repeat(994), names: /1000 B.*maxJsonBytes/ },
    { what: 'JSON of more bytes than characters', message: '€'.repeat(400), names: /maxJsonBytes/ },
    { what: 'bytes', message: [new Uint8Array(1960)], names: /maxMessageBytes/ },
    { what: 'arrays of bytes', message: Array.from({ length: 4097 }, () => new Uint8Array(0)), names: /4096/ },
  ])('too much $what is ERR_NDSHM_LIMIT, and the other messages go', ({ message, names }) => {
    const writer = new FrameWriter(message.length > 4096 ? limits : small);
    writer.add('before');
    const error = thrownBy(() => writer.add(message));
    expect(error.code).toBe('ERR_NDSHM_LIMIT');
    expect(error.message).toMatch(names);
    writer.add('after');
    expect(read(Buffer.concat(writer.take()))).toEqual(['before', 'after']);
  });

  test(
    'what is allowed by itself goes in as many frames as it takes, none of them above the reader’s limits',
    () => {
      const sizes = fc.array(fc.tuple(fc.nat(990), fc.option(fc.nat(1000))), { maxLength: 30 });
      fc.assert(
        fc.property(sizes, (drawn) => {
          const writer = new FrameWriter(small);
          const taken = drawn.flatMap(([length, attached]) => {
            const message = ['é'.repeat(length / 2), ...(attached === null ? [] : [new Uint8Array(attached).fill(1)])];
            try {
              writer.add(message);
              return [message];
            } catch (error) {
              expect((error as { code?: string }).code).toBe('ERR_NDSHM_LIMIT');
              expect(length).toBeGreaterThan(900);
              return [];
            }
          });
          expect(read(Buffer.concat(writer.take()), [], small)).toEqual(taken);
        }),
        runs(300),
      );
    },
    timeoutMs,
  );

  test('4096 arrays of bytes go in one message, and more in several frames', () => {
    const many = (count: number) => Array.from({ length: count }, (_, n) => new Uint8Array(n % 3));
    const messages = [many(4096), many(3000), many(3000)];
    expect(read(bytesOf(messages))).toEqual(messages);
  });
});

describe('frames of a hostile side', () => {
  const attached = Buffer.from([1]);
  const withPlaces = (places: unknown, messages: unknown[] = [[0, 1, { a: 0 }]]) =>
    frame({ json: JSON.stringify([...messages, places]), attachments: [attached] });

  test.each([
    ['shorter than its head', frame({ total: 11 })],
    ['longer than may be', frame({ total: 2 ** 28 + 1, jsonBytes: 2, count: 0 })],
    ['of the greatest length', Buffer.alloc(16, 0xff)],
    ['with too much JSON', frame({ total: 2 ** 27, jsonBytes: 2 ** 22 + 1 })],
    ['with too many attachments', frame({ total: 2 ** 27, count: 4097 })],
    ['whose lengths are less than the whole', frame({ total: 15 })],
    ['whose lengths are more than the whole', frame({ lengths: [2 ** 32 - 1], total: 18 })],
    ['whose lengths wrap around', frame({ lengths: [2 ** 31, 2 ** 31], total: 22 })],
    ['without JSON', frame({ json: '' })],
    ['with half of its JSON', frame({ json: '["a' })],
    ['with JSON and more', frame({ json: '[] []' })],
    ['with JSON that is no list', frame({ json: '{"0":1}' })],
    ['with null', frame({ json: 'null' })],
    ['with half a character', frame({ json: Buffer.from([0x5b, 0x22, 0xe2, 0x82, 0x22, 0x5d]) })],
    ['with a character of no Unicode', frame({ json: Buffer.from('["\ufffd\xff"]', 'latin1') })],
    ['with attachments and no places', frame({ json: '[]', attachments: [attached] })],
    ['with fewer places than attachments', withPlaces([])],
    [
      'with more places than attachments',
      withPlaces([
        [0, 0],
        [0, 0],
      ]),
    ],
    ['with places that are no list', withPlaces({ length: 1, 0: [0, 0] })],
    ['with a place that is no list', withPlaces(['00'])],
    ['with a place of nothing', withPlaces([[]])],
    ['with a place outside', withPlaces([[0, 5]])],
    ['with a place in the places', withPlaces([[1, 0]])],
    ['with a place that has something else', withPlaces([[0, 1]])],
    ['with a place below a number', withPlaces([[0, 0, 'toString']])],
    ['with a place that is inherited', withPlaces([[0, '__proto__', 'length']])],
    ['with a place that is a length', withPlaces([['length']], [])],
    ['with a place in a class', withPlaces([[0, 'constructor', 'length']], [[]])],
    ['with a place of another kind', withPlaces([[[0], 0]])],
    ['with one place twice', frame({ json: '[[0],[[0,0],[0,0]]]', attachments: [attached, attached] })],
    [
      'with a place in an attachment',
      frame({ json: '[[0],[[0,0],[0,0,0]]]', attachments: [Buffer.alloc(1), attached] }),
    ],
  ])('are ERR_NDSHM_PROTOCOL %s', (_, bytes) => {
    const good = bytesOf(['good']);
    const messages: unknown[] = [];
    const reader = new FrameReader(limits, (message) => messages.push(message));
    const error = thrownBy(() => reader.push(Buffer.concat([good, bytes, good])));
    expect(error.code).toBe('ERR_NDSHM_PROTOCOL');
    expect(messages).toEqual(['good']);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test.each([
    ['bytes', frame({ json: '[[0],[[0,0]]]', attachments: [Buffer.alloc(100)] })],
    ['JSON', frame({ json: JSON.stringify(['x'.repeat(40)]) })],
  ])('are ERR_NDSHM_PROTOCOL with more %s than the reader takes, whatever the writer’s limits', (_, bytes) => {
    expect(read(bytes)).toHaveLength(1);
    const small = { maxMessageBytes: 100, maxJsonBytes: 40 };
    expect(thrownBy(() => read(bytes, [], small)).code).toBe('ERR_NDSHM_PROTOCOL');
  });

  test('are ERR_NDSHM_PROTOCOL with 4097 attachments that are there', () => {
    const attachments = Array.from({ length: 4097 }, () => Buffer.alloc(0));
    const json = JSON.stringify([attachments.map(() => 0), attachments.map((_, n) => [0, n])]);
    expect(thrownBy(() => read(frame({ json, attachments }))).code).toBe('ERR_NDSHM_PROTOCOL');
  });

  test('have a character that stands for broken ones if it was sent', () => {
    expect(read(frame({ json: '["\ufffd"]' }))).toEqual(['\ufffd']);
  });

  test('have own properties of any name, which change nothing else', () => {
    const json = '[{"__proto__":0,"constructor":{"prototype":0}},[[0,"__proto__"],[0,"constructor","prototype"]]]';
    const [message] = read(frame({ json, attachments: [attached, attached] })) as [object];
    expect(Object.getPrototypeOf(message)).toBe(Object.prototype);
    expect(Object.getOwnPropertyDescriptor(message, '__proto__')?.value).toEqual(new Uint8Array([1]));
    expect(Reflect.get(Object.prototype, 'prototype')).toBeUndefined();
  });

  test(
    'give messages or ERR_NDSHM_PROTOCOL, whatever bytes they are',
    () => {
      const valid = fc.array(tree, { minLength: 1, maxLength: 3 }).map(bytesOf);
      const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(fc.oneof(valid, fc.uint8Array({ maxLength: 60 })), changes, (given, drawn) => {
          const spoilt = Buffer.from(given);
          for (const [place, value] of drawn) spoilt[place % spoilt.length] = value;
          try {
            read(spoilt, [spoilt.length >> 1]);
          } catch (error) {
            if ((error as { code?: string }).code !== 'ERR_NDSHM_PROTOCOL') throw error;
          }
        }),
        runs(1000),
      );
    },
    timeoutMs,
  );

  test('that are never finished take no more memory than what has come', () => {
    const before = process.memoryUsage();
    const readers = Array.from({ length: 20 }, () => new FrameReader(limits, () => {}));
    for (const reader of readers) {
      reader.push(frame({ json: '[[0],[[0,0]]]', lengths: [2 ** 28 - 100], total: 16 + 13 + 2 ** 28 - 100 }));
      for (let n = 0; n < 10; n++) reader.push(Buffer.alloc(1));
    }
    const { arrayBuffers, rss } = process.memoryUsage();
    expect(arrayBuffers - before.arrayBuffers).toBeLessThan(20 * 1.2 * 2 ** 20);
    expect(rss - before.rss).toBeLessThan(100 * 2 ** 20);
    expect(readers).toHaveLength(20); // they are needed until here
  });

  test('that come byte by byte take no more time for being large', () => {
    const reader = new FrameReader(limits, () => {});
    const length = 2 ** 24;
    reader.push(frame({ json: '[[0],[[0,0]]]', lengths: [length], total: 16 + 13 + length }));
    const chunk = Buffer.alloc(100);
    const before = performance.now();
    for (let at = 0; at + 100 < length; at += 100) reader.push(chunk);
    expect(performance.now() - before).toBeLessThan(5000);
  });
});

describe('the last mark', () => {
  test('ends the frames: what follows is none, at any cut', () => {
    const whole = Buffer.concat([bytesOf(['first']), lastMark, Buffer.alloc(100, 0xff)]);
    for (let cut = 0; cut <= whole.length; cut++) {
      const messages: unknown[] = [];
      const reader = new FrameReader(limits, (message) => messages.push(message));
      reader.push(whole.subarray(0, cut));
      expect(reader.isOver).toBe(cut >= whole.length - 100);
      reader.push(whole.subarray(cut));
      expect([messages, reader.isOver]).toEqual([['first'], true]);
    }
  });
});
