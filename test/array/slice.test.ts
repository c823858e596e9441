import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { arrayCase, contentOf, runs, shapeUpTo, sliceItems, timeoutMs, withArray } from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { type Content, PythonPeer } from '../helpers/python-peer';
import { freshName, thrownBy } from '../helpers/shm';

const program = `
def answer(given):
    a = mapped(given['name'])
    for items in given['indices']:
        # An index of whole numbers alone would give a scalar; with '...' it is a 0-d view.
        a = a[index(items)] if '...' in items else a[index(items) + (Ellipsis,)]
    return content(a)
`;

describeWithNumpy('slice', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  test(
    'gives the values, shape and strides that numpy gives, also of a slice of a slice',
    async () => {
      const cases = arrayCase(shapeUpTo(600)).chain((from) =>
        fc.tuple(fc.constant(from), sliceItems(from.shape), fc.gen()),
      );
      await fc.assert(
        fc.asyncProperty(cases, ([from, first, choose]) =>
          withArray(from, async (array) => {
            const once = array.slice(...first);
            const second = choose(sliceItems, once.shape);
            const twice = once.slice(...second);
            expect(contentOf(once)).toEqual(await numpy.ask<Content>({ name: array.name, indices: [first] }));
            expect(contentOf(twice)).toEqual(await numpy.ask<Content>({ name: array.name, indices: [first, second] }));
          }),
        ),
        runs(600),
      );
    },
    timeoutMs,
  );

  test('gives a view: what is written through it is in the array, for numpy too', async () => {
    const array = ndshm.create(freshName(), { shape: [4, 6], dtype: 'int16', ephemeral: true });
    array.slice('::2', '::-1').copyFrom([
      [1, 2, 3, 4, 5, 6],
      [7, 8, 9, 10, 11, 12],
    ]);
    array.slice(-1, '1:3').fill(5);
    const expected = [
      [6, 5, 4, 3, 2, 1],
      [0, 0, 0, 0, 0, 0],
      [12, 11, 10, 9, 8, 7],
      [0, 5, 5, 0, 0, 0],
    ];
    expect(array.toNested()).toEqual(expected);
    const seen = await numpy.ask<Content>({ name: array.name, indices: [] });
    expect(seen.bytes).toBe(Buffer.from(Int16Array.from(expected.flat()).buffer).toString('hex'));
    array.close();
  });
});

describe('slice refuses', () => {
  const array = ndshm.anonymous({ shape: [3, 4] });
  afterAll(() => array.close());

  const refused: [what: string, items: unknown[], code: string, kind: ErrorConstructor][] = [
    ['an index past the end', [3], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ['an index before the start', [-4], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ['an index past the end of a later axis', [0, 4], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ['more items than axes', [0, 0, 0], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ["more items than axes beside '...'", [':', '...', ':', ':'], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ["a second '...'", ['...', '...'], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['a step of zero', ['::0'], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ['a step of minus zero', ['::-0'], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ['a fraction', [0.5], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ['NaN', [Number.NaN], 'ERR_NDSHM_OUT_OF_RANGE', RangeError],
    ['a number in a string', ['1'], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['words', ['first'], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['an empty string', [''], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['four parts', ['1:2:3:4'], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['fractions in a range', ['0.5:2'], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['undefined', [undefined], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['a bigint', [1n], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['true', [true], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['an array', [[0, 1]], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['a symbol', [Symbol('s')], 'ERR_NDSHM_INVALID_ARGUMENT', TypeError],
    ['more than 64 dimensions', Array.from({ length: 63 }, () => null), 'ERR_NDSHM_SHAPE', RangeError],
  ];
  test.each(refused)('%s', (_what, items, code, kind) => {
    const error = thrownBy(() => array.slice(...(items as ndshm.SliceItem[])));
    expect(error.code).toBe(code);
    expect(error.name).toBe(kind.name);
  });

  test('a row of a 0-d array, and one that is not there', () => {
    expect(thrownBy(() => array.slice(0, 0).row(0)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(thrownBy(() => array.row(3)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
  });

  test('writes through a view of a read-only array', () => {
    const name = freshName();
    const owner = ndshm.create(name, { shape: [3], ephemeral: true });
    const reader = ndshm.open(name);
    expect(thrownBy(() => reader.slice('1:').fill(1)).code).toBe('ERR_NDSHM_READ_ONLY');
    expect(owner.toNested()).toEqual([0, 0, 0]);
    reader.close();
    owner.close();
  });
});

test('bounds beyond any array are moved to its ends', () => {
  const array = ndshm.fromArray(freshName(), new Int8Array([1, 2, 3, 4]), { ephemeral: true });
  expect(array.slice('-99999999999999999999:99999999999999999999').toNested()).toEqual([1, 2, 3, 4]);
  expect(array.slice('99999999999999999999::-3').toNested()).toEqual([4, 1]);
  expect(array.slice(' +1 : -1 ').toNested()).toEqual([2, 3]);
  array.close();
});
