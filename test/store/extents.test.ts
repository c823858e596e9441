import fc from 'fast-check';
import { type Extent, Extents } from '../../dist/store/extents';
import { runs, timeoutMs } from '../helpers/arrays';
import { thrownBy } from '../helpers/shm';

const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
const base = 5;
const guard = 0x5a5a5a5a;

/** Extents with all pages free and holes, in the middle of words that are not theirs. */
function freshExtents(totalPages: number, capacityPages: number) {
  const words = new Int32Array(base + Extents.words + base).fill(guard);
  const extents = new Extents(words, base, totalPages, capacityPages);
  extents.rebuild([]);
  return { words, extents };
}

const around = (words: Int32Array): number[] => [...words.subarray(0, base), ...words.subarray(-base)];

/** What Extents keeps as ranges, page by page. */
class Pages {
  readonly #pages: ('hole' | 'warm' | 'used')[];

  constructor(
    total: number,
    readonly capacity: number,
  ) {
    this.#pages = new Array(total).fill('hole');
  }

  count(...kinds: string[]): number {
    return this.#pages.filter((kind) => kinds.includes(kind)).length;
  }

  /** The longest runs of pages of a kind, by where they start. */
  runs(kind: string): { start: number; pages: number }[] {
    const found: { start: number; pages: number }[] = [];
    for (const [n, each] of this.#pages.entries()) {
      if (each !== kind) continue;
      const last = found.at(-1);
      if (last !== undefined && last.start + last.pages === n) last.pages++;
      else found.push({ start: n, pages: 1 });
    }
    return found;
  }

  mark(start: number, pages: number, kind: 'hole' | 'warm' | 'used'): void {
    this.#pages.fill(kind, start, start + pages);
  }

  expectedTake(pages: number, holesOnly: boolean): Extent | undefined {
    const warm = holesOnly ? [] : this.runs('warm').filter((run) => run.pages >= pages);
    const best = warm.sort((a, b) => a.pages - b.pages || a.start - b.start)[0];
    if (best !== undefined) return { start: best.start, pages, warm: true };
    const hole = this.runs('hole').find((run) => run.pages >= pages);
    if (hole === undefined || this.count('warm', 'used') + pages > this.capacity) return undefined;
    return { start: hole.start, pages, warm: false };
  }
}

type Step =
  | { readonly do: 'take'; readonly pages: number; readonly holesOnly: boolean }
  | { readonly do: 'give'; readonly which: number; readonly warm: boolean }
  | { readonly do: 'cool' }
  | { readonly do: 'rebuild' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      pages: fc.integer({ min: 1, max: 12 }),
      holesOnly: fc.nat(5).map((n) => n === 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('give' as const), which: fc.nat(100), warm: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cool' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rebuild' as const) }) },
);

