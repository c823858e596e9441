import { existsSync, truncateSync } from 'node:fs';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { Ring } from '../../dist/manager/ring';
import { runs, timeoutMs } from '../helpers/arrays';
import { describeAsRoot, holdings, otherUser, Peer } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const directionBytes = 2 ** 16;
const headBytes = 1024;
const wholeBytes = headBytes + 2 * directionBytes;

interface Pair {
  readonly ring: Ring;
  readonly other: Ring;
  /** What a hostile side may write to. */
  readonly words: Int32Array;
}

const opened: { close(): void }[] = [];
afterEach(() => {
  for (const each of opened.splice(0).reverse()) each.close();
});

function made(): Ring {
  const ring = Ring.make();
  if (ring === undefined) throw new Error('No ring could be made');
  opened.push(ring);
  return ring;
}

function attached(handle: unknown): Ring {
  const ring = Ring.attach(handle);
  if (ring === undefined) throw new Error('The ring could not be attached');
  opened.push(ring);
  return ring;
}

function pair(): Pair {
  const ring = made();
  const other = attached(ring.handle);
  const array = ndshm.attach(ring.handle, { mode: 'r+' });
  opened.push(array);
  ring.unlink();
  const { buffer, byteOffset } = array.data as Uint8Array<ArrayBuffer>;
  return { ring, other, words: new Int32Array(buffer, byteOffset, headBytes / 4) };
}

const pattern = (length: number, from: number) => Uint8Array.from({ length }, (_, n) => (from + n) % 251);

describe('bytes', () => {
  test(
    'come out as they went in, in both directions, whatever the sizes',
    () => {
      const steps = fc.array(fc.tuple(fc.boolean(), fc.option(fc.nat(100_000))), { maxLength: 60 });
      const { ring, other } = pair();
      fc.assert(
        fc.property(steps, (drawn) => {
          const sides = [
            { writer: ring, reader: other, inside: [] as number[] },
            { writer: other, reader: ring, inside: [] as number[] },
          ];
          let number = 0;
          const drain = ({ reader, inside }: (typeof sides)[0]) => {
            const bytes = reader.read();
            expect(Buffer.compare(bytes ?? Buffer.alloc(0), Buffer.from(inside.splice(0)))).toBe(0);
          };
          for (const [isFirst, length] of drawn) {
            const side = sides[isFirst ? 0 : 1] as (typeof sides)[0];
            if (length === null) {
              drain(side);
              continue;
            }
            const bytes = pattern(length, number++);
            const count = side.writer.write(bytes);
            expect(count).toBe(Math.min(length, directionBytes - side.inside.length));
            for (const byte of bytes.subarray(0, count)) side.inside.push(byte);
          }
          sides.forEach(drain);
        }),
        runs(20),
      );
    },
    timeoutMs,
  );

  test('go on past 2^32', () => {
    const { ring, other } = pair();
    const chunk = pattern(directionBytes, 0);
    for (let n = 0; n < directionBytes - 1; n++) {
      ring.write(chunk);
      other.read();
    }
    ring.write(pattern(60_000, 0));
    other.read();
    for (let from = 0; from < 5; from++) {
      expect(ring.write(pattern(50_000, from))).toBe(50_000);
      expect(Buffer.compare(other.read() as Buffer, pattern(50_000, from))).toBe(0);
    }
    expect(other.read()).toBeUndefined();
  });

  test('that were written before the other side had attached are there', () => {
    const ring = made();
    ring.write(pattern(10, 3));
    expect([...(attached(ring.handle).read() as Buffer)]).toEqual([...pattern(10, 3)]);
  });
});

