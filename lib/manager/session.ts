import { RpcSession, type RpcStub, RpcTarget } from 'capnweb';
import { stateError } from '../errors';
import type { Attachments } from '../pool/attachments';
import { asCaller, type Caller } from './caller';
import { Hosted } from './hosted';
import type { ManagerLimits } from './limits';
import { Outbox } from './outbox';
import { ExposedIterator, ExposedSignal, RemoteIterator, remoteSignal } from './passed';
import { checkMessage } from './protocol';
import { later, type Pending, pendingCall, type Reach, RemoteObject, reachOf, remoteFunction } from './remote';
import { Tally } from './tally';
import { decodeThrown, tellable } from './thrown';
import { type Crossing, decodeArguments, decodeValue, encodeArguments, encodeValue, type Sent } from './values';

/** What a session sends by and receives from: a Link, or a pair in memory. */
export interface Transport {
  readonly encodingLevel: 'jsonCompatibleWithBytes';
  send(message: unknown): number | undefined;
  receive(): Promise<unknown>;
  abort(reason: unknown): void;
  readonly ended: Promise<Error>;
  /** Whether it keeps the process running. */
  ref(): void;
  unref(): void;
}

/** A result that goes by reference; on its way the object's methods can be called already. */
interface SentObject {
  readonly o: unknown;
  readonly i: string;
  readonly t: string;
}

/** capnweb's own, without the types of what is behind it: that is ours to say. */
export type Stub = RpcStub<RpcTarget> & { readonly call: StubCall };
type StubCall = (this: void, method: string, ...args: Sent[]) => PromiseLike<Sent>;

export interface SessionOptions {
  /** What the other side is given to begin with. */
  readonly root: Hosted | undefined;
  readonly limits: ManagerLimits;
  /** Where both sides have the same /dev/shm. */
  readonly arrays: Attachments | undefined;
}

/** What a message has at most beside its value. */
const messageBytes = 2 ** 17;

let lastCaller = 0;

/** One connection, either side of it: the objects that it lets the other side call, and the other way round. */
export class Session implements Crossing {
  readonly caller: Caller;
  readonly arrays: Attachments | undefined;
  readonly maxValueBytes: number;
  readonly maxArrayBytes: number;
  readonly arriving = { bytes: 0 };
  /** When it is over, and why. */
  readonly ended: Promise<Error>;
  readonly #rpc: RpcSession<RpcTarget>;
  /** How what the other side gave to begin with is reached. */
  readonly root: Reach;
  readonly #limits: ManagerLimits;
  /** What the other side has been given, and has not given up. */
  readonly #given = new Set<Disposable>();
  readonly #transport: Transport;
  readonly #tally: Tally;
  readonly #outbox: Outbox;
  /** A client keeps the process running while it waits for an answer, or can be called back. */
  readonly #isClient: boolean;
  #reasonsToRun = 0;
  readonly #over = new AbortController();
  #calls = 0;
  /** Of objects that have calls whose arguments are still on their way: until the last of these runs. */
  readonly #arriving = new Map<Hosted, Promise<void>>();
  /** Of the arguments that are being encoded. */
  #signals = noSignals;
  #endedBy: Error | undefined;

  constructor(transport: Transport, { root, limits, arrays }: SessionOptions) {
    this.#transport = transport;
    this.caller = { id: ++lastCaller, signal: this.#over.signal };
    this.arrays = arrays;
    this.#limits = limits;
    this.#isClient = root === undefined;
    if (this.#isClient) transport.unref();
    this.maxValueBytes = Math.max(limits.maxMessageBytes - messageBytes, 0);
    this.maxArrayBytes = limits.maxArrayBytes;
    this.ended = transport.ended.then((error) => this.#end(error));
    this.#tally = new Tally(limits);
    this.#outbox = new Outbox(
      (message) => transport.send(message),
      (error) => transport.abort(error),
    );
    const checked = this.#checked(transport);
    this.#rpc = new RpcSession(checked, root === undefined ? undefined : this.exposed(root), {
      limits: { maxDepth: 64 },
    });
    this.root = new StubReach(this, this.#rpc.getRemoteMain() as unknown as Stub, '');
  }

  /** Why it is over, if it is. */
  get endedBy(): Error | undefined {
    return this.#endedBy;
  }

  /** Ends it. What the other side still waits for, and what is waited for here, fails with the reason. */
  close(reason: Error): void {
    this.#abort(reason);
  }

  #abort(reason: unknown): void {
    this.#outbox.flush();
    this.#transport.abort(reason);
  }

