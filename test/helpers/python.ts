import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

// NDSHM_PYTHON, the project's own virtual environment (made by .ci/run), or whatever python3 has numpy.
const candidates = [process.env['NDSHM_PYTHON'], resolve(__dirname, '../../.venv/bin/python'), 'python3'];

// Older ones print some numbers otherwise, and do not say shapes.
const recentNumpy = 'import numpy; assert tuple(map(int, numpy.__version__.split(".")[:2])) >= (2, 3)';

function findPython(): string | undefined {
  for (const candidate of candidates) {
    if (candidate === undefined || (candidate.includes('/') && !existsSync(candidate))) continue;
    if (spawnSync(candidate, ['-c', recentNumpy]).status === 0) return candidate;
  }
  if (process.env['CI'] === 'true') throw new Error('CI needs a Python with numpy; .ci/run installs one');
  return undefined;
}

export const python: string | undefined = findPython();

/** describe(), but left out with its name in the report where there is no Python with numpy. In CI there is one. */
export const describeWithNumpy: jest.Describe = python === undefined ? describe.skip : describe;

/**
 * Runs a Python program with `import json, sys, numpy as np` done and `given` read from standard input as JSON, and
 * returns what it printed as JSON.
 */
export function runPython<T>(program: string, given: unknown = null): T {
  const preamble = 'import json, sys\nimport numpy as np\ngiven = json.load(sys.stdin)\n';
  const { status, stdout, stderr } = spawnSync(python as string, ['-c', preamble + program], {
    input: JSON.stringify(given),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`Python failed: ${stderr}`);
  return JSON.parse(stdout) as T;
}
