import fc from 'fast-check';
import { labelOf, parseSlice } from '../../dist/cli/slices';
import { runs, shapeUpTo, sliceItems, timeoutMs } from '../helpers/arrays';

const written = (item: number | string | null): string => (item === null ? 'None' : String(item));

describe('a slice on the command line', () => {
  test(
    'is what numpy has between the brackets',
    () =>
      fc.assert(
        fc.property(shapeUpTo(1000).chain(sliceItems), (items) => {
          const text = items.map(written);
          expect(parseSlice(text.join(', '))).toEqual(items);
          expect(parseSlice(` [${text.join(',')}] `)).toEqual(items);
          if (items.length > 0) expect(parseSlice(`${text.join(' , ')},`)).toEqual(items);
        }),
        runs(300),
      ),
    timeoutMs,
  );

  test.each([
    ['', []],
    ['[]', []],
    ['newaxis, +3', [null, 3]],
    ['1,,2', [1, '', 2]],
    ['1.5', ['1.5']],
  ])('%j has the items %j, right or wrong', (text, items) => {
    expect(parseSlice(text)).toEqual(items);
  });

  test('is shown behind the name', () => {
    expect(labelOf('prices', '')).toBe('prices');
    expect(labelOf('prices', '[1, 2:]')).toBe('prices[1, 2:]');
    expect(labelOf('model', '0', 'layer.w')).toBe('model: layer.w[0]');
    expect(labelOf('model', '0', '\u001b[31m')).toBe('model: \\x1b[31m[0]');
  });
});
