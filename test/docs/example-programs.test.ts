import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { describeWithNumpy, python, runPython } from '../helpers/python';

// The programs of examples/, in sizes that take no time: what they print is true, and they leave nothing.

const folder = resolve(__dirname, '../../examples');

// Imported once before, because the first time it lists the machine's fonts, and says so.
const hasMatplotlib = python !== undefined && spawnSync(python, ['-c', 'import matplotlib.pyplot']).status === 0;
if (!hasMatplotlib && process.env['CI'] === 'true') throw new Error('CI needs matplotlib; .ci/run installs it');
const describeWithMatplotlib = hasMatplotlib ? describe : describe.skip;

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What has its name from the process, and is left. */
  readonly left: string[];
}

function run(commandLine: string, env: NodeJS.ProcessEnv = {}): Run {
  const [file = '', ...args] = commandLine.split(' ');
  const { pid, status, stdout, stderr } = spawnSync(process.execPath, [resolve(folder, file), ...args], {
    cwd: '/',
    encoding: 'utf8',
    timeout: 25_000,
    env: { ...process.env, ...(python !== undefined && { NDSHM_PYTHON: python }), ...env },
  });
  return {
    status,
    stdout,
    stderr,
    left: readdirSync('/dev/shm').filter((name) => new RegExp(`-${pid}(?!\\d)`).test(name)),
  };
}

test('every program of examples/ is run here, or imported by one that is', () => {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.map(({ parentPath, name }) => relative(folder, join(parentPath, name))).sort()).toEqual([
    'README.md',
    'particle-filter.mjs',
    'particle.mjs',
    'plot-field/julia.mjs',
    'plot-field/main.mjs',
    'plot-field/plot.py',
    'ray.mjs',
    'serve-weights/chart.mjs',
    'serve-weights/load.mjs',
    'serve-weights/main.mjs',
    'serve-weights/predict.mjs',
    'serve-weights/report.mjs',
    'serve-weights/server.mjs',
    'serve-weights/servers.mjs',
    'serve-weights/tally.mjs',
    'serve-weights/train.py',
    'support/options.mjs',
    'support/python.mjs',
  ]);
});

describe('the particle filter', () => {
  test('times updates of all lengths by both ways, and finds that they leave the same', () => {
    const { status, stdout, stderr, left } = run(
      'particle-filter.mjs --processes 2 --particles 50 --steps 1000 --steps 20000 --seconds 0',
    );
    expect({ status, stderr, left }).toEqual({ status: 0, stderr: '', left: [] });
    expect(stdout).toMatch(/^50 particles, 2 processes, \d+ processors\n/);
    const updates = [
      ...stdout.matchAll(
        /^(\d+) steps: sequential ([\d.]+) ms, parallel ([\d.]+) ms, ([\d.]+) times as fast; equal weights$/gm,
      ),
    ].map(([, ...figures]) => figures.map(Number));
    expect(updates.map(([steps]) => steps)).toEqual([1000, 20000]);
    for (const [, sequential = 0, parallel = 0, ratio = 0] of updates) {
      // Each of the three is rounded.
      expect(ratio).toBeGreaterThan((sequential - 0.05) / (parallel + 0.05) - 0.005);
      expect(ratio).toBeLessThan((sequential + 0.05) / (parallel - 0.05) + 0.005);
    }
  });

  test.each([
    ['--processes', 'all'],
    ['--particles', '1.5'],
    ['--steps', 'many'],
  ])('refuses %s %s', (...args) => {
    const { status, stderr, left } = run(`particle-filter.mjs ${args.join(' ')}`);
    expect({ status, left }).toEqual({ status: 1, left: [] });
    expect(stderr).toContain(`Expected a whole number for ${args[0]} but received '${args[1]}'`);
  });
});

describe('the Ray example', () => {
  test('gives its four tasks the array that was put once, and the number of each', () => {
    const { status, stdout, stderr, left } = run('ray.mjs --processes 2 --length 1000');
    expect({ status, stderr, left }).toEqual({ status: 0, stderr: '', left: [] });
    const results = [...stdout.matchAll(/^process (\d+): the sum of the array, times (\d), is (\d+)$/gm)];
    expect(results.map(([, , ...figures]) => figures.map(Number))).toEqual([
      [0, 0],
      [1, 1000],
      [2, 2000],
      [3, 3000],
    ]);
    expect(new Set(results.map(([, pid]) => pid)).size).toBeLessThanOrEqual(2);
  });
});

