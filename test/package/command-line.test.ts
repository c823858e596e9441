import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { LiveNdshm, ndshmWith, program } from '../helpers/cli';

const { version } = JSON.parse(readFileSync(resolve(__dirname, '../../package.json'), 'utf8')) as { version: string };

// Without the addon, as for those who need `ndshm build`: dlopen fails.
const ndshm = (...args: string[]) => ndshmWith({ execArgv: ['--no-addons'] }, ...args);

const commands = 'ls stat who top print plot load save rm gc watch store serve doctor build completion'.split(' ');

describe('the command line', () => {
  test.each(['--help', 'help'])('%s names every command and goes to standard output', (arg) => {
    const { status, stdout, stderr } = ndshm(arg);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^Usage: ndshm /);
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  test.each(commands)('%s has --json and help of its own', (command) => {
    const { status, stdout } = ndshmWith({}, command, '--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: ndshm ${command} `));
    expect(stdout).toContain('--json');
    expect(ndshmWith({}, 'help', command).stdout).toBe(stdout);
  });

  test('--version prints the package’s version', () => {
    expect(ndshm('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  test.each([
    [[], 'expected a command', 'Usage: ndshm [options]'],
    [['bild'], "unknown command 'bild'\n(Did you mean build?)", 'Usage: ndshm [options]'],
    [['toString'], "unknown command 'toString'", 'Usage: ndshm [options]'],
    [['--fast'], "unknown option '--fast'", 'Usage: ndshm [options]'],
    [['build', 'fast'], "too many arguments for 'build'", 'Usage: ndshm build'],
  ])('%j is misuse: says so, shows the usage, and exits with 2', (args, message, usage) => {
    const { status, stdout, stderr } = ndshm(...args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(`ndshm: ${message}`);
    expect(stderr).toContain(usage);
  });

  test('what needs the addon says how to get it, and exits with 1', () => {
    const { status, stdout, stderr } = ndshm('ls');
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^ndshm: No compiled addon of ndshm loads on .*npx ndshm build/);
    expect(JSON.parse(ndshm('ls', '--json').stderr)).toMatchObject({ error: { code: 'ERR_NDSHM_NO_BINARY' } });
  });

  test('who reads no further ends it without a word', async () => {
    const live = new LiveNdshm(['top', '--interval', '0.05']);
    await live.line();
    live.process.stdout.destroy();
    expect([await live.end(), live.stderr]).toEqual([{ code: 0, signal: null }, '']);
  });

  test('output that cannot be written is a failure', () => {
    const { status, stderr } = spawnSync('sh', ['-c', '"$0" "$1" ls > /dev/full', process.execPath, program], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([1, 'ndshm: ENOSPC: no space left on device, write\n']);
  });

  test('build without CMake says what to install, and exits with 1', () => {
    const { status, stderr } = ndshmWith({ env: { PATH: '/nonexistent' } }, 'build');
    expect(status).toBe(1);
    expect(stderr).toMatch(/^ndshm: cmake was not found\. .*apt-get install cmake g\+\+ make/);
  });
});
