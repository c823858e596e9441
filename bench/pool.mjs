// Claim: a task costs 5 µs and an argument of 80 MB less than half a millisecond, below every other pool.
import { pools } from './support/pools.mjs';
import { mediansOfTurns, runMeasured } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { findPython, nameOfRay, noRay, runPython, runRay } from './support/tools.mjs';

export const title = 'process pool';

const workers = 2;
const tasks = 10_000;
const batch = 100;
const elements = 1e7;
const goals = { many: 5, argument: 0.5 };

/** What tasks get as argument, in ndshm. */
const ourArguments = new Map([
  ['shared', 'SharedArray'],
  ['sharedFirst', 'SharedArray, new to the worker'],
  ['ref', 'ref of pool.put()'],
  ['plain', 'Float64Array, copied'],
]);
/** And elsewhere; `shared`: threads can share memory of their process. */
const otherArguments = {
  bareFork: { label: 'child.send, structured clone', key: 'bareFork' },
  jestWorker: { label: 'jest-worker, structured clone', key: 'jestWorker' },
  piscina: { label: 'piscina, structured clone', key: 'piscina' },
  piscinaShared: { label: 'piscina, SharedArrayBuffer', key: 'piscina', shared: true },
};

async function findPeers(quick) {
  const noPython = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const budget = { capacity: 500e6, milliseconds: quick ? 200 : 500 };
  const rayArgs = { ...budget, workers, tasks: quick ? tasks / 10 : tasks, batch: batch / 5, elements };
  return {
    python: { label: 'Python multiprocessing.Pool', missing: noPython },
    ray: { label: await nameOfRay(), missing: await noRay(), run: () => runRay('pool_ray.py', rayArgs) },
  };
}

async function measureTasks({ python }, { quick, progress }) {
  const args = { workers, tasks, batch, milliseconds: quick ? 100 : 300 };
  const other = ([key, { label }]) => [
    key,
    { name: label, run: () => runMeasured('pool-tasks-peer.mjs', { ...args, key }) },
  ];
  const contestants = {
    ours: { name: 'ndshm', run: () => runMeasured('pool-tasks.mjs', args) },
    ...Object.fromEntries(Object.entries(pools).map(other)),
    python: { name: python.label, missing: python.missing, run: () => runPython('pool_tasks.py', args) },
  };
  return mediansOfTurns(contestants, quick ? 1 : 3, (text) => progress(`tasks, ${text}`));
}

async function measureArguments({ python }, { quick, progress }) {
  const args = { elements, milliseconds: quick ? 100 : 300 };
  const ours = [...ourArguments].map(([way, label]) => [
    way,
    {
      name: label,
      run: () => runMeasured('pool-argument.mjs', { ...args, way, name: segmentName(`argument-${way}`) }),
    },
  ]);
  const others = Object.entries(otherArguments).map(([way, { label, ...how }]) => [
    way,
    { name: label, run: () => runMeasured('pool-argument-peer.mjs', { ...args, ...how }) },
  ]);
  const contestants = {
    ...Object.fromEntries([...ours, ...others]),
    python: { name: python.label, missing: python.missing, run: () => runPython('pool_argument.py', args) },
  };
  return mediansOfTurns(contestants, quick ? 1 : 3, (text) => progress(`80 MB, ${text}`));
}

function taskRows(measured, ray, peers) {
  const many = `${tasks.toLocaleString('en')} trivial tasks, ${workers} processes`;
  const row = (what, key, peer) => ({ what, ours: measured.ours[key], unit: 'µs', ...peer });
  const ofPool = (key, time) => ({ peer: pools[key].label, theirs: measured[key][time] });
  const ofPython = (time) => ({
    peer: peers.python.label,
    missing: peers.python.missing,
    theirs: measured.python?.[time],
  });
  const ofRay = (time) => ({ peer: peers.ray.label, missing: peers.ray.missing, theirs: ray?.[time] });
  const all = (time) => [...Object.keys(pools).map((key) => ofPool(key, time)), ofPython(time), ofRay(time)];
  const oneByOne = `${many}, chunk size 1: a task`;
  const awaited = 'one task at a time, awaited';
  const mayBeFaster = ['tinypoolThreads', 'workerpoolThreads'].map((key) => pools[key].label);
  return [
    row(oneByOne, 'many', { peer: 'the goal', theirs: goals.many, atMost: 1 }),
    ...all('many').map((peer) => row(oneByOne, 'many', peer)),
    row(`${many}, each an apply(): a task`, 'calls', { peer: 'ndshm: map()', theirs: measured.ours.many }),
    row(`${many}, automatic chunks: a task`, 'chunks', { ...ofPython('chunks'), atMost: 1 }),
    ...all('one').map((peer) => row(awaited, 'one', mayBeFaster.includes(peer.peer) ? peer : { ...peer, atMost: 1 })),
  ];
}

function argumentRows(measured, ray, peers) {
  const row = (way, peer) => ({
    what: `80 MB as argument: ${ourArguments.get(way)}`,
    ours: measured[way],
    unit: 'ms',
    ...peer,
  });
  const goal = { peer: 'the goal', theirs: goals.argument, atMost: 1 };
  const { python, ray: rayPeer } = peers;
  const ofRay = (way, how) => ({ peer: `${rayPeer.label}: ${how}`, missing: rayPeer.missing, theirs: ray?.[way] });
  const others = Object.entries(otherArguments).map(([way, { label, shared }]) => [
    { peer: label, theirs: measured[way] },
    shared,
  ]);
  const copies = [
    ...others.filter(([, shared]) => !shared).map(([peer]) => peer),
    { peer: `${python.label}, numpy pickled`, missing: python.missing, theirs: measured.python },
    ofRay('plain', 'numpy'),
  ];
  const references = [...others.filter(([, shared]) => shared).map(([peer]) => peer), ofRay('ref', 'ref of ray.put()')];
  return [
    ...['shared', 'sharedFirst', 'ref'].map((way) => row(way, goal)),
    ...[...copies, ...references].map((peer) => row('shared', peer)),
    ...references.map((peer) => row('ref', peer)),
    ...copies.map((peer) => row('plain', peer)),
  ];
}

export async function measure(options) {
  const peers = await findPeers(options.quick);
  const measuredTasks = await measureTasks(peers, options);
  const measuredArguments = await measureArguments(peers, options);
  const { ray } = await mediansOfTurns(
    { ray: { name: peers.ray.label, ...peers.ray } },
    options.quick ? 1 : 2,
    options.progress,
  );
  return { rows: [...taskRows(measuredTasks, ray, peers), ...argumentRows(measuredArguments, ray, peers)] };
}
