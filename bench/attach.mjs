// Claim: attaching an existing array costs the same whatever its size, and less than Python's SharedMemory.
import * as ndshm from 'ndshm';
import { runJson, runMeasured, takeTurns } from './support/processes.mjs';
import { pathOf, segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';
import { compileC, findPeer, findPython, runPython } from './support/tools.mjs';

export const title = 'attach an array that exists and read one element';

const sizes = [
  [8e6, '8 MB'],
  [80e6, '80 MB'],
  [1.6e9, '1.6 GB'],
];

async function contestantsFor(name, bytes, quick) {
  const element = bytes / 16; // in the middle: its page is not mapped yet
  const attaches = quick ? 200 : 1000;
  const program = await compileC('attach');
  const noPython = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const node = (way, count, peer = {}) => ({
    name: way,
    missing: peer.missing,
    run: () =>
      runMeasured('attach.mjs', { way, name, path: pathOf(name), element, bytes, attaches: count, entry: peer.entry }),
  });
  const python = (way) => ({
    name: way,
    missing: noPython,
    run: () => runPython('attach.py', { way, name, path: pathOf(name), element, bytes, attaches }),
  });
  return [
    node('ndshm', attaches),
    python('Python SharedMemory + np.ndarray'),
    python("np.load(mmap_mode='r')"),
    { name: 'C: the bare calls', run: () => runJson(program, [pathOf(name), element, attaches]) },
    // Fewer, since neither unmaps before the garbage collector comes round to it.
    node('shm-typed-array', 100, await findPeer('shm-typed-array')),
    node('mmap-io', 100, await findPeer('@raygun-nickj/mmap-io')),
  ];
}

function rowsOf(label, contestants, results, isLargest) {
  const of = (n, key) => (results[n].length === 0 ? undefined : median(results[n].map((each) => each[key])));
  const rows = [];
  for (const [n, { name, missing }] of contestants.entries()) {
    if (n === 0) continue;
    rows.push({
      what: `attach ${label}, read: median`,
      ours: of(0, 'median'),
      peer: name,
      theirs: of(n, 'median'),
      unit: 'µs',
      missing,
      ...(isLargest && n === 1 ? { atMost: 1 } : {}),
    });
  }
  for (const [key, what] of [
    ['p90', '90th percentile'],
    ['first', 'first of a process'],
    ['whole', 'median, closing included'],
  ]) {
    for (const n of [1, 3]) {
      const { name, missing } = contestants[n];
      rows.push({
        what: `attach ${label}, read: ${what}`,
        ours: of(0, key),
        peer: name,
        theirs: of(n, key),
        unit: 'µs',
        missing,
      });
    }
  }
  return rows;
}

export async function measure({ quick, progress }) {
  const rows = [];
  const medians = [];
  for (const [bytes, label] of sizes) {
    const name = segmentName(`attach-${bytes}`);
    const segment = ndshm.create(name, { shape: bytes / 8, ephemeral: true });
    try {
      const contestants = await contestantsFor(name, bytes, quick);
      const results = await takeTurns(contestants, quick ? 3 : 9, (text) => progress(`${label}, ${text}`));
      rows.push(...rowsOf(label, contestants, results, bytes === 1.6e9));
      medians.push(median(results[0].map((each) => each.median)));
    } finally {
      segment.close(); // ephemeral: takes the name away
    }
  }
  for (const n of [1, 2]) {
    rows.push({
      what: `attach ${sizes[n][1]}, read: median`,
      ours: medians[n],
      peer: `ndshm, ${sizes[0][1]}`,
      theirs: medians[0],
      unit: 'µs',
      atMost: 1.25,
    });
  }
  return { rows };
}
