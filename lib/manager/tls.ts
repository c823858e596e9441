import type { ConnectionOptions, SecureContextOptions, TlsOptions as ServerTls } from 'node:tls';
import { stateError, typeError, wrongKind } from '../errors';
import { checkOptions } from '../options';
import type { TcpAddress } from './address';
import { pskOf } from './auth';

/** Certificates, of which either side has its own. PEM. */
export interface TlsOptions {
  /** This side's private key. */
  readonly key: string | Buffer;
  /** This side's certificate. */
  readonly cert: string | Buffer;
  /** Who signs the other side's certificate. No one else is trusted: not those that the system trusts. */
  readonly ca: string | Buffer | (string | Buffer)[];
  /** For a client: the name in the server's certificate, where it is not the host of the address. */
  readonly servername?: string;
}

const tlsKeys = ['key', 'cert', 'ca', 'servername'] as const;

/** How a side of a TCP connection is secured. */
export interface Secrets {
  readonly authKey?: Buffer;
  readonly tls?: TlsOptions;
}

const identity = 'ndshm-manager';
const version = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
// The pre-shared keys of Node are bound to SHA-256, and so are only the suites that have it.
const pskSuite = { ...version, ciphers: 'TLS_AES_128_GCM_SHA256' } as const;

/**
 * For tls.createServer(). Both sides prove who they are, by certificate or by key.
 * Errors: ERR_NDSHM_INVALID_ARGUMENT without either, ERR_NDSHM_UNSUPPORTED for a key alone where there is no TLS-PSK.
 */
export function serverTls(secrets: Secrets): ServerTls {
  const { tls } = secrets;
  if (tls !== undefined) return { ...version, ...certificates(tls), requestCert: true, rejectUnauthorized: true };
  const psk = pskOf(keyFor(secrets));
  // Without a certificate the server cannot do a handshake but by this key.
  return { ...pskSuite, pskCallback: (_socket, theirs) => (theirs === identity ? psk : null) };
}

/** For tls.connect(). Errors: as above. */
export function clientTls({ host, port }: TcpAddress, secrets: Secrets): ConnectionOptions {
  const { tls } = secrets;
  if (tls !== undefined) {
    const own = certificates(tls);
    const named = tls.servername === undefined ? {} : { servername: tls.servername };
    return { ...version, ...own, ...named, host, port, rejectUnauthorized: true };
  }
  const psk = pskOf(keyFor(secrets));
  return {
    ...pskSuite,
    host,
    port,
    pskCallback: () => ({ psk, identity }),
    // A server that has a certificate and not the key is not the one: no authority is trusted, and no name is right.
    rejectUnauthorized: true,
    ca: [],
    checkServerIdentity: (_host, { raw }) =>
      raw === undefined
        ? undefined
        : stateError('ERR_NDSHM_AUTH', 'The other side has a certificate instead of the authKey'),
  };
}

function certificates(tls: TlsOptions): SecureContextOptions {
  const { key, cert, ca, servername } = checkOptions(tls, tlsKeys, 'tls');
  const isPem = (value: unknown): boolean => typeof value === 'string' || value instanceof Uint8Array;
  if (!isPem(key)) throw wrongKind('a PEM string or Buffer', 'tls.key', key);
  if (!isPem(cert)) throw wrongKind('a PEM string or Buffer', 'tls.cert', cert);
  if (![ca].flat().every(isPem)) throw wrongKind('PEM strings or Buffers', 'tls.ca', ca);
  if (servername !== undefined && typeof servername !== 'string')
    throw wrongKind('a string', 'tls.servername', servername);
  return { key, cert, ca };
}

function keyFor({ authKey }: Secrets): Buffer {
  if (authKey === undefined) {
    throw typeError(
      'ERR_NDSHM_INVALID_ARGUMENT',
      'TCP needs an authKey, or certificates as `tls`: whoever reaches the port could connect otherwise',
    );
  }
  const { bun, deno } = process.versions;
  if (bun !== undefined || deno !== undefined) {
    throw stateError(
      'ERR_NDSHM_UNSUPPORTED',
      'TCP with an authKey alone needs TLS-PSK, which this runtime does not have; pass certificates as `tls`, or use Node.js',
    );
  }
  return authKey;
}

// Of OpenSSL, where what came is not TLS, or of a version that is not spoken.
const notTls =
  /^ERR_SSL_(WRONG_VERSION_NUMBER|HTTPS?_(PROXY_)?REQUEST|PACKET_LENGTH_TOO_LONG|UNSUPPORTED_PROTOCOL|(TLSV1|TLS)_ALERT_PROTOCOL_VERSION|NO_PROTOCOLS_AVAILABLE|BAD_RECORD_TYPE|RECORD_TOO_SMALL|UNEXPECTED_MESSAGE)$/;

/** An error of the TLS handshake, in our words where it is about who the other side is; others stay as they are. */
export function tlsError(error: NodeJS.ErrnoException & { readonly reason?: string }): Error {
  const { code = '', message, reason = message, syscall } = error;
  if (syscall !== undefined || code.startsWith('ERR_NDSHM_')) return error;
  return Object.assign(inOurWords(code, reason), { cause: error });
}

function inOurWords(code: string, reason: string): Error {
  if (notTls.test(code)) return stateError('ERR_NDSHM_PROTOCOL', `The other side does not speak TLS 1.3: ${reason}`);
  if (code === 'ECONNRESET') return stateError('ERR_NDSHM_MANAGER_LOST', `The other side broke off TLS: ${reason}`);
  return stateError(
    'ERR_NDSHM_AUTH',
    `The other side has another authKey, or no certificate that is trusted: ${reason}`,
  );
}
