import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { arrayCase, contentOf, runs, shapeUpTo, sliceItems, timeoutMs, withArray } from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { type Content, PythonPeer } from '../helpers/python-peer';
import { thrownBy } from '../helpers/shm';

// Where numpy's reshape() would copy, setting the shape of a view is an error.
const program = `
import warnings
warnings.simplefilter('ignore', DeprecationWarning)

def answer(given):
    a = mapped(given['name'])[index(given['items']) + (() if '...' in given['items'] else (Ellipsis,))]
    if 'axes' in given: return content(a.transpose(given['axes']))
    if 'flags' in given: return {'C': a.flags.c_contiguous, 'F': a.flags.f_contiguous}
    try:
        expected = a.reshape(given['shape'])
    except ValueError:
        return 'impossible'
    view = a.view()
    try:
        view.shape = given['shape']
    except AttributeError:
        return 'copies'
    return content(view)
`;

/** The length cut into factors, in some order, perhaps with ones between them, perhaps one left as -1. */
const shapesOfSize = (size: number): fc.Arbitrary<number[]> =>
  fc
    .record({
      cuts: fc.array(fc.nat(20), { maxLength: 4 }),
      ones: fc.array(fc.nat(4), { maxLength: 2 }),
      unknown: fc.option(fc.nat(4)),
      swap: fc.boolean(),
    })
    .map(({ cuts, ones, unknown, swap }) => {
      const shape: number[] = [];
      let rest = size;
      for (const cut of cuts) {
        const divisors = Array.from({ length: rest }, (_, n) => n + 1).filter((divisor) => rest % divisor === 0);
        const length = divisors[cut % Math.max(divisors.length, 1)] ?? 0;
        shape.push(length);
        rest = length === 0 ? rest : rest / length;
      }
      shape.push(rest);
      if (swap) shape.reverse();
      for (const at of ones) shape.splice(Math.min(at, shape.length), 0, 1);
      if (unknown !== null && unknown < shape.length) shape[unknown] = -1;
      return shape;
    });

describeWithNumpy('reshape and transpose', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  const viewsAndMore = arrayCase(shapeUpTo(200)).chain((from) =>
    fc.tuple(fc.constant(from), fc.oneof(fc.constant([]), sliceItems(from.shape)), fc.gen()),
  );

  test(
    'reshape is a view exactly where numpy needs no copy, and says so where it would',
    async () => {
      const seen = { view: 0, copies: 0 };
      await fc.assert(
        fc.asyncProperty(viewsAndMore, ([from, items, choose]) =>
          withArray(from, async (array) => {
            const view = array.slice(...items);
            const shape = choose(shapesOfSize, view.size);
            const expected = await numpy.ask<Content | 'copies' | 'impossible'>({ name: array.name, items, shape });
            if (expected === 'copies') {
              seen.copies++;
              expect(thrownBy(() => view.reshape(shape)).code).toBe('ERR_NDSHM_NOT_CONTIGUOUS');
            } else if (expected === 'impossible') {
              expect(thrownBy(() => view.reshape(shape)).code).toBe('ERR_NDSHM_SHAPE');
            } else {
              seen.view++;
              const ours = contentOf(view.reshape(shape));
              // With -1, numpy may give other steps to axes of length 1 (where they mean nothing) than for the same
              // lengths written out.
              const meant = ({ strides, ...rest }: Content) => ({
                ...rest,
                strides: strides.filter((_, axis) => !shape.includes(-1) || rest.shape[axis] !== 1),
              });
              expect(meant(ours)).toEqual(meant(expected));
            }
          }),
        ),
        runs(600),
      );
      expect(Math.min(seen.view, seen.copies)).toBeGreaterThan(10);
    },
    timeoutMs,
  );

  test.each([[[-1]], [[0]]])(
    'an empty view with gaps, reshaped to %p, has the strides that numpy gives it',
    async (shape) => {
      const array = ndshm.create('empty-view', { shape: [7, 4, 7], dtype: 'uint64', ephemeral: true });
      try {
        const items = [0, ':0', 0];
        const expected = await numpy.ask<Content>({ name: array.name, items, shape });
        expect(contentOf(array.slice(...items).reshape(shape))).toEqual(expected);
      } finally {
        array.close();
      }
    },
  );

  test(
    'transpose gives what numpy gives, for every order of the axes',
    async () => {
      await fc.assert(
        fc.asyncProperty(viewsAndMore, ([from, items, choose]) =>
          withArray(from, async (array) => {
            const view = array.slice(...items);
            const axes = choose(fc.shuffledSubarray, Array.from(view.shape.keys()), { minLength: view.ndim });
            const negated = axes.map((axis, n) => (n % 2 === 0 ? axis : axis - view.ndim));
            const expected = await numpy.ask<Content>({ name: array.name, items, axes: negated });
            expect(contentOf(view.transpose(...negated))).toEqual(expected);
            const reversed = await numpy.ask<Content>({
              name: array.name,
              items,
              axes: [...view.shape.keys()].reverse(),
            });
            expect(contentOf(view.transpose())).toEqual(reversed);
          }),
        ),
        runs(300),
      );
    },
    timeoutMs,
  );

  test(
    'a view is contiguous exactly where numpy says so',
    async () => {
      await fc.assert(
        fc.asyncProperty(viewsAndMore, ([from, items]) =>
          withArray(from, async (array) => {
            const view = array.slice(...items);
            const expected = await numpy.ask({ name: array.name, items, flags: true });
            expect({ C: view.isCContiguous, F: view.isFContiguous }).toEqual(expected);
            if (view.isCContiguous || view.isFContiguous)
              expect(view.data.length * view.itemsize).toBe(lanesOf(view) * view.nbytes);
            else expect(thrownBy(() => view.data).code).toBe('ERR_NDSHM_NOT_CONTIGUOUS');
          }),
        ),
        runs(300),
      );
    },
    timeoutMs,
  );
});

