// Claim: 7 ms of JavaScript, in a thousand tasks, are done sooner by processes, and half a second of it in parallel.
import { availableParallelism } from 'node:os';
import { workTogether } from './support/members.mjs';
import { pools } from './support/pools.mjs';
import { mediansOfTurns, runMeasured } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';

export const title = 'particle filter';

const count = 1000;
const short = 10_000;
const long = 700_000;
const processors = availableParallelism();
const sizes = [...new Set([8, processors])];

/** How many times faster loops in processes of their own get the same done than one after the other. */
async function gainOfLoops() {
  const part = { count, times: long };
  const [alone] = await workTogether('particles-loop.mjs', [part]);
  const together = await workTogether('particles-loop.mjs', Array(processors).fill(part));
  return (processors * alone) / Math.max(...together);
}

function contestantsOf({ quick }) {
  const milliseconds = quick ? 100 : 300;
  const ours = (workers, times) => {
    const name = segmentName(`particles-${workers}-${times}`);
    return {
      name: `ndshm, ${workers} processes, ${times} times`,
      run: () => runMeasured('particles.mjs', { name, workers, count, times, milliseconds }),
    };
  };
  const peer = (key, workers) => ({
    name: `${pools[key].label}, ${workers}`,
    run: () => runMeasured('particles-peer.mjs', { key, workers, count, times: short, milliseconds }),
  });
  const ofSize = (workers) => [
    [`${workers} short`, ours(workers, short)],
    [`${workers} long`, ours(workers, long)],
    ...Object.keys(pools).map((key) => [`${workers} ${key}`, peer(key, workers)]),
  ];
  const loops = { name: `${processors} independent loops`, run: gainOfLoops };
  return Object.fromEntries([['loops', loops], ...sizes.flatMap(ofSize)]);
}

function rowsOf(workers, measured) {
  const particles = (times) => `${count} particles, ${times.toLocaleString('en')} times each, ${workers} processes`;
  const update = { what: `${particles(short)}: an update`, ours: measured[`${workers} short`].parallel, unit: 'ms' };
  const { sequential, parallel } = measured[`${workers} long`];
  const gain = { what: `${particles(long)}: times as fast`, ours: sequential / parallel, unit: '×' };
  return [
    { ...update, peer: 'sequential', theirs: measured[`${workers} short`].sequential, atMost: 1 },
    ...Object.entries(pools).map(([key, { label }]) => ({
      ...update,
      peer: label,
      theirs: measured[`${workers} ${key}`],
    })),
    { ...gain, peer: 'processors', theirs: processors, atLeast: 0.95 },
    { ...gain, peer: `${processors} independent loops`, theirs: measured.loops },
  ];
}

export async function measure(options) {
  const measured = await mediansOfTurns(contestantsOf(options), options.quick ? 1 : 3, options.progress);
  return { rows: sizes.flatMap((workers) => rowsOf(workers, measured)) };
}
