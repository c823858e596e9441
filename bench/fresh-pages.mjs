// Claim: fromArray() fills fresh pages at most 1.1 times as slowly as the fastest way found in C.
import { runJson, runMeasured, takeTurns } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';
import { compileC, findPeer } from './support/tools.mjs';

export const title = 'fill fresh pages';

const sizes = [
  { bytes: 80e6, label: '80 MB', repeats: 9, survey: 11, rounds: 7 },
  { bytes: 1.6e9, label: '1.6 GB', repeats: 3, survey: 3, rounds: 5 },
];

// The limit is a warm mapping; an unsafe way leaves it to a bus error to say that the file system is full.
const kindOf = (way) => /^(warm|unsafe|zero)/.exec(way)?.[0] ?? 'data';

/** The names of the quickest ways to fill with data ('data') or zeros ('zero'), quickest first. */
function quickest(ways, kind) {
  const names = Object.keys(ways).filter((way) => kindOf(way) === kind);
  return names.sort((one, other) => ways[one].median - ways[other].median).slice(0, 2);
}

/** What native/fill.c says about the ways whose name holds `only`. */
async function fillInC(program, bytes, repeats, only = '') {
  const [ways] = Object.values(await runJson(program, ['--json', `--reps=${repeats}`, `--only=${only}`, bytes]));
  return ways;
}

const inMilliseconds = (seconds) => (seconds.length === 0 ? undefined : median(seconds) * 1e3);

const wayInC = (program, way, bytes, repeats) => ({
  name: `C: ${way}`,
  run: async () => (await fillInC(program, bytes, repeats, way))[way],
});

const wayInNode = (way, bytes, repeats, peer = {}) => ({
  name: way,
  missing: peer.missing,
  run: () =>
    runMeasured('fresh-pages.mjs', { way, bytes, repeats, entry: peer.entry, name: segmentName(`fill-${way}`) }),
});

function tableOfWays(label, ways) {
  const limit = ways['warm memcpy, 1 thread'].median;
  return {
    title: `What each way in C takes to fill ${label} of fresh pages (native/fill.c)`,
    head: ['way', 'fill, ms', 'first visit of each page, ms', 'fill, in warm memcpys'],
    rows: Object.entries(ways).map(([way, { median: fill, touch }]) => [
      way,
      (fill * 1e3).toFixed(1),
      (touch * 1e3).toFixed(1),
      (fill / limit).toFixed(2),
    ]),
  };
}

async function measureSize({ bytes, label, repeats, survey, rounds }, { quick, progress }) {
  const program = await compileC('fill');
  progress(`${label}, all ways in C`);
  const ways = await fillInC(program, bytes, quick ? 1 : survey);
  const rows = [];
  for (const [kind, ours, peers] of [
    ['data', 'fromArray', [wayInNode('shm-typed-array', bytes, repeats, await findPeer('shm-typed-array'))]],
    ['zero', 'create', []],
  ]) {
    const inC = quickest(ways, kind).map((way) => wayInC(program, way, bytes, repeats));
    const contestants = [wayInNode(ours, bytes, repeats), ...inC, ...peers];
    const results = await takeTurns(contestants, quick ? 2 : rounds, (text) => progress(`${label}, ${text}`));
    const [mine, ...others] = results.map((each) => ({
      fill: inMilliseconds(each.map((one) => one.median)),
      both: inMilliseconds(each.map((one) => one.median + one.touch)),
    }));
    // The two that were quickest in the survey compete again, so that luck in the survey does not count.
    const best = others[1].fill < others[0].fill ? 1 : 0;
    for (const [n, { name, missing }] of contestants.slice(1).entries()) {
      const goal = kind === 'data' && n === best ? { atMost: 1.1 } : {};
      rows.push({
        what: `${ours} of ${label}`,
        ours: mine.fill,
        peer: name,
        theirs: others[n].fill,
        unit: 'ms',
        missing,
        ...goal,
      });
    }
    const what = `${ours} of ${label}, first visit of each page included`;
    rows.push({ what, ours: mine.both, peer: contestants[best + 1].name, theirs: others[best].both, unit: 'ms' });
  }
  return { rows, table: tableOfWays(label, ways) };
}

export async function measure(options) {
  const rows = [];
  const tables = [];
  for (const size of sizes) {
    const measured = await measureSize(size, options);
    rows.push(...measured.rows);
    tables.push(measured.table);
  }
  return { rows, tables };
}
