import { join } from 'node:path';

// Not of the public face: what it keeps from happening is a machine full of processes.
const { inheritedExecArgv } = require(join(__dirname, '../../dist/pool/exec-argv.js')) as {
  inheritedExecArgv: (argv: readonly string[]) => string[];
};

describe('what workers inherit of the options of their process', () => {
  test.each([
    ['-e and its program', ['-e', 'code'], []],
    ['--eval=', ['--eval=code', '--no-warnings'], ['--no-warnings']],
    ['-p and its program', ['--no-warnings', '-p', 'code', '--expose-gc'], ['--no-warnings', '--expose-gc']],
    ['the kind of the program', ['--input-type', 'module', '--input-type=module'], []],
    ['the test runner', ['--test', '--import=tsx'], ['--import=tsx']],
  ])('is not %s', (_, argv, kept) => {
    expect(inheritedExecArgv(argv)).toEqual(kept);
  });

  test('is all the rest', () => {
    const argv = ['--max-old-space-size=64', '-r', './hook.js', '--conditions', 'x'];
    expect(inheritedExecArgv(argv)).toEqual(argv);
  });
});
