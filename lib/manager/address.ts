import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { connect, isIPv6 } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { rangeError, stateError, wrongKind } from '../errors';

/** Where a manager listens. */
export type Address = UnixAddress | TcpAddress;

export interface UnixAddress {
  readonly kind: 'unix';
  /** Absolute. */
  readonly path: string;
}

export interface TcpAddress {
  readonly kind: 'tcp';
  /** A name or a numerical address; of IPv6 without brackets. */
  readonly host: string;
  /** 0 = any that is free, for who listens. */
  readonly port: number;
}

/** What fits into sun_path of sockaddr_un (unix(7)), with the zero byte at its end. */
const longestPath = 107;

const expected = "the path of a unix socket or 'tcp://host:port'";

/**
 * Reads an address: '/run/m.sock', './m.sock', 'unix:/run/m.sock', 'tcp://host:port', 'tcp://[::1]:0'. A relative path
 * becomes absolute. Errors: ERR_NDSHM_INVALID_ARGUMENT for what is no string, ERR_NDSHM_OUT_OF_RANGE for one that is no
 * address, or a path of more than 107 bytes.
 */
export function parseAddress(given: unknown): Address {
  if (typeof given !== 'string') throw wrongKind(expected, 'address', given);
  if (given.startsWith('tcp:')) return tcpAddress(given);
  if (given.startsWith('unix:')) return unixAddress(given.slice('unix:'.length), given);
  return unixAddress(given, given);
}

function tcpAddress(given: string): TcpAddress {
  const [, bracketed, plain, digits] = /^tcp:\/\/(?:\[([^\]]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(given) ?? [];
  const port = Number(digits);
  if (bracketed !== undefined && !isIPv6(bracketed)) throw noAddress(given);
  const host = bracketed ?? plain;
  if (host === undefined || !(port <= 65_535)) throw noAddress(given);
  return { kind: 'tcp', host, port };
}

function unixAddress(path: string, given: string): UnixAddress {
  // A zero byte in front would be an abstract name, which everybody on the host may connect to.
  const isPath =
    path !== '' && !path.endsWith('/') && !path.includes('\0') && !/^[A-Za-z][A-Za-z0-9+.-]*:|^\/\//.test(path);
  if (!isPath) throw noAddress(given);
  const absolute = resolve(path);
  const byteLength = Buffer.byteLength(absolute);
  if (byteLength > longestPath) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Expected at most ${longestPath} bytes for the path of a unix socket but received ${byteLength}: ${absolute}; choose a shorter one`,
    );
  }
  return { kind: 'unix', path: absolute };
}

const noAddress = (given: string) =>
  rangeError(
    'ERR_NDSHM_OUT_OF_RANGE',
    `Expected ${expected} for address but received ${JSON.stringify(given.slice(0, 200))}`,
  );

/** The address as parseAddress() takes it. */
export function addressText(address: Address): string {
  if (address.kind === 'unix') return address.path;
  return `tcp://${isIPv6(address.host) ? `[${address.host}]` : address.host}:${address.port}`;
}

/**
 * A new path for a unix socket, in a directory that belongs to this user and is open to nobody else; the directory is made
 * where it does not exist. Sockets in it that nobody listens on any more are removed, in the background.
 * Errors: ERR_NDSHM_FOREIGN_OWNER if somebody else has that directory, or could change what is in it; ENOENT, EACCES,
 * ENOSPC and others of mkdir(2).
 */
export function privateAddress(): Address {
  const directory = join(tmpdir(), `ndshm-${process.geteuid?.()}`);
  makePrivate(directory);
  removeDeadSockets(directory);
  return parseAddress(join(directory, `${process.pid}-${randomBytes(4).toString('hex')}.sock`));
}

function makePrivate(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  // Whatever it is: where everybody may make directories, somebody may have been here first.
  const found = lstatSync(directory);
  if (!found.isDirectory() || found.uid !== process.geteuid?.() || (found.mode & 0o077) !== 0) {
    throw stateError(
      'ERR_NDSHM_FOREIGN_OWNER',
      `${directory} is not a directory that belongs to this user alone (mode 0700); remove it, or choose an address elsewhere`,
    );
  }
}

/** The names have a random part, and are there only while somebody listens: what is dead once stays dead. */
function removeDeadSockets(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (!/^\d+-[0-9a-f]{8}\.sock$/.test(name)) continue;
    const path = join(directory, name);
    void isListenedOn(path).then((listened) => {
      if (!listened) rmSync(path, { force: true });
    });
  }
}

const nobody = ['ECONNREFUSED', 'ENOENT'];

/** Whether somebody listens on a unix socket. In doubt, as where it may not be connected to: yes. */
export function isListenedOn(path: string): Promise<boolean> {
  return new Promise((tell) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      tell(true);
    });
    probe.once('error', ({ code = '' }: NodeJS.ErrnoException) => tell(!nobody.includes(code)));
  });
}