describe('resting', () => {
  const nothing = { bytes: false, room: false };
  const bytes = { bytes: true, room: false };
  const room = { bytes: false, room: true };
  const fill = (ring: Ring) => ring.write(new Uint8Array(directionBytes));

  test('is refused where what is wanted is there', () => {
    const { ring, other } = pair();
    ring.write(pattern(1, 0));
    expect(other.rest(bytes)).toBe(false);
    expect(other.rest(room)).toBe(false);
    expect(other.rest(nothing)).toBe(true);
    other.read();
    expect(other.rest(bytes)).toBe(true);
    fill(ring);
    expect(ring.rest(room)).toBe(true);
    other.read();
    expect(ring.rest(room)).toBe(false);
  });

  test('after a refusal, nobody is woken', () => {
    const { ring, other } = pair();
    ring.write(pattern(1, 0));
    expect(ring.mustWake()).toBe(false);
    expect(other.rest(bytes)).toBe(false);
    ring.write(pattern(1, 0));
    expect(ring.mustWake()).toBe(false);
  });

  test.each([
    { wants: bytes, done: 'bytes', wakes: true },
    { wants: bytes, done: 'room', wakes: false },
    { wants: room, done: 'bytes', wakes: false },
    { wants: room, done: 'room', wakes: true },
    { wants: nothing, done: 'bytes', wakes: false },
    { wants: nothing, done: 'room', wakes: false },
    { wants: { bytes: true, room: true }, done: 'bytes', wakes: true },
    { wants: { bytes: true, room: true }, done: 'room', wakes: true },
  ])('one that wants $wants is woken by $done: $wakes, and once', ({ wants, done, wakes }) => {
    const { ring, other } = pair();
    fill(other);
    expect(other.rest(wants)).toBe(true);
    if (done === 'bytes') ring.write(pattern(1, 0));
    else ring.read();
    expect(ring.mustWake()).toBe(wakes);
    expect(ring.mustWake()).toBe(false);
    if (done === 'bytes') ring.write(pattern(1, 0));
    expect(ring.mustWake()).toBe(false);
  });

  test('ends by itself as well', () => {
    const { ring, other } = pair();
    other.rest(bytes);
    other.wake();
    ring.write(pattern(1, 0));
    expect(ring.mustWake()).toBe(false);
  });

  test('what was done before the other side rested does not wake it', () => {
    const { ring, other } = pair();
    ring.write(pattern(1, 0));
    other.read();
    expect(ring.mustWake()).toBe(false);
    other.rest(bytes);
    expect(ring.mustWake()).toBe(false);
  });
});

