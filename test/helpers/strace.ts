import { spawnSync } from 'node:child_process';

// A Debian package of this name.
const found = spawnSync('strace', ['-V']).status === 0;
if (!found && process.env['CI'] === 'true') throw new Error('CI needs strace');

/** describe(), but left out with its name in the report where there is no strace. In CI there is. */
export const describeWithStrace: jest.Describe = found ? describe : describe.skip;

/**
 * A command line that kills what it runs in the place of its n-th (from 1) system call of that name; with paths, only
 * those on these files count.
 */
export const killingAt = (syscall: string, n: number, ...paths: readonly string[]): string[] => {
  const files = paths.map((path) => `-P ${path} `).join('');
  return `strace -f -o /dev/null ${files}-e trace=${syscall} -e inject=${syscall}:signal=KILL:when=${n}`.split(' ');
};
