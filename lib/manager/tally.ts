import { stateError } from '../errors';
import type { ManagerLimits } from './limits';

/**
 * What one side of a connection keeps for the other: results until they are released, what was written into a stream until
 * it is taken. capnweb keeps all of it for whoever does not take it. The messages have passed checkMessage().
 */
export class Tally {
  readonly #limits: ManagerLimits;
  /** The number of what has been pushed last: both sides count. */
  #last = 0;
  /** Bytes for each number that is in use. */
  readonly #results = new Map<number, number>();
  readonly #writes = new Map<number, number>();
  #bytes = 0;
  /** Of results, which count from the moment that they are there: the other side may never ask for them. */
  readonly #made = new WeakSet<object>();

  constructor(limits: ManagerLimits) {
    this.#limits = limits;
  }

  /** A message has come. Errors: ERR_NDSHM_LIMIT. */
  heard([kind, first]: unknown[]): void {
    switch (kind) {
      case 'push':
      case 'pipe':
        this.#results.set(++this.#last, 0);
        break;
      case 'stream': {
        const [, , , [chunk]] = first as [string, number, string[], unknown[]];
        this.#keep(this.#writes, ++this.#last, bytesIn([[chunk]])?.byteLength ?? 0);
        break;
      }
      case 'release':
        this.#bytes -= this.#results.get(first as number) ?? 0;
        this.#results.delete(first as number);
        return;
      default:
        return;
    }
    this.#check(this.#results.size + this.#writes.size, this.#limits.maxCalls, 'calls at once');
    this.#check(this.#bytes, this.#limits.maxBufferedBytes, 'bytes in streams that are not read');
  }

  /** There is a result, as values.ts has encoded it. Errors: ERR_NDSHM_LIMIT. */
  made(sent: unknown): void {
    if (!Array.isArray(sent)) return;
    const [bytes] = sent as [Uint8Array];
    this.#check(this.#bytes + bytes.byteLength, this.#limits.maxBufferedBytes, 'bytes of results that are not taken');
    this.#made.add(bytes);
    this.#bytes += bytes.byteLength;
  }

  /** A message goes out. */
  said(message: unknown): void {
    const [kind, id, answer] = message as [string, number, unknown];
    if (kind !== 'resolve' && kind !== 'reject') return;
    this.#bytes -= this.#writes.get(id) ?? 0;
    const isReleased = this.#writes.delete(id);
    const bytes = bytesIn(answer);
    if (bytes === undefined) return;
    if (isReleased) {
      if (this.#made.has(bytes)) this.#bytes -= bytes.byteLength;
      return;
    }
    if (!this.#results.has(id)) return;
    if (this.#made.has(bytes)) this.#results.set(id, bytes.byteLength);
    else this.#keep(this.#results, id, bytes.byteLength);
  }

  #keep(kept: Map<number, number>, id: number, bytes: number): void {
    kept.set(id, bytes);
    this.#bytes += bytes;
  }

  #check(count: number, most: number, what: string): void {
    if (count > most) throw stateError('ERR_NDSHM_LIMIT', `More than ${most} ${what} on one connection`);
  }
}

/** Of a value, be it in a step of an iterator. */
function bytesIn(answer: unknown): Uint8Array | undefined {
  const value = Array.isArray(answer) ? answer : (answer as { value?: unknown } | null)?.value;
  const [list] = Array.isArray(value) ? (value as unknown[]) : [];
  const [bytes] = Array.isArray(list) ? (list as unknown[]) : [];
  return Array.isArray(bytes) && bytes[1] instanceof Uint8Array ? bytes[1] : undefined;
}