describe('a ring is attached', () => {
  test('by its handle as JSON, once', () => {
    const ring = made();
    const handle = JSON.parse(JSON.stringify(ring.handle));
    attached(handle);
    const before = holdings();
    expect(Ring.attach(handle)).toBeUndefined();
    expect(holdings()).toEqual(before);
  });

  test('not when its name is gone', () => {
    const ring = made();
    const { handle } = ring;
    ring.unlink();
    ring.unlink();
    expect(Ring.attach(handle)).toBeUndefined();
  });

  test('and closed more than once; the last one to close takes its name away', () => {
    const ring = made();
    const other = attached(ring.handle);
    const path = shmPath(ring.handle.name);
    ring.close();
    ring.close();
    expect(existsSync(path)).toBe(true);
    other.close();
    expect(existsSync(path)).toBe(false);
  });

  test(
    'by nothing else, and nothing throws',
    () => {
      const real = made().handle;
      fc.assert(
        fc.property(fc.anything(), fc.constantFrom(...Object.keys(real), 'view'), (anything, key) => {
          expect(Ring.attach(anything)).toBeUndefined();
          fc.pre(JSON.stringify(anything) !== JSON.stringify((real as unknown as Record<string, unknown>)[key]));
          expect(Ring.attach({ ...real, [key]: anything })).toBeUndefined();
        }),
        runs(300),
      );
      attached(real);
    },
    timeoutMs,
  );

  describe('not where the handle is that of an array', () => {
    const likeName = (count: number) => `manager-${process.pid}-${count.toString(16).padStart(16, '0')}`;
    const magic = 0x0152_444e;
    test.each([
      { what: 'with its form and name', name: likeName(1), shape: wholeBytes, word: 0 },
      { what: 'with its form and first word', name: undefined, shape: wholeBytes, word: magic },
      { what: 'of another length', name: likeName(2), shape: wholeBytes + 1, word: magic },
      { what: 'of another shape', name: likeName(3), shape: [wholeBytes, 1], word: magic },
      { what: 'of another dtype', name: likeName(4), shape: wholeBytes, word: magic, dtype: 'int8' as const },
    ])('$what, which is left as it was', ({ name, shape, word, dtype }) => {
      const array = ndshm.create(name ?? freshName(), { shape, dtype: dtype ?? 'uint8', ephemeral: true });
      opened.push(array);
      const { buffer, byteOffset } = array.data;
      const words = new Int32Array(buffer, byteOffset, 2);
      words[0] = word;
      expect(Ring.attach(array.handle)).toBeUndefined();
      expect([...words]).toEqual([word, 0]);
    });

    test('of which it would be a view', () => {
      const { handle } = made();
      const view = { shape: [wholeBytes], strides: [1], byteOffset: 0 };
      expect(Ring.attach({ ...handle, view })).toBeUndefined();
      attached(handle);
    });
  });

  describeAsRoot('by another user (needs root to be one)', () => {
    test('not at all', async () => {
      const { handle } = made();
      const peer = await Peer.start({ uid: otherUser });
      const isAttached = await peer.run(
        ({ part }, given) => (part('manager/ring') as { Ring: typeof Ring }).Ring.attach(given) !== undefined,
        handle,
      );
      expect(isAttached).toBe(false);
      await peer.kill();
    });

    test('nor made where there is no room', async () => {
      const peer = await Peer.start({
        wrap: ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=64k ndshm-test /dev/shm && exec "$@"', 'sh'],
      });
      const found = await peer.run(({ part }) => {
        const ring = (part('manager/ring') as { Ring: typeof Ring }).Ring.make();
        return ring === undefined;
      });
      expect(found).toBe(true);
      expect(await peer.on('none', 'room')).toMatchObject({ names: [] });
      await peer.kill();
    });
  });
});

