// Claim: a lock that nobody else wants costs little more than in C, and less than in Python.
import { runJson, runMeasured, takeTurns } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';
import { compileC, findPython, runPython } from './support/tools.mjs';

export const title = 'take and release a lock that nobody else wants';

const ours = new Map([
  ['acquireSync', 'Mutex: acquireSync, release'],
  ['writeSync', 'writeSync(fn)'],
  ['readSync', 'readSync(fn)'],
  ['rwLockRead', 'RWLock: readSync(fn)'],
  ['write', 'await write(fn)'],
  ['read', 'await read(fn)'],
]);
const limits = new Map([
  ['compareExchange', 'one compareExchange in JavaScript'],
  ['awaitNothing', 'await of a function that does nothing'],
]);
const inC = new Map([
  ['robustMutex', 'C: robust pthread mutex'],
  ['rwlockExclusive', 'C: pthread rwlock, exclusive'],
  ['rwlockShared', 'C: pthread rwlock, shared'],
]);
const inPython = new Map([
  ['lock', 'Python multiprocessing.Lock'],
  ['rlock', 'Python multiprocessing.RLock'],
]);
const nameOf = new Map([...ours, ...limits, ...inC, ...inPython]);

const comparisons = [
  ['acquireSync', 'robustMutex', { atMost: 2.5 }],
  ['acquireSync', 'lock', { atMost: 1 }],
  ['acquireSync', 'compareExchange'],
  ['writeSync', 'robustMutex', { atMost: 4 }],
  ['writeSync', 'rwlockExclusive'],
  ['writeSync', 'lock'],
  ['writeSync', 'rlock'],
  ['readSync', 'rwlockShared', { atMost: 4 }],
  ['readSync', 'lock'],
  ['rwLockRead', 'rwlockShared', { atMost: 4 }],
  ['write', 'awaitNothing'],
  ['read', 'awaitNothing'],
];

export async function measure({ quick, progress }) {
  const milliseconds = quick ? 50 : 100;
  const program = await compileC('locks');
  const missing = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const contestants = [
    ...[...ours.keys(), ...limits.keys()].map((way) => ({
      name: nameOf.get(way),
      run: async () => ({
        [way]: (await runMeasured('locks.mjs', { way, name: segmentName(way), milliseconds })).median,
      }),
    })),
    { name: 'C', run: () => runJson(program, [milliseconds]) },
    { name: 'Python', missing, run: () => runPython('locks.py', { milliseconds }) },
  ];
  const results = (await takeTurns(contestants, quick ? 3 : 7, progress)).flat();
  const timeOf = (way) => {
    const times = results.flatMap((result) => result[way] ?? []);
    return times.length === 0 ? undefined : median(times);
  };
  return {
    rows: comparisons.map(([one, other, goal]) => ({
      what: nameOf.get(one),
      ours: timeOf(one),
      peer: nameOf.get(other),
      theirs: timeOf(other),
      unit: 'ns',
      missing: inPython.has(other) ? missing : undefined,
      ...goal,
    })),
  };
}