  /** Goes on with each turn of the event loop in which anything is sent. */
  get turn(): number {
    return this.#outbox.turn;
  }

  #end(error: Error): Error {
    this.#endedBy = error;
    this.#over.abort(error);
    for (const given of this.#given) given[Symbol.dispose]();
    return error;
  }

  /** What capnweb hears is checked, and what is kept for the other side is counted. */
  #checked(transport: Transport): Transport {
    const hear = (message: unknown): unknown => {
      const checked = checkMessage(message);
      this.#tally.heard(checked);
      return checked;
    };
    return {
      encodingLevel: transport.encodingLevel,
      ended: transport.ended,
      send: (message) => {
        this.#tally.said(message);
        this.#outbox.add(message);
        return undefined; // not known yet: capnweb estimates what it needs to know
      },
      abort: (reason) => this.#abort(reason),
      ref: () => transport.ref(),
      unref: () => transport.unref(),
      receive: () => transport.receive().then(hear),
    };
  }

  #keepRunning(more: 1 | -1): void {
    if (!this.#isClient) return;
    const before = this.#reasonsToRun;
    this.#reasonsToRun += more;
    if (before === 0) this.#transport.ref();
    else if (this.#reasonsToRun === 0) this.#transport.unref();
  }

  /** Keeps the process running until there is an answer. */
  async waitFor<T>(reply: PromiseLike<T>): Promise<T> {
    this.#keepRunning(1);
    try {
      return await reply;
    } finally {
      this.#keepRunning(-1);
    }
  }

  #check(what: 'calls' | 'objects', count: number): void {
    const most = what === 'calls' ? this.#limits.maxCalls : this.#limits.maxObjects;
    if (count <= most) return;
    const error = stateError('ERR_NDSHM_LIMIT', `More than ${most} ${what} at once on one connection`);
    this.close(error);
    throw error;
  }

  // ---- calls from here ----

  /** `method`: the stub's call(), to be called as it is. */
  call(method: StubCall, name: string, args: unknown[]): Pending<unknown> {
    const piped = new PipedReach(this);
    const pending = pendingCall<unknown>(() => {
      if (this.#endedBy !== undefined) throw this.#stale();
      this.#signals = noSignals;
      const sent = encodeArguments(args, this);
      const signals = this.#signals;
      const reply = method(name, ...sent) as SentReply;
      this.#keepRunning(1);
      const settled = this.#settled(reply, signals, piped);
      piped.sent = { reply, settled, turn: this.turn };
      return settled;
    }, piped);
    // Nobody may be waiting: who calls a listener, and `await` of a value whose then() came from the other side. A client's
    // failure must not be the end of this process.
    if (!this.#isClient || name === '') pending.catch(() => {});
    return pending;
  }

  async #settled(reply: SentReply, signals: readonly AbortSignal[], piped: PipedReach): Promise<unknown> {
    try {
      piped.result = await this.#received(await reply);
      piped.isSettled = true;
      return piped.result;
    } catch (error) {
      throw reasonOf(this.failure(error), signals);
    } finally {
      this.#keepRunning(-1);
    }
  }

  #stale(): Error {
    const message =
      'The object behind the proxy went with its connection to the manager; make it again, or use getOrCreate() with a name, which outlives a connection';
    return Object.assign(stateError('ERR_NDSHM_STALE_PROXY', message), { cause: this.#endedBy });
  }

  #received(reply: Sent): unknown {
    if (typeof reply !== 'object' || reply === null) return decodeValue(reply, this);
    try {
      if (Array.isArray(reply)) return decodeValue(reply, this);
      const { o, i, t } = reply as SentObject;
      return this.remote(o, String(i), String(t));
    } finally {
      (reply as Partial<Disposable>)[Symbol.dispose]?.(); // what is needed of it has been taken over
    }
  }

  /** What the other side has thrown, of what capnweb rejects with. */
  failure(error: unknown): unknown {
    const { ndshm, code } = error as { ndshm?: unknown; code?: unknown };
    if (ndshm instanceof Uint8Array) return decodeThrown(ndshm);
    if (code !== undefined || !(error instanceof Error)) return error;
    // capnweb's own: the other side, or this one, has broken its rules.
    return Object.assign(stateError('ERR_NDSHM_PROTOCOL', error.message), { cause: error });
  }

  // ---- calls from the other side ----

  /** Gives capnweb what it sends as the result. */
  serve(hosted: Hosted, name: unknown, sent: Sent[]): unknown {
    this.#check('calls', ++this.#calls);
    let isOver = true;
    try {
      const args = decodeArguments(sent, this);
      const run = (list: unknown[]) => asCaller(this.caller, () => hosted.call(name, list));
      const isLater = args instanceof Promise || this.#arriving.has(hosted);
      const result = isLater ? this.#inTurn(hosted, args, run) : run(args);
      // An object that goes by reference is not waited for, though it may have a method of that name.
      if (!isThenable(result) || Hosted.of(result) !== undefined) return this.#reply(result);
      isOver = false;
      return this.#replyLater(result);
    } catch (error) {
      throw tellable(error);
    } finally {
      if (isOver) this.#calls--;
    }
  }

  /** Runs a call once its arguments are all there, and those of the calls before it. */
  async #inTurn(
    hosted: Hosted,
    args: unknown[] | Promise<unknown[]>,
    run: (args: unknown[]) => unknown,
  ): Promise<unknown> {
    const arrived = Promise.resolve(args);
    arrived.catch(() => {}); // thrown when it is its turn
    const before = this.#arriving.get(hosted);
    let hasRun = () => {};
    const turn = new Promise<void>((resolve) => {
      hasRun = resolve;
    });
    this.#arriving.set(hosted, turn);
    try {
      await before;
      return run(await arrived);
    } finally {
      hasRun();
      if (this.#arriving.get(hosted) === turn) this.#arriving.delete(hosted);
    }
  }

  async #replyLater(result: PromiseLike<unknown>): Promise<unknown> {
    try {
      return this.#reply(await result);
    } catch (error) {
      throw tellable(error);
    } finally {
      this.#calls--;
    }
  }

  #reply(value: unknown): unknown {
    const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function';
    const hosted = isObject ? Hosted.of(value) : undefined;
    if (hosted === undefined) {
      const sent = encodeValue(value, this);
      this.#tally.made(sent);
      return sent;
    }
    return { o: this.exposed(hosted), i: hosted.id, t: hosted.type } satisfies SentObject;
  }

  // ---- references, as values.ts needs them ----

  exposed(hosted: Hosted): RpcTarget & Disposable {
    return this.#give(new Exposed(this, hosted));
  }

  iterator(iterable: AsyncIterable<unknown>): RpcTarget & Disposable {
    return this.#give(new ExposedIterator(this, iterable[Symbol.asyncIterator]()));
  }

  signal(signal: AbortSignal): RpcTarget & Disposable {
    this.#signals = [...this.#signals, signal];
    return this.#give(new ExposedSignal(this, signal));
  }

  #give<T extends Disposable>(target: T): T {
    this.#given.add(target);
    this.#keepRunning(1);
    this.#check('objects', this.#given.size);
    return target;
  }

  /** The other side has given it up. */
  takeBack(target: Disposable): boolean {
    if (!this.#given.delete(target)) return false;
    this.#keepRunning(-1);
    return true;
  }

  idOf(value: object): string | undefined {
    const reach = reachOf(value);
    return reach === undefined ? undefined : reach.idIn(this);
  }

  remote(reference: unknown, id: string, type: string): object {
    const reach = new StubReach(this, takenOver(reference), id);
    return type === 'function' ? remoteFunction(reach) : RemoteObject.make(reach, type);
  }

  remoteIterator(reference: unknown): AsyncIterableIterator<unknown> {
    return new RemoteIterator(takenOver(reference), this);
  }

  remoteSignal(reference: unknown): AbortSignal {
    return remoteSignal(checkStub(reference));
  }
}

