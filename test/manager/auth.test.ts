import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import fc from 'fast-check';
import { authenticate, checkAuthKey, pskOf } from '../../dist/manager/auth';
import { handshake, key, otherKey, taken, untilEnd, wire } from '../helpers/manager-net';
import { thrownBy } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

/** The two ends of a connection; what each says passes `between`, if anything is there. */
async function pair(between: (bytes: Buffer, from: 'client' | 'server') => Buffer[] = (bytes) => [bytes]) {
  const [client, nearClient] = await wire();
  const [server, nearServer] = await wire();
  const pass = (from: Duplex, to: Duplex, who: 'client' | 'server') => {
    from.on('data', (bytes: Buffer) => {
      for (const each of between(bytes, who)) to.write(each);
    });
    from.on('end', () => to.end());
    from.on('close', () => to.destroy());
  };
  pass(nearClient, nearServer, 'client');
  pass(nearServer, nearClient, 'server');
  return { client, server };
}

const welcome = 'welcome';
const outcome = (stream: Duplex, secret: Buffer | undefined, role: 'server' | 'client') =>
  authenticate(stream, secret, role).then(
    () => welcome,
    (error: NodeJS.ErrnoException) => error.code,
  );

/** What becomes of both sides: client's, server's. */
const meet = (
  ends: { client: Duplex; server: Duplex },
  ...keys: [client?: Buffer | undefined, server?: Buffer | undefined]
) => {
  const [clientKey, serverKey] = keys.length === 0 ? [key, key] : keys;
  return Promise.all([outcome(ends.client, clientKey, 'client'), outcome(ends.server, serverKey, 'server')]);
};

/** The true bytes of one side, up to so many of them, and then its end. */
async function breaksOff(near: Duplex, who: 'client' | 'server', byteLength: number): Promise<void> {
  const nonce = randomBytes(32);
  let left = byteLength;
  const say = (bytes: Buffer): boolean => {
    near.write(bytes.subarray(0, left));
    left -= Math.min(left, bytes.length);
    return left > 0;
  };
  if (who === 'client') {
    if (say(handshake.hello(nonce))) {
      const serverNonce = (await taken(near, 80)).subarray(16, 48);
      say(handshake.proof('client', key, nonce, serverNonce));
    }
  } else {
    const clientNonce = (await taken(near, 48)).subarray(16);
    const proof = handshake.proof('server', key, clientNonce, nonce);
    if (say(Buffer.concat([handshake.banner, nonce, proof]))) {
      await taken(near, 32);
      say(Buffer.of(1));
    }
  }
  near.end();
}

