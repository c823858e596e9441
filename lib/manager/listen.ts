import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { stateError } from '../errors';
import { type Address, addressText } from './address';
import { authenticate } from './auth';
import { SocketFile } from './socket-file';
import { type Secrets, serverTls, tlsError } from './tls';

export interface ListenOptions extends Secrets {
  /** How many connections there may be at a time, those that are still in their handshake included. */
  readonly maxConnections: number;
  /** How long a handshake may take, TLS included, in milliseconds. */
  readonly handshakeTimeoutMs: number;
  /** A connection that has proved what it had to. The stream stands still: what came behind is still to be read. */
  readonly onStream: (stream: Duplex, remote: string) => void;
  readonly onRefused?: (error: Error, remote: string) => void;
}

export interface Listener {
  /** With the port that was chosen. */
  readonly address: Address;
  /** No more connections; the socket's name goes. What has been handed over stays, handshakes are broken off. */
  close(): Promise<void>;
}

/** A connection that has not proved anything yet. */
interface Handshake {
  /** As it was accepted. What ends it ends the TLS over it. */
  readonly socket: Socket;
  readonly remote: string;
  readonly timer: NodeJS.Timeout;
  /** Why this side has broken it off. */
  brokenOff?: Error;
}

/**
 * Listens for connections, and hands over those whose handshake succeeds. TCP always has TLS 1.3.
 * Errors: EADDRINUSE if anybody listens there; EEXIST if the path is not a socket's; EACCES, ENOENT and others of
 * bind(2); ERR_NDSHM_INVALID_ARGUMENT for TCP with neither key nor certificates; ERR_NDSHM_UNSUPPORTED.
 */
export async function listen(address: Address, options: ListenOptions): Promise<Listener> {
  const server = address.kind === 'unix' ? createServer() : createTlsServer({ ...serverTls(options), noDelay: true });
  server.maxConnections = options.maxConnections;
  const door = new Door(server, address, options);
  const bind = async (where: { path: string } | { host: string; port: number }): Promise<void> => {
    // Exclusive: in a worker of `cluster` the primary would listen otherwise, and hand connections round.
    server.listen({ ...where, exclusive: true });
    await once(server, 'listening');
  };
  try {
    if (address.kind === 'tcp') {
      await bind(address);
      return door.open({ ...address, port: (server.address() as AddressInfo).port });
    }
    return door.open(address, await SocketFile.make(address.path, (path) => bind({ path })));
  } catch (error) {
    server.close();
    throw error;
  }
}

/** What happens to a connection between accept() and onStream(). */
class Door {
  readonly #server: Server;
  readonly #options: ListenOptions;
  readonly #handshakes = new Set<Handshake>();
  /** Those of TLS by their other ends: there is no other way from a TLSSocket to the socket under it. */
  readonly #inTls = new Map<string, Handshake>();

  constructor(server: Server, address: Address, options: ListenOptions) {
    this.#server = server;
    this.#options = options;
    server.on('connection', (socket) => {
      const handshake = this.#begin(socket, address.kind === 'unix' ? addressText(address) : remoteOf(socket));
      if (address.kind === 'unix') void this.#authenticate(handshake, socket);
      else this.#inTls.set(handshake.remote, handshake);
    });
    server.on('drop', () => {
      const message = `There are ${options.maxConnections} connections already (maxConnections)`;
      options.onRefused?.(stateError('ERR_NDSHM_LIMIT', message), addressText(address));
    });
    server.on('secureConnection', (stream: TLSSocket) => this.#secured(stream));
    server.on('tlsClientError', (error: Error, stream: TLSSocket) => {
      const handshake = this.#inTls.get(remoteOf(stream));
      if (handshake !== undefined) this.#refuse(handshake, tlsError(error));
    });
  }

  open(address: Address, file?: SocketFile): Listener {
    let isOpen = true;
    // Too many descriptors, say: it concerns the connection that was to be accepted, and no other.
    this.#server.on('error', (error) => this.#options.onRefused?.(error, addressText(address)));
    return {
      address,
      close: async () => {
        if (!isOpen) return;
        isOpen = false;
        file?.remove();
        // Its callback would wait for all connections, which are not this one's business any more.
        this.#server.close();
        for (const handshake of this.#handshakes) {
          this.#breakOff(handshake, stateError('ERR_NDSHM_CLOSED', 'The manager has been closed'));
        }
      },
    };
  }

  #begin(socket: Socket, remote: string): Handshake {
    const { handshakeTimeoutMs } = this.#options;
    const timer = setTimeout(() => {
      const message = `The handshake of ${remote} took more than ${handshakeTimeoutMs} ms`;
      this.#breakOff(handshake, stateError('ERR_NDSHM_TIMEOUT', message));
    }, handshakeTimeoutMs);
    const handshake: Handshake = { socket, remote, timer };
    this.#handshakes.add(handshake);
    socket.on('close', () => this.#refuse(handshake, stateError('ERR_NDSHM_MANAGER_LOST', `${remote} has gone`)));
    return handshake;
  }

  #secured(stream: TLSSocket): void {
    const handshake = this.#inTls.get(remoteOf(stream));
    if (handshake === undefined) stream.destroy();
    else void this.#authenticate(handshake, stream);
  }

  async #authenticate(handshake: Handshake, stream: Duplex): Promise<void> {
    // Stays: an error between here and whoever gets the stream would end the process.
    stream.on('error', () => {});
    try {
      await authenticate(stream, this.#options.authKey, 'server');
    } catch (error) {
      this.#refuse(handshake, error as Error);
      return;
    }
    if (this.#end(handshake) && !stream.destroyed) this.#options.onStream(stream, handshake.remote);
  }

  #breakOff(handshake: Handshake, reason: Error): void {
    handshake.brokenOff = reason;
    handshake.socket.destroy();
  }

  #refuse(handshake: Handshake, error: Error): void {
    if (!this.#end(handshake)) return;
    handshake.socket.destroy();
    this.#options.onRefused?.(handshake.brokenOff ?? error, handshake.remote);
  }

  /** Whether it had not ended before. */
  #end(handshake: Handshake): boolean {
    clearTimeout(handshake.timer);
    if (this.#inTls.get(handshake.remote) === handshake) this.#inTls.delete(handshake.remote);
    return this.#handshakes.delete(handshake);
  }
}

const remoteOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} port ${remotePort}`;
