// Claim: creating, closing and unlinking a small array costs at most three times its system calls.
import { runJson, runMeasured, takeTurns } from './support/processes.mjs';
import { pathOf, segmentName } from './support/segments.mjs';
import { median } from './support/statistics.mjs';
import { compileC, findPython, runPython } from './support/tools.mjs';

export const title = 'create, close and unlink a small array';

export async function measure({ quick, progress }) {
  const repeats = quick ? 500 : 3000;
  const program = await compileC('create');
  const noPython = (await findPython()) === undefined ? 'no Python with numpy here' : undefined;
  const contestants = [
    { name: 'ndshm', run: () => runMeasured('create.mjs', { name: segmentName('small'), repeats }) },
    { name: 'C: the same system calls', run: () => runJson(program, [pathOf(segmentName('small')), repeats]) },
    {
      name: 'Python SharedMemory + np.ndarray',
      missing: noPython,
      run: () => runPython('create.py', { name: segmentName('small'), repeats }),
    },
  ];
  const results = await takeTurns(contestants, quick ? 3 : 9, progress);
  const times = results.map((each) => (each.length === 0 ? undefined : median(each.map((one) => one.median))));
  return {
    rows: contestants.slice(1).map(({ name, missing }, n) => ({
      what: 'create 1000 float64, close, unlink',
      ours: times[0],
      peer: name,
      theirs: times[n + 1],
      unit: 'µs',
      missing,
      ...(n === 0 ? { atMost: 3 } : {}),
    })),
  };
}
