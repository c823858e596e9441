// Claim: the object store puts 1.6 GB as quickly as memory is copied, and gets them at a tenth of Ray's time.
import { mediansOfTurns, runJson, runMeasured } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { compileC, findPython, nameOfRay, noRay, runPython, runRay } from './support/tools.mjs';

export const title = 'object store';

// The headline: a dict of 20 arrays of 10^7 float64.
const bytes = 1.6e9;
const arrays = 20;
const capacity = 4e9; // two of them, and the rest
const forms = [
  { bytes: 1e6, arrays, label: '1 MB in 20 arrays' },
  { bytes: 8e6, arrays, label: '8 MB in 20 arrays' },
  { bytes: 80e6, arrays, label: '80 MB in 20 arrays' },
  { bytes: 80e6, arrays: 1, label: '80 MB in one array' },
  { bytes, arrays, label: '1.6 GB in 20 arrays' },
];
const draftSizes = [8e6, bytes];

// The quickest of native/fill.c, where they are to be had.
const waysInC = ['uffd copy 1M, 2', 'COLLAPSE populate+memcpy 2M, 2', 'populate+memcpy 256K, 2'];
const memcpys = ['warm memcpy, 1 thread', 'warm memcpy, 2 threads'];

/** What native/fill.c says about these ways, in milliseconds; those that do not work here are missing. */
async function fillInC() {
  const program = await compileC('fill');
  const [ways] = Object.values(await runJson(program, ['--json', '--reps=1', `--only=${waysInC.join(';')}`, bytes]));
  return Object.fromEntries(Object.entries(ways).map(([way, { median }]) => [way, median * 1e3]));
}

async function contestants(quick) {
  const puts = quick ? 2 : 4;
  const gets = quick ? 200 : 2000;
  const args = { capacity, bytes, arrays, puts, gets, forms };
  const draft = { name: segmentName('draft'), capacity, sizes: draftSizes, repeats: quick ? 20 : 200 };
  const noPython = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  return {
    ours: { name: 'put and get', run: () => runMeasured('store.mjs', { ...args, name: segmentName('store') }) },
    draft: { name: 'createArray and seal', run: () => runMeasured('store-draft.mjs', draft) },
    ray: { name: 'Ray', missing: await noRay(), run: () => runRay('store_ray.py', args) },
    pickle: { name: 'pickle', missing: noPython, run: () => runPython('store_pickle.py', { bytes, arrays }) },
    v8: { name: 'node:v8', run: () => runMeasured('store-v8.mjs', { bytes, arrays }) },
    c: { name: 'C', run: fillInC },
  };
}

function putRows({ ours, ray, pickle, v8, c }, peers) {
  const waysByTime = waysInC.filter((way) => way in c).sort((one, other) => c[one] - c[other]);
  const fresh = { what: 'put 1.6 GB into fresh pages', ours: ours.fresh, unit: 'ms' };
  const recycled = { what: 'put 1.6 GB into recycled pages', ours: ours.recycled, unit: 'ms' };
  return [
    ...waysByTime.map((way, n) => ({
      ...fresh,
      peer: `C: ${way}`,
      theirs: c[way],
      ...(n === 0 ? { atMost: 1.1 } : {}),
    })),
    { ...fresh, ...peers.ray('first put'), theirs: ray?.fresh },
    { ...recycled, ...peers.ray('into reused pages'), theirs: ray?.recycled, atMost: 1 },
    ...memcpys.map((way) => ({ ...recycled, peer: `C: ${way}`, theirs: c[way] })),
    { ...recycled, ...peers.pickle('dumps'), theirs: pickle?.put },
    { ...recycled, peer: 'v8.serialize', theirs: v8.put },
  ];
}

function getRows({ ours, ray, pickle, v8 }, peers) {
  const waysToGet = { first: 'first of it in a process', again: 'again, nothing held', held: 'again, held already' };
  const row = (form, way) => ({
    what: `get ${forms[form].label}: ${waysToGet[way]}`,
    ours: ours.gets[form][way],
    unit: 'µs',
  });
  const large = forms.length - 1;
  const single = forms.findIndex((form) => form.arrays === 1);
  const smaller = [...forms.keys()].filter((form) => form !== large && forms[form].arrays === arrays);
  return [
    ...[large, single].flatMap((form) =>
      Object.keys(waysToGet).map((way) => ({
        ...row(form, way),
        ...peers.ray('get'),
        theirs: ray?.gets[form][way],
        atMost: 0.1,
      })),
    ),
    ...smaller.map((form) => ({
      ...row(large, 'again'),
      peer: `ndshm, ${forms[form].label}`,
      theirs: ours.gets[form].again,
      atMost: 1.25,
    })),
    { ...row(large, 'first'), ...peers.pickle('loads'), theirs: pickle && pickle.get * 1e3 },
    { ...row(large, 'first'), peer: 'v8.deserialize', theirs: v8.get * 1e3 },
    {
      what: 'first visit of each page of it',
      ours: ours.gets[large].visit,
      ...peers.ray('the same'),
      theirs: ray?.gets[large].visit,
      unit: 'µs',
    },
  ];
}

function draftRows({ ours, draft }) {
  const [small, large] = draftSizes;
  return [
    {
      what: 'createArray, seal: 1.6 GB of recycled pages',
      ours: draft[large].recycled,
      peer: 'ndshm, 8 MB',
      theirs: draft[small].recycled,
      unit: 'µs',
      atMost: 1.25,
    },
    {
      what: 'createArray, seal: 1.6 GB of fresh pages, which have to be made',
      ours: draft[large].fresh / 1e3,
      peer: 'put into fresh pages',
      theirs: ours.fresh,
      unit: 'ms',
    },
  ];
}

function tableOfGets({ ours, ray }, rayName) {
  const row = (name, label, times) => [
    `${name}: ${label}`,
    ...['first', 'again', 'p90', 'held', 'lease', 'visit'].map((key) => times[key]?.toFixed(1) ?? ''),
  ];
  const veryFirst = [`ndshm ${ours.first.toFixed(0)} µs`, ...(ray ? [`${rayName} ${ray.first.toFixed(0)} µs`] : [])];
  return {
    title: `What get takes in another process, µs (the very first one of a process, whatever it gets: ${veryFirst.join(', ')})`,
    head: [
      'object',
      'first',
      'again, nothing held',
      '90th percentile',
      'again, held',
      'lease',
      'first visit of each page',
    ],
    rows: forms.flatMap(({ label }, form) => [
      row('ndshm', label, ours.gets[form]),
      ...(ray ? [row(rayName, label, ray.gets[form])] : []),
    ]),
  };
}

export async function measure({ quick, progress }) {
  const { pickle, v8, ...others } = await contestants(quick);
  const measured = {
    ...(await mediansOfTurns(others, quick ? 1 : 5, progress)),
    ...(await mediansOfTurns({ pickle, v8 }, quick ? 1 : 3, progress)),
  };
  const rayName = await nameOfRay();
  const peers = {
    ray: (what) => ({ peer: `${rayName}: ${what}`, missing: others.ray.missing }),
    pickle: (what) => ({ peer: `pickle.${what}`, missing: pickle.missing }),
  };
  return {
    rows: [...putRows(measured, peers), ...getRows(measured, peers), ...draftRows(measured)],
    tables: [tableOfGets(measured, rayName)],
  };
}
