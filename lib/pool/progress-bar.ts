import { wrongKind } from '../errors';
import { checkOptions } from '../options';

/** How many of how many items are done. */
export interface Progress {
  readonly done: number;
  readonly total: number;
}

export interface ProgressBar {
  (progress: Progress): void;
  /** Ends the bar as far as it has come; nothing moves it any more. May be called again. */
  stop(): void;
  [Symbol.dispose](): void;
}

export interface ProgressBarOptions {
  /** Where to show it. Default process.stderr. */
  readonly stream?: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/**
 * A progress bar for one map, to be given as its `onProgress`: on a terminal a bar with rate and remaining time, elsewhere
 * (a pipe, a file, a terminal that cannot move its cursor, or where `CI` is set) a line at the beginning, then at most one
 * every five seconds, and one at the end. It has no colours, and changes nothing of the terminal that would have to be put
 * back.
 *
 * It ends when all is done, or with stop(), and does not keep the process running. Errors: ERR_NDSHM_INVALID_ARGUMENT.
 * @example
 * const onProgress = ndshm.progressBar('squaring');
 * for (let done = 0; done <= 100; done++) onProgress({ done, total: 100 });
 */
export function progressBar(title = '', options?: ProgressBarOptions): ProgressBar {
  if (typeof title !== 'string') throw wrongKind('a string', 'the title of progressBar()', title);
  const { stream = process.stderr } = checkOptions(options, ['stream'], 'progressBar()');
  if (typeof stream?.write !== 'function') throw wrongKind('a writable stream', 'stream', stream);

  const prefix = title === '' ? '' : `${title}: `;
  let shown: { pace: Pace; display: Display } | undefined;
  let stopped = false;
  const stop = () => {
    if (stopped) return;
    stopped = true;
    if (shown === undefined) return;
    shown.pace.ended = true;
    shown.display.end();
  };
  const show = ({ done, total }: Progress) => {
    if (stopped) return;
    if (shown === undefined) {
      const pace = new Pace(done, total);
      shown = { pace, display: canDrawOn(stream) ? barOn(stream, prefix, pace) : linesOn(stream, prefix, pace) };
    }
    shown.pace.done = done;
    if (done < total) shown.display.advance();
    else stop();
  };
  return Object.assign(show, { stop, [Symbol.dispose]: stop });
}

type Stream = NonNullable<ProgressBarOptions['stream']>;

const canDrawOn = (stream: Stream): boolean =>
  stream.isTTY === true && process.env['TERM'] !== 'dumb' && ['', 'false'].includes(process.env['CI'] ?? '');

/** How far it has come, and how fast since the first report. */
class Pace {
  readonly #begunAt = performance.now();
  readonly #begunWith: number;
  ended = false;

  constructor(
    public done: number,
    readonly total: number,
  ) {
    this.#begunWith = done;
  }

  get share(): number {
    return this.total === 0 ? 1 : this.done / this.total;
  }

  toString(): string {
    const seconds = (performance.now() - this.#begunAt) / 1000;
    const perSecond = (this.done - this.#begunWith) / seconds;
    const words = [`${this.done} of ${this.total}`];
    if (perSecond > 0) words.push(`${Number(perSecond.toPrecision(3))}/s`);
    if (this.ended) words.push(`in ${inWords(seconds)}`);
    else if (perSecond > 0) words.push(`${inWords((this.total - this.done) / perSecond)} left`);
    return words.join(' · ');
  }
}

function inWords(seconds: number): string {
  const [value, unit] = seconds < 60 ? [seconds, 's'] : seconds < 3600 ? [seconds / 60, 'min'] : [seconds / 3600, 'h'];
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
}

/** Shows a pace as it is when it is told to, which `advance` may be too often. */
interface Display {
  advance(): void;
  end(): void;
}

/** What of cli-progress is used: it comes without types. */
declare class SingleBar {
  timer: NodeJS.Timeout | null;
  constructor(options: object);
  start(total: number, value: number): void;
  update(value: number): void;
  stop(): void;
  render(): void;
}
interface CliProgress {
  readonly SingleBar: typeof SingleBar;
  readonly Format: { BarFormat(share: number, options: object): string };
}

function barOn(stream: Stream, prefix: string, pace: Pace): Display {
  const { SingleBar, Format } = require('cli-progress') as CliProgress;
  class Bar extends SingleBar {
    override render(): void {
      super.render();
      this.timer?.unref(); // it draws again as time goes by, but that is no reason for the process to stay
    }
  }
  const bar = new Bar({
    stream,
    barsize: longestBar,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    linewrap: true, // else it turns wrapping off, and whatever kills the process leaves the terminal so
    format: (options: object, { maxWidth }: { readonly maxWidth: number }) => {
      const text = ` ${String(pace)}`;
      const barsize = Math.max(0, Math.min(longestBar, maxWidth - prefix.length - text.length));
      return prefix + Format.BarFormat(pace.share, { ...options, barsize }) + text;
    },
  });
  bar.start(pace.total, pace.done);
  return {
    advance: () => bar.update(pace.done),
    end() {
      // It goes back to where the cursor was when it began, but what others wrote since may have moved the bar.
      stream.write(saveCursor);
      bar.stop();
    },
  };
}

const longestBar = 30;
const saveCursor = '\x1b7';
const lineEveryMs = 5000;

function linesOn(stream: Stream, prefix: string, pace: Pace): Display {
  let writtenAt = -Infinity;
  const end = () => {
    writtenAt = performance.now();
    stream.write(`${prefix}${String(pace)}\n`);
  };
  const advance = () => {
    if (performance.now() - writtenAt >= lineEveryMs) end();
  };
  return { advance, end };
}
