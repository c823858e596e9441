// Claim: an element costs through .data what it costs in a plain Float64Array, and through get() at most three times
// an index computed by hand.
import { runMeasured, takeTurns } from './support/processes.mjs';
import { median } from './support/statistics.mjs';

export const title = 'read and write elements';

const plain = 'a plain Float64Array';
const byHand = 'data[i * columns + j]';
const cases = [
  { kernel: 'sum', what: 'sum of 10 million over .data', peer: plain, between: [0.97, 1.03] },
  { kernel: 'sumSmall', what: 'sum of 10,000 over .data', peer: plain, between: [0.97, 1.03] },
  { kernel: 'get', what: 'get(i, j)', peer: byHand, atMost: 3 },
  { kernel: 'get', manyDTypes: true, what: 'get(i, j), process uses all dtypes', peer: byHand, atMost: 3 },
  { kernel: 'set', what: 'set([i, j], v)', peer: byHand },
  { kernel: 'set', manyDTypes: true, what: 'set([i, j], v), process uses all dtypes', peer: byHand },
];

export async function measure({ quick, progress }) {
  const contestants = cases.map(({ kernel, manyDTypes = false, what }) => ({
    name: what,
    run: () => runMeasured('element-access.mjs', { kernel, manyDTypes, rounds: quick ? 20 : 60 }),
  }));
  const results = await takeTurns(contestants, quick ? 3 : 9, progress);
  return {
    rows: cases.map(({ kernel, manyDTypes, ...row }, n) => ({
      ...row,
      unit: 'ns',
      ours: median(results[n].map((each) => each.ours)),
      theirs: median(results[n].map((each) => each.theirs)),
      // Both were measured in turns in each process: the median of those ratios, not the ratio of medians.
      ratio: median(results[n].map((each) => each.ours / each.theirs)),
    })),
  };
}