describe('the handshake', () => {
  test.each([
    ['with the same key', key],
    ['without any key', undefined],
    ['with a key of the shortest length', randomBytes(16)],
    ['with a key that is longer than a block of the hash', randomBytes(1000)],
  ])('lets both sides in %s', async (_how, secret) => {
    expect(await meet(await pair(), secret, secret)).toEqual([welcome, welcome]);
  });

  test('leaves what comes behind it to be read, from the first byte on', async () => {
    const { client, server } = await pair();
    const much = randomBytes(2 ** 20);
    const inside = [authenticate(client, key, 'client'), authenticate(server, key, 'server')];
    void inside[0]?.then(() => client.write(much));
    void inside[1]?.then(() => server.write(much));
    await Promise.all(inside);
    await new Promise(setImmediate);
    for (const stream of [client, server]) {
      expect([stream.readableFlowing, stream.listenerCount('readable'), stream.readableEnded]).toEqual([
        null,
        0,
        false,
      ]);
    }
    expect((await taken(client, much.length)).equals(much)).toBe(true);
    const chunks: Buffer[] = [];
    server.on('data', (chunk: Buffer) => chunks.push(chunk));
    while (chunks.reduce((sum, { length }) => sum + length, 0) < much.length) await once(server, 'data');
    expect(Buffer.concat(chunks).equals(much)).toBe(true);
  });

  test('takes what is sent in any pieces, also together with what comes behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.integer({ min: 1, max: 40 })), async (sizes) => {
        const cut = (bytes: Buffer): Buffer[] => {
          const pieces: Buffer[] = [];
          for (let at = 0; at < bytes.length; at += pieces.at(-1)?.length ?? 0) {
            pieces.push(bytes.subarray(at, at + (sizes.next().value as number)));
          }
          return pieces;
        };
        const { client, server } = await pair(cut);
        expect(await meet({ client, server })).toEqual([welcome, welcome]);
        server.write('behind');
        expect((await taken(client, 6)).toString()).toBe('behind');
      }),
      { numRuns: 50 },
    );
    const [near, server] = await wire();
    const served = authenticate(server, key, 'server');
    // Told of the same bytes twice, it does not take what is behind them.
    server.once('readable', () => server.emit('readable'));
    const nonce = randomBytes(32);
    near.write(handshake.hello(nonce));
    const serverNonce = (await taken(near, 80)).subarray(16, 48);
    near.write(Buffer.concat([handshake.proof('client', key, nonce, serverNonce), Buffer.from('at once')]));
    await served;
    expect((await taken(server, 7)).toString()).toBe('at once');
  });

  test.each([
    ['another key', key, otherKey],
    ['a key that begins alike', key, Buffer.concat([key, Buffer.of(0)])],
    ['no key at the server', key, undefined],
    ['no key at the client', undefined, key],
    ['no key and a key of zeros', undefined, Buffer.alloc(16)],
  ])('refuses %s, on both sides', async (_what, clientKey, serverKey) => {
    expect(await meet(await pair(), clientKey, serverKey)).toEqual(['ERR_NDSHM_AUTH', 'ERR_NDSHM_AUTH']);
  });

  test('is made of the bytes that lib/manager/auth.ts describes', async () => {
    const [near, server] = await wire();
    const served = authenticate(server, key, 'server');
    const nonce = randomBytes(32);
    near.write(handshake.hello(nonce));
    const answer = await taken(near, 80);
    const serverNonce = answer.subarray(16, 48);
    expect(answer.subarray(0, 16)).toEqual(handshake.banner);
    expect(answer.subarray(48)).toEqual(handshake.proof('server', key, nonce, serverNonce));
    near.write(handshake.proof('client', key, nonce, serverNonce));
    expect(await taken(near, 1)).toEqual(Buffer.of(1));
    await served;

    const [far, client] = await wire();
    const dialled = authenticate(client, key, 'client');
    const theirs = (await taken(far, 48)).subarray(16);
    const ours = randomBytes(32);
    far.write(Buffer.concat([handshake.banner, ours, handshake.proof('server', key, theirs, ours)]));
    expect(await taken(far, 32)).toEqual(handshake.proof('client', key, theirs, ours));
    far.write(Buffer.of(1));
    await dialled;
  });

  test('refuses whatever is changed on its way, byte by byte', async () => {
    const lengths = { client: 48 + 32, server: 80 + 1 };
    for (const who of ['client', 'server'] as const) {
      for (let at = 0; at < lengths[who]; at++) {
        let passed = 0;
        const changed = await pair((bytes, from) => {
          if (from !== who) return [bytes];
          const n = at - passed;
          passed += bytes.length;
          if (n < 0 || n >= bytes.length) return [bytes];
          const copy = Buffer.from(bytes);
          copy[n] = (copy[n] as number) ^ 0x10;
          return [copy];
        });
        const seen = await meet(changed);
        // Of the last byte, the server cannot know.
        const wanted =
          who === 'server' && at === 80 ? ['ERR_NDSHM_PROTOCOL', welcome] : [expect.anything(), expect.anything()];
        expect({ who, at, seen }).toEqual({ who, at, seen: wanted });
        if (wanted[1] !== welcome) expect(seen).not.toContain(welcome);
      }
    }
  });

  test('cannot be passed with what was recorded of another one', async () => {
    const recorded: Buffer[] = [];
    const between = (bytes: Buffer, from: string) => {
      if (from === 'client') recorded.push(Buffer.from(bytes));
      return [bytes];
    };
    expect(await meet(await pair(between))).toEqual([welcome, welcome]);
    const [near, server] = await wire();
    near.write(Buffer.concat(recorded));
    expect(Buffer.concat(recorded).length).toBe(80);
    expect(await codeOf(authenticate(server, key, 'server'))).toBe('ERR_NDSHM_AUTH');
  });

  test('cannot be passed by giving a side its own proof back', async () => {
    const [near, server] = await wire();
    const served = codeOf(authenticate(server, key, 'server'));
    near.write(handshake.hello(randomBytes(32)));
    near.write((await taken(near, 80)).subarray(48));
    expect(await served).toBe('ERR_NDSHM_AUTH');

    // A client whose own nonce comes back, and the proof that it would give itself.
    const [far, client] = await wire();
    const dialled = codeOf(authenticate(client, key, 'client'));
    const hello = await taken(far, 48);
    const nonce = hello.subarray(16);
    far.write(Buffer.concat([hello, handshake.proof('client', key, nonce, nonce)]));
    expect(await dialled).toBe('ERR_NDSHM_AUTH');
  });

  test('does not let a client in whose server does not prove itself first', async () => {
    const [far, client] = await wire();
    const dialled = codeOf(authenticate(client, key, 'client'));
    far.write(Buffer.concat([handshake.banner, randomBytes(64), Buffer.of(1)]));
    expect(await dialled).toBe('ERR_NDSHM_AUTH');
    expect((await untilEnd(far)).length).toBe(48);
  });

  test.each([
    ['client', 80],
    ['server', 81],
  ] as const)('ends with the other side, however far the %s had come', async (who, byteLength) => {
    const side = who === 'client' ? 'server' : 'client';
    for (let length = 0; length < byteLength; length++) {
      const [near, stream] = await wire();
      const waiting = codeOf(authenticate(stream, key, side));
      await breaksOff(near, who, length);
      // Whoever has heard the proof, and leaves instead of an answer, has another key.
      const sawProof = who === 'client' ? length >= 48 : length >= 80;
      expect({ length, code: await waiting }).toEqual({
        length,
        code: sawProof ? 'ERR_NDSHM_AUTH' : 'ERR_NDSHM_MANAGER_LOST',
      });
      expect(stream.destroyed).toBe(true);
    }
  });

  test.each([
    ['a page is asked for', 'GET / HTTP/1.1\r\nHost: here\r\n\r\n'],
    ['another program greets', 'SSH-2.0-OpenSSH_9.2p1 Debian\r\n'],
    ['TLS is spoken', Buffer.from(`1603010200010001fc0303${'00'.repeat(20)}`, 'hex')],
    ['zeros come', Buffer.alloc(1000)],
    ['another version is spoken', 'ndshm-manager/2\n'],
  ])('refuses a side where %s', async (what, bytes) => {
    for (const role of ['server', 'client'] as const) {
      const [near, stream] = await wire();
      near.write(bytes);
      const { code, message } =
        (await authenticate(stream, key, role).catch((error: NodeJS.ErrnoException) => error)) ?? {};
      expect(code).toBe('ERR_NDSHM_PROTOCOL');
      expect(message).toMatch(what === 'another version is spoken' ? /version "2".* this one version "1"/ : /neither/);
      expect(stream.destroyed).toBe(true);
      // Nobody but a client of another version learns what is here.
      const answer = role === 'server' && what === 'another version is spoken' ? handshake.banner : Buffer.alloc(0);
      if (role === 'server') expect(await untilEnd(near)).toEqual(answer);
    }
  });

  test('gives the stream’s own error, and does not wait for a stream that has ended', async () => {
    const [, stream] = await wire();
    const waiting = codeOf(authenticate(stream, key, 'server'));
    stream.destroy(Object.assign(new Error('gone'), { code: 'EIO' }));
    expect(await waiting).toBe('EIO');
    expect(stream.listenerCount('readable')).toBe(0);
    const [, ended] = await wire();
    ended.destroy();
    expect(await codeOf(authenticate(ended, key, 'server'))).toBe('ERR_NDSHM_MANAGER_LOST');
  });
});

