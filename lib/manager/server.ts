import { randomBytes } from 'node:crypto';
import { Duplex, PassThrough } from 'node:stream';
import { stateError } from '../errors';
import { Attachments } from '../pool/attachments';
import { type Address, addressText } from './address';
import type { TlsOptions } from './dial';
import { greetClient } from './greeting';
import type { Hosted } from './hosted';
import type { ManagerLimits } from './limits';
import { Link } from './link';
import { type Listener, listen } from './listen';
import { Objects } from './objects';
import { Session } from './session';

export interface ServerOptions {
  readonly address: Address;
  readonly authKey: Buffer | undefined;
  readonly tls: TlsOptions | undefined;
  readonly limits: ManagerLimits;
  readonly timeoutMs: number;
  readonly sharedMemory: boolean;
  readonly onRefused?: (error: Error, remote: string) => void;
  /** Adds the types; nobody can connect before. */
  readonly prepare: (objects: Objects) => Promise<void>;
}

/** Between signs of life of a connection by network. */
export const heartbeatMs = 15_000;

/** A manager in this process: its objects, and the connections by which others reach them. */
export class Server {
  readonly objects: Objects;
  readonly #id = randomBytes(12).toString('base64url');
  readonly #root: Hosted;
  readonly #options: ServerOptions;
  readonly #sessions = new Set<Session>();
  #listener!: Listener;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.objects = new Objects(() => ({ pid: process.pid, id: this.#id, connections: this.#sessions.size }));
    this.#root = this.objects.root();
    this.#root.nameIt();
  }

  /** Errors: those of listen(). */
  static async start(options: ServerOptions): Promise<Server> {
    const server = new Server(options);
    const { address, authKey, tls, limits, timeoutMs } = options;
    await options.prepare(server.objects);
    server.#listener = await listen(address, {
      ...(authKey === undefined ? {} : { authKey }),
      ...(tls === undefined ? {} : { tls }),
      maxConnections: limits.maxConnections,
      handshakeTimeoutMs: timeoutMs,
      ...(options.onRefused === undefined ? {} : { onRefused: options.onRefused }),
      onStream: (stream) => void server.#accept(stream),
    });
    return server;
  }

  get address(): string {
    return addressText(this.#listener.address);
  }

  async #accept(stream: Duplex): Promise<void> {
    const { limits, timeoutMs, address, sharedMemory } = this.#options;
    const isLocal = address.kind === 'unix';
    try {
      this.#hold(
        await greetClient(stream, this.#id, this.#root, {
          limits,
          timeoutMs,
          heartbeatMs: isLocal ? null : heartbeatMs,
          sharedMemory: isLocal && sharedMemory,
        }),
      );
    } catch {
      // Whoever it was has gone, or is no client: the stream has been ended.
    }
  }

  #hold(session: Session): void {
    this.#sessions.add(session);
    void session.ended.then(() => this.#sessions.delete(session));
  }

  /** A connection of this process to itself. */
  connect(): Session {
    const { limits } = this.#options;
    const up = new PassThrough();
    const down = new PassThrough();
    const ours = new Link(Duplex.from({ readable: up, writable: down }), { ...limits, heartbeatMs: null });
    const theirs = new Link(Duplex.from({ readable: down, writable: up }), { ...limits, heartbeatMs: null });
    this.#hold(new Session(ours, { root: this.#root, limits, arrays: new Attachments() }));
    return new Session(theirs, { root: undefined, limits, arrays: new Attachments() });
  }

  /** Ends all connections; the objects go. */
  async close(): Promise<void> {
    const closed = this.#listener.close();
    const reason = stateError('ERR_NDSHM_MANAGER_LOST', 'The manager has been closed');
    for (const session of this.#sessions) session.close(reason);
    this.objects.clear();
    await closed;
  }
}
