import fc from 'fast-check';
import { builtinTypes as types } from '../../../dist/manager/types';
import { thrownBy } from '../../helpers/shm';

describe('a list', () => {
  test('does what an array does, whatever is done with it', () => {
    const index = fc.integer({ min: -12, max: 12 });
    const item = fc.integer({ min: 0, max: 5 });
    const items = fc.array(item, { maxLength: 4 });
    const step = fc.oneof(
      fc.tuple(fc.constantFrom('push', 'unshift'), items).map(([name, args]) => [name, ...args] as const),
      fc.tuple(fc.constantFrom('pop', 'shift', 'reverse'), fc.constant([])).map(([name]) => [name] as const),
      fc.tuple(fc.constantFrom('indexOf', 'includes'), item),
      fc.tuple(fc.constant('slice'), fc.option(index, { nil: undefined }), fc.option(index, { nil: undefined })),
    );
    fc.assert(
      fc.property(items, fc.array(step, { maxLength: 20 }), (first, steps) => {
        const list = new types.list(first);
        const model = [...first];
        for (const [name, ...args] of steps) {
          const call = (on: object) => (on as Record<string, (...args: unknown[]) => unknown>)[name]?.(...args);
          const expected = call(model);
          expect(call(list)).toEqual(name === 'reverse' ? undefined : expected);
          expect(list.toArray()).toEqual(model);
          expect(list.length).toBe(model.length);
          for (let at = -8; at < 8; at++) expect(list.get(at)).toBe(model.at(at));
        }
      }),
    );
  });

  test('inserts, sets and removes at positions that may count from the end', () => {
    const list = new types.list(['a', 'b', 'c']);
    list.insert(1, 'x');
    list.insert(-1, 'y');
    list.insert(99, 'last');
    list.insert(-99, 'first');
    expect(list.toArray()).toEqual(['first', 'a', 'x', 'b', 'y', 'c', 'last']);
    list.set(0, 'F');
    list.set(-1, 'L');
    expect([list.removeAt(1), list.removeAt(-2), list.toArray()]).toEqual(['a', 'c', ['F', 'x', 'b', 'y', 'L']]);
    expect(list.extend(new Set([1, 2]) as Iterable<never>)).toBe(7);
  });

  test('has no item beyond its ends', () => {
    const list = new types.list([1, 2]);
    for (const [index, code] of [
      [2, 'ERR_NDSHM_OUT_OF_RANGE'],
      [-3, 'ERR_NDSHM_OUT_OF_RANGE'],
      [0.5, 'ERR_NDSHM_OUT_OF_RANGE'],
      ['0', 'ERR_NDSHM_INVALID_ARGUMENT'],
    ] as [number, string][]) {
      expect(thrownBy(() => list.set(index, 5)).code).toBe(code);
      expect(thrownBy(() => list.removeAt(index)).code).toBe(code);
    }
    for (const wrong of [0.5, '0', Number.NaN] as number[]) {
      const uses = [
        () => list.get(wrong),
        () => list.insert(wrong, 1),
        () => list.slice(wrong),
        () => list.slice(0, wrong),
      ];
      for (const use of uses) expect(thrownBy(use)).toBeInstanceOf(typeof wrong === 'string' ? TypeError : RangeError);
    }
    expect(list.toArray()).toEqual([1, 2]);
    expect(thrownBy(() => new types.list<number>().set(0, 1)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
  });

  test('sorts numbers by value, text by its characters, and nothing else', () => {
    const sorted = (items: unknown[]) => {
      const list = new types.list(items);
      list.sort();
      return list.toArray();
    };
    expect(sorted([10, 9, Number.NaN, -1, Number.POSITIVE_INFINITY, 1])).toEqual([
      -1,
      1,
      9,
      10,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ]);
    expect(sorted([10n, 9n, -(2n ** 70n)])).toEqual([-(2n ** 70n), 9n, 10n]);
    expect(sorted(['b', 'B', '10', '9', 'é'])).toEqual(['10', '9', 'B', 'b', 'é']);
    expect(sorted([])).toEqual([]);
    for (const items of [[1, 'a'], [1, 2n], [{}, {}], [null], [undefined, 1]]) {
      const list = new types.list<unknown>(items);
      expect(thrownBy(() => list.sort()).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
      expect(list.toArray()).toEqual(items);
    }
    fc.assert(
      fc.property(fc.array(fc.double()), (numbers) => {
        const positive = numbers.map((number) => number + 0); // -0 is equal to 0
        expect(sorted(positive)).toEqual([...Float64Array.from(positive).sort()]);
      }),
    );
  });

  test('keeps copies of what it is made of and gives copies of what it has', () => {
    const given = [1, 2];
    const list = new types.list(given);
    given.push(3);
    list.toArray().push(4);
    list.slice().push(5);
    expect(list.toArray()).toEqual([1, 2]);
    list.clear();
    expect([list.length, list.toArray()]).toEqual([0, []]);
  });

  test('takes as many items at once as there are', () => {
    const list = new types.list<number>();
    expect(list.extend(Array(500_000).fill(1))).toBe(500_000);
    expect(thrownBy(() => list.extend(5 as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => new types.list('text' as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });
});
