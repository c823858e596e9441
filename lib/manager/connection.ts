import { setTimeout as delay } from 'node:timers/promises';
import { stateError } from '../errors';
import { later, type Pending, pendingCall, pipedReachOf, type Reach, RemoteObject, takeReach } from './remote';
import type { Session } from './session';

/** The delays between attempts to connect again. */
const firstDelayMs = 10;
const longestDelayMs = 500;

/** A client's way to a manager, which it finds again after a restart. */
export class Connection {
  readonly #connect: () => Promise<Session>;
  readonly #reconnectMs: number;
  readonly #onReconnect: () => void;
  readonly #named = new Set<NamedReach>();
  #session: Session;
  #connecting: Promise<Session> | undefined;
  #closedBy: Error | undefined;

  private constructor(session: Session, connect: () => Promise<Session>, reconnectMs: number, onReconnect: () => void) {
    this.#session = session;
    this.#connect = connect;
    this.#reconnectMs = reconnectMs;
    this.#onReconnect = onReconnect;
  }

  /** Errors: those of `connect`, which is not tried again here: a wrong address is told at once. */
  static async open(
    connect: () => Promise<Session>,
    reconnectMs: number,
    onReconnect: () => void,
  ): Promise<Connection> {
    return new Connection(await connect(), connect, reconnectMs, onReconnect);
  }

  /** The living session; undefined while there is none. */
  get current(): Session | undefined {
    return this.#session.endedBy === undefined && this.#connecting === undefined ? this.#session : undefined;
  }

  /** The living session, or the next one. Errors: ERR_NDSHM_MANAGER_LOST, ERR_NDSHM_CLOSED. */
  async session(): Promise<Session> {
    if (this.#closedBy !== undefined) throw this.#closedBy;
    if (this.current !== undefined) return this.#session;
    this.#connecting ??= this.#again().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #again(): Promise<Session> {
    const end = performance.now() + this.#reconnectMs;
    for (let delayMs = firstDelayMs; ; delayMs = Math.min(2 * delayMs, longestDelayMs)) {
      try {
        const session = await this.#connect();
        if (this.#closedBy !== undefined) {
          session.close(this.#closedBy);
          throw this.#closedBy;
        }
        this.#session = session;
        await Promise.all([...this.#named].map((each) => each.renew(session)));
        this.#onReconnect();
        return session;
      } catch (cause) {
        if (this.#closedBy !== undefined) throw this.#closedBy;
        if (performance.now() + delayMs > end) {
          const message = `The manager cannot be reached again: ${cause instanceof Error ? cause.message : String(cause)}`;
          throw Object.assign(stateError('ERR_NDSHM_MANAGER_LOST', message), { cause });
        }
        await delay(delayMs);
      }
    }
  }

  /** A call of what the manager gives to begin with, by the next session if there is none. */
  call(method: string, args: unknown[]): Pending<unknown> {
    const session = this.current;
    return session === undefined
      ? later(this.session().then((next) => next.root.call(method, args)))
      : session.root.call(method, args);
  }

  /** As call(), of a method that gives an object by its name: the proxy outlives this connection. */
  named(method: string, args: unknown[]): Pending<unknown> {
    const found = this.call(method, args);
    const proxy = found.then((object) => {
      const named = new NamedReach(this, takeReach(object as object), method, args, () => this.#named.delete(named));
      this.#named.add(named);
      return RemoteObject.make(named, RemoteObject.typeOf(object as RemoteObject));
    });
    return pendingCall<unknown>(() => proxy, pipedReachOf(found) as Reach);
  }

  close(reason: Error): void {
    this.#closedBy = reason;
    this.#session.close(reason);
  }
}

/** An object that the manager finds by name, in each of its lives. */
class NamedReach implements Reach {
  readonly #connection: Connection;
  readonly #method: string;
  readonly #args: unknown[];
  readonly #onRelease: () => void;
  #reach: Reach;
  /** Why the manager of now does not have it. */
  #missing: unknown;

  constructor(connection: Connection, reach: Reach, method: string, args: unknown[], onRelease: () => void) {
    this.#connection = connection;
    this.#reach = reach;
    this.#method = method;
    this.#args = args;
    this.#onRelease = onRelease;
  }

  call(method: string, args: unknown[]): Pending<unknown> {
    if (this.#connection.current === undefined) {
      return later(this.#connection.session().then(() => this.call(method, args)));
    }
    if (this.#missing !== undefined) return later(Promise.reject(this.#missing));
    return this.#reach.call(method, args);
  }

  /** Finds it again. Rejects only with the session's own end. */
  async renew(session: Session): Promise<void> {
    this.#missing = undefined;
    try {
      this.#reach = takeReach((await session.root.call(this.#method, this.#args)) as object);
    } catch (error) {
      if (session.endedBy !== undefined) throw error;
      this.#missing = error;
    }
  }

  idIn(session: object): string | undefined {
    return this.#reach.idIn(session);
  }

  release(): void {
    this.#onRelease();
    this.#reach.release();
  }
}
