import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

// Control sequences of xterm: the alternate screen, the cursor, and the wrapping of lines longer than the screen.
const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const home = '\x1b[H';
const eraseLine = '\x1b[2K';
const eraseBelow = '\x1b[J';
/** In raw mode it is a key. */
const ctrlC = 3;

/** The terminal while a live command has it. It is as before again, however this ends. */
export class Screen {
  readonly #left = new AbortController();
  #text = '';
  #closed = false;

  constructor() {
    process.on('exit', this.close);
    for (const signal of signals) process.on(signal, this.#leave);
    process.stdout.on('resize', this.#draw);
    if (process.stdin.isTTY) process.stdin.setRawMode(true).on('data', this.#typed).resume();
    writeSync(process.stdout.fd, enter);
  }

  show(text: string): void {
    this.#text = text;
    this.#draw();
  }

  /** Whether somebody wants to leave within this time. */
  async isLeft(milliseconds: number): Promise<boolean> {
    try {
      await delay(milliseconds, undefined, { signal: this.#left.signal });
    } catch {
      // Only the signal ends it early.
    }
    return this.#left.signal.aborted;
  }

  readonly close = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    if (process.stdin.isTTY) process.stdin.setRawMode(false).pause();
    try {
      writeSync(process.stdout.fd, leave);
    } catch {
      // The terminal is gone.
    }
  };

  readonly #leave = (): void => this.#left.abort();

  readonly #typed = (keys: Buffer): void => {
    if (keys.includes('q') || keys.includes(ctrlC)) this.#leave();
  };

  readonly #draw = (): void => {
    if (this.#closed) return;
    const lines = this.#text.split('\n');
    // 0 = a terminal that does not know its size.
    const height = process.stdout.rows || lines.length;
    const hidden = lines.length - height;
    const shown = hidden > 0 ? [...lines.slice(0, height - 1), `… ${hidden + 1} more`] : lines;
    process.stdout.write(`${home}${shown.map((line) => eraseLine + line).join('\r\n')}${eraseBelow}`);
  };
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
