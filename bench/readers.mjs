// Claim: readers of one array do not slow each other down, as they do where they share a counter.
import { availableParallelism } from 'node:os';
import * as ndshm from 'ndshm';
import { workTogether } from './support/members.mjs';
import { takeTurns } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';

export const title = 'read-lock one array from many processes';

const crowds = [1, 2, 4];
const ways = ['readSync', 'counter'];

/** Millions of pairs a second, of all processes together. */
async function rateOf(way, processes, milliseconds) {
  const name = segmentName('readers');
  const array = ndshm.create(name, { shape: 1, dtype: 'int32', ephemeral: true });
  try {
    const members = await workTogether('readers.mjs', Array(processes).fill({ way, name, milliseconds }));
    return members.reduce((sum, member) => sum + member.count / member.milliseconds / 1000, 0);
  } finally {
    array.close(); // ephemeral: takes the name away
  }
}

export async function measure({ quick, progress }) {
  const contestants = crowds.flatMap((processes) =>
    ways.map((way) => ({ name: `${way}, ${processes}`, run: () => rateOf(way, processes, quick ? 100 : 300) })),
  );
  const results = await takeTurns(contestants, quick ? 3 : 7, progress);
  const rates = Object.fromEntries(contestants.map(({ name }, n) => [name, median(results[n])]));
  const gain = (way, processes) => rates[`${way}, ${processes}`] / rates[`${way}, 1`];
  const inAll = (processes) => (processes === 1 ? '1 process' : `${processes} processes`);
  return {
    rows: [
      ...crowds.map((processes) => ({
        what: `readSync(fn) in ${inAll(processes)}, pairs a second`,
        ours: rates[`readSync, ${processes}`],
        peer: 'Atomics.add and sub of one word',
        theirs: rates[`counter, ${processes}`],
        unit: 'M/s',
      })),
      {
        what: 'readSync(fn) in 2 processes, gain over 1',
        ours: gain('readSync', 2),
        peer: 'as many processors',
        theirs: Math.min(2, availableParallelism()),
        unit: '×',
        atLeast: 0.8,
      },
      ...crowds.slice(1).map((processes) => ({
        what: `readSync(fn) in ${inAll(processes)}, gain over 1`,
        ours: gain('readSync', processes),
        peer: 'Atomics.add and sub of one word',
        theirs: gain('counter', processes),
        unit: '×',
      })),
    ],
  };
}
