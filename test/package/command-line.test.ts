import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(__dirname, '../..');
const { bin, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  bin: { ndshm: string };
  version: string;
};

// Without the addon, as for those who need `ndshm build`: dlopen fails.
const withoutAddons = ['--no-addons'];

function ndshm(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...withoutAddons, join(root, bin.ndshm), ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe('the command line', () => {
  test('--help names every command and goes to standard output', () => {
    const { status, stdout, stderr } = ndshm('--help');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^Usage: ndshm <command>/);
    expect(stdout).toMatch(/^ {2}build {2}/m);
    expect(ndshm('build', '--help').stdout).toBe(stdout);
  });

  test('--version prints the package’s version', () => {
    expect(ndshm('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  test.each([
    [[], 'Expected a command'],
    [['bild'], "Unknown command 'bild'"],
    [['toString'], "Unknown command 'toString'"],
    [['--fast'], "Unknown option '--fast'"],
    [['build', 'fast'], "Unexpected argument 'fast' for build"],
  ])('%j is misuse: says so, shows the usage, and exits with 2', (args, message) => {
    const { status, stdout, stderr } = ndshm(...args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(`ndshm: ${message}`);
    expect(stderr).toContain('Usage: ndshm <command>');
  });

  test('build without CMake says what to install, and exits with 1', () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, bin.ndshm), 'build'], {
      encoding: 'utf8',
      env: { PATH: '/nonexistent' },
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^ndshm: cmake was not found\. .*apt-get install cmake g\+\+ make/);
  });
});
