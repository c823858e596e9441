// Claim: what Python does by this package costs little more than by its own multiprocessing, where both can do it, and what
// Node and Python hand to each other through an array is there before it would have come through a pipe.
import * as ndshm from 'ndshm';
import { runMeasured, takeTurns } from './support/processes.mjs';
import { pathOf, segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';
import { findPackage, runPython } from './support/tools.mjs';

export const title = 'the Python package';

const locks = new Map([
  ['write', 'with array.write()'],
  ['read', 'with array.read()'],
  ['mutex', 'Mutex: acquire, release'],
  ['withMutex', 'with mutex'],
  ['lock', 'multiprocessing.Lock: acquire, release'],
  ['withLock', 'with multiprocessing.Lock'],
  ['rlock', 'with multiprocessing.RLock'],
]);
const lockPairs = [
  ['write', 'withLock'],
  ['write', 'rlock'],
  ['read', 'withLock'],
  ['mutex', 'lock'],
  ['withMutex', 'withLock'],
];

async function measureLocks({ quick, progress, missing }) {
  const contestants = [
    {
      name: 'locks',
      missing,
      run: () => runPython('python_locks.py', { name: segmentName('locks'), milliseconds: quick ? 50 : 200 }),
    },
  ];
  const [results] = await takeTurns(contestants, quick ? 3 : 7, progress);
  const of = (way) => (missing === undefined ? median(results.map((each) => each[way])) : undefined);
  return lockPairs.map(([one, other]) => ({
    what: `Python, nobody else wants it, ${locks.get(one)}`,
    ours: of(one),
    peer: locks.get(other),
    theirs: of(other),
    unit: 'ns',
    missing,
  }));
}

const sizes = [
  [8e6, '8 MB'],
  [1.6e9, '1.6 GB'],
];
const openers = new Map([
  ['open', 'ndshm.open'],
  ['sharedMemory', 'SharedMemory + np.ndarray'],
  ['load', "np.load(mmap_mode='r')"],
]);

async function measureOpen({ quick, progress, missing }) {
  const rows = [];
  for (const [bytes, label] of sizes) {
    const name = segmentName(`open-${bytes}`);
    const segment = ndshm.create(name, { shape: bytes / 8, ephemeral: true });
    try {
      const contestants = [...openers].map(([way, title]) => ({
        name: title,
        missing,
        run: () => runPython('python_open.py', { way, name, path: pathOf(name), bytes, times: quick ? 200 : 1000 }),
      }));
      const results = await takeTurns(contestants, quick ? 3 : 7, (text) => progress(`open ${label}, ${text}`));
      const of = (n, key) => (missing === undefined ? median(results[n].map((each) => each[key])) : undefined);
      for (const [key, what] of [
        ['opened', 'open, read one element'],
        ['whole', 'the same, and close'],
      ]) {
        for (const n of [1, 2]) {
          rows.push({
            what: `Python, ${label}: ${what}`,
            ours: of(0, key),
            peer: contestants[n].name,
            theirs: of(n, key),
            unit: 'µs',
            missing,
          });
        }
      }
    } finally {
      segment.close(); // ephemeral: takes the name away
    }
  }
  return rows;
}

const handovers = new Map([
  ['changed', 'write, changed'],
  ['event', 'Event: set, wait'],
  ['pipe', "a line through the child's pipes"],
]);

async function measureHandover({ quick, progress, missing, command }) {
  const contestants = [...handovers].map(([way, title]) => ({
    name: title,
    missing,
    run: () =>
      runMeasured('python-handover.mjs', { way, command, name: segmentName(way), milliseconds: quick ? 300 : 1000 }),
  }));
  const results = await takeTurns(contestants, quick ? 3 : 5, progress);
  const of = (n, key) => (missing === undefined ? median(results[n].map((each) => each[key])) : undefined);
  return [
    ['p50', 'median'],
    ['p99', '99th percentile'],
  ].flatMap(([key, label]) =>
    [0, 1].map((n) => ({
      what: `Node → Python → Node, ${contestants[n].name}: ${label}`,
      ours: of(n, key),
      peer: contestants[2].name,
      theirs: of(2, key),
      unit: 'µs',
      missing,
      ...(key === 'p50' && n === 0 ? { atMost: 1 } : {}),
    })),
  );
}

export async function measure({ quick, progress }) {
  const found = await findPackage();
  const how = { quick, progress, ...found };
  return { rows: [...(await measureLocks(how)), ...(await measureOpen(how)), ...(await measureHandover(how))] };
}
