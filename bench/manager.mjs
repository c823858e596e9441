// Claim: three times as many calls of a manager's object as Python's Manager does, five times where they do not wait for
// each other.
import { Manager } from 'ndshm';
import { dicts } from './support/dicts.mjs';
import { workTogether } from './support/members.mjs';
import { mediansOfTurns, runMeasured, runMeasuredOn } from './support/processes.mjs';
import { allowedProcessors } from './support/processors.mjs';
import { findPython, runPython } from './support/tools.mjs';

export const title = "calls of a manager's object";

const inFlight = 100;
const clients = 4;
const elements = 125_000; // 1 MB of float64
const rounds = (quick) => (quick ? 1 : 5);
const lengthOf = (quick) => ({ warmCalls: quick ? 10_000 : 20_000, milliseconds: quick ? 200 : 500 });

const ofPython = 'Python multiprocessing.Manager';
const nameOf = (key) => dicts[key]?.label ?? ofPython;

const figures = new Map([
  ['rate', { label: 'one at a time: calls a second', unit: 'k/s' }],
  ['many', { label: `${inFlight} in flight: calls a second`, unit: 'k/s' }],
  ['median', { label: 'one at a time: median', unit: 'µs' }],
  ['p99', { label: 'one at a time: 99th percentile', unit: 'µs' }],
]);
const goals = { rate: { atLeast: 3 }, many: { atLeast: 5 } };
const peers = ['python', 'comlink', 'comlinkV8', 'birpc', 'echo'];

const withEach = (keys, calls, names) =>
  calls.flatMap((call) => names.flatMap((figure) => keys.map((peer) => ['ours', call, figure, peer])));
const withGoals = (comparisons) =>
  comparisons.map(([key, call, figure, peer]) => [key, call, figure, peer, peer === 'python' ? goals[figure] : {}]);

const [first, ...others] = allowedProcessors();

/** Where the processes may run, and who is compared there. */
const places = [
  {
    place: 'all processors',
    processors: [first, ...others],
    comparisons: [
      ...withGoals(withEach(peers, ['get', 'set'], ['rate', 'many'])),
      ...withEach(peers, ['get'], ['median', 'p99']),
      ...['socketOnly', 'tls'].flatMap((way) => ['rate', 'many'].map((figure) => [way, 'get', figure, 'python'])),
      ...['rate', 'many'].map((figure) => ['socketOnly', 'get', figure, 'echo']),
    ],
  },
  {
    place: 'one processor',
    processors: [first],
    comparisons: withEach(['python', 'birpc', 'echo'], ['get'], ['rate', 'many']),
  },
];

async function compareCalls({ place, processors, comparisons }, missing, { quick, progress }) {
  const length = lengthOf(quick);
  const contestant = (key) =>
    key === 'python'
      ? {
          name: ofPython,
          missing,
          run: () => runPython('manager_calls.py', { inFlight, processors, milliseconds: length.milliseconds }),
        }
      : {
          name: nameOf(key),
          run: () => runMeasuredOn(processors.join(), 'manager-calls.mjs', { key, inFlight, ...length }),
        };
  const keys = new Set(comparisons.flatMap(([key, , , peer]) => [key, peer]));
  const contestants = Object.fromEntries([...keys].map((key) => [key, contestant(key)]));
  const measured = await mediansOfTurns(contestants, rounds(quick), (text) => progress(`${place}, ${text}`));
  const rows = comparisons.map(([key, call, figure, peer, goal]) => ({
    what: `${place}, ${nameOf(key)}: ${call}, ${figures.get(figure).label}`,
    ours: measured[key][call][figure],
    // A proxy of Python's has one call under way for each thread.
    peer: peer === 'python' && figure === 'many' ? `${ofPython}, ${inFlight} threads` : nameOf(peer),
    theirs: measured[peer]?.[call][figure],
    unit: figures.get(figure).unit,
    missing: contestants[peer].missing,
    ...goal,
  }));
  return { rows, table: tableOfCalls(place, measured) };
}

function tableOfCalls(place, measured) {
  const columns = ['get', 'set'].flatMap((call) => [...figures.keys()].map((figure) => [call, figure]));
  return {
    title: `A dict in another process, ${place}`,
    head: ['', ...columns.map(([call, figure]) => `${call}: ${figure}, ${figures.get(figure).unit}`)],
    rows: Object.entries(measured)
      .filter(([, result]) => result !== undefined)
      .map(([key, result]) => [nameOf(key), ...columns.map(([call, figure]) => result[call][figure].toFixed(1))]),
  };
}

async function runClients(args) {
  const manager = await Manager.start();
  try {
    const parts = Array(clients).fill({ ...args, address: manager.address });
    const rates = await workTogether('manager-client.mjs', parts);
    const sumOf = (figure) => rates.reduce((sum, rate) => sum + rate[figure], 0);
    return { rate: sumOf('rate'), many: sumOf('many') };
  } finally {
    await manager.close();
  }
}

async function clientRows(missing, { quick, progress }) {
  const length = lengthOf(quick);
  const contestants = {
    ours: { name: 'ndshm', run: () => runClients({ inFlight, ...length }) },
    python: {
      name: ofPython,
      missing,
      run: () => runPython('manager_clients.py', { clients, milliseconds: length.milliseconds }),
    },
  };
  const measured = await mediansOfTurns(contestants, rounds(quick), (text) => progress(`${clients} clients, ${text}`));
  // Python's clients have one thread each: what they do is the measure for both.
  return ['rate', 'many'].map((figure) => ({
    what: `${clients} clients, ndshm: get, ${figures.get(figure).label} in sum`,
    ours: measured.ours[figure],
    peer: `${ofPython}, one at a time`,
    theirs: measured.python?.rate,
    unit: 'k/s',
    missing,
  }));
}

async function arrayRows(missing, { quick, progress }) {
  const args = { elements, milliseconds: lengthOf(quick).milliseconds };
  const ways = ['ours', 'socketOnly', 'tls', 'comlinkV8'];
  const inNode = ways.map((key) => [
    key,
    { name: nameOf(key), run: () => runMeasured('manager-array.mjs', { ...args, key }) },
  ]);
  const contestants = {
    ...Object.fromEntries(inNode),
    python: { name: `${ofPython}, numpy`, missing, run: () => runPython('manager_array.py', args) },
  };
  const measured = await mediansOfTurns(contestants, rounds(quick), (text) => progress(`1 MB, ${text}`));
  const rateOf = (milliseconds) => (milliseconds === undefined ? undefined : (elements * 8) / 1e3 / milliseconds);
  const row = (key, call, peer) => ({
    what: `1 MB of float64, ${nameOf(key)}: ${call}`,
    ours: rateOf(measured[key][call]),
    peer: contestants[peer].name,
    theirs: rateOf(measured[peer]?.[call]),
    unit: 'MB/s',
    missing: contestants[peer].missing,
  });
  const pairs = [
    ['ours', 'python'],
    ['ours', 'comlinkV8'],
    ['socketOnly', 'python'],
    ['tls', 'python'],
  ];
  return ['set', 'get'].flatMap((call) => pairs.map(([key, peer]) => row(key, call, peer)));
}

export async function measure(options) {
  const missing = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const compared = [];
  for (const place of places) compared.push(await compareCalls(place, missing, options));
  return {
    rows: [
      ...compared.flatMap(({ rows }) => rows),
      ...(await clientRows(missing, options)),
      ...(await arrayRows(missing, options)),
    ],
    tables: compared.map(({ table }) => table),
  };
}
