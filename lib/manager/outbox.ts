/** What capnweb sends, as its documentation of the protocol says. */
type Message = [kind: string, first: unknown, ...rest: unknown[]];

interface Waiting {
  readonly message: Message;
  /** Of a call or pipe, which both sides count. */
  readonly number: number;
}

/**
 * The messages of one turn of the event loop, in fewer words. To call a method and to have its result, capnweb says three
 * things: `push`, `pull`, and `release` once it is there. Where nothing else is said of the result in the turn of the call,
 * one `stream` says the same: its result is sent by itself, and then released. That is a third of a call's time.
 */
export class Outbox {
  /** Counts: what was called in an earlier turn can no longer be called upon without its result. */
  turn = 0;
  readonly #transmit: (message: unknown) => void;
  readonly #onError: (error: unknown) => void;
  #waiting: Waiting[] = [];
  #lastNumber = 0;
  /** Calls that the other side has released by itself. */
  readonly #streamed = new Set<number>();
  /** Of this turn. */
  readonly #pulled = new Set<number>();
  readonly #calledUpon = new Set<number>();

  constructor(transmit: (message: unknown) => void, onError: (error: unknown) => void) {
    this.#transmit = transmit;
    this.#onError = onError;
  }

  add(message: unknown): void {
    const each = message as Message;
    const [kind, first] = each;
    let number = 0;
    switch (kind) {
      case 'push':
      case 'stream': {
        number = ++this.#lastNumber;
        const target = (first as [string, number])[1];
        if (target > 0) this.#calledUpon.add(target);
        break;
      }
      case 'pipe':
        number = ++this.#lastNumber;
        break;
      case 'pull':
        this.#pulled.add(first as number);
        break;
      case 'release':
        if (this.#streamed.delete(first as number)) return;
        break;
      default:
    }
    if (this.#waiting.push({ message: each, number }) === 1) process.nextTick(() => this.flush());
  }

  /** Hands over what there is. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    this.turn++;
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      for (const each of waiting) this.#hand(each);
    } catch (error) {
      this.#onError(error);
    }
    this.#pulled.clear();
    this.#calledUpon.clear();
  }

  #hand({ message, number }: Waiting): void {
    const [kind, first] = message;
    if (kind === 'push' && this.#pulled.has(number) && !this.#calledUpon.has(number)) {
      this.#streamed.add(number);
      this.#transmit(['stream', first]);
    } else if (kind !== 'pull' || !this.#streamed.has(first as number)) {
      this.#transmit(message);
    }
  }
}
