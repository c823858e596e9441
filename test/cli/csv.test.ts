import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { anonymous, type DType } from 'ndshm';
import { type CsvOptions, readCsv } from '../../dist/cli/csv-numbers';
import { csvOf } from '../../dist/cli/csv-text';
import { arrayCase, runs, timeoutMs, withArray } from '../helpers/arrays';
import { rejection } from '../helpers/child';

const folder = mkdtempSync(join(tmpdir(), 'ndshm-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function read(text: string, options: Partial<CsvOptions> = {}) {
  const path = join(folder, 'file.csv');
  writeFileSync(path, text);
  const { dtype = 'float64' } = options;
  const { rows, columns, header, pieces } = await readCsv(path, { label: 'FILE', dtype, ...options });
  const array = anonymous({ dtype, shape: [rows, columns] });
  let at = 0;
  for (const piece of pieces) {
    (array.data as Float64Array).set(piece as Float64Array, at);
    at += piece.length;
  }
  expect(at).toBe(array.data.length);
  const values = array.toNested();
  array.close();
  return { header, values };
}

const row = (...values: readonly unknown[]) => [values];

describe('text as numbers', () => {
  test.each<[string, string, unknown]>([
    ['commas', '1,2\n3,4.5\n', [[1, 2], [3, 4.5]]], // biome-ignore format: rows
    ['spaces, one or several', '1 2\n 3   -4e3\n', [[1, 2], [3, -4000]]], // biome-ignore format: rows
    ['semicolons', '1;2\n3;4\n', [[1, 2], [3, 4]]], // biome-ignore format: rows
    ['tabs', '1\t2\n\t4', [[1, 2], [Number.NaN, 4]]], // biome-ignore format: rows
    ['a column', '1\n2\n', [[1], [2]]],
    ['Windows line ends and a byte order mark', '\ufeff1,2\r\n3,4\r\n', [[1, 2], [3, 4]]], // biome-ignore format: rows
    ['comments and empty lines', '# a, b\n\n1, 2\n# more\n3, 4\n\n', [[1, 2], [3, 4]]], // biome-ignore format: rows
    ['quotes', '"1","2"\n', row(1, 2)],
    ['what is no number', 'nan,-inf,+Infinity,\n', row(Number.NaN, -Infinity, Infinity, Number.NaN)],
    ['the zeros', '0,-0,+0.0,.0,0.\n', row(0, -0, 0, 0, 0)],
  ])('reads %s', async (_, text, values) => {
    expect(await read(text)).toEqual({ header: null, values });
  });

  test.each<[DType, string, unknown[]]>([
    ['int8', '-128,127', [-128, 127]],
    ['uint64', '18446744073709551615,+1', [2n ** 64n - 1n, 1n]],
    ['float16', '0.5,65504', [0.5, 65504]],
    ['bool', 'True,false,1,0', [true, false, true, false]],
    ['complex64', '(1+2j),-2.5e1j,3,nan-infj', [c(1, 2), c(0, -25), c(3, 0), c(Number.NaN, -Infinity)]],
  ])('of dtype %s', async (dtype, text, values) => {
    expect(await read(text, { dtype })).toEqual({ header: null, values: row(...values) });
  });

  test('a first row without any number is a header', async () => {
    expect(await read('day, price\n1, 2\n')).toEqual({ header: ['day', 'price'], values: row(1, 2) });
    expect(await read('2025,2026\n1,2\n', { header: true })).toEqual({ header: ['2025', '2026'], values: row(1, 2) });
    expect(await read('nan,\n', { header: false })).toEqual({ header: null, values: row(Number.NaN, Number.NaN) });
  });

  test.each<[string, Partial<CsvOptions>, string]>([
    ['1,2\n3\n', {}, 'FILE, line 2: expected 2 numbers as before but found 1'],
    ['1\n# x\n\n2,3\n', { delimiter: ',' }, 'FILE, line 4: expected 1 number as before but found 2'],
    ['1,2\n3,x4\n', {}, 'FILE, line 2, column 2: "x4" is not a float64'],
    ['1,x\n3,4\n', {}, 'FILE, line 1, column 2: "x" is not a float64'],
    ['a,b\n3,4\n', { header: false }, 'FILE, line 1, column 1: "a" is not a float64'],
    ['1\n0x10\n', {}, 'FILE, line 2, column 1: "0x10" is not a float64'],
    ['1\n128\n', { dtype: 'int8' }, 'FILE, line 2, column 1: Expected a whole number from -128 to 127'],
    ['1\n1.5\n', { dtype: 'int32' }, 'FILE, line 2, column 1: Expected a whole number'],
    ['1,2\n,4\n', { dtype: 'int32' }, 'FILE, line 2, column 1: "" is not a int32'],
    ['1\n1e3\n', { dtype: 'int64' }, '"1e3" is not a int64'],
    ['1\n2\n', { dtype: 'bool' }, 'FILE, line 2, column 1: "2" is not a bool'],
    ['1\n1+2\n', { dtype: 'complex128' }, '"1+2" is not a complex128'],
    ['1,"2\n', {}, 'Quote Not Closed'],
  ])('%j with %j: names the place', async (text, options, message) => {
    expect((await rejection(read(text, options))).message).toContain(message);
  });

  test('of a file of many pieces are all there, in order', async () => {
    const rows = Array.from({ length: 50_000 }, (_, n) => [n, n / 7, -n - 1]);
    const progress: number[] = [];
    const text = rows.map((each) => each.join()).join('\n');
    const { values } = await read(text, { onProgress: (done, total) => progress.push(done / total) });
    expect(values).toEqual(rows);
    expect(progress.length).toBeGreaterThan(3);
    expect([progress[0], progress.at(-1)]).toEqual([0, 1]);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  });
});

function c(re: number, im: number) {
  return { re, im };
}

test(
  'text of any array means its very elements',
  () =>
    fc.assert(
      fc.asyncProperty(arrayCase(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }))), (from) =>
        withArray(from, async (array) => {
          const text = Buffer.concat([...csvOf(array, ',')]).toString();
          const { values } = await read(text, { dtype: array.dtype, header: false, delimiter: ',' });
          expect(values).toEqual(array.toNested());
        }),
      ),
      runs(300),
    ),
  timeoutMs,
);
