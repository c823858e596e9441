import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { stateError } from '../errors';
import { checkSignal, Deadline } from '../lock/deadline';
import { type Address, addressText } from './address';
import { authenticate } from './auth';
import { clientTls, type Secrets, tlsError } from './tls';

export type { TlsOptions } from './tls';

export interface DialOptions extends Secrets {
  /** How long connecting and the handshake may take together, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Connects to a manager; both sides have proved who they are. The stream stands still: nothing has been read of what came
 * behind the handshake. Errors: ECONNREFUSED, ENOENT and others of connect(2); ERR_NDSHM_AUTH for another key, or a
 * certificate that is not trusted; ERR_NDSHM_PROTOCOL for what is not a manager; ERR_NDSHM_MANAGER_LOST where it ended the
 * connection; ERR_NDSHM_FOREIGN_OWNER for another user's socket without authKey; ERR_NDSHM_TIMEOUT, the signal's reason;
 * ERR_NDSHM_INVALID_ARGUMENT for TCP with neither key nor certificates; ERR_NDSHM_UNSUPPORTED.
 */
export async function dial(address: Address, options: DialOptions): Promise<Duplex> {
  const { timeoutMs, signal } = options;
  checkSignal(signal);
  const stream = address.kind === 'unix' ? connect(address.path) : connectTls(clientTls(address, options));
  // Stays: an error between here and whoever gets the stream would end the process.
  stream.on('error', () => {});
  stream.setNoDelay(true);
  let deadline: Deadline | undefined;
  const givenUp = new Promise<never>((_, giveUp) => {
    const late = () =>
      giveUp(stateError('ERR_NDSHM_TIMEOUT', `${addressText(address)} did not answer within ${timeoutMs} ms`));
    deadline = new Deadline({ timeoutMs, signal }, late, giveUp);
  });
  try {
    await Promise.race([greet(stream, address, options), givenUp]);
    return stream;
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    deadline?.clear();
  }
}

async function greet(stream: Duplex, address: Address, { authKey }: DialOptions): Promise<void> {
  if (address.kind === 'unix') {
    await once(stream, 'connect');
    if (authKey === undefined) await checkOwner(address.path);
    return authenticate(stream, authKey, 'client');
  }
  try {
    await once(stream, 'secureConnect');
    await authenticate(stream, authKey, 'client');
  } catch (error) {
    throw tlsError(firstOf(error as Error));
  }
}

/** Where a host has several addresses, all of them were tried, and the error of all has no message. */
const firstOf = (error: Error & { readonly errors?: readonly Error[] }): Error => error.errors?.[0] ?? error;

/** Where there is no key, who owns the socket is all that tells who listens: in a common directory, anybody may. */
async function checkOwner(path: string): Promise<void> {
  const { uid } = await stat(path);
  if (uid !== process.geteuid?.() && uid !== 0) {
    throw stateError(
      'ERR_NDSHM_FOREIGN_OWNER',
      `${path} is the socket of another user (uid ${uid}); give both sides an authKey if you trust that user`,
    );
  }
}
