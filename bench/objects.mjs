// Claim: a small object is put and got in less than 10 µs, at 20 times Ray's rate, and holds no descriptor or mapping.
import { mediansOfTurns, runMeasured } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { findPython, nameOfRay, noRay, runPython, runRay } from './support/tools.mjs';

export const title = 'small objects';

const kinds = new Map([
  ['bytes', '1 KB of bytes'],
  ['record', 'a record of 20 fields, 1 KB'],
]);
const ways = new Map([
  ['putGet', 'putSync, get'],
  ['awaitPutGet', 'await put, get'],
  ['putGetDelete', 'putSync, get, delete'],
  ['getElsewhere', 'get in another process'],
]);
const liveObjects = 100_000;
const bytesOfObject = 1024;

const storeName = (hint) => segmentName(`objects-${hint}`);

async function speedContestants(quick) {
  const milliseconds = quick ? 100 : 500;
  const noPython = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const inNode = (way, kind) => ({
    name: `${way} of ${kind}`,
    run: () => runMeasured('objects.mjs', { way, value: kind, name: storeName(`${way}-${kind}`), milliseconds }),
  });
  return {
    ...Object.fromEntries(
      [...kinds.keys()].flatMap((kind) => [...ways.keys(), 'v8'].map((way) => [`${way} ${kind}`, inNode(way, kind)])),
    ),
    pickle: { name: 'pickle', missing: noPython, run: () => runPython('objects_pickle.py', { milliseconds }) },
    ray: {
      name: 'Ray',
      missing: await noRay(),
      run: () => runRay('objects_ray.py', { milliseconds: quick ? 100 : 1000, capacity: 500e6 }),
    },
  };
}

const inThousandsASecond = (microseconds) => (microseconds === undefined ? undefined : 1e3 / microseconds);

async function speedRows({ quick, progress }) {
  const contestants = await speedContestants(quick);
  const measured = await mediansOfTurns(contestants, quick ? 1 : 5, progress);
  const rayName = await nameOfRay();
  return [...kinds].flatMap(([kind, what]) => {
    const ofWay = (way) => ({ what: `${what}: ${ways.get(way)}`, ours: measured[`${way} ${kind}`].median, unit: 'µs' });
    const ray = (way, doing) => ({
      peer: `${rayName}: ${doing}`,
      theirs: measured.ray?.[kind][way],
      missing: contestants.ray.missing,
    });
    const [ours, theirs] = [ofWay('putGet'), ray('putGet', 'put, get')];
    return [
      { ...ours, peer: 'the goal', theirs: 10, atMost: 1 },
      { ...ours, peer: 'v8.serialize, v8.deserialize', theirs: measured[`v8 ${kind}`].median },
      {
        ...ours,
        peer: 'pickle.dumps, pickle.loads',
        theirs: measured.pickle?.[kind].putGet,
        missing: contestants.pickle.missing,
      },
      {
        ...theirs,
        what: `${ours.what}, pairs a second`,
        ours: inThousandsASecond(ours.ours),
        theirs: inThousandsASecond(theirs.theirs),
        unit: 'k/s',
        atLeast: 20,
      },
      { ...ofWay('awaitPutGet'), ...theirs },
      { ...ofWay('putGetDelete'), ...theirs },
      { ...ofWay('getElsewhere'), ...ray('getElsewhere', 'get in a worker') },
    ];
  });
}

async function footprintRows({ quick, progress }) {
  const count = quick ? liveObjects / 10 : liveObjects;
  progress(`${count} objects alive`);
  const held = await runMeasured('objects-live.mjs', { name: storeName('live'), value: 'bytes', count });
  const objects = `${count.toLocaleString('en')} live objects`;
  return [
    ...[
      ['descriptors', 'fds'],
      ['mappings', 'maps'],
    ].map(([kind, unit]) => ({
      what: `${kind} that ${objects} add to the process`,
      ours: held[kind],
      peer: 'one each',
      theirs: count,
      unit,
      atMost: 0.001,
    })),
    {
      what: `shared memory of ${objects} of 1 KB, each`,
      ours: held.shared / count,
      peer: 'their bytes',
      theirs: bytesOfObject,
      unit: 'B',
    },
  ];
}

export async function measure(options) {
  return { rows: [...(await speedRows(options)), ...(await footprintRows(options))] };
}
