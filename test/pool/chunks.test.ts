import fc from 'fast-check';
import { type Chunk, chunksOf } from '../../dist/pool/chunks';
import { runs, timeoutMs } from '../helpers/arrays';

const totals = fc.nat(100_000);
const processCounts = fc.integer({ min: 1, max: 256 });
const chunkSizes = fc.oneof(fc.constant('auto' as const), fc.integer({ min: 1, max: 200_000 }));
const sizesOf = (chunks: Iterable<Chunk>): number[] => [...chunks].map(({ size }) => size);

test(
  'chunks of any size hold each item once',
  () => {
    fc.assert(
      fc.property(totals, processCounts, chunkSizes, (total, processes, chunkSize) => {
        const chunks = [...chunksOf(total, processes, chunkSize)].sort((a, b) => a.first - b.first);
        let next = 0;
        for (const { first, size } of chunks) {
          if (first !== next || !(size >= 1) || !Number.isInteger(size))
            throw new Error(`${first}, ${size} at ${next}`);
          next += size;
        }
        expect(next).toBe(total);
      }),
      runs(200),
    );
  },
  timeoutMs,
);

test(
  'a guided chunk takes at most a quarter of its process’s share of what is left, and 500 items',
  () => {
    fc.assert(
      fc.property(totals, processCounts, (total, processes) => {
        let left = total;
        for (const { size } of chunksOf(total, processes, 'auto')) {
          if (size > Math.min(Math.ceil(left / (4 * processes)), 500)) {
            throw new Error(`A chunk of ${size} of the ${left} that are left`);
          }
          left -= size;
        }
      }),
      runs(200),
    );
  },
  timeoutMs,
);

test('guided chunks that are handed out one after the other hardly ever lie side by side', () => {
  const chunks = [...chunksOf(1000, 8, 'auto')];
  const touching = chunks.filter(({ first }, n) => {
    const before = chunks[n - 1];
    return before !== undefined && before.first + before.size === first;
  });
  expect(touching.length).toBeLessThan(chunks.length / 10);
});

test('the guided chunks of a hundred thousand items for eight processes are few', () => {
  const sizes = sizesOf(chunksOf(100_000, 8, 'auto'));
  expect([sizes[0], sizes.at(-1)]).toEqual([500, 1]);
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
  expect(sizesOf(chunksOf(total, 2, chunkSize))).toEqual(sizes);
});
