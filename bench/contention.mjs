// Claim: processes that fight for one lock get as much done as in C, and each its share.
import * as ndshm from 'ndshm';
import { workTogether } from './support/members.mjs';
import { runJson, takeTurns } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';
import { compileC, findPython, runPython } from './support/tools.mjs';

export const title = 'increment one counter under one lock';

const milliseconds = 500;
const robustMutex = 'C: robust pthread mutex';
const pythonLock = 'Python multiprocessing.Lock';

async function runOurs(way, processes) {
  const name = segmentName('contention');
  const array = ndshm.create(name, { shape: 1, dtype: 'float64', ephemeral: true });
  try {
    const members = await workTogether('contention.mjs', Array(processes).fill({ way, name, milliseconds }));
    return { members, counter: array.data[0] };
  } finally {
    array.close(); // ephemeral: takes the name away
  }
}

function summaryOf({ members, counter }) {
  const counts = members.map(({ count }) => count);
  const sum = counts.reduce((one, other) => one + other);
  if (sum !== counter) throw new Error(`${sum} increments made the counter ${counter}: the lock does not exclude`);
  return {
    rate: sum / milliseconds / 1000,
    smallestShare: (Math.min(...counts) / sum) * counts.length * 100,
    longestStall: Math.max(...members.map(({ longest }) => longest)),
  };
}

async function compare(processes, { quick, progress }) {
  const program = await compileC('contention');
  const missing = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const contestants = [
    { name: 'writeSync(fn)', run: () => runOurs('writeSync', processes) },
    { name: 'Mutex', run: () => runOurs('Mutex', processes) },
    { name: robustMutex, run: () => runJson(program, [processes, milliseconds]) },
    { name: pythonLock, missing, run: () => runPython('contention.py', { processes, milliseconds }) },
  ];
  const results = await takeTurns(contestants, quick ? 3 : 7, (text) => progress(`${processes} processes, ${text}`));
  const of = (key, n) => (results[n].length === 0 ? undefined : median(results[n].map((one) => summaryOf(one)[key])));
  const row = (what, key, n, peer, rest) => ({
    what: `${processes} processes, ${contestants[n].name}: ${what}`,
    ours: of(key, n),
    peer: contestants[peer].name,
    theirs: of(key, peer),
    missing: contestants[peer].missing,
    ...rest,
  });
  return [
    row('increments a second', 'rate', 0, 2, { unit: 'M/s', atLeast: 1 }),
    row('increments a second', 'rate', 0, 3, { unit: 'M/s' }),
    row('increments a second', 'rate', 1, 2, { unit: 'M/s', atLeast: 1 }),
    row('the smallest share, in parts of an equal one', 'smallestShare', 0, 2, { unit: '%' }),
    row('the longest stall', 'longestStall', 0, 2, { unit: 'ms' }),
  ];
}

export async function measure(options) {
  return { rows: [...(await compare(2, options)), ...(await compare(4, options))] };
}
