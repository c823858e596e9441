import * as ndshm from 'ndshm';
import { rejection } from '../helpers/child';
import { makePool, task } from '../helpers/pool';

const pool = makePool();
const range = (length: number): number[] => Array.from({ length }, (_, n) => n);

/** Keeps what it is told. */
function recorder() {
  const seen: ndshm.Progress[] = [];
  let stops = 0;
  const onProgress = Object.assign((progress: ndshm.Progress) => void seen.push({ ...progress }), {
    stop: () => void stops++,
  });
  return { seen, onProgress, stops: () => stops };
}

test.each([1, 4, 10, 'auto'] as const)(
  'onProgress is told how many items are done, in chunks of %s',
  async (chunkSize) => {
    const { seen, onProgress, stops } = recorder();
    expect(await pool.map((x: number) => x, range(10), { chunkSize, onProgress })).toEqual(range(10));
    expect(seen[0]).toEqual({ done: 0, total: 10 });
    expect(seen.at(-1)).toEqual({ done: 10, total: 10 });
    seen.slice(1).forEach(({ done, total }, n) => {
      expect(done).toBeGreaterThan(seen[n]?.done as number);
      expect(total).toBe(10);
    });
    if (typeof chunkSize === 'number') expect(seen).toHaveLength(1 + Math.ceil(10 / chunkSize));
    expect(stops()).toBe(1);
  },
);

test('onProgress of starmap() is told the same', async () => {
  const { seen, onProgress } = recorder();
  await pool.starmap((x: number) => x, [[1], [2]], { chunkSize: 1, onProgress });
  expect(seen.map(({ done }) => done)).toEqual([0, 1, 2]);
});

test('onProgress of a map of nothing is told so', async () => {
  const { seen, onProgress, stops } = recorder();
  expect(await pool.map((x: number) => x, [], { onProgress })).toEqual([]);
  expect(seen).toEqual([{ done: 0, total: 0 }]);
  expect(stops()).toBe(1);
});

test('onProgress is told before the last item is done', async () => {
  let goOn: () => void = () => {};
  const some = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const controller = new AbortController();
  const result = rejection(
    pool.starmap(
      task('hangAt'),
      range(4).map((n) => [n, 3]),
      {
        chunkSize: 1,
        signal: controller.signal,
        onProgress: ({ done }) => {
          if (done === 3) goOn();
        },
      },
    ),
  );
  await some; // while the last item hangs
  controller.abort();
  expect(await result).toMatchObject({ name: 'AbortError' });
});

test('onProgress is told nothing after a failure, and stopped', async () => {
  const { seen, onProgress, stops } = recorder();
  const items = range(100).map((n) => [n, 5]);
  expect(await rejection(pool.map(task('failAt'), items, { chunkSize: 1, onProgress }))).toMatchObject({ index: 5 });
  expect(stops()).toBe(1);
  const toldOf = seen.length;
  expect(await pool.map((x: number) => x, range(10), { chunkSize: 1 })).toEqual(range(10));
  expect(seen).toHaveLength(toldOf);
  expect(seen.at(-1)?.done).toBeLessThan(100);
});

test('what onProgress throws is the map’s failure', async () => {
  const failure = new Error('the display is gone');
  const onProgress = ({ done }: ndshm.Progress) => {
    if (done === 2) throw failure;
  };
  expect(await rejection(pool.map((x: number) => x, range(5), { chunkSize: 1, onProgress }))).toBe(failure);
  const atOnce = () => {
    throw failure;
  };
  expect(await rejection(pool.map((x: number) => x, range(5), { onProgress: atOnce }))).toBe(failure);
  expect(await rejection(pool.map((x: number) => x, [], { onProgress: atOnce }))).toBe(failure);
  expect(await pool.apply(() => 1)).toBe(1);
});

test('a progress bar is what onProgress takes', async () => {
  const lines: string[] = [];
  const stream = { write: (text: string) => lines.push(text) > 0 } as unknown as NodeJS.WritableStream;
  await pool.map((x: number) => x, range(10), { onProgress: ndshm.progressBar('squares', { stream }) });
  expect(lines.join('')).toMatch(/^squares: 0 of 10\n(?:.*\n)*squares: 10 of 10.*\n$/);
});
