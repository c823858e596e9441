import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import * as api from 'ndshm';
import { ndshm, program } from '../helpers/cli';
import { freshName, shmPath } from '../helpers/shm';

/** What may stand for the last of these words. */
const candidates = (...words: string[]): string[] => {
  const { status, stdout, stderr } = ndshm('completion', 'bash', '--', ...words);
  expect([status, stderr]).toEqual([0, '']);
  return stdout.split('\n').filter((line) => line !== '');
};

describe('what ndshm completion offers', () => {
  test('commands, by what is typed of them', () => {
    expect(candidates('')).toEqual(expect.arrayContaining(['ls', 'stat', 'doctor', 'help']));
    expect(candidates('w')).toEqual(['who', 'watch']);
    expect(candidates('store', 'l')).toEqual(['ls']);
    expect(candidates('nonsense', '')).toEqual([]);
  });

  test('options and their values', () => {
    expect(candidates('ls', '--')).toEqual(['--json', '--sort', '--help']);
    expect(candidates('ls', '--sort', '')).toEqual(['name', 'size', 'age']);
    expect(candidates('top', '--count', '')).toEqual([]);
    expect(candidates('completion', '')).toEqual(['bash', 'zsh', 'fish']);
  });

  test('names of segments where a name belongs, and none that a shell would obey', () => {
    const name = freshName();
    const dangerous = `${name} $(touch x)`;
    const array = api.create(name, { shape: 1, ephemeral: true });
    writeFileSync(shmPath(dangerous), '');
    expect(candidates('stat', name)).toEqual([name]);
    expect(candidates('ls', '--sort', 'age', 'other', name)).toEqual([name]);
    expect(candidates('stat', 'other', name)).toEqual([]);
    array.close();
    rmSync(shmPath(dangerous));
  });

  test('only stores for store', () => {
    const [arrayName, storeName] = [freshName(), freshName()];
    const array = api.create(arrayName, { shape: 1, ephemeral: true });
    const store = api.Store.open(storeName, { capacity: '1MiB' });
    const offered = candidates('store', 'stat', 'ndshm-test-');
    expect(offered).toContain(storeName);
    expect(offered).not.toContain(arrayName);
    expect(offered).not.toContain(`${storeName}.pages.0`);
    store.unlink();
    array.close();
  });

  test('files where a file belongs: the shell’s own business', () => {
    expect(candidates('load', '')).toEqual([':files']);
  });

  test('with what it is about, where the shell shows that', () => {
    expect(ndshm('completion', 'zsh', '--', 'gc').stdout).toBe('gc:remove what crashes have left\n');
    expect(ndshm('completion', 'fish', '--', 'gc').stdout).toBe('gc\tremove what crashes have left\n');
  });

  test('another shell is misuse', () => {
    const { status, stderr } = ndshm('completion', 'tcsh');
    expect(status).toBe(2);
    expect(stderr).toContain('Allowed choices are bash, zsh, fish');
  });
});

const isThere = (shell: string): boolean => spawnSync(shell, ['-c', 'exit']).status === 0;
const shells = ['bash', 'zsh', 'fish'];
if (process.env['CI'] === 'true' && !shells.every(isThere))
  throw new Error('CI needs bash, zsh and fish; .ci/run installs them');
/** test(), but left out with its name in the report where there is no such shell. */
const testIn = (shell: string): jest.It => (isThere(shell) ? test : test.skip);

/** Runs a program of the shell with `ndshm` on the PATH, as it is when installed. */
function run(shell: string, text: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'ndshm-'));
  try {
    const command = join(folder, 'ndshm');
    writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
    chmodSync(command, 0o755);
    const { stdout, stderr } = spawnSync(shell, ['-c', text], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${folder}${delimiter}${process.env['PATH']}` },
    });
    expect(stderr).toBe('');
    return stdout.split('\n').filter((line) => line !== '');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the script of ndshm completion', () => {
  for (const shell of shells) {
    testIn(shell)(`is one that ${shell} accepts, twice over`, () => {
      const { status, stdout } = ndshm('completion', shell);
      expect(status).toBe(0);
      // zsh has compdef once its own completion is loaded.
      run(shell, `${shell === 'zsh' ? 'compdef() { }\n' : ''}${stdout}\n${stdout}`);
    });
  }

  testIn('bash')('completes in bash', () => {
    const name = freshName();
    const array = api.create(name, { shape: 1, ephemeral: true });
    const complete = (...words: string[]) =>
      run(
        'bash',
        `eval "$(ndshm completion bash)"
         complete -p ndshm
         COMP_WORDS=(ndshm ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
         compopt() { echo "compopt $*"; }
         _ndshm; printf '%s\\n' "\${COMPREPLY[@]}"`,
      );
    expect(complete('wat')).toEqual(['complete -F _ndshm ndshm', 'watch']);
    expect(complete('stat', name.slice(0, -1))).toContain(name);
    expect(complete('load', '')).toEqual(['complete -F _ndshm ndshm', 'compopt -o default']);
    array.close();
  });

  testIn('fish')('completes in fish', () => {
    const complete = (line: string) =>
      run('fish', `ndshm completion fish | source; complete -C '${line}'`).map((each) => each.split('\t')[0]);
    expect(complete('ndshm wat')).toEqual(['watch']);
    expect(complete('ndshm ls --sort ')).toEqual(expect.arrayContaining(['age', 'name', 'size']));
  });
});
