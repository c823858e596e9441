import fc from 'fast-check';
import { chunkSizes } from '../../dist/pool/chunks';
import { runs, timeoutMs } from '../helpers/arrays';

const totals = fc.nat(100_000);
const processCounts = fc.integer({ min: 1, max: 256 });
const sum = (sizes: readonly number[]): number => sizes.reduce((total, size) => total + size, 0);

test(
  'chunks of any size come to the total, and none is larger than the one before it',
  () => {
    const chunkSize = fc.oneof(fc.constant('auto' as const), fc.integer({ min: 1, max: 200_000 }));
    fc.assert(
      fc.property(totals, processCounts, chunkSize, (total, processes, chunkSize) => {
        const sizes = [...chunkSizes(total, processes, chunkSize)];
        expect(sum(sizes)).toBe(total);
        expect(sizes.every((size, n) => Number.isInteger(size) && size >= 1 && size <= (sizes[n - 1] ?? size))).toBe(
          true,
        );
      }),
      runs(200),
    );
  },
  timeoutMs,
);

test(
  'a guided chunk takes a quarter of its process’s share of what is left, rounded up',
  () => {
    fc.assert(
      fc.property(totals, processCounts, (total, processes) => {
        let left = total;
        for (const size of chunkSizes(total, processes, 'auto')) {
          // In whole numbers: four times the processes would take all of the rest with it, and not with one less.
          const isLeast = size * 4 * processes >= left && (size - 1) * 4 * processes < left;
          if (!isLeast) throw new Error(`A chunk of ${size} of the ${left} that are left`);
          left -= size;
        }
      }),
      runs(200),
    );
  },
  timeoutMs,
);

test('the guided chunks of a million items for eight processes are few', () => {
  const sizes = [...chunkSizes(1_000_000, 8, 'auto')];
  expect(sizes[0]).toBe(31_250);
  expect(sizes.at(-1)).toBe(1);
  expect(sizes.length).toBeLessThan(400);
});

test.each([
  { total: 10, chunkSize: 4, sizes: [4, 4, 2] },
  { total: 8, chunkSize: 4, sizes: [4, 4] },
  { total: 3, chunkSize: 1, sizes: [1, 1, 1] },
  { total: 3, chunkSize: 1000, sizes: [3] },
  { total: 0, chunkSize: 4, sizes: [] },
  { total: 0, chunkSize: 'auto' as const, sizes: [] },
  { total: 1, chunkSize: 'auto' as const, sizes: [1] },
  { total: 20, chunkSize: 'auto' as const, sizes: [3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1] },
])('$total items in chunks of $chunkSize for two processes: $sizes', ({ total, chunkSize, sizes }) => {
  expect([...chunkSizes(total, 2, chunkSize)]).toEqual(sizes);
});
