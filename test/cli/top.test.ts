import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import * as api from 'ndshm';
import { within } from '../helpers/child';
import { LiveNdshm, ndshm, program } from '../helpers/cli';
import { freshName } from '../helpers/shm';

interface Look {
  readonly time: string;
  readonly memory: { readonly usedBytes: number; readonly totalBytes: number };
  readonly segments: readonly {
    readonly name: string;
    readonly lock: string;
    readonly peers: number;
    readonly writesPerSecond: number | null;
    readonly writers: readonly number[];
    readonly readers: number;
    readonly waiting: number;
  }[];
}

describe('ndshm top', () => {
  test('without a terminal prints one table after the other, an empty line between them', () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const { status, stdout, stderr } = ndshm('top', '--count', '2', '--interval', '0.05');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).not.toContain('\x1b');
    const tables = stdout.split('\n\n');
    expect(tables).toHaveLength(2);
    for (const table of tables) {
      expect(table).toMatch(/^\d+ segments?; \/dev\/shm: .* used\nNAME +KIND +SIZE +PEERS +LOCK +WRITES\/S/);
      // A name may be cut off there.
      expect(table).toMatch(new RegExp(`^${name.slice(0, 39)}.* array +28 KiB +1 +free`, 'm'));
    }
    array.close();
  });

  test('--json gives each look as a line, with the writes since the last', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const live = new LiveNdshm(['top', '--json', '--interval', '0.1']);
    const look = async () => {
      const { time, memory, segments } = await live.json<Look>();
      expect(memory.usedBytes).toBeLessThanOrEqual(memory.totalBytes);
      return { at: Date.parse(time), row: segments.find((each) => each.name === name) };
    };
    let before = await look();
    expect(before.row).toMatchObject({ lock: 'free', peers: 1, writesPerSecond: null, writers: [], readers: 0 });
    for (let n = 0; n < 50; n++) array.writeSync(() => {});
    let writes = 0;
    while (writes < 49) {
      const now = await look();
      writes += ((now.row?.writesPerSecond ?? 0) * (now.at - before.at)) / 1000;
      before = now;
    }
    // Times in the lines are whole milliseconds.
    expect(writes).toBeLessThan(54);
    await live.kill();
    array.close();
  });

  test('tells who writes', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const rows = await array.write(() => JSON.parse(ndshm('top', '--json', '--count', '1').stdout) as Look);
    const row = rows.segments.find((each) => each.name === name);
    expect(row).toMatchObject({ lock: 'write', writers: [process.pid], waiting: 0 });
    array.close();
  });

  test.each([
    ['--interval', '0'],
    ['--interval', 'soon'],
    ['--interval', '1e7'],
    ['--count', '1.5'],
  ])('%s %s is misuse', (option, value) => {
    expect(ndshm('top', option, value).status).toBe(2);
  });
});

// A Debian package of this name, which is always there; others have it in util-linux.
const found = spawnSync('script', ['--version']).status === 0;
if (!found && process.env['CI'] === 'true') throw new Error('CI needs script, to have a terminal');

/** A terminal of a given size in which `ndshm top` runs. */
class Terminal {
  readonly process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #exited: Promise<unknown>;
  #output = '';
  #changed: () => void = () => {};

  constructor(rows: number, columns: number, env: NodeJS.ProcessEnv = {}) {
    const run = `stty rows ${rows} cols ${columns}; echo pid $$; exec '${process.execPath}' '${program}' top --interval 0.1`;
    this.process = spawn('script', ['-qec', run, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, TERM: 'xterm', ...env },
    });
    this.#exited = once(this.process, 'close');
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#changed();
    });
  }

  /** All that was shown, once it matches. */
  async shown(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#output)) {
      const changed = new Promise<void>((done) => {
        this.#changed = done;
      });
      await within(Promise.race([changed, this.#exited]), `output like ${pattern}`);
    }
    return this.#output;
  }

  async end(): Promise<string> {
    await within(this.#exited, 'end of the terminal');
    return this.#output;
  }
}

/** Somebody else's child: there is nothing but to look. */
async function gone(pid: number): Promise<void> {
  while (existsSync(`/proc/${pid}`)) await new Promise(setImmediate);
}

const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';

(found ? describe : describe.skip)('ndshm top on a terminal', () => {
  test.each<[string, (terminal: Terminal, pid: number) => void]>([
    ['q', ({ process: { stdin } }) => stdin.write('q')],
    ['Ctrl-C', ({ process: { stdin } }) => stdin.write('\x03')],
    ['SIGTERM', (_, pid) => process.kill(pid, 'SIGTERM')],
    ['SIGINT', (_, pid) => process.kill(pid, 'SIGINT')],
  ])('%s ends it, and the terminal is as before', async (_, end) => {
    const terminal = new Terminal(24, 80);
    const shown = await terminal.shown(/used[\s\S]*used/);
    expect(shown).toContain(enter);
    expect(shown).not.toContain(leave);
    end(terminal, Number(/pid (\d+)/.exec(shown)?.[1]));
    expect((await terminal.end()).endsWith(leave)).toBe(true);
    expect(terminal.process.exitCode).toBe(0);
  });

  test.each([
    ['colours', {}, true],
    ['none with NO_COLOR', { NO_COLOR: '1' }, false],
  ])('has %s', async (_, env, expected) => {
    const terminal = new Terminal(24, 80, { FORCE_COLOR: undefined, ...env });
    const shown = await terminal.shown(/used/);
    terminal.process.stdin.write('q');
    await terminal.end();
    expect(shown.includes('\x1b[1m')).toBe(expected);
  });

  test('it ends with its terminal', async () => {
    const terminal = new Terminal(24, 80);
    const shown = await terminal.shown(/used[\s\S]*used/);
    const pid = Number(/pid (\d+)/.exec(shown)?.[1]);
    terminal.process.kill('SIGKILL');
    await terminal.end();
    await within(gone(pid), 'end of ndshm top');
  });

  test('shows no more lines than there are, and how many are left out', async () => {
    const arrays = Array.from({ length: 10 }, () => api.create(freshName(), { shape: 1, ephemeral: true }));
    const terminal = new Terminal(6, 40);
    const shown = await terminal.shown(/… \d+ more/);
    terminal.process.stdin.write('q');
    await terminal.end();
    const [, screen = ''] = shown.split('\x1b[H');
    expect(screen.slice(0, screen.indexOf('more')).split('\n')).toHaveLength(6);
    for (const array of arrays) array.close();
  });
});
