// Claim: processes that fight for one lock without blocking have an event loop that is never late.
import * as ndshm from 'ndshm';
import { workTogether } from './support/members.mjs';
import { takeTurns } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';

export const title = 'the event loop while processes fight for one lock';

const milliseconds = 500;

async function runLoad({ way, processes, tasks }) {
  const name = segmentName('event-loop');
  const array = ndshm.create(name, { shape: 1, ephemeral: true });
  try {
    const members = await workTogether('event-loop.mjs', Array(processes).fill({ way, name, tasks, milliseconds }));
    const sum = members.reduce((total, { count }) => total + count, 0);
    if (way === 'write' && sum !== array.data[0]) throw new Error(`${sum} increments made ${array.data[0]}`);
    return { rate: sum / milliseconds, p99: Math.max(...members.map(({ p99 }) => p99)) };
  } finally {
    array.close(); // ephemeral: takes the name away
  }
}

const loads = [2, 4].flatMap((processes) => [
  { name: `${processes} processes, no load`, way: 'unlocked', processes, tasks: 0 },
  { name: `${processes} processes, no lock`, way: 'unlocked', processes, tasks: 8 },
  { name: `${processes} processes, write(fn)`, way: 'write', processes, tasks: 8 },
]);

export async function measure({ quick, progress }) {
  const contestants = loads.map((load) => ({ name: load.name, run: () => runLoad(load) }));
  const results = await takeTurns(contestants, quick ? 3 : 7, progress);
  const of = (key, n) => median(results[n].map((one) => one[key]));
  const rows = [];
  for (const [n, { way, name }] of loads.entries()) {
    if (way !== 'write') continue;
    const [idle, unlocked] = [n - 2, n - 1];
    const delay = { what: `${name}: 99th percentile of the loop's delay`, ours: of('p99', n), unit: 'ms' };
    rows.push(
      { ...delay, peer: 'the promise', theirs: 2, atMost: 1 },
      { ...delay, peer: 'no load (the clock ticks once a ms)', theirs: of('p99', idle) },
      { ...delay, peer: 'the same tasks without a lock', theirs: of('p99', unlocked) },
      {
        what: `${name}: increments a millisecond, all together`,
        ours: of('rate', n),
        peer: 'the same tasks without a lock',
        theirs: of('rate', unlocked),
        unit: '/ms',
      },
    );
  }
  return { rows };
}