describe('free pages', () => {
  test(
    'are taken and given like pages that are marked one by one, whatever the order',
    () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 80 }),
          fc.integer({ min: 1, max: 80 }),
          fc.array(step, { maxLength: 60, size: 'max' }),
          (total, capacity, steps) => {
            const { words, extents } = freshExtents(total, capacity);
            const model = new Pages(total, capacity);
            const taken: { start: number; pages: number }[] = [];
            for (const each of steps) {
              if (each.do === 'take') {
                const expected = model.expectedTake(each.pages, each.holesOnly);
                expect(extents.take(each.pages, each.holesOnly)).toEqual(expected);
                if (expected === undefined) continue;
                model.mark(expected.start, expected.pages, 'used');
                taken.push({ start: expected.start, pages: expected.pages });
              } else if (each.do === 'give') {
                const [extent] = taken.splice(each.which % Math.max(1, taken.length), 1);
                if (extent === undefined) continue;
                expect(extents.give({ ...extent, warm: each.warm })).toBe(true);
                model.mark(extent.start, extent.pages, each.warm ? 'warm' : 'hole');
              } else if (each.do === 'cool') {
                const longest = model.runs('warm').sort((a, b) => b.pages - a.pages || a.start - b.start)[0];
                const found = extents.takeWarmest();
                expect(found).toEqual(longest === undefined ? undefined : { ...longest, warm: true });
                if (found === undefined) continue;
                expect(extents.give({ ...found, warm: false })).toBe(true);
                model.mark(found.start, found.pages, 'hole');
              } else {
                words.fill(-1, base, words.length - base); // whatever was left half-way
                const holes = extents.rebuild(taken);
                for (const { start, pages } of model.runs('warm')) model.mark(start, pages, 'hole');
                expect(holes).toEqual(model.runs('hole').map((run) => ({ ...run, warm: false })));
              }
              expect([extents.usedPages, extents.warmPages]).toEqual([
                model.count('used', 'warm'),
                model.count('warm'),
              ]);
            }
            expect(around(words)).toEqual(new Array(2 * base).fill(guard));
          },
        ),
        runs(200),
      );
    },
    timeoutMs,
  );

  test('in more pieces than there is room to note are said not to be taken back, and come back with a rebuild', () => {
    const maxRanges = 8192;
    const total = 2 * maxRanges + 10;
    const { words, extents } = freshExtents(total, total);
    const taken = range(total).map(() => extents.take(1) as Extent);
    expect(extents.take(1)).toBeUndefined();
    const each = range(maxRanges);
    expect(each.every((n) => extents.give({ ...(taken[2 * n] as Extent), warm: true }))).toBe(true);
    expect(extents.give({ start: total - 2, pages: 1, warm: true })).toBe(false);
    expect(extents.give({ start: total - 2, pages: 1, warm: false })).toBe(false);
    expect([extents.usedPages, extents.warmPages]).toEqual([total, maxRanges]);
    // What joins others needs no room.
    expect(extents.give({ start: 1, pages: 1, warm: true })).toBe(true);
    expect(extents.warmPages).toBe(maxRanges + 1);
    expect(extents.give({ start: total - 2, pages: 1, warm: true })).toBe(true);
    expect(around(words)).toEqual(new Array(2 * base).fill(guard));

    const inUse = taken.filter((_, n) => n % 2 === 1);
    expect(extents.rebuild(inUse)).toHaveLength(total / 2);
    expect(extents.usedPages).toBe(inUse.length);
    expect(each.map(() => extents.take(1)?.warm).every((warm) => warm === false)).toBe(true);
    expect(extents.take(1)).toBeUndefined();
    expect(around(words)).toEqual(new Array(2 * base).fill(guard));
    extents.rebuild([]);
    expect(extents.take(total)).toEqual({ start: 0, pages: total, warm: false });
  });

  test('that are given twice, or are said to be in use twice, are an error', () => {
    const { extents } = freshExtents(100, 100);
    const extent = extents.take(10) as Extent;
    const corrupt = { code: 'ERR_NDSHM_CONTROL_CORRUPT' };
    expect(extents.give({ ...extent, warm: true })).toBe(true);
    expect(thrownBy(() => extents.give({ ...extent, warm: true }))).toMatchObject(corrupt);
    expect(thrownBy(() => extents.give({ start: 5, pages: 10, warm: false }))).toMatchObject(corrupt);
    for (const inUse of [
      [
        { start: 0, pages: 5 },
        { start: 4, pages: 1 },
      ],
      [{ start: 95, pages: 6 }],
      [{ start: 3, pages: 0 }],
      [{ start: -1, pages: 2 }],
    ]) {
      expect(thrownBy(() => extents.rebuild(inUse))).toMatchObject(corrupt);
    }
  });

  test('whose words hold anything are errors or ranges within the reservoir', () => {
    const { words, extents } = freshExtents(1000, 1000);
    const word = fc.oneof(fc.integer(), fc.integer({ min: -3, max: 1003 }));
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 2 + 3 * 6, maxLength: 2 + 3 * 6 }),
        fc.integer({ min: 1, max: 1000 }),
        (spoilt, pages) => {
          words.set(spoilt, base);
          const within = (run: () => Extent | undefined) => {
            try {
              const { start, pages: length } = run() ?? { start: 0, pages: 1 };
              expect(start >= 0 && length >= 1 && start + length <= 1000).toBe(true);
            } catch (error) {
              expect(error).toMatchObject({ code: 'ERR_NDSHM_CONTROL_CORRUPT' });
            }
          };
          within(() => extents.take(pages));
          within(() => extents.takeWarmest());
          within(() => {
            extents.give({ start: 10, pages, warm: true });
            return undefined;
          });
          expect(around(words)).toEqual(new Array(2 * base).fill(guard));
        },
      ),
      runs(500),
    );
  });
});
