import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { rangeError, stateError, wrongKind } from '../errors';

/*
 * What is said on a new connection, inside of TLS where there is TLS, before anything else:
 *
 *   client → server   banner (16 bytes), client's nonce (32)
 *   server → client   banner (16), server's nonce (32), HMAC(key, 'server' ‖ banner ‖ client's nonce ‖ server's) (32)
 *   client → server   HMAC(key, 'client' ‖ banner ‖ client's nonce ‖ server's nonce) (32)
 *   server → client   one byte: come in
 *
 * A1 The nonces are new each time: what was recorded proves nothing later.
 * A2 Each side's proof begins with its own word: what one side said is no proof for the other.
 * A3 Until the proof, a side reads these fixed lengths and nothing more. What comes behind stays in the stream, which takes no
 *    more from the socket than its high-water mark.
 */
const banner = Buffer.from('ndshm-manager/1\n');
const protocolName = banner.subarray(0, banner.indexOf('/') + 1);
const nonceLength = 32;
const proofLength = 32;
const welcome = Buffer.of(1);

const shortestKey = 16;

type Role = 'server' | 'client';

/**
 * The secret that both sides share, as bytes; a string stands for its UTF-8. Copies it.
 * Errors: ERR_NDSHM_INVALID_ARGUMENT, ERR_NDSHM_OUT_OF_RANGE for less than 16 bytes.
 */
export function checkAuthKey(key: unknown): Buffer {
  if (typeof key !== 'string' && !(key instanceof Uint8Array)) {
    throw wrongKind('a string or Uint8Array', 'authKey', key);
  }
  const bytes = Buffer.from(key);
  if (bytes.length < shortestKey) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Expected at least ${shortestKey} bytes for authKey but received ${bytes.length}; crypto.randomBytes(32).toString('hex') makes a good one`,
    );
  }
  return bytes;
}

/** The key for one purpose. Of one, nothing can be learnt about another, or about the authKey. */
const derived = (key: Buffer, purpose: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, '', `ndshm manager 1 ${purpose}`, 32));

/** The pre-shared key of TLS. */
export const pskOf = (key: Buffer): Buffer => derived(key, 'TLS-PSK');

/**
 * Proves to the other side that this one has the key, and has it prove the same; without a key, only that both sides are of
 * one protocol and neither has one. Afterwards the stream stands still, with what came behind the handshake still to be read.
 * Never ends by itself where the other side is silent: the caller destroys the stream. Rejects, with the stream destroyed:
 * ERR_NDSHM_AUTH; ERR_NDSHM_PROTOCOL where the other side is something else, or of another version;
 * ERR_NDSHM_MANAGER_LOST where it ended the connection; the stream's own error.
 */
export async function authenticate(stream: Duplex, key: Buffer | undefined, role: Role): Promise<void> {
  const reader = new Reader(stream);
  try {
    await (role === 'server' ? serve(stream, reader, key) : introduce(stream, reader, key));
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    reader.release();
  }
}

async function serve(stream: Duplex, reader: Reader, key: Buffer | undefined): Promise<void> {
  const theirs = await reader.exactly(banner.length, 'its greeting');
  if (!theirs.equals(banner)) {
    // For a client of another version, so that it can say so; anybody else learns no more than that.
    if (isOurs(theirs)) stream.write(banner);
    throw notUnderstood(theirs);
  }
  const clientNonce = await reader.exactly(nonceLength, 'its greeting');
  const nonces = Buffer.concat([clientNonce, randomBytes(nonceLength)]);
  const prove = prover(key, nonces);
  stream.write(Buffer.concat([banner, nonces.subarray(nonceLength), prove('server')]));
  check(await reader.exactly(proofLength, 'its proof', refused), prove('client'));
  stream.write(welcome);
}

async function introduce(stream: Duplex, reader: Reader, key: Buffer | undefined): Promise<void> {
  const clientNonce = randomBytes(nonceLength);
  stream.write(Buffer.concat([banner, clientNonce]));
  const theirs = await reader.exactly(banner.length, 'its greeting');
  if (!theirs.equals(banner)) throw notUnderstood(theirs);
  const serverNonce = await reader.exactly(nonceLength, 'its greeting');
  const prove = prover(key, Buffer.concat([clientNonce, serverNonce]));
  check(await reader.exactly(proofLength, 'its proof'), prove('server'));
  stream.write(prove('client'));
  const answer = await reader.exactly(welcome.length, 'its welcome', refused);
  if (!answer.equals(welcome)) throw notUnderstood(answer);
}

function prover(key: Buffer | undefined, nonces: Buffer): (role: Role) => Buffer {
  const secret = derived(key ?? Buffer.alloc(0), 'handshake');
  return (role) => createHmac('sha256', secret).update(role).update(banner).update(nonces).digest();
}

function check(theirs: Buffer, expected: Buffer): void {
  if (!timingSafeEqual(theirs, expected)) throw refused();
}

const refused = () =>
  stateError(
    'ERR_NDSHM_AUTH',
    'The two sides do not have the same authKey, or only one of them has any; give both the same one',
  );

const isOurs = (theirs: Buffer): boolean => theirs.subarray(0, protocolName.length).equals(protocolName);

function notUnderstood(theirs: Buffer): Error {
  const what = isOurs(theirs)
    ? `speaks version ${JSON.stringify(theirs.toString('latin1', protocolName.length).trimEnd())} of the managers’ protocol, this one version "1"; use the same version of ndshm on both sides`
    : 'is neither a manager nor a client of one; check the address';
  return stateError('ERR_NDSHM_PROTOCOL', `The other side ${what}`);
}

const idle = (): void => {};

/** Reads exact numbers of bytes from a stream, and leaves the rest in it. */
class Reader {
  readonly #stream: Duplex;
  #look = idle;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('readable', this.#onEvent);
    for (const event of ending) stream.on(event, this.#onEvent);
  }

  readonly #onEvent = (): void => this.#look();

  /** `ended`: what it means if the other side has ended the connection instead. */
  exactly(byteLength: number, what: string, ended = () => endedInstead(what)): Promise<Buffer> {
    const stream = this.#stream;
    return new Promise<Buffer>((resolve, reject) => {
      this.#look = () => {
        // At the end read() gives what there is, be it less.
        const bytes = stream.destroyed ? null : (stream.read(byteLength) as Buffer | null);
        if (bytes?.length === byteLength) resolve(bytes);
        else if (stream.errored && !hasGone(stream.errored)) reject(stream.errored);
        else if (bytes !== null || stream.readableEnded || stream.destroyed) reject(ended());
        else return;
        // The next event may come before who waits here goes on, and must not take what is behind.
        this.#look = idle;
      };
      this.#look();
    });
  }

  release(): void {
    this.#look = idle;
    this.#stream.off('readable', this.#onEvent);
    for (const event of ending) this.#stream.off(event, this.#onEvent);
  }
}

const ending = ['end', 'error', 'close'];

/** Whether the error is but the other side's end, told by the kernel. */
const hasGone = ({ code = '' }: NodeJS.ErrnoException): boolean => ['ECONNRESET', 'EPIPE'].includes(code);

const endedInstead = (what: string) =>
  stateError(
    'ERR_NDSHM_MANAGER_LOST',
    `The other side ended the connection before ${what}: it is closing, has as many connections as it allows (maxConnections), or did not accept this one`,
  );
