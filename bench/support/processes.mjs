import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { medians } from './statistics.mjs';

const running = new Map();

export function killAll() {
  for (const [child, signal] of running) child.kill(signal);
}

/**
 * Runs a program to its end. Its standard error is shown only if it fails. `endBy` is the signal that ends it before its
 * time: another than SIGKILL for a program that has others to end.
 */
export async function run(command, args, { timeoutMs = 40 * 60_000, endBy = 'SIGKILL', ...options } = {}) {
  const child = spawn(command, args.map(String), { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  running.set(child, endBy);
  const limit = setTimeout(() => child.kill(endBy), timeoutMs);
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (text) => {
      output[stream] += text;
    });
  }
  try {
    const [code, signal] = await once(child, 'close');
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? code}:\n${output.stderr}`);
  } finally {
    clearTimeout(limit);
    running.delete(child);
  }
  return output.stdout;
}

export const runJson = async (command, args, options) => JSON.parse(await run(command, args, options));

const measured = (file) => fileURLToPath(new URL(`../measured/${file}`, import.meta.url));

/** Runs a file of bench/measured in a Node process of its own; it prints one JSON value. */
export function runMeasured(file, args) {
  return runJson(process.execPath, [measured(file), JSON.stringify(args)]);
}

/** The same on the given processors alone, as in '0,1'. */
export function runMeasuredOn(processors, file, args) {
  return runJson('taskset', ['-c', processors, process.execPath, measured(file), JSON.stringify(args)]);
}

/**
 * Runs the contestants in turns, A B C A B C …, so that a slow spell of the machine hits them alike, and a new process
 * each time, because a loop may be compiled well in one process and badly in the next. Returns for each the results of
 * all its processes; for one that cannot run here (`missing` says why) an empty list.
 */
export async function takeTurns(contestants, rounds, progress) {
  const results = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [n, contestant] of contestants.entries()) {
      if (contestant.missing !== undefined) continue;
      progress(`round ${round + 1} of ${rounds}: ${contestant.name}`);
      results[n].push(await contestant.run());
    }
  }
  return results;
}

/** takeTurns() of contestants that go by keys: for each key the medians of what all its processes gave. */
export async function mediansOfTurns(contestants, rounds, progress) {
  const results = await takeTurns(Object.values(contestants), rounds, progress);
  return Object.fromEntries(Object.keys(contestants).map((key, n) => [key, medians(results[n])]));
}
