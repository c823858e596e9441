// node examples/particle-filter.mjs [--processes 8] [--particles 1000] [--steps 10000 --steps 700000] [--seconds 2]
import { parseArgs } from 'node:util';
import * as ndshm from 'ndshm';
import { openWeights, propagate } from './particle.mjs';

const { values: options } = parseArgs({
  options: {
    processes: { type: 'string', default: '8' },
    particles: { type: 'string', default: '1000' },
    steps: { type: 'string', multiple: true, default: ['10000', '700000'] },
    seconds: { type: 'string', default: '2' },
  },
});
const processes = wholeNumber(options.processes, '--processes');
const count = wholeNumber(options.particles, '--particles');
const lengths = options.steps.map((text) => wholeNumber(text, '--steps'));
const measuredMs = 1000 * wholeNumber(options.seconds, '--seconds');

const table = ndshm.ArrayTable.open(`particles-${process.pid}`, { ephemeral: true });
const handle = table.createArray(count, 'float64');
const weights = table.getArray(handle);
openWeights(table.name, handle);

const pool = new ndshm.Pool({ processes, initializer: openWeights, initArgs: [table.name, handle] });
try {
  await pool.ready();
  console.log(`${count} particles, ${processes} processes, ${ndshm.availableProcessors()} processors`);
  for (const steps of lengths) await compare(steps);
} finally {
  await pool.close();
  table.unlink();
}

async function compare(steps) {
  const particles = Array.from({ length: count }, (_, index) => ({ index, steps }));
  const sequential = await update(() => {
    for (const particle of particles) propagate(particle);
  });
  const parallel = await update(() => pool.map(propagate, particles));
  const expected = steps - 1;
  if ([...sequential.weights, ...parallel.weights].some((weight) => weight !== expected)) {
    throw new Error(`Not all weights are ${expected}`);
  }
  const ratio = (sequential.ms / parallel.ms).toFixed(2);
  console.log(
    `${steps} steps: sequential ${sequential.ms.toFixed(1)} ms, parallel ${parallel.ms.toFixed(1)} ms, ${ratio} times as fast; equal weights`,
  );
}

/** The median time of an update of all particles, and the weights that the last one leaves. */
async function update(work) {
  const times = [];
  // For a while: the first ones find functions that are not compiled yet, here as in the workers.
  for (const end = performance.now() + measuredMs; times.length < 5 || performance.now() < end; ) {
    weights.fill(-1);
    const before = performance.now();
    await work();
    times.push(performance.now() - before);
  }
  return { ms: times.sort((a, b) => a - b)[times.length >> 1], weights: weights.toTypedArray() };
}

function wholeNumber(text, option) {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new RangeError(`Expected a whole number for ${option} but received '${text}'`);
}
