import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs, {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { type Address, addressText, parseAddress } from '../../dist/manager/address';
import { pskOf } from '../../dist/manager/auth';
import { type DialOptions, dial } from '../../dist/manager/dial';
import { type ListenOptions, listen } from '../../dist/manager/listen';
import type { Secrets, TlsOptions } from '../../dist/manager/tls';
import { describeAsRoot, otherUser, Peer, rejection } from '../helpers/child';
import {
  certificates,
  echo,
  folder,
  handshake,
  kept,
  key,
  otherKey,
  plain,
  recorder,
  said,
  stranger,
  taken,
  tcpAddress,
  unixAddress,
  untilEnd,
} from '../helpers/manager-net';
import { codeOf } from '../helpers/sync';

const certified = certificates();
const strangers = certificates();

/** As dial(), and closed after the test. */
const dialled = async (address: Address, options: Partial<DialOptions> = {}): Promise<Duplex> =>
  kept(await dial(address, { timeoutMs: 10_000, ...options }));

interface Way {
  readonly name: string;
  readonly address: () => Address;
  readonly server: Secrets;
  readonly client: Secrets;
}

const ways: Way[] = [
  { name: 'a unix socket', address: unixAddress, server: {}, client: {} },
  { name: 'a unix socket with a key', address: unixAddress, server: { authKey: key }, client: { authKey: key } },
  { name: 'TCP with a key', address: tcpAddress, server: { authKey: key }, client: { authKey: key } },
  {
    name: 'TCP with certificates',
    address: tcpAddress,
    server: { tls: certified.server },
    client: { tls: certified.client },
  },
  {
    name: 'TCP with certificates and a key',
    address: tcpAddress,
    server: { tls: certified.server, authKey: key },
    client: { tls: certified.client, authKey: key },
  },
];

describe.each(ways)('a connection by $name', ({ address, server, client }) => {
  test('carries bytes both ways, from the first on', async () => {
    const greeting = randomBytes(300_000);
    const much = randomBytes(2 ** 20);
    const it = await echo(address(), {
      ...server,
      onStream: (stream) => {
        kept(stream).write(greeting);
        stream.pipe(stream);
      },
    });
    const stream = await dialled(it.address, client);
    stream.write(much);
    expect((await taken(stream, greeting.length)).equals(greeting)).toBe(true);
    expect((await taken(stream, much.length)).equals(much)).toBe(true);
    expect(it.refusals).toEqual([]);
  });

  test('is refused to whoever talks nonsense, and others are served all the while', async () => {
    const it = await echo(address(), server);
    const first = await dialled(it.address, client);
    const nonsense = [
      'GET / HTTP/1.1\r\nHost: here\r\n\r\n',
      'ndshm-manager/2\n',
      handshake.hello(Buffer.alloc(32)) + 'x'.repeat(1000),
      randomBytes(1000),
      randomBytes(2 ** 20),
      Buffer.alloc(2 ** 20),
      Buffer.concat([Buffer.from([0x16, 3, 1, 0xff, 0xff]), Buffer.alloc(2 ** 20)]),
      Buffer.from([0x16, 3, 3, 0, 5, 1, 0xff, 0xff, 0xff, 0]),
    ];
    for (const each of nonsense) {
      const socket = await plain(it.address);
      // Some of it would be waited for until the time is up: the end is refused, too.
      socket.end(each);
      await untilEnd(socket);
      expect((await it.refusal()).code).toMatch(/^(ERR_NDSHM_(PROTOCOL|AUTH|MANAGER_LOST)|ECONNRESET|EPIPE)$/);
      expect(await said(first)).toBe('hello');
    }
    expect(await said(await dialled(it.address, client))).toBe('hello');
    expect(it.streams.length).toBe(2);
  });

  test('is not to be had with what was recorded of another one', async () => {
    const it = await echo(address(), server);
    const { address: between, recorded } = await recorder(it.address);
    expect(await said(await dialled(between, client), 'the secret')).toBe('the secret');
    const replayed = [Buffer.concat(recorded), ...recorded.map((_, n) => Buffer.concat(recorded.slice(0, n + 1)))];
    for (const each of replayed) {
      const socket = await plain(it.address);
      socket.end(each);
      expect((await untilEnd(socket)).includes('the secret')).toBe(false);
      expect((await it.refusal()).code).toMatch(/^(ERR_NDSHM_(AUTH|PROTOCOL|MANAGER_LOST)|ECONNRESET|EPIPE)$/);
    }
    expect(it.streams.length).toBe(1);
  });

  test('is ended where the handshake stands still, or crawls, for too long', async () => {
    const it = await echo(address(), { ...server, handshakeTimeoutMs: 200 });
    const silent = await plain(it.address);
    const half = await plain(it.address);
    half.write(it.address.kind === 'unix' ? handshake.hello(Buffer.alloc(32)) : Buffer.of(0x16));
    const slow = await plain(it.address);
    const bytes = (it.address.kind === 'unix' ? handshake.hello(Buffer.alloc(32)) : Buffer.from('1603030040', 'hex'))[
      Symbol.iterator
    ]();
    const drip = setInterval(() => slow.write(Buffer.of(bytes.next().value ?? 0)), 30);
    await Promise.all([silent, half, slow].map(untilEnd));
    clearInterval(drip);
    for (let n = 0; n < 3; n++) expect((await it.refusal()).code).toBe('ERR_NDSHM_TIMEOUT');
    expect(await said(await dialled(it.address, client))).toBe('hello');
    // The time of one that has come in does not run on.
    const stream = await dialled(it.address, client);
    const another = await plain(it.address);
    await untilEnd(another);
    expect(await said(stream)).toBe('hello');
  });

  test('counts from its beginning, until it has ended', async () => {
    const it = await echo(address(), { ...server, maxConnections: 2 });
    const waiting = await plain(it.address);
    const stream = await dialled(it.address, client);
    expect(['ERR_NDSHM_MANAGER_LOST', 'ECONNRESET', 'EPIPE']).toContain(await codeOf(dialled(it.address, client)));
    expect((await it.refusal()).code).toBe('ERR_NDSHM_LIMIT');
    waiting.end();
    expect((await it.refusal()).code).toBe('ERR_NDSHM_MANAGER_LOST');
    expect(await said(await dialled(it.address, client))).toBe('hello');
    expect(await said(stream)).toBe('hello');
    expect(it.refusals.length).toBe(2);
  });

  test('outlives its listener, once it has been handed over', async () => {
    const it = await echo(address(), server);
    const stream = await dialled(it.address, client);
    const waiting = await plain(it.address);
    await dialled(it.address, client); // so that the one before has been accepted
    await it.listener.close();
    await it.listener.close();
    await untilEnd(waiting);
    expect((await it.refusal()).code).toBe('ERR_NDSHM_CLOSED');
    expect(await said(stream)).toBe('hello');
    expect(['ECONNREFUSED', 'ENOENT']).toContain(await codeOf(dialled(it.address, client)));
  });

  test('is an end for both when one of them goes', async () => {
    const it = await echo(address(), server);
    const stream = await dialled(it.address, client);
    await said(stream);
    stream.destroy();
    await once(it.streams[0] as Duplex, 'close');
    const other = await dialled(it.address, client);
    await said(other);
    it.streams[1]?.destroy();
    other.resume();
    await once(other, 'close');
  });

  test('is given up in time, by its signal, or before it begins', async () => {
    const sockets: Duplex[] = [];
    const silent = await stranger(address(), (socket) => sockets.push(socket.resume()));
    expect(await codeOf(dialled(silent, { ...client, timeoutMs: 50 }))).toBe('ERR_NDSHM_TIMEOUT');
    const abort = new AbortController();
    const reason = new Error('enough');
    const given = dialled(silent, { ...client, signal: abort.signal });
    while (sockets.length < 2) await new Promise(setImmediate);
    abort.abort(reason);
    await expect(given).rejects.toBe(reason);
    for (const each of sockets) if (!each.destroyed) await once(each, 'close');
    await expect(dialled(silent, { ...client, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(sockets.length).toBe(2);
  });

  test('is none with something that is no manager', async () => {
    for (const greeting of ['SSH-2.0-OpenSSH_9.2p1 Debian\r\n', 'HTTP/1.1 400 Bad Request\r\n\r\n']) {
      const other = await stranger(address(), (socket) => socket.end(greeting));
      expect(await codeOf(dialled(other, client))).toBe('ERR_NDSHM_PROTOCOL');
    }
    const closing = await stranger(address(), (socket) => socket.destroy());
    expect(['ERR_NDSHM_MANAGER_LOST', 'ECONNRESET', 'EPIPE']).toContain(await codeOf(dialled(closing, client)));
  });
});

describe('a unix socket', () => {
  const path = (it: Address): string => (it.kind === 'unix' ? it.path : '');

  test.each([
    ['another key', key, otherKey],
    ['no key', key, undefined],
    ['a key that the server does not ask for', undefined, key],
  ])('refuses a client with %s', async (_what, serverKey, clientKey) => {
    const it = await echo(unixAddress(), serverKey === undefined ? {} : { authKey: serverKey });
    const client = clientKey === undefined ? {} : { authKey: clientKey };
    expect(await codeOf(dialled(it.address, client))).toBe('ERR_NDSHM_AUTH');
    expect((await it.refusal()).code).toBe('ERR_NDSHM_AUTH');
    expect(it.streams).toEqual([]);
  });

  test('has its name from the moment on when it is listened on, by this user alone; before, nobody can reach it', async () => {
    const address = unixAddress();
    const seen: object[] = [];
    const looking = (what: string, at: string) => {
      const { mode } = lstatSync(at);
      seen.push({ what, mode: mode.toString(8), around: (lstatSync(dirname(at)).mode & 0o777).toString(8) });
      expect(existsSync(path(address))).toBe(false);
    };
    const { chmodSync, linkSync: realLink } = fs;
    const chmod = jest.spyOn(fs, 'chmodSync').mockImplementation((at, mode) => {
      looking('chmod', at as string);
      chmodSync(at, mode);
    });
    const link = jest.spyOn(fs, 'linkSync').mockImplementation((from, to) => {
      looking('link', from as string);
      realLink(from, to);
    });
    const before = process.umask(0);
    try {
      await echo(address);
    } finally {
      process.umask(before);
      chmod.mockRestore();
      link.mockRestore();
    }
    expect(seen).toEqual([
      { what: 'chmod', mode: '140777', around: '700' },
      { what: 'link', mode: '140600', around: '700' },
    ]);
    expect(lstatSync(path(address)).mode).toBe(0o140600);
    expect(readdirSync(dirname(path(address)))).toEqual(['a.sock']);
  });

  test('may have the longest path there is', async () => {
    const above = folder();
    const where = join(above, 'x'.repeat(107 - above.length - '//a'.length));
    mkdirSync(where);
    const address = parseAddress(join(where, 'a'));
    expect(path(address).length).toBe(107);
    const it = await echo(address);
    expect(await said(await dialled(it.address))).toBe('hello');
    await it.listener.close();
    expect(readdirSync(where)).toEqual([]);
  });

  test('takes no name from somebody who listens', async () => {
    const it = await echo(unixAddress());
    const { code, message } = await rejection(echo(it.address));
    expect([code, message]).toEqual(['EADDRINUSE', expect.stringContaining(path(it.address))]);
    expect(await said(await dialled(it.address))).toBe('hello');
    expect(readdirSync(dirname(path(it.address)))).toEqual(['a.sock']);
  });

  test.each<[string, (path: string) => void]>([
    ['a file', (at) => writeFileSync(at, 'mine')],
    ['a directory', (at) => mkdirSync(at)],
    ['a link to nothing', (at) => symlinkSync('/nowhere', at)],
  ])('takes no name from %s', async (_what, make) => {
    const address = unixAddress();
    make(path(address));
    const { ino } = lstatSync(path(address));
    expect(await codeOf(echo(address))).toBe('EEXIST');
    expect(lstatSync(path(address)).ino).toBe(ino);
    expect(readdirSync(dirname(path(address)))).toEqual(['a.sock']);
  });

  test('gives the system’s errors', async () => {
    const nowhere = parseAddress(join(folder(), 'no/a.sock'));
    expect(await codeOf(echo(nowhere))).toBe('ENOENT');
    for (const options of [{}, { authKey: key }]) {
      const { code, message } = await rejection(dialled(nowhere, options));
      expect([code, message]).toEqual(['ENOENT', expect.stringContaining(path(nowhere))]);
    }
    const refused = await leftAt(unixAddress());
    expect(await codeOf(dialled(refused))).toBe('ECONNREFUSED');
  });

  /** A socket that nobody listens on, as a killed process leaves it. */
  async function leftAt(address: Address): Promise<Address> {
    const server = createServer().listen(`${path(address)}~`);
    await once(server, 'listening');
    linkSync(`${path(address)}~`, path(address));
    server.close();
    await once(server, 'close');
    return address;
  }

  test('takes the name of a dead one, of several servers exactly one does, and none loses it', async () => {
    for (let round = 0; round < 10; round++) {
      const address = await leftAt(unixAddress());
      const options: ListenOptions = {
        maxConnections: 9,
        handshakeTimeoutMs: 9999,
        onStream: (it) => it.pipe(kept(it)),
      };
      const all = await Promise.allSettled(Array.from({ length: 8 }, () => listen(address, options)));
      const won = all.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      const lost = all.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []));
      expect(lost).toEqual(Array(7).fill('EADDRINUSE'));
      expect(await said(await dialled(address))).toBe('hello');
      await won[0]?.close();
      expect(readdirSync(dirname(path(address)))).toEqual([]);
    }
  });

  test('takes the name of a dead one, among processes and threads', async () => {
    const peers = await Promise.all([Peer.start(), Peer.start({ thread: true }), Peer.start()]);
    for (let round = 0; round < 10; round++) {
      const address = await leftAt(unixAddress());
      const race = (peer: Peer) =>
        peer.run(async ({ kept, part }, address) => {
          const { listen } = part('manager/listen') as typeof import('../../dist/manager/listen');
          const options = { maxConnections: 9, handshakeTimeoutMs: 9999, onStream: (it: Duplex) => void it.pipe(it) };
          try {
            kept.set('listener', await listen(address, options));
            return 'won';
          } catch (error) {
            return (error as NodeJS.ErrnoException).code;
          }
        }, address);
      const seen = await Promise.all(peers.map(race));
      expect(seen.filter((each) => each === 'won').length).toBe(1);
      expect(seen.filter((each) => each === 'EADDRINUSE').length).toBe(2);
      expect(await said(await dialled(address))).toBe('hello');
      const close = (peer: Peer) =>
        peer.run(async ({ kept }) => {
          await (kept.get('listener') as { close(): Promise<void> } | undefined)?.close();
          kept.delete('listener');
        });
      await Promise.all(peers.map(close));
      expect(readdirSync(dirname(path(address)))).toEqual([]);
    }
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('gives its name back at close(), but not what somebody has put in its place', async () => {
    const it = await echo(unixAddress());
    const other = await echo(unixAddress());
    renameSync(path(other.address), path(it.address));
    await it.listener.close();
    expect(await said(await dialled(it.address))).toBe('hello');
    await other.listener.close();
    expect(existsSync(path(it.address))).toBe(true);
  });

  test('can be listened on in workers of `cluster`, each for itself', async () => {
    const where = folder();
    const child = fork(resolve(__dirname, '../children/manager-cluster.js'), [where], { silent: true });
    const [report] = await once(child, 'message');
    await once(child, 'exit');
    // Each answers by its own number, and of the name that both want, one has it.
    expect(report).toEqual({ own: ['1', '2'], tcp: ['1', '2'], common: ['EADDRINUSE', 'listening'] });
    expect(readdirSync(where)).toEqual([]);
  });
});

describeAsRoot('a unix socket', () => {
  const listening = async (peer: Peer, address: Address, authKey?: Uint8Array) =>
    peer.run(
      async ({ part }, address, authKey) => {
        const { listen } = part('manager/listen') as typeof import('../../dist/manager/listen');
        const secrets = authKey === undefined ? {} : { authKey: Buffer.from(authKey) };
        const options = { maxConnections: 9, handshakeTimeoutMs: 9999, onStream: (it: Duplex) => void it.pipe(it) };
        await listen(address, { ...secrets, ...options });
      },
      address,
      authKey,
    );

  test('of another user is trusted by its key alone', async () => {
    const where = folder();
    fs.chmodSync(where, 0o777);
    const peer = await Peer.start({ uid: otherUser });
    const [without, withKey] = ['a', 'b'].map((name) => parseAddress(join(where, name))) as [Address, Address];
    await listening(peer, without);
    await listening(peer, withKey, key);
    expect(await codeOf(dialled(without))).toBe('ERR_NDSHM_FOREIGN_OWNER');
    expect(await said(await dialled(withKey, { authKey: key }))).toBe('hello');
    await peer.kill();
  });

  test('lets nobody else in, whatever the umask', async () => {
    const it = await echo(unixAddress());
    fs.chmodSync(dirname(addressText(it.address)), 0o777);
    const peer = await Peer.start({ uid: otherUser });
    const tried = peer.run(async ({ part }, address) => {
      const { dial } = part('manager/dial') as typeof import('../../dist/manager/dial');
      await dial(address, { timeoutMs: 9999 });
    }, it.address);
    expect(await codeOf(tried)).toBe('EACCES');
    await peer.kill();
  });
});

describe('TCP', () => {
  const psk = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const;
  const pskAs = (secret: Buffer, identity: string): tls.ConnectionOptions => ({
    ...psk,
    pskCallback: () => ({ psk: pskOf(secret), identity }),
    checkServerIdentity: () => undefined,
  });

  test('needs a key, or certificates', async () => {
    expect(await codeOf(echo(tcpAddress()))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(await codeOf(dialled(parseAddress('tcp://127.0.0.1:1')))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('tells the port that it was given, by IPv6 and by name as well', async () => {
    for (const address of ['tcp://127.0.0.1:0', 'tcp://[::1]:0', 'tcp://localhost:0'].map(parseAddress)) {
      const it = await echo(address, { authKey: key });
      expect(it.address).toEqual({ ...address, port: expect.any(Number) });
      expect(await said(await dialled(parseAddress(addressText(it.address)), { authKey: key }))).toBe('hello');
      expect(await codeOf(echo(it.address, { authKey: key }))).toBe('EADDRINUSE');
    }
  });

  test('says where nobody listens', async () => {
    const server = createServer().listen(0, 'localhost');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    for (const host of ['127.0.0.1', 'localhost']) {
      const { code, message } = await rejection(dialled({ kind: 'tcp', host, port }, { authKey: key }));
      expect([code, message]).toEqual(['ECONNREFUSED', expect.stringContaining(String(port))]);
    }
  });

  test.each<[string, Secrets, Secrets]>([
    ['another key', { authKey: key }, { authKey: otherKey }],
    ['a key instead of a certificate', { tls: certified.server }, { authKey: key }],
    ['a certificate instead of the key', { authKey: key }, { tls: certified.client }],
    [
      'a certificate beside another key',
      { tls: certified.server, authKey: key },
      { tls: certified.client, authKey: otherKey },
    ],
    ['a certificate, and no key', { tls: certified.server, authKey: key }, { tls: certified.client }],
    ['a key that the server does not ask for', { tls: certified.server }, { tls: certified.client, authKey: key }],
    ['another authority', { tls: certified.server }, { tls: { ...certified.client, ca: strangers.client.ca } }],
    ['the wrong name', { tls: certified.server }, { tls: { ...certified.client, servername: 'client' } }],
    ['a server that has a certificate and needs the key', { tls: certified.server }, { authKey: key }],
  ])('refuses %s', async (_what, server, client) => {
    const it = await echo(tcpAddress(), server);
    expect(await codeOf(dialled(it.address, client))).toBe('ERR_NDSHM_AUTH');
    await it.refusal();
    expect(it.streams).toEqual([]);
  });

  test('refuses a client whose certificate is by another authority, and takes a name that is asked for', async () => {
    const it = await echo(tcpAddress(), { tls: certified.server });
    const wrong = { ...strangers.client, ca: certified.client.ca };
    expect(['ERR_NDSHM_MANAGER_LOST', 'ERR_NDSHM_AUTH']).toContain(await codeOf(dialled(it.address, { tls: wrong })));
    await it.refusal();
    expect(it.streams).toEqual([]);
    const named = await dialled(it.address, { tls: { ...certified.client, servername: 'server' } });
    expect(await said(named)).toBe('hello');
  });

  test.each<[string, Secrets, tls.ConnectionOptions]>([
    ['no key', { authKey: key }, {}],
    ['another identity', { authKey: key }, pskAs(key, 'somebody')],
    ['another key', { authKey: key }, pskAs(otherKey, 'ndshm-manager')],
    [
      'TLS 1.2',
      { authKey: key },
      { ...pskAs(key, 'ndshm-manager'), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'PSK' },
    ],
    ['no certificate', { tls: certified.server }, {}],
    ['a certificate by TLS 1.2', { tls: certified.server }, { ...certified.client, maxVersion: 'TLSv1.2' }],
    ['a certificate of its own making', { tls: certified.server }, { ...strangers.client }],
  ])('refuses TLS with %s', async (_what, server, how) => {
    const it = await echo(tcpAddress(), server);
    if (it.address.kind !== 'tcp') throw new Error('Expected TCP');
    const socket = kept(
      tls.connect({ host: it.address.host, port: it.address.port, rejectUnauthorized: false, ...how }),
    );
    socket.on('error', () => {});
    expect(await untilEnd(socket)).toEqual(Buffer.alloc(0));
    await it.refusal();
    expect(it.streams).toEqual([]);
  });

  test('asks for the handshake inside of TLS, too', async () => {
    const it = await echo(tcpAddress(), { authKey: key });
    if (it.address.kind !== 'tcp') throw new Error('Expected TCP');
    const { host, port } = it.address;
    const socket = kept(tls.connect({ host, port, ...pskAs(key, 'ndshm-manager') }));
    await once(socket, 'secureConnect');
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ type: 'ECDH' });
    socket.write(Buffer.concat([handshake.hello(Buffer.alloc(32)), Buffer.alloc(2 ** 20)]));
    socket.on('error', () => {});
    await untilEnd(socket);
    expect((await it.refusal()).code).toBe('ERR_NDSHM_AUTH');
    expect(it.streams).toEqual([]);
  });

  test('cannot be made to trust anybody by the environment', async () => {
    const it = await echo(tcpAddress(), { tls: certified.server });
    const peer = await Peer.start({ env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } });
    const tried = (given: object) =>
      peer.run(
        async ({ part }, address, given) => {
          const { dial } = part('manager/dial') as typeof import('../../dist/manager/dial');
          (await dial(address, { timeoutMs: 9999, ...given })).destroy();
        },
        it.address,
        given,
      );
    expect(await codeOf(tried({ tls: { ...certified.client, ca: strangers.client.ca } }))).toBe('ERR_NDSHM_AUTH');
    expect(await codeOf(tried({ authKey: key }))).toBe('ERR_NDSHM_AUTH');
    await tried({ tls: certified.client });
    await peer.kill();
  });

  test.each<[string, unknown]>([
    ['null', null],
    ['no key', { ...certified.server, key: undefined }],
    ['a certificate that is a number', { ...certified.server, cert: 1 }],
    ['a list with something else in it', { ...certified.server, ca: [certified.server.ca, {}] }],
    ['a name that is a number', { ...certified.server, servername: 1 }],
    ['an unknown option', { ...certified.server, rejectUnauthorized: false }],
  ])('refuses wrong certificates: %s', async (_what, wrong) => {
    const options = { tls: wrong as TlsOptions };
    expect(await codeOf(echo(tcpAddress(), options))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(await codeOf(dialled(parseAddress('tcp://127.0.0.1:1'), options))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });
});
