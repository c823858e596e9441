import { parseAddress } from './address';
import { dial } from './dial';
import { greetServer } from './greeting';
import { heartbeatMs, type ServerOptions } from './server';
import type { Session } from './session';

export interface ClientOptions extends Omit<ServerOptions, 'prepare' | 'address'> {
  readonly address: string;
}

/** A new connection to a manager. Errors: those of dial(), ERR_NDSHM_PROTOCOL, ERR_NDSHM_TIMEOUT, ERR_NDSHM_MANAGER_LOST. */
export async function openSession(options: ClientOptions): Promise<Session> {
  const { authKey, tls, limits, timeoutMs, sharedMemory } = options;
  const address = parseAddress(options.address);
  const stream = await dial(address, {
    ...(authKey === undefined ? {} : { authKey }),
    ...(tls === undefined ? {} : { tls }),
    timeoutMs,
  });
  const isLocal = address.kind === 'unix';
  return greetServer(stream, {
    limits,
    timeoutMs,
    heartbeatMs: isLocal ? null : heartbeatMs,
    sharedMemory: isLocal && sharedMemory,
  });
}
