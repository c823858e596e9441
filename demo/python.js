const { execFile } = require('node:child_process');
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);
const timeoutMs = 60_000;
const candidates = [process.env.NDSHM_PYTHON, join(__dirname, '..', '.venv', 'bin', 'python'), 'python3'];

/** A Python that has numpy; undefined where there is none. */
async function findPython(signal) {
  for (const candidate of candidates) {
    if (!candidate || (candidate.includes('/') && !existsSync(candidate))) continue;
    try {
      await run(candidate, ['-c', 'import numpy'], { signal, timeout: timeoutMs });
      return candidate;
    } catch {
      signal.throwIfAborted(); // else: not installed, or without numpy
    }
  }
  return undefined;
}

/** Runs mean_images.py on the arrays of these names; what it prints. */
async function computeMeanImages(python, names, signal) {
  const program = join(__dirname, 'mean_images.py');
  try {
    const { stdout } = await run(python, [program, JSON.stringify(names)], { signal, timeout: timeoutMs });
    return JSON.parse(stdout);
  } catch (error) {
    signal.throwIfAborted(); // the reason, rather than what it made of Python
    throw error;
  }
}

module.exports = { computeMeanImages, findPython };