describe('an authKey', () => {
  test('is a string or bytes, at least 16 bytes of them, and copied', () => {
    expect(checkAuthKey('x'.repeat(16))).toEqual(Buffer.alloc(16, 'x'));
    expect(checkAuthKey('é'.repeat(8)).length).toBe(16);
    const bytes = new Uint8Array(new ArrayBuffer(40), 8, 20).fill(7);
    const checked = checkAuthKey(bytes);
    bytes.fill(8);
    expect(checked).toEqual(Buffer.alloc(20, 7));
  });

  test.each(['', 'x'.repeat(15), new Uint8Array(15)])('of less than 16 bytes is refused', (short) => {
    const { code, message } = thrownBy(() => checkAuthKey(short));
    expect(code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(message).toMatch(/randomBytes\(32\)/);
    expect(message).not.toMatch(/xx/);
  });

  test.each([undefined, null, 123456789, {}, new Uint16Array(20)])('of another kind is refused', (wrong) => {
    expect(thrownBy(() => checkAuthKey(wrong)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('gives TLS a key of its own, another one for each', () => {
    const keys = [key, otherKey, Buffer.alloc(16), Buffer.alloc(17)].map((each) => pskOf(each).toString('hex'));
    expect(new Set(keys).size).toBe(4);
    expect(pskOf(key).toString('hex')).toBe(keys[0]);
    // HKDF of RFC 5869 by Python's hmac; another key would shut out all older clients.
    expect(keys[0]).toBe('e7f09a0ae8e47202fc09341abf3b95b2024170ea138d0090652e714c970c9ddc');
  });
});