const noSignals: readonly AbortSignal[] = [];

/** Of a call that was aborted by one of its signals: the reason itself, not what has become of it on its way. */
function reasonOf(failure: unknown, signals: readonly AbortSignal[]): unknown {
  const { name, message } = (failure ?? {}) as Partial<Error>;
  for (const { aborted, reason } of signals) {
    const { name: itsName, message: itsMessage } = (reason ?? {}) as Partial<Error>;
    if (aborted && (failure === reason || (name === itsName && message === itsMessage))) return reason as unknown;
  }
  return failure;
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';

/** What capnweb delivers belongs to the call that brought it. */
const takenOver = (reference: unknown): Stub => checkStub(reference).dup() as Stub;

function checkStub(reference: unknown): Stub {
  if (typeof reference === 'function' && typeof (reference as unknown as Partial<Stub>).dup === 'function') {
    return reference as unknown as Stub;
  }
  throw stateError('ERR_NDSHM_CORRUPT_OBJECT', 'Expected a reference, which the other side has not sent');
}

/** An object of the other side. */
class StubReach implements Reach {
  readonly #session: Session;
  readonly #stub: Stub;
  readonly #method: StubCall;
  readonly #id: string;

  constructor(session: Session, stub: Stub, id: string) {
    this.#session = session;
    this.#stub = stub;
    this.#method = stub.call;
    this.#id = id;
  }

  call(method: string, args: unknown[]): Pending<unknown> {
    return this.#session.call(this.#method, method, args);
  }

  idIn(session: Session): string | undefined {
    return session === this.#session ? this.#id : undefined;
  }

  release(): void {
    this.#stub[Symbol.dispose]();
  }
}

type SentReply = PromiseLike<Sent> & { readonly o: Stub };

/** The object that a call will give, if it gives one. */
class PipedReach implements Reach {
  readonly #session: Session;
  /** Missing if the call could not be sent. */
  sent: { readonly reply: SentReply; readonly settled: Promise<unknown>; readonly turn: number } | undefined;
  /** What has come. */
  result: unknown;
  isSettled = false;

  constructor(session: Session) {
    this.#session = session;
  }

  call(method: string, args: unknown[]): Pending<unknown> {
    const { result, sent } = this;
    if (result === undefined && sent !== undefined) {
      const { reply, settled, turn } = sent;
      if (turn === this.#session.turn) return this.#session.call(reply.o.call, method, args);
      if (!this.isSettled) return later(settled.then(() => this.call(method, args)));
    }
    const reach = typeof result === 'object' && result !== null ? reachOf(result) : undefined;
    if (reach !== undefined) return reach.call(method, args);
    const error = stateError('ERR_NDSHM_NOT_EXPOSED', `The call gave nothing that has a method '${method}'`);
    return pendingCall<unknown>(() => Promise.reject(error), this);
  }

  idIn(): undefined {
    return undefined;
  }

  release(): void {}
}

/** What the other side has been given of an object here. capnweb lets it reach the methods of these classes alone. */
class Exposed extends RpcTarget {
  readonly #session: Session;
  readonly #hosted: Hosted;

  constructor(session: Session, hosted: Hosted) {
    super();
    this.#session = session;
    this.#hosted = hosted;
    hosted.refer();
  }

  call(name: unknown, ...sent: Sent[]): unknown {
    return this.#session.serve(this.#hosted, name, sent);
  }

  [Symbol.dispose](): void {
    if (this.#session.takeBack(this)) this.#hosted.release();
  }
}