describeWithNumpy('the model that Python trains while servers answer from it', () => {
  const short = 'serve-weights/main.mjs --steps 150 --held-out 300';
  const count = (text: string | undefined) => Number(text?.replaceAll(',', ''));

  test('is served without torn reads or failed requests, through five replacements', () => {
    const { status, stdout, stderr, left } = run(short);
    expect({ status, stderr, left }).toEqual({ status: 0, stderr: '', left: [] });
    expect(stdout).toMatch(/^failed +0 errors, 0 timeouts, 0 refused, 0 lost$/m);
    expect(stdout).toMatch(/^torn reads +0$/m);
    expect(stdout).toMatch(/^replacements +5; seen by the servers: 5, 5$/m);

    const [, answers] = /^answers +([\d,]+) in /m.exec(stdout) ?? [];
    const [, steps] = /^steps +([\d,]+) of 901 have been met by answers$/m.exec(stdout) ?? [];
    expect(count(steps)).toBeGreaterThan(6); // while it trains, not just before and after
    expect(count(answers)).toBeGreaterThan(2 * 300);
    const [, first, last] = /^accuracy +([\d.]+) % untrained, ([\d.]+) % in the end$/m.exec(stdout) ?? [];
    expect(count(first)).toBeLessThan(20);
    expect(count(last)).toBeGreaterThan(80);
  });

  test('shows torn reads where neither side takes the lock', () => {
    const { status, stdout, stderr, left } = run(`${short} --unlocked`);
    expect({ status, stderr, left }).toEqual({ status: 0, stderr: '', left: [] });
    const [, torn] = /^torn reads +([\d,]+), for neither side took the lock$/m.exec(stdout) ?? [];
    // In each of the pauses, of which there is one in 25 steps, a server has read the model.
    expect(count(torn)).toBeGreaterThanOrEqual(900 / 25);
  });

  test('is refused an option that is no number', () => {
    const { status, stderr, left } = run('serve-weights/main.mjs --workers none');
    expect({ status, left }).toEqual({ status: 1, left: [] });
    expect(stderr).toContain("Expected a whole number from 1 to 100 for --workers but received 'none'");
  });
});

describeWithMatplotlib('the field that a pool fills and Python plots', () => {
  const output = join(mkdtempSync(join(tmpdir(), 'ndshm-test-')), 'field.png');
  afterAll(() => rmSync(dirname(output), { recursive: true }));

  test('becomes a PNG of its size, in many colours', () => {
    const { status, stdout, stderr, left } = run(
      `plot-field/main.mjs --processes 2 --width 400 --height 300 --output ${output}`,
    );
    expect({ status, stderr, left }).toEqual({ status: 0, stderr: '', left: [] });
    expect(stdout).toMatch(/^Python has found numbers from \d\.\d\d to 500\.00, and plotted them:\n.*field\.png$/m);

    const png = readFileSync(output);
    expect(png.subarray(0, 8)).toEqual(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([400, 300]); // IHDR, which comes first
    const colours = runPython<number>(
      `from matplotlib.image import imread
print(len(np.unique(imread(given).reshape(-1, 4), axis=0)))`,
      output,
    );
    expect(colours).toBeGreaterThan(1000);
  });
});

test('a Python that cannot load what an example needs is named, with what it says', () => {
  const { status, stderr, left } = run('plot-field/main.mjs', {
    NDSHM_PYTHON: 'no-such-python',
    PYTHONHOME: '/dev/null',
  });
  expect({ status, left }).toEqual({ status: 1, left: [] });
  expect(stderr).toContain('Found no Python with numpy, ndshm, matplotlib; install them, or set NDSHM_PYTHON.');
  expect(stderr).toMatch(/^no-such-python: ENOENT\n.*\npython3: .+$/m);
});
