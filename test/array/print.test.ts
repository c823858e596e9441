import { inspect } from 'node:util';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import {
  type ArrayCase,
  arrayCase,
  fillFrom,
  largeShape,
  runs,
  shapeUpTo,
  sliceItems,
  timeoutMs,
  withArray,
} from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { PythonPeer } from '../helpers/python-peer';
import { freshName } from '../helpers/shm';

// The layout changed in numpy 2.3 (when floats of less precision turn to scientific notation); ours is the later one.
const program = `
assert np.lib.NumpyVersion(np.__version__) >= '2.3.0', 'these tests need numpy 2.3 or later'

def answer(given):
    a = mapped(given['name'])[index(given['items'])]
    # An index of whole numbers alone gives a scalar in numpy, a 0-d array here.
    a = np.asarray(a)
    text = np.array2string(a, separator=', ', prefix='SharedArray(', suffix=')')
    return {'str': str(a), 'repr': text}
`;

/** numpy's rule where to put what follows the values: on a line of its own if it would not fit. */
function reprOf(values: string, array: ndshm.SharedArray): string {
  const start = `SharedArray(${values},`;
  const shape = array.ndim === 1 ? `(${array.size},)` : `(${array.shape.join(', ')})`;
  const rest = `shape=${shape}, dtype=${array.dtype}, name='${array.name}', mode='${array.mode}')`;
  const lastLine = start.length - start.lastIndexOf('\n') - 1;
  return `${start}${lastLine + rest.length + 1 > 75 ? '\n            ' : ' '}${rest}`;
}

describeWithNumpy('printing', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  const expectSameText = async (array: ndshm.SharedArray, items: ndshm.SliceItem[]): Promise<void> => {
    const view = array.slice(...items);
    const expected = await numpy.ask<{ str: string; repr: string }>({ name: array.name, items });
    expect(String(view)).toBe(expected.str);
    expect(inspect(view)).toBe(reprOf(expected.repr, view));
  };
  const expectSameTextFor = (cases: fc.Arbitrary<readonly [ArrayCase, ndshm.SliceItem[]]>, count: number) =>
    fc.assert(
      fc.asyncProperty(cases, ([from, items]) => withArray(from, (array) => expectSameText(array, items))),
      runs(count),
    );

  test(
    'small arrays of every dtype, shape and order print as numpy prints them',
    async () => {
      await expectSameTextFor(
        arrayCase(shapeUpTo(80)).map((from) => [from, []] as const),
        500,
      );
    },
    timeoutMs,
  );

  test(
    'views print as numpy prints them',
    async () => {
      const cases = arrayCase(shapeUpTo(80)).chain((from) => fc.tuple(fc.constant(from), sliceItems(from.shape)));
      await expectSameTextFor(cases, 300);
    },
    timeoutMs,
  );

  test(
    'arrays with long rows or more than 1000 elements print as numpy prints them',
    async () => {
      await expectSameTextFor(
        arrayCase(largeShape).map((from) => [from, []] as const),
        100,
      );
    },
    timeoutMs,
  );

  test(
    '0-d arrays print as numpy prints them',
    async () => {
      await expectSameTextFor(
        arrayCase(fc.constant([])).map((from) => [from, []] as const),
        400,
      );
    },
    timeoutMs,
  );

  test(
    'arrays without elements print as [] however many dimensions they have',
    async () => {
      const shapes = fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }).filter((shape) => shape.includes(0));
      await expectSameTextFor(
        arrayCase(shapes).map((from) => [from, []] as const),
        100,
      );
    },
    timeoutMs,
  );
});

// Each as the only element, where the fewest digits that mean it are all that is seen.
const scalarsProgram = `
def answer(given):
    halves = np.arange(0x7c01, dtype=np.uint16).view(np.float16)
    powers = 2.0 ** np.arange(-149, 128)
    values = [*halves, *powers.astype(np.float32)]
    return [[str(np.asarray(value)), np.array2string(np.asarray(value))] for value in values]
`;

describeWithNumpy('the fewest digits', () => {
  test(
    'of each float16, and of each power of two in float32, are those of numpy',
    async () => {
      const numpy = new PythonPeer(scalarsProgram);
      const expected = await numpy.ask<[string, string][]>(null);
      await numpy.close();
      const half = ndshm.create(freshName(), { shape: [], dtype: 'float16', ephemeral: true });
      const bits = new Uint16Array(half.data.buffer, half.data.byteOffset, 1);
      const single = ndshm.create(freshName(), { shape: [], dtype: 'float32', ephemeral: true });
      const different: unknown[] = [];
      expected.forEach((theirs, n) => {
        const array = n <= 0x7c00 ? half : single;
        if (array === half) bits[0] = n;
        else single.set([], 2 ** (n - 0x7c01 - 149));
        const ours = [String(array), /^SharedArray\((.*),\s+shape/.exec(inspect(array))?.[1]];
        if (ours.join() !== theirs.join()) different.push({ n, ours, theirs });
      });
      half.close();
      single.close();
      expect(expected.length).toBe(0x7c01 + 277);
      expect(different.slice(0, 10)).toEqual([]);
    },
    timeoutMs,
  );
});

describe('printing without numpy', () => {
  const example = (dtype: ndshm.DType, shape: number[], pool: (number | bigint)[]): ndshm.SharedArray => {
    const array = ndshm.create(freshName(), { shape, dtype, ephemeral: true });
    fillFrom(array, pool);
    return array;
  };

  test('a closed array says that it is closed', () => {
    const array = example('int8', [2], [1]);
    array.close();
    expect(inspect(array)).toBe(`SharedArray(<closed>, dtype=int8, name='${array.name}', mode='r+')`);
  });

  test('a summary may show hundreds of thousands of elements', () => {
    const array = example('bool', [7, 7, 7, 7, 7, 7, 7], [1]);
    const lines = String(array).split('\n');
    expect(lines[0]).toBe('[[[[[[[ True  True  True ...  True  True  True]');
    expect(lines.at(-1)).toBe('      [ True  True  True ...  True  True  True]]]]]]]');
    array.close();
  });

  test('an anonymous array prints without a name', () => {
    const array = ndshm.anonymous({ shape: [2, 2], dtype: 'int8' });
    expect(inspect(array)).toBe("SharedArray([[0, 0],\n             [0, 0]], shape=(2, 2), dtype=int8, mode='r+')");
    array.close();
  });
});
