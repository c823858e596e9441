import { execFileSync } from 'node:child_process';
import { createHmac, hkdfSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type Address, parseAddress } from '../../dist/manager/address';
import { type Listener, type ListenOptions, listen } from '../../dist/manager/listen';
import type { TlsOptions } from '../../dist/manager/tls';

export const key = Buffer.from('the key that both sides share');
export const otherKey = Buffer.from('a key that the server has not');

const folders: string[] = [];
const listeners: Listener[] = [];
const streams: Duplex[] = [];
const servers: Server[] = [];

/** Gone after the test file. */
export function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'ndshm-net-'));
  folders.push(made);
  return made;
}

export const unixAddress = (): Address => parseAddress(join(folder(), 'a.sock'));
export const tcpAddress = (): Address => parseAddress('tcp://127.0.0.1:0');

export interface Refusal {
  readonly code: string | undefined;
  readonly message: string;
}

/** A listener that sends back what it gets, and remembers. Closed after each test, with its connections. */
export interface Echo {
  readonly listener: Listener;
  readonly address: Address;
  readonly streams: Duplex[];
  readonly refusals: Refusal[];
  /** The next refusal that has not been asked for. */
  refusal(): Promise<Refusal>;
}

export async function echo(address: Address, options: Partial<ListenOptions> = {}): Promise<Echo> {
  const accepted: Duplex[] = [];
  const refusals: Refusal[] = [];
  let asked = 0;
  let tell = () => {};
  const listener = await listen(address, {
    maxConnections: 100,
    handshakeTimeoutMs: 10_000,
    onStream: (stream) => {
      accepted.push(stream);
      streams.push(stream);
      stream.pipe(stream);
    },
    onRefused: (error) => {
      const { code, message } = error as NodeJS.ErrnoException;
      refusals.push({ code, message });
      tell();
    },
    ...options,
  });
  listeners.push(listener);
  const refusal = async (): Promise<Refusal> => {
    const n = asked++;
    while (refusals.length <= n) {
      await new Promise<void>((done) => {
        tell = done;
      });
    }
    return refusals[n] as Refusal;
  };
  return { listener, address: listener.address, streams: accepted, refusals, refusal };
}

/** Ends the stream after the test. */
export function kept<T extends Duplex>(stream: T): T {
  streams.push(stream);
  return stream;
}

/** What comes back when something is sent. */
export async function said(stream: Duplex, text = 'hello'): Promise<string> {
  stream.write(text);
  return (await taken(stream, Buffer.byteLength(text))).toString();
}

/** So many bytes, no less. */
export function taken(stream: Duplex, byteLength: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const events = ['readable', 'end', 'close'];
    const stop = () => {
      for (const event of events) stream.off(event, look);
    };
    const look = () => {
      const bytes = stream.destroyed ? null : (stream.read(byteLength) as Buffer | null);
      if (bytes === null && !stream.destroyed && !stream.readableEnded) return;
      stop();
      if (bytes?.length === byteLength) resolve(bytes);
      else reject(new Error(`The stream ended before ${byteLength} bytes`));
    };
    for (const event of events) stream.on(event, look);
    look();
  });
}

/** Two sockets that are connected to each other. */
export async function wire(): Promise<[Socket, Socket]> {
  const accepted: Socket[] = [];
  const address = await stranger(unixAddress(), (socket) => accepted.push(socket));
  const socket = await plain(address);
  while (accepted.length === 0) await new Promise(setImmediate);
  return [socket, accepted[0] as Socket];
}

const target = (address: Address) =>
  address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };

/** A plain socket to an address. Its errors are no matter: what is looked at is what came. */
export async function plain(address: Address): Promise<Socket> {
  const socket = kept(connect(target(address)));
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** All that is said until the other side ends it. */
export async function untilEnd(socket: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // Not by once(), which an error ends before.
  if (!socket.closed) await new Promise((closed) => socket.on('close', closed));
  return Buffer.concat(chunks);
}

/** Something that listens and is no manager. */
export async function stranger(address: Address, onSocket: (socket: Socket) => void): Promise<Address> {
  const server = createServer((socket) => {
    kept(socket).on('error', () => {});
    onSocket(socket);
  });
  servers.push(server);
  server.listen(target(address));
  await once(server, 'listening');
  const bound = server.address();
  return typeof bound === 'object' && bound !== null && address.kind === 'tcp'
    ? { ...address, port: bound.port }
    : address;
}

/** Somebody in between, who writes down what the client says. */
export async function recorder(to: Address): Promise<{ address: Address; recorded: Buffer[] }> {
  const recorded: Buffer[] = [];
  const address = await stranger(to.kind === 'unix' ? unixAddress() : tcpAddress(), (socket) => {
    const onward = kept(connect(target(to)));
    onward.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => recorded.push(chunk));
    socket.pipe(onward).pipe(socket);
    socket.on('close', () => onward.destroy());
  });
  return { address, recorded };
}

const banner = Buffer.from('ndshm-manager/1\n');

/** The handshake as it is described in lib/manager/auth.ts, made anew. */
export const handshake = {
  banner,
  hello: (nonce: Buffer): Buffer => Buffer.concat([banner, nonce]),
  proof(role: 'server' | 'client', secret: Buffer, clientNonce: Buffer, serverNonce: Buffer): Buffer {
    const derived = Buffer.from(hkdfSync('sha256', secret, '', 'ndshm manager 1 handshake', 32));
    return createHmac('sha256', derived)
      .update(Buffer.concat([Buffer.from(role), banner, clientNonce, serverNonce]))
      .digest();
  },
};

/** Certificates by one authority of their own, for 127.0.0.1 and the names server and client. By the openssl program. */
export function certificates(): { server: TlsOptions; client: TlsOptions } {
  const where = folder();
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: where, stdio: 'pipe' });
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...fresh, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=ca');
  const read = (name: string) => readFileSync(join(where, name), 'utf8');
  const signed = (name: string): TlsOptions => {
    openssl('req', ...fresh, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    writeFileSync(join(where, 'names'), `subjectAltName=IP:127.0.0.1,DNS:${name}`);
    const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-out', `${name}.crt`);
    return { key: read(`${name}.key`), cert: read(`${name}.crt`), ca: read('ca.crt') };
  };
  return { server: signed('server'), client: signed('client') };
}

afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.close()));
  for (const stream of streams.splice(0)) stream.destroy();
  for (const server of servers.splice(0)) server.close();
});

afterAll(() => {
  for (const made of folders) rmSync(made, { recursive: true, force: true });
});
