import { inspect } from 'node:util';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { type ArrayCase, arrayCase, fillFrom, largeShape, runs, shapeUpTo, sliceItems, timeoutMs, withArray } from '../helpers/arrays';
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

  test('small arrays of every dtype, shape and order print as numpy prints them', async () => {
    await expectSameTextFor(arrayCase(shapeUpTo(200)).map((from) => [from, []] as const), 1500);
  }, timeoutMs);

  test('views print as numpy prints them', async () => {
    const cases = arrayCase(shapeUpTo(200)).chain((from) => fc.tuple(fc.constant(from), sliceItems(from.shape)));
    await expectSameTextFor(cases, 700);
  }, timeoutMs);

  test('arrays with long rows or more than 1000 elements print as numpy prints them', async () => {
    await expectSameTextFor(arrayCase(largeShape).map((from) => [from, []] as const), 400);
  }, timeoutMs);

  test('0-d arrays print as numpy prints them', async () => {
    await expectSameTextFor(arrayCase(fc.constant([])).map((from) => [from, []] as const), 700);
  }, timeoutMs);

  test('arrays without elements print as [] however many dimensions they have', async () => {
    const shapes = fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }).filter((shape) => shape.includes(0));
    await expectSameTextFor(arrayCase(shapes).map((from) => [from, []] as const), 100);
  }, timeoutMs);

  test('seven dimensions of seven print in summary', async () => {
    const from: ArrayCase = { dtype: 'uint8', shape: [7, 7, 7, 7, 7, 7, 7], order: 'C', pool: [1, 2, 3] };
    await withArray(from, (array) => expectSameText(array, []));
  }, timeoutMs);
});

// Every float16, each as the only element, where the fewest digits that mean it are all that is seen.
const float16Program = `
def answer(given):
    values = np.arange(65536, dtype=np.uint16).view(np.float16)
    return [[str(np.asarray(value)), np.array2string(np.asarray(value))] for value in values]
`;

describeWithNumpy('printing every float16', () => {
  test('each of the 65536 bit patterns prints as numpy prints it', async () => {
    const numpy = new PythonPeer(float16Program);
    const expected = await numpy.ask<[string, string][]>(null);
    await numpy.close();
    const array = ndshm.create(freshName(), { shape: [], dtype: 'float16', ephemeral: true });
    const bits = new Uint16Array(array.data.buffer, array.data.byteOffset, 1);
    const printed = expected.map((_, n) => {
      bits[0] = n;
      return [String(array), /^SharedArray\((.*), shape/.exec(inspect(array))?.[1]];
    });
    array.close();
    expect(printed).toEqual(expected);
  }, timeoutMs);
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

  test('an anonymous array prints without a name', () => {
    const array = ndshm.anonymous({ shape: [2, 2], dtype: 'int8' });
    expect(inspect(array)).toBe(
      "SharedArray([[0, 0],\n             [0, 0]], shape=(2, 2), dtype=int8, mode='r+')",
    );
    array.close();
  });
});