describe('a hostile side', () => {
  // Side 0's `written` and `read`, side 1's, and the wishes.
  const places = { written: [32, 64], read: [96, 128], wishes: [160, 192] } as const;

  test('that writes positions which cannot be is ERR_NDSHM_PROTOCOL', () => {
    const at = [directionBytes + 1, -1, 2 ** 31 - 1, -(2 ** 31)];
    for (const position of at) {
      const { ring, words } = pair();
      words[places.written[1]] = position;
      expect(thrownBy(() => ring.read()).code).toBe('ERR_NDSHM_PROTOCOL');
      expect(thrownBy(() => ring.rest({ bytes: true, room: false })).code).toBe('ERR_NDSHM_PROTOCOL');
    }
    for (const position of [1, directionBytes, -1 - directionBytes, 2 ** 31 - 1, -(2 ** 31)]) {
      const { ring, words } = pair();
      words[places.read[0]] = position;
      expect(thrownBy(() => ring.write(new Uint8Array(directionBytes + 1))).code).toBe('ERR_NDSHM_PROTOCOL');
      expect(thrownBy(() => ring.rest({ bytes: false, room: true })).code).toBe('ERR_NDSHM_PROTOCOL');
    }
  });

  test(
    'that writes anything anywhere has ERR_NDSHM_PROTOCOL or bytes, at most all of them, and never more than there are',
    () => {
      const word = fc.constantFrom(...places.written, ...places.read, ...places.wishes, 0, 1);
      const value = fc.oneof(fc.integer(), fc.integer({ min: -5, max: 2 * directionBytes }));
      const step = fc.oneof(
        fc.record({ kind: fc.constant('poke' as const), word, value }),
        fc.record({ kind: fc.constant('write' as const), length: fc.nat(2 * directionBytes) }),
        fc.record({ kind: fc.constantFrom('read' as const, 'rest' as const, 'mustWake' as const) }),
      );
      fc.assert(
        fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
          const { ring, words } = pair();
          for (const each of steps) {
            try {
              if (each.kind === 'poke') words[each.word] = each.value;
              else if (each.kind === 'write') {
                const count = ring.write(new Uint8Array(each.length));
                if (!(count >= 0 && count <= Math.min(each.length, directionBytes)))
                  throw new Error(`${count} written`);
              } else if (each.kind === 'read') {
                const bytes = ring.read();
                if (bytes !== undefined && !(bytes.length > 0 && bytes.length <= directionBytes)) {
                  throw new Error(`${bytes.length} read`);
                }
              } else if (each.kind === 'rest') ring.rest({ bytes: true, room: true });
              else ring.mustWake();
            } catch (error) {
              if ((error as { code?: string }).code !== 'ERR_NDSHM_PROTOCOL') throw error;
            }
          }
          for (const each of opened.splice(0).reverse()) each.close();
        }),
        runs(200),
      );
    },
    timeoutMs,
  );

  test.each([
    ['reads', (ring: Ring) => ring.read()],
    ['writes what has no room', (ring: Ring) => ring.write(new Uint8Array(directionBytes))],
    ['rests', (ring: Ring) => ring.rest({ bytes: true, room: true })],
  ])('that truncates the file is ERR_NDSHM_TRUNCATED for one that %s', (_, use) => {
    for (const left of [0, 1024 + 4096]) {
      const ring = made();
      const other = attached(ring.handle);
      const untouched = made();
      ring.write(pattern(directionBytes, 0));
      other.write(pattern(directionBytes, 0));
      truncateSync(shmPath(ring.handle.name), 4096 + left);
      // Where the words are still there, the bytes are what is missed.
      if (left > 0) expect(thrownBy(() => ring.read()).code).toBe('ERR_NDSHM_TRUNCATED');
      expect(thrownBy(() => use(ring)).code).toBe('ERR_NDSHM_TRUNCATED');
      expect(untouched.read()).toBeUndefined();
    }
  });
});

describe('nothing is left in /dev/shm', () => {
  const names = () => ndshm.list({ foreign: true }).flatMap(({ name }) => (name.startsWith('manager-') ? [name] : []));

  test('when both sides have closed, when one is killed, and when both are killed after unlink()', async () => {
    const before = names();
    const ring = made();
    const other = attached(ring.handle);
    expect(names()).toHaveLength(before.length + 1);
    ring.close();
    other.close();
    expect(names()).toEqual(before);

    const [first, second] = [await Peer.start(), await Peer.start()];
    const handle = await first.run(({ kept, part }) => {
      const made = (part('manager/ring') as { Ring: typeof Ring }).Ring.make() as Ring;
      kept.set('ring', made);
      return made.handle;
    });
    await second.run(({ kept, part }, given) => {
      kept.set('ring', (part('manager/ring') as { Ring: typeof Ring }).Ring.attach(given));
    }, handle);
    await first.run(({ kept }) => (kept.get('ring') as Ring).unlink());
    await Promise.all([first.kill(), second.kill()]);
    expect(existsSync(shmPath(handle.name))).toBe(false);
  });

  test('when both are killed before unlink(): the next one who makes or lists something removes it', async () => {
    const peer = await Peer.start();
    const handle = await peer.run(({ kept, part }) => {
      const made = (part('manager/ring') as { Ring: typeof Ring }).Ring.make() as Ring;
      kept.set('ring', made);
      return made.handle;
    });
    await peer.kill();
    expect(existsSync(shmPath(handle.name))).toBe(true);
    ndshm.gc();
    expect(existsSync(shmPath(handle.name))).toBe(false);
  });
});
