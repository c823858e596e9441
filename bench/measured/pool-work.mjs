// The tasks, for the workers of all pools.
import { workerData } from 'node:worker_threads';

export const increment = (x) => x + 1;

/** Few elements, from all over an array: to show that it came. */
export function sample(array) {
  const data = array.data ?? array; // a shared one, or a plain typed array
  return data[0] + data[data.length >> 1] + data[data.length - 1];
}

/**
 * The inner loop of the particle filter: writes one particle over and over, at last with the number of times. Told that
 * both are integers, V8 compiles it equally well wherever it is called.
 */
export function move(particles, index, times) {
  const at = index >>> 0;
  const end = times | 0;
  for (let n = 1; n <= end; n++) particles[at] = n;
}

// Threads get the shared particles when they start (tinypool puts something of its own before it); processes have an
// array of their own, of which they return what they wrote.
const buffer = [workerData].flat().at(-1);
const particles = new Float64Array(buffer instanceof SharedArrayBuffer ? buffer : 2 ** 16);

export function propagate({ index, times }) {
  move(particles, index, times);
  return particles[index];
}
