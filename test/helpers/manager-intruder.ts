import type { Duplex } from 'node:stream';
import { parseAddress } from '../../dist/manager/address';
import { dial } from '../../dist/manager/dial';
import { Link } from '../../dist/manager/link';
import { Ring } from '../../dist/manager/ring';
import { within } from './child';
import { objectBytes } from './object-bytes';

const roomy = { maxMessageBytes: 2 ** 28, maxJsonBytes: 2 ** 26, maxBufferedBytes: 2 ** 31, heartbeatMs: null };

/** What became of an attempt. */
export type Outcome =
  | { readonly given: unknown }
  | { readonly refused: string; readonly code?: unknown }
  | { readonly ended: string };

/** A client that has the key, and says what it likes: capnweb's messages, by hand. Ends after the test. */
export class Intruder {
  readonly #link: Link;
  readonly stream: Duplex;
  /** Of what was pushed; 0 is what the manager gives to begin with. */
  #last = 0;
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  readonly #settled = new Map<number, Outcome>();
  readonly #ended: Promise<Outcome>;
  /** What the manager calls here: what to answer to it. */
  onPush: (id: number, expression: unknown) => void = () => {};
  #pushes = 0;
  #farewell: string | undefined;

  private constructor(stream: Duplex, link: Link) {
    this.stream = stream;
    this.#link = link;
    this.#ended = link.ended.then(({ message }) => ({ ended: this.#farewell ?? message }));
    void this.#listen();
    inside.add(this);
  }

  /** `shares`: attaches the ring that the manager offers, so that handles of arrays mean something. */
  static async enter(address: string, { shares = false } = {}): Promise<Intruder> {
    const stream = await dial(parseAddress(address), { timeoutMs: 10_000 });
    const link = new Link(stream, roomy);
    const greeting = (await within(link.receive(), 'greeting')) as { readonly ring: unknown };
    const ring = shares ? Ring.attach(greeting.ring) : undefined;
    link.send({ ndshm: 1, ring: shares });
    if (shares && ring === undefined) throw new Error('The ring cannot be attached');
    if (ring !== undefined) link.useRing(ring);
    return new Intruder(stream, link);
  }

  async #listen(): Promise<void> {
    try {
      for (;;) this.#heard((await this.#link.receive()) as [string, number, unknown]);
    } catch {
      // `#ended` says why
    }
  }

  #heard([kind, id, expression]: [string, number, unknown]): void {
    if (kind === 'push' || kind === 'stream') this.onPush(++this.#pushes, id);
    if (kind === 'abort') this.#farewell = refusalOf(id).refused;
    if (kind !== 'resolve' && kind !== 'reject') return;
    const outcome = kind === 'resolve' ? { given: expression } : refusalOf(expression);
    this.#settled.set(id, outcome);
    this.#waiting.get(id)?.(outcome);
  }

  /** A message of capnweb's, or not. */
  say(message: unknown): void {
    this.#link.send(message);
  }

  /** Gives the number of what it will be. */
  push(expression: unknown): number {
    this.say(['push', expression]);
    return ++this.#last;
  }

  pipe(): number {
    this.say(['pipe']);
    return ++this.#last;
  }

  streamed(expression: unknown): number {
    this.say(['stream', expression]);
    return ++this.#last;
  }

  /** Calls, by a path of names, what a number stands for. */
  call(target: number, path: unknown, args: unknown[]): number {
    return this.push(['pipeline', target, path, args]);
  }

  /** Calls a method as clients do. What a call has given can be called at once. */
  method(target: number, name: unknown, ...args: unknown[]): number {
    return this.call(target, path(target), [name, ...args]);
  }

  /** As method(), with all arguments, and the name, in one list with specials and references. */
  methodWith(target: number, name: string, ...[document, references, buffers]: Parameters<typeof sentValue>): number {
    return this.call(target, path(target), [name, sentValue(document, references, buffers)]);
  }

  /** What a method gives. */
  result(target: number, name: unknown, ...args: unknown[]): Promise<Outcome> {
    return this.outcome(this.method(target, name, ...args));
  }

  async outcome(id: number): Promise<Outcome> {
    this.say(['pull', id]);
    return this.settled(id);
  }

  settled(id: number): Promise<Outcome> {
    const settled = this.#settled.get(id);
    if (settled !== undefined) return Promise.resolve(settled);
    const heard = new Promise<Outcome>((resolve) => this.#waiting.set(id, resolve));
    return within(Promise.race([heard, this.#ended]), `answer to ${id}`);
  }

  ended(): Promise<Outcome> {
    return within(this.#ended, 'end of the connection');
  }

  leave(): void {
    inside.delete(this);
    this.stream.destroy();
  }
}

/** The object that a call has given is beside its id and type. */
const path = (target: number): string[] => (target === 0 ? ['call'] : ['o', 'call']);

function refusalOf(expression: unknown): { readonly refused: string; readonly code: string | undefined } {
  const [, name, message, , properties] = expression as [string, string, string, unknown, Record<string, unknown>?];
  const ndshm = properties?.['ndshm'] as ['bytes', Uint8Array] | undefined;
  const code =
    ndshm === undefined
      ? (properties?.['code'] as string | undefined)
      : /ERR_NDSHM_\w+/.exec(Buffer.from(ndshm[1]).toString('latin1'))?.[0];
  return { refused: `${name}: ${message}`, code };
}

const inside = new Set<Intruder>();
afterEach(() => {
  for (const intruder of inside) intruder.leave();
});

// ---- values, as lib/manager/values.ts would make them, or not ----

/** A value: what its document says, and what its numbers refer to. */
export const sentValue = (
  document: readonly unknown[] | Uint8Array,
  references: unknown[] = [],
  buffers: Uint8Array[] = [],
): unknown => [[['bytes', objectBytes({ document, buffers })], ...references]];
