import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';

// The programs of examples/, in sizes that take no time: what they print is true, and they leave nothing.

const folder = resolve(__dirname, '../../examples');

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What has its name from the process, and is left. */
  readonly left: string[];
}

function run(commandLine: string): Run {
  const [file = '', ...args] = commandLine.split(' ');
  const { pid, status, stdout, stderr } = spawnSync(process.execPath, [resolve(folder, file), ...args], {
    cwd: '/',
    encoding: 'utf8',
    timeout: 20_000,
  });
  return {
    status,
    stdout,
    stderr,
    left: readdirSync('/dev/shm').filter((name) => new RegExp(`-${pid}(?!\\d)`).test(name)),
  };
}

test('every program of examples/ is run here, or imported by one that is', () => {
  expect(readdirSync(folder).sort()).toEqual(['README.md', 'particle-filter.mjs', 'particle.mjs', 'ray.mjs']);
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
