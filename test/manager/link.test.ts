import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import type { Link } from '../../dist/manager/link';
import { Ring } from '../../dist/manager/ring';
import { runs, timeoutMs } from '../helpers/arrays';
import { Child, holdings, randomFrom, rejection, within } from '../helpers/child';
import { accepting, echoing, greet, linked, linkLimits, linkOver, streamPair } from '../helpers/link';
import { shmPath } from '../helpers/shm';

const ways = [
  { over: 'a ring', ring: true },
  { over: 'a socket', ring: false },
];

/** Keeps this thread busy. */
function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe.each(ways)('over $over', ({ ring }) => {
  test('100,000 messages of all sizes come through in order, in both directions at once, with rests in between', async () => {
    const { peer, link } = await linked(ring);
    await echoing(peer);
    const random = randomFrom(7);
    const below = (limit: number) => Math.floor(random() * limit);
    const messageOf = (number: number): unknown => {
      const lot = random();
      const length = lot < 0.97 ? below(200) : lot < 0.999 ? below(100_000) : below(4_000_000);
      if (lot > 0.5 && lot < 0.8) return [number, 'é'.repeat(length)];
      return [number, { bytes: new Uint8Array(length).fill(number) }, number % 3 === 0 ? new Uint8Array(3) : null];
    };
    const total = 100_000;
    let sent = 0;
    while (sent < total) {
      const burst: unknown[] = [];
      const size = Math.min(total - sent, 1 + below(random() < 0.1 ? 2000 : 50));
      while (burst.length < size) {
        const message = messageOf(sent++);
        burst.push(message);
        link.send(message);
        if (random() < 0.02) await new Promise(setImmediate);
      }
      for (const message of burst) {
        const back = await within(link.receive(), 'message');
        if (!isDeepStrictEqual(back, message))
          throw new Error(`Message ${sent - size + burst.indexOf(message)} has changed`);
      }
      if (random() < 0.1) spin(3); // the other side comes to rest meanwhile
    }
    expect(link.stats.receivedBytes).toBeGreaterThan(50_000_000);
    if (ring) expect(link.stats.bells).toBeGreaterThan(20);
    await peer.kill();
  }, 60_000);

  test('no wake-up is lost, whenever the other side comes to rest', async () => {
    const { peer, link } = await linked(ring);
    await echoing(peer);
    const random = randomFrom(3);
    for (let n = 0; n < 3000; n++) {
      link.send(n);
      expect(await within(link.receive(), `answer ${n}`)).toBe(n);
      spin(0.15 + 0.3 * random()); // it rests 0.2 ms after the last message
    }
    if (ring) expect(link.stats.bells).toBeGreaterThan(10);
    await peer.kill();
  });

  test('what there is no room for goes as the other side makes room, which is busy otherwise', async () => {
    const { peer, link } = await linked(ring);
    await peer.run(({ kept }) => {
      const its = kept.get('link') as Link;
      const read = async () => {
        for (;;) {
          const [number, bytes] = (await its.receive()) as [number, Uint8Array];
          const end = performance.now() + 2;
          while (performance.now() < end);
          its.send([number, bytes.length, bytes.every((byte) => byte === number)]);
        }
      };
      read().catch(() => {});
    });
    for (let n = 0; n < 200; n++) link.send([n, new Uint8Array(300_000).fill(n)]);
    for (let n = 0; n < 200; n++) expect(await within(link.receive(), 'answer')).toEqual([n, 300_000, true]);
    await peer.kill();
  });

  test('a side that has nothing to do costs nothing', async () => {
    const { peer, link } = await linked(ring);
    await echoing(peer);
    for (let n = 0; n < 100; n++) {
      link.send(n);
      await link.receive();
    }
    const busyMs = () =>
      peer.run(() => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1000;
      });
    const before = await busyMs();
    spin(400); // nobody asks anything of the other side
    expect((await busyMs()) - before).toBeLessThan(100);
    await peer.kill();
  });

  test('the other side’s death ends it, in the midst of anything', async () => {
    for (let round = 0; round < 5; round++) {
      const { peer, link } = await linked(ring);
      await echoing(peer);
      for (let n = 0; n < 50; n++) link.send(new Uint8Array(20_000 * round));
      for (let n = 0; n < 10 * round; n++) await link.receive();
      peer.process.kill('SIGKILL');
      const before = performance.now();
      const error = (await within(link.ended, 'end')) as ndshm.CodedError;
      expect(performance.now() - before).toBeLessThan(2000);
      expect(error.code).toBe('ERR_NDSHM_MANAGER_LOST');
      // What has come is there, and then the error, again and again.
      let last: unknown;
      for (let n = 0; n <= 50 && last === undefined; n++)
        last = await link.receive().then(
          () => undefined,
          (e) => e,
        );
      expect(last).toBe(error);
      expect(await rejection(link.receive())).toBe(error);
      expect(link.send('in vain')).toBe(0);
      link.abort(new Error('too late'));
      expect(await link.ended).toBe(error);
    }
  });

  test('abort() sends what was sent before, and ends both sides', async () => {
    const { peer, link, stream } = await linked(ring);
    const its = peer.run(async ({ kept }) => {
      const end = kept.get('link') as Link;
      const lengths: number[] = [];
      for (;;) {
        try {
          lengths.push(((await end.receive()) as Uint8Array[])[0]?.length as number);
        } catch (error) {
          return { lengths, code: (error as { code: string }).code, isSame: (await end.ended) === error };
        }
      }
    });
    const reason = new Error('enough');
    const received = link.receive();
    for (let n = 0; n < 5; n++) link.send([new Uint8Array(3_000_000 + n)]);
    link.abort(reason);
    expect(await link.ended).toBe(reason);
    expect(await rejection(received)).toBe(reason);
    expect(await its).toEqual({
      lengths: [3_000_000, 3_000_001, 3_000_002, 3_000_003, 3_000_004],
      code: 'ERR_NDSHM_MANAGER_LOST',
      isSame: true,
    });
    if (!stream.closed) await within(once(stream, 'close'), 'closed stream');
    await peer.kill();
  });

  test('abort() does not wait long for a side that takes nothing', async () => {
    const { peer, link, stream } = await linked(ring);
    peer.process.kill('SIGSTOP');
    link.send([new Uint8Array(2 ** 23)]);
    link.abort(undefined);
    expect(await link.ended).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST' });
    await within(once(stream, 'close'), 'closed stream');
    await peer.kill();
  });

  test('what a side that takes nothing is sent is limited', async () => {
    const { peer, link, stream } = await linked(ring, { maxBufferedBytes: 2 ** 22 });
    peer.process.kill('SIGSTOP');
    let count = 0;
    for (; count < 100 && !stream.destroyed; count++) {
      link.send([new Uint8Array(2 ** 18)]);
      await new Promise(setImmediate);
    }
    expect(count).toBeGreaterThan(15);
    expect(count).toBeLessThan(24);
    expect(await link.ended).toMatchObject({ code: 'ERR_NDSHM_LIMIT' });
    await peer.kill();
  });

  describe('a process with nothing else to do', () => {
    const start = async (refs: string) => {
      let child: Child | undefined;
      const { stream } = await accepting(async (path) => {
        child = new Child('manager-link-exit.js', [path, JSON.stringify(linkLimits), refs]);
      });
      const link = await greet(stream, ring);
      expect(await (child as unknown as Child).message()).toBe('linked');
      return { child: child as unknown as Child, link };
    };

    test.each(['u', 'ru', 'uru'])('ends when its link is not to hold it (%s)', async (refs) => {
      const { child, link } = await start(refs);
      expect(await child.end()).toEqual({ code: 0, signal: null });
      expect(await within(link.ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST' });
    });

    test.each(['', 'ur'])('goes on while its link holds it, and no longer (%s)', async (refs) => {
      const { child, link } = await start(refs);
      spin(200); // without the link, it would end now
      link.send('still there?');
      expect(await within(link.receive(), 'answer')).toBe('still there?');
      link.abort(new Error('enough'));
      expect(await child.end()).toEqual({ code: 0, signal: null });
    });
  });
});

test('nothing is left in /dev/shm, nor mapped, when the other side is killed in the midst of traffic', async () => {
  const before = holdings().mappings;
  const { peer: first, link, stream } = await linked(true);
  await echoing(first);
  expect(stream.destroyed).toBe(false);
  for (let n = 0; n < 1000; n++) link.send(new Uint8Array(1000));
  await link.receive();
  await first.kill();
  await within(link.ended, 'end');
  expect(holdings().mappings).toBe(before);
  expect(ndshm.list({ foreign: true }).filter(({ name }) => name.startsWith(`manager-${process.pid}-`))).toEqual([]);
});

// Both ends in this process from here on.

async function socketPair(): Promise<[Socket, Socket]> {
  const { stream, connected } = await accepting(async (path) => connect(path));
  return [stream, await connected];
}

const received = async (link: Link, count: number): Promise<unknown[]> => {
  const messages: unknown[] = [];
  while (messages.length < count) messages.push(await within(link.receive(), 'message'));
  return messages;
};

describe('the change to a ring', () => {
  test(
    'loses and reorders nothing, whenever each side makes it',
    async () => {
      const steps = fc.array(
        fc.constantFrom(
          'first sends',
          'second sends',
          'first changes',
          'second changes',
          'turn',
          'turn',
        ) as fc.Arbitrary<string>,
        { maxLength: 40 },
      );
      await fc.assert(
        fc.asyncProperty(steps, fc.nat(40_000), async (drawn, length) => {
          const [stream, otherStream] = await socketPair();
          const first = linkOver(stream);
          const second = linkOver(otherStream);
          const made = Ring.make() as Ring;
          const attached = Ring.attach(made.handle) as Ring;
          made.unlink();
          const sent = { first: [] as unknown[], second: [] as unknown[] };
          let changes: ('first' | 'second')[] = ['first', 'second'];
          const change = (side: 'first' | 'second') => {
            if (!changes.includes(side)) return;
            changes = changes.filter((each) => each !== side);
            if (side === 'first') first.useRing(made);
            else second.useRing(attached);
          };
          const send = (side: 'first' | 'second') => {
            const message = [sent[side].length, 'x'.repeat(length)];
            sent[side].push(message);
            (side === 'first' ? first : second).send(message);
          };
          for (const step of drawn) {
            const [side, what] = step.split(' ') as ['first' | 'second', string | undefined];
            if (what === 'sends') send(side);
            else if (what === 'changes') change(side);
            else await new Promise(setImmediate);
          }
          change('first');
          change('second');
          send('first');
          send('second');
          expect(await received(second, sent.first.length)).toEqual(sent.first);
          expect(await received(first, sent.second.length)).toEqual(sent.second);
          first.abort(new Error('enough'));
          await within(second.ended, 'end');
        }),
        runs(60),
      );
    },
    timeoutMs,
  );

  test('comes too late after the end, and the ring is closed', async () => {
    const [stream] = await socketPair();
    const link = linkOver(stream);
    link.abort(new Error('enough'));
    const ring = Ring.make() as Ring;
    const path = shmPath(ring.handle.name);
    link.useRing(ring);
    expect(existsSync(path)).toBe(false);
  });
});

describe('a hostile side', () => {
  test.each(['a hostile frame', 'half a frame'])(
    'that sends %s over the stream ends the link, after what came before',
    async (what) => {
      const [stream, hostile] = await socketPair();
      const link = linkOver(stream);
      const good = Buffer.from('0d000000010000000000000037', 'hex'); // no list
      const frame = Buffer.from('0f00000003000000000000005b375d', 'hex');
      hostile.write(frame);
      if (what === 'a hostile frame') hostile.write(Buffer.concat([frame, good, frame]));
      else hostile.end(frame.subarray(0, 14));
      const code = what === 'a hostile frame' ? 'ERR_NDSHM_PROTOCOL' : 'ERR_NDSHM_MANAGER_LOST';
      expect(await within(link.ended, 'end')).toMatchObject({ code });
      for (let n = what === 'a hostile frame' ? 2 : 1; n > 0; n--) expect(await link.receive()).toBe(7);
      expect(await rejection(link.receive())).toMatchObject({ code });
      expect(stream.destroyed).toBe(true);
    },
  );

  /** A link that uses a ring, and what the other side may do with it. */
  const withRing = async () => {
    const [stream, hostile] = await socketPair();
    const link = linkOver(stream);
    const made = Ring.make() as Ring;
    const theirs = Ring.attach(made.handle) as Ring;
    const array = ndshm.attach(made.handle, { mode: 'r+' });
    made.unlink();
    link.useRing(made);
    const { buffer, byteOffset } = array.data as Uint8Array<ArrayBuffer>;
    hostile.write(Buffer.alloc(12)); // lastMark
    const close = () => {
      array.close();
      theirs.close();
      hostile.destroy();
    };
    return { link, stream, hostile, theirs, words: new Int32Array(buffer, byteOffset, 256), close };
  };

  test.each([
    ['a position that cannot be', (words: Int32Array) => words.fill(-7, 64, 65)],
    ['a position that can be, behind which is nothing', (words: Int32Array) => words.fill(60_000, 64, 65)],
  ])('that writes %s into the ring', async (what, spoil) => {
    const { link, stream, hostile, words, close } = await withRing();
    spoil(words);
    hostile.write('!');
    if (what.includes('cannot')) {
      expect(await within(link.ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_PROTOCOL' });
      expect(stream.destroyed).toBe(true);
    } else {
      // All zeros: the last mark, where nothing follows.
      hostile.destroy();
      expect(await within(link.ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST' });
    }
    close();
  });

  test('that sends a broken frame by the ring', async () => {
    const { link, hostile, theirs, close } = await withRing();
    theirs.write(Buffer.alloc(100, 0xff));
    hostile.write('!');
    expect(await within(link.ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_PROTOCOL' });
    close();
  });

  test('that says a position which cannot be when we want room', async () => {
    const { link, words, close } = await withRing();
    words.fill(12_345, 96, 97);
    link.send(['x'.repeat(200_000)]);
    expect(await within(link.ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_PROTOCOL' });
    close();
  });

  test('whose wishes are never ending gets a bell only when the last one has left', async () => {
    const { link, stream, hostile, words, close } = await withRing();
    hostile.pause();
    const sent = 300;
    for (let n = 0; n < sent; n++) {
      words.fill(-1, 192, 193);
      link.send(n);
      await new Promise(setImmediate);
    }
    expect(link.stats.bells).toBeGreaterThan(0);
    expect(stream.writableLength).toBeLessThan(20);
    close();
    await within(link.ended, 'end');
  });
});

describe('a stream', () => {
  test('without a socket will do', async () => {
    const [one, two] = streamPair();
    const [first, second] = [linkOver(one), linkOver(two)];
    first.unref();
    first.ref();
    first.send(['bytes', new Uint8Array([5])]);
    second.send('back');
    expect(await received(second, 1)).toEqual([['bytes', new Uint8Array([5])]]);
    expect(await received(first, 1)).toEqual(['back']);
    first.abort(new Error('enough'));
    expect(await within(second.ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST' });
  });

  test('that was destroyed before ends the link at once, with its error as the cause', async () => {
    const [stream] = await socketPair();
    const cause = new Error('broken');
    stream.on('error', () => {});
    stream.destroy(cause);
    await new Promise((resolve) => stream.once('close', resolve));
    expect(await within(linkOver(stream).ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST', cause });
  });

  test('that fails ends the link, with its error as the cause', async () => {
    const [stream] = await socketPair();
    const link = linkOver(stream);
    const cause = new Error('broken');
    stream.destroy(cause);
    expect(await within(link.ended, 'end')).toMatchObject({ code: 'ERR_NDSHM_MANAGER_LOST', cause });
  });

  test('is asked about each message that is too large before anything of it is sent', async () => {
    const [one, two] = await socketPair();
    const [link, other] = [linkOver(one, { maxMessageBytes: 1000 }), linkOver(two)];
    expect(() => link.send([new Uint8Array(1000)])).toThrow(expect.objectContaining({ code: 'ERR_NDSHM_LIMIT' }));
    link.send('small');
    expect(await received(other, 1)).toEqual(['small']);
  });
});

describe('heartbeats', () => {
  const heartbeatMs = 20;

  test('end a link to a side that has fallen silent', async () => {
    const [stream, silent] = await socketPair();
    const link = linkOver(stream, { heartbeatMs });
    const before = performance.now();
    expect(await within(link.ended, 'end')).toMatchObject({
      code: 'ERR_NDSHM_MANAGER_LOST',
      cause: expect.objectContaining({ message: expect.stringContaining('three heartbeats') }),
    });
    expect(performance.now() - before).toBeGreaterThan(3 * heartbeatMs);
    silent.destroy();
  });

  test('keep a link that has nothing to send, and are no messages', async () => {
    const [one, two] = await socketPair();
    const [first, second] = [linkOver(one, { heartbeatMs }), linkOver(two, { heartbeatMs })];
    for (let n = 0; n < 10; n++) await within(Promise.all([once(one, 'data'), once(two, 'data')]), 'heartbeats');
    first.send('here');
    expect(await received(second, 1)).toEqual(['here']);
  });

  test('that a process was too busy to hear are not missed', async () => {
    const [one, two] = await socketPair();
    const [first, second] = [linkOver(one, { heartbeatMs }), linkOver(two, { heartbeatMs })];
    for (let round = 0; round < 3; round++) {
      spin(10 * heartbeatMs);
      await new Promise(setImmediate);
    }
    first.send('here');
    expect(await received(second, 1)).toEqual(['here']);
  });
});
