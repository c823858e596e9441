// Which Python the examples run, and how.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const pathOf = (file) => fileURLToPath(new URL(file, import.meta.url));
const inClone = pathOf('../../python');
const env = {
  ...process.env,
  // In a clone the package is not installed; and this is the one that fits what was built.
  ...(existsSync(`${inClone}/ndshm`) && { PYTHONPATH: inClone }),
  // Small matrices are multiplied before threads are awake, and these would take the processors from others.
  OPENBLAS_NUM_THREADS: '1',
};

/** The first Python that has these modules. Throws what each one lacks if none has. */
export function findPython(modules) {
  const wanted = modules.join(', ');
  const reasons = [];
  for (const command of [process.env.NDSHM_PYTHON, pathOf('../../.venv/bin/python'), 'python3'].filter(Boolean)) {
    const { status, stderr, error } = spawnSync(command, ['-c', `import ${wanted}`], { env, encoding: 'utf8' });
    if (status === 0) return command;
    reasons.push(`${command}: ${error?.code ?? stderr.trimEnd().split('\n').at(-1)}`);
  }
  throw new Error(`Found no Python with ${wanted}; install them, or set NDSHM_PYTHON.\n${reasons.join('\n')}`);
}

/**
 * Starts a program and gives it one value as JSON. `lines` are what it prints; `ended` resolves when it has ended, and
 * rejects if it failed. Aborting `signal` kills it.
 */
export function startPython(command, program, given, { signal }) {
  const child = spawn(command, ['-B', fileURLToPath(program), JSON.stringify(given)], {
    env,
    signal,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close').then(([code, killedBy]) => {
    if (code !== 0) throw new Error(`${program} ended with ${killedBy ?? `exit code ${code}`}`);
  });
  ended.catch(() => {}); // also while nobody asks
  return { lines: createInterface({ input: child.stdout }), ended };
}
