import { EventEmitter, once } from 'node:events';
import { hostname } from 'node:os';
import { stateError } from '../../errors';
import { note } from '../output';
import { memory } from '../segments';
import { printable } from '../words';
import { type Hello, type MemorySample, stateNow } from './state';

const periodMs = 1000;
/** Ten minutes. */
const mostSamples = 600;
const mostListeners = 16;

export interface Listener {
  /** As JSON, until it leaves or all ends. Who is slow misses some, and costs no memory. */
  readonly states: AsyncGenerator<string>;
  /** May be called again. */
  leave(): void;
}

/** What is so, each second, for as long as anybody listens; and how full the memory was, always. */
export class Live {
  readonly #ticks = new EventEmitter().setMaxListeners(mostListeners);
  readonly #history: MemorySample[] = [];
  readonly #ended = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #latest = '';
  #listeners = 0;
  #problem = '';

  constructor() {
    this.#look();
    this.#lookAgainIn(periodMs);
  }

  /** What a page is told once. */
  hello(allowWrite: boolean): Hello {
    return { allowWrite, pid: process.pid, host: hostname(), history: this.#history };
  }

  /** Errors: ERR_NDSHM_LIMIT. */
  listen(): Listener {
    if (this.#listeners === mostListeners) {
      throw stateError('ERR_NDSHM_LIMIT', `${mostListeners} pages are open already; close one`);
    }
    const left = new AbortController();
    left.signal.addEventListener('abort', () => {
      this.#listeners -= 1;
    });
    this.#listeners += 1;
    if (this.#listeners === 1) this.#tick();
    return { states: this.#states(AbortSignal.any([left.signal, this.#ended.signal])), leave: () => left.abort() };
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#ended.abort();
  }

  async *#states(ended: AbortSignal): AsyncGenerator<string> {
    try {
      for (let seen = ''; !ended.aborted; ) {
        if (seen === this.#latest) await once(this.#ticks, 'tick', { signal: ended });
        seen = this.#latest;
        yield seen;
      }
    } catch (error) {
      if (!ended.aborted) throw error;
    }
  }

  #tick(): void {
    const start = performance.now();
    try {
      this.#look();
      this.#problem = '';
    } catch (error) {
      // Out of descriptors, say. It may pass; until then the page says that it hears nothing.
      const { message } = error as Error;
      if (message !== this.#problem) note(`ndshm: ${printable(message)}`);
      this.#problem = message;
    }
    // With very many segments: a fifth of the processor's time is enough.
    this.#lookAgainIn(Math.max(periodMs, 5 * (performance.now() - start)));
  }

  #lookAgainIn(delayMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#ended.signal.aborted) this.#timer = setTimeout(() => this.#tick(), delayMs);
  }

  #look(): void {
    const { usedBytes } = memory();
    this.#history.push({ at: Date.now(), usedBytes });
    if (this.#history.length > mostSamples) this.#history.shift();
    if (this.#listeners === 0) return;
    this.#latest = JSON.stringify(stateNow());
    this.#ticks.emit('tick');
  }
}
