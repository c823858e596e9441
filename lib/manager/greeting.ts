import type { Duplex } from 'node:stream';
import { stateError } from '../errors';
import { Attachments } from '../pool/attachments';
import type { Hosted } from './hosted';
import type { ManagerLimits } from './limits';
import { Link } from './link';
import { Ring } from './ring';
import { Session } from './session';

// What is said on a connection before objects are: who the manager is, and whether both sides share memory.

interface ServerGreeting {
  readonly ndshm: 1;
  /** The manager's id, another one after a restart. */
  readonly manager: string;
  /** Handle of a Ring; null where none could be made, or is not wanted. */
  readonly ring: unknown;
}

interface ClientGreeting {
  readonly ndshm: 1;
  /** Whether the client has attached the ring. */
  readonly ring: boolean;
}

export interface GreetingOptions {
  readonly limits: ManagerLimits;
  readonly timeoutMs: number;
  /** A connection by network says now and then that it still is there; null: the kernel tells when it is not. */
  readonly heartbeatMs: number | null;
  readonly sharedMemory: boolean;
}

/** The server's side of a new connection. Errors: ERR_NDSHM_PROTOCOL, ERR_NDSHM_TIMEOUT, ERR_NDSHM_MANAGER_LOST. */
export async function greetClient(
  stream: Duplex,
  manager: string,
  root: Hosted,
  options: GreetingOptions,
): Promise<Session> {
  const link = new Link(stream, { ...options.limits, heartbeatMs: options.heartbeatMs });
  const ring = options.sharedMemory ? Ring.make() : undefined;
  try {
    link.send({ ndshm: 1, manager, ring: ring?.handle ?? null } satisfies ServerGreeting);
    const reply = await greetingOf<ClientGreeting>(link, options.timeoutMs);
    ring?.unlink();
    const shares = ring !== undefined && reply.ring === true;
    if (shares) link.useRing(ring);
    else ring?.close();
    return sessionOf(link, root, shares, options.limits);
  } catch (error) {
    ring?.unlink();
    ring?.close();
    link.abort(error);
    throw error;
  }
}

/** The client's side. Errors: as above. */
export async function greetServer(stream: Duplex, options: GreetingOptions): Promise<Session> {
  const link = new Link(stream, { ...options.limits, heartbeatMs: options.heartbeatMs });
  let ring: Ring | undefined;
  try {
    const greeting = await greetingOf<ServerGreeting>(link, options.timeoutMs);
    ring = options.sharedMemory ? Ring.attach(greeting.ring) : undefined;
    link.send({ ndshm: 1, ring: ring !== undefined } satisfies ClientGreeting);
    if (ring !== undefined) link.useRing(ring);
    return sessionOf(link, undefined, ring !== undefined, options.limits);
  } catch (error) {
    ring?.close();
    link.abort(error);
    throw error;
  }
}

async function greetingOf<T>(link: Link, timeoutMs: number): Promise<T> {
  const timer = setTimeout(() => {
    link.abort(stateError('ERR_NDSHM_TIMEOUT', `The other side did not say who it is within ${timeoutMs} ms`));
  }, timeoutMs);
  try {
    const greeting = await link.receive();
    if (typeof greeting === 'object' && greeting !== null && (greeting as ServerGreeting).ndshm === 1)
      return greeting as T;
    throw stateError('ERR_NDSHM_PROTOCOL', 'The other side speaks another version of the managers’ protocol');
  } finally {
    clearTimeout(timer);
  }
}

const sessionOf = (link: Link, root: Hosted | undefined, shares: boolean, limits: ManagerLimits): Session =>
  new Session(link, { root, limits, arrays: shares ? new Attachments() : undefined });
