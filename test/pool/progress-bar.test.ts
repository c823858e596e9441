import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { Writable } from 'node:stream';
import { progressBar } from '../../dist/pool/progress-bar';
import { thrownBy } from '../helpers/shm';

/** What has been written, on a terminal of 80 columns or on none; ␛ stands for the character that controls one. */
class Output extends Writable {
  readonly columns = 80;
  text = '';

  constructor(readonly isTTY: boolean) {
    super({ decodeStrings: false });
  }

  override _write(chunk: string, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.replaceAll('\x1b', '␛');
    done();
  }

  /** What each drawing or line showed, without the terminal's control sequences. */
  get shown(): string[] {
    return this.text.split(/(?:␛(?:\[\d*[A-Z]|\d)|\n)+/).filter((part) => part !== '');
  }
}

const unset = { TERM: 'xterm', CI: undefined, NO_COLOR: undefined };
const { env } = process;
beforeEach(() => {
  process.env = { ...env, ...unset };
});
afterEach(() => {
  process.env = env;
});

function report(bar: ReturnType<typeof progressBar>, ...reports: [done: number, total: number][]): void {
  for (const [done, total] of reports) bar({ done, total });
}

const full = '█'.repeat(30);
const empty = '░'.repeat(30);

describe('on a terminal', () => {
  test('it draws a bar at the first report, and ends it when all is done', () => {
    const output = new Output(true);
    const bar = progressBar('squaring', { stream: output });
    expect(output.text).toBe('');
    report(bar, [0, 40]);
    expect(output.shown).toEqual([`squaring: ${empty} 0 of 40`]);
    report(bar, [20, 40], [40, 40]);
    expect(output.shown.at(-1)).toMatch(new RegExp(`^squaring: ${full} 40 of 40 · [\\d.]+/s · in [\\d.]+ s$`));
    expect(output.text.endsWith('\n')).toBe(true);
  });

  test('it says how many a second there are, and how long the rest will take', () => {
    jest.useFakeTimers();
    try {
      const output = new Output(true);
      const bar = progressBar('', { stream: output });
      report(bar, [0, 1000]);
      jest.advanceTimersByTime(4000);
      report(bar, [100, 1000]);
      jest.advanceTimersByTime(100);
      expect(output.shown.at(-1)).toMatch(/^███░{27} 100 of 1000 · 2[45](\.\d)?\/s · 3[67] s left$/);
      // Nothing is reported for a while, and the rest takes longer than it seemed.
      jest.advanceTimersByTime(296_000);
      expect(output.shown.at(-1)).toMatch(/100 of 1000 · 0\.333\/s · 45 min left$/);
      bar.stop();
    } finally {
      jest.useRealTimers();
    }
  });

  test('stopped half-way, it ends there, and shows nothing of what still comes in', () => {
    const output = new Output(true);
    const bar = progressBar('squaring', { stream: output });
    report(bar, [0, 40], [10, 40]);
    bar.stop();
    const { text } = output;
    expect(output.shown.at(-1)).toMatch(/10 of 40 · [\d.]+\/s · in [\d.]+ s$/);
    expect(text.endsWith('\n')).toBe(true);
    report(bar, [20, 40], [40, 40]);
    bar.stop();
    bar[Symbol.dispose]();
    expect(output.text).toBe(text);
  });

  test('stopped by dispose, it ends as well', () => {
    const output = new Output(true);
    const bar = progressBar('squaring', { stream: output });
    report(bar, [0, 40]);
    bar[Symbol.dispose]();
    expect(output.text.endsWith('\n')).toBe(true);
  });

  test('stopped before anything was reported, it has written nothing', () => {
    const output = new Output(true);
    const bar = progressBar('squaring', { stream: output });
    bar.stop();
    report(bar, [1, 40]);
    expect(output.text).toBe('');
  });

  test('of no items at all is full', () => {
    const output = new Output(true);
    report(progressBar('', { stream: output }), [0, 0]);
    expect(output.shown.at(-1)).toMatch(/^█{30} 0 of 0 · in 0\.\d s$/);
  });

  test('it neither hides the cursor, nor turns wrapping off, nor writes in colours', () => {
    const output = new Output(true);
    report(progressBar('squaring', { stream: output }), [0, 40], [40, 40]);
    expect(output.text).not.toMatch(/␛\[\?|␛\[[\d;]*m/);
  });

  test('it goes on below what others have written meanwhile, not where it began', () => {
    const output = new Output(true);
    const bar = progressBar('squaring', { stream: output });
    report(bar, [0, 40]);
    output.write('a line of somebody else\n');
    report(bar, [40, 40]);
    const end = output.text.slice(output.text.indexOf('somebody else'));
    expect(end.indexOf('␛7')).toBeGreaterThan(0);
    expect(end.indexOf('␛8')).toBeGreaterThan(end.indexOf('␛7'));
  });

  test('it has a shorter bar where there is no room, and is never wider than the terminal', () => {
    const output = new Output(true);
    const title = 'a title that leaves less than the usual room for a bar';
    report(progressBar(title, { stream: output }), [0, 40]);
    expect(output.shown).toEqual([`${title}: ${'░'.repeat(80 - title.length - ':  0 of 40'.length)} 0 of 40`]);
    report(progressBar('squaring '.repeat(20), { stream: output }), [0, 40], [40, 40]);
    expect(output.shown.map((drawing) => drawing.length)).toEqual([80, 80, 80]);
  });
});

describe('elsewhere', () => {
  test('it writes a line at the beginning and one at the end', () => {
    const output = new Output(false);
    report(progressBar('squaring', { stream: output }), [0, 40], [10, 40], [30, 40], [40, 40]);
    expect(output.text).toMatch(/^squaring: 0 of 40\nsquaring: 40 of 40 · \d+\/s · in [\d.]+ s\n$/);
  });

  test('it writes at most a line every five seconds', () => {
    jest.useFakeTimers();
    try {
      const output = new Output(false);
      const bar = progressBar('', { stream: output });
      for (let done = 0; done < 200; done++) {
        report(bar, [done, 200]);
        jest.advanceTimersByTime(100);
      }
      bar.stop();
      expect(output.shown.map((line) => line.split(' · ')[0])).toEqual([
        '0 of 200',
        '50 of 200',
        '100 of 200',
        '150 of 200',
        '199 of 200',
      ]);
    } finally {
      jest.useRealTimers();
    }
  });

  test('all done at once is one line', () => {
    const output = new Output(false);
    report(progressBar('squaring', { stream: output }), [40, 40]);
    expect(output.shown).toHaveLength(1);
  });

  test.each([{ CI: 'true' }, { CI: '1' }, { TERM: 'dumb' }])('is where %p is set, terminal or not', (variables) => {
    Object.assign(process.env, variables);
    const output = new Output(true);
    report(progressBar('squaring', { stream: output }), [0, 40], [40, 40]);
    expect(output.text).not.toContain('␛');
    expect(output.shown).toHaveLength(2);
  });

  test('is not where CI is false', () => {
    process.env['CI'] = 'false';
    const output = new Output(true);
    report(progressBar('squaring', { stream: output }), [0, 40], [40, 40]);
    expect(output.text).toContain(full);
  });
});

describe('in a program', () => {
  const program = (last: number): string => `
    const { progressBar } = require(${JSON.stringify(resolve(__dirname, '../../dist/pool/progress-bar'))});
    const bar = progressBar('squaring');
    for (const done of [0, ${last}]) bar({ done, total: 40 });
    process.stdout.write('loaded: ' + Object.keys(require.cache).some((file) => file.includes('cli-progress')));
  `;

  test('it draws on the terminal that stderr is, and does not keep the process though nobody stops it', () => {
    const command = `'${process.execPath}' -e '${program(20).replaceAll("'", `'\\''`)}'`;
    const { status, stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
      input: '',
      timeout: 20_000,
      env: { ...process.env, SHELL: '/bin/sh' },
    });
    expect(status).toBe(0);
    expect(stdout).toContain(`squaring: ${empty} 0 of 40`);
    expect(stdout).toContain('loaded: true');
  });

  test('it writes lines to stderr where that is a pipe, and does not load what draws', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', program(40)], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'loaded: false' });
    expect(stderr).toMatch(/^squaring: 0 of 40\nsquaring: 40 of 40 · .*\n$/);
  });
});

test.each([
  ['a title that is none', [7], 'TypeError'],
  ['an unknown option', ['', { colour: true }], 'TypeError'],
  ['a stream that is none', ['', { stream: 'stderr' }], 'TypeError'],
  ['null for a stream', ['', { stream: null }], 'TypeError'],
])('refuses %s', (_, args, name) => {
  const error = thrownBy(() => (progressBar as (...args: unknown[]) => unknown)(...args));
  expect(error).toMatchObject({ name, code: 'ERR_NDSHM_INVALID_ARGUMENT' });
});