const lanesOf = (array: ndshm.SharedArray): number => (array.dtype.startsWith('complex') ? 2 : 1);

describe('reshape and transpose refuse', () => {
  const array = ndshm.anonymous({ shape: [3, 4] });
  afterAll(() => array.close());

  test.each([
    ['another size', [5, 2], 'ERR_NDSHM_SHAPE'],
    ['a second -1', [-1, -1], 'ERR_NDSHM_SHAPE'],
    ['a -1 that does not come out whole', [5, -1], 'ERR_NDSHM_SHAPE'],
    ['a -1 beside 0', [0, -1], 'ERR_NDSHM_SHAPE'],
    ['a length below -1', [-2, 6], 'ERR_NDSHM_SHAPE'],
    ['a fraction', [1.5, 8], 'ERR_NDSHM_SHAPE'],
    ['NaN', [Number.NaN], 'ERR_NDSHM_SHAPE'],
    ['more dimensions than numpy has', Array.from({ length: 65 }, () => 1), 'ERR_NDSHM_SHAPE'],
    ['a string', '3,4', 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['strings', ['3', '4'], 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['bigints', [3n, 4n], 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['null', null, 'ERR_NDSHM_INVALID_ARGUMENT'],
  ])('%s for a shape', (_what, shape, code) => {
    expect(thrownBy(() => array.reshape(shape as number[])).code).toBe(code);
  });

  test.each([
    ['too few', [0], 'ERR_NDSHM_SHAPE'],
    ['too many', [0, 1, 1], 'ERR_NDSHM_SHAPE'],
    ['the same one twice', [1, 1], 'ERR_NDSHM_SHAPE'],
    ['the same one twice, once from the end', [1, -1], 'ERR_NDSHM_SHAPE'],
    ['one that is not there', [0, 2], 'ERR_NDSHM_OUT_OF_RANGE'],
    ['a string', ['0', '1'], 'ERR_NDSHM_INVALID_ARGUMENT'],
  ])('%s for axes', (_what, axes, code) => {
    expect(thrownBy(() => array.transpose(...(axes as number[]))).code).toBe(code);
  });
});
