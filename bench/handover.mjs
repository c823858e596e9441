// Claim: two processes that wait for each other are faster than by a bare futex where each has a processor, do not burn
// the one that they share, and without blocking their event loops are as fast as over a socket.
import { runJson, runMeasuredOn, takeTurns } from './support/processes.mjs';
import { allowedProcessors } from './support/processors.mjs';
import { segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';
import { compileC, findPython, runPython } from './support/tools.mjs';

export const title = 'two processes wait for each other by turns';

const ours = new Map([
  ['event', 'Event: set, waitSync, clear'],
  ['semaphore', 'Semaphore: release, acquireSync'],
  ['awaitedEvent', 'Event: set, await wait, clear'],
  ['awaitedSemaphore', 'Semaphore: release, await acquire'],
]);
const peers = new Map([
  ['bare', 'C: bare futex'],
  ['spinning', 'C: spins, then futex'],
  ['unixSocket', 'Node: unix socket'],
  ['ipc', 'Node: process.send'],
  ['python', 'Python multiprocessing.Event'],
]);
const nameOf = new Map([...ours, ...peers, ['promise', 'the promise']]);
const promised = 2;

// A new one for each run: an event that the run before has left set would be a second token.
let runs = 0;
const nameForRun = (way) => segmentName(`${way}-${runs++}`);

const [first, second] = allowedProcessors();
const both = [first, second];

/** Where the one and the other process may run, and who is compared there. */
const places = [
  {
    place: 'a processor each',
    processors: [[first], [second]],
    comparisons: [
      ['event', 'promise', { atMost: 1 }],
      ['event', 'spinning'],
      ['event', 'bare', { atMost: 1 }],
      ['event', 'python'],
      ['semaphore', 'bare', { atMost: 1 }],
      ['awaitedEvent', 'unixSocket', { atMost: 1 }],
      ['awaitedEvent', 'ipc'],
      ['awaitedEvent', 'python'],
      ['awaitedSemaphore', 'unixSocket', { atMost: 1 }],
    ],
  },
  {
    place: 'two processors',
    processors: [both, both],
    comparisons: [
      ['event', 'bare', { atMost: 1 }],
      ['awaitedEvent', 'unixSocket', { atMost: 1 }],
    ],
  },
  {
    place: 'one processor',
    processors: [[first], [first]],
    comparisons: [
      ['event', 'bare'],
      ['event', 'spinning', { atMost: 1 }],
      ['event', 'python'],
      ['awaitedEvent', 'unixSocket', { atMost: 1 }],
    ],
  },
];

async function compare({ place, processors, comparisons }, { quick, progress }) {
  if (processors.flat().includes(undefined)) return []; // there is one processor only
  const lists = processors.map((each) => each.join());
  const rounds = quick ? 2000 : 10_000;
  const milliseconds = quick ? 300 : 600;
  const program = await compileC('handover');
  const missing = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const node = (way) => {
    const given = { way, name: nameForRun(way), milliseconds, partnersProcessors: lists[1] };
    return runMeasuredOn(lists[0], 'handover.mjs', given);
  };
  const runners = {
    bare: () => runJson(program, ['bare', rounds, ...lists]),
    spinning: () => runJson(program, ['spinning', rounds, ...lists]),
    python: () => runPython('handover.py', { processors, rounds }),
  };
  const ways = [...ours.keys(), ...peers.keys()].filter((way) => comparisons.some((pair) => pair.includes(way)));
  const contestants = ways.map((way) => ({
    name: nameOf.get(way),
    missing: way === 'python' ? missing : undefined,
    run: runners[way] ?? (() => node(way)),
  }));
  const results = await takeTurns(contestants, quick ? 3 : 5, (text) => progress(`${place}, ${text}`));
  const of = (way, key) => {
    if (way === 'promise') return promised;
    const all = results[ways.indexOf(way)];
    return all.length === 0 ? undefined : median(all.map((one) => one[key]));
  };
  const row = (key, label, [one, other, goal]) => ({
    what: `${place}, ${nameOf.get(one)}: round trip, ${label}`,
    ours: of(one, key),
    peer: nameOf.get(other),
    theirs: of(other, key),
    unit: 'µs',
    missing: other === 'python' ? missing : undefined,
    ...goal,
  });
  return [
    ...comparisons.map((comparison) => row('p50', 'median', comparison)),
    ...comparisons
      .filter(([, other, goal]) => goal !== undefined && other !== 'promise')
      .map(([one, other]) => row('p99', '99th percentile', [one, other])),
  ];
}

export async function measure(options) {
  const rows = [];
  for (const place of places) rows.push(...(await compare(place, options)));
  return { rows };
}
