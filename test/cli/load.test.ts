import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as api from 'ndshm';
import { ndshm, ndshmJson, ndshmWith } from '../helpers/cli';
import { describeWithNumpy, runPython } from '../helpers/python';
import { exists, freshName } from '../helpers/shm';

const folder = mkdtempSync(join(tmpdir(), 'ndshm-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

let count = 0;
function file(content: string | Uint8Array, ending: string): string {
  const path = join(folder, `${count++}.${ending}`);
  writeFileSync(path, content);
  return path;
}

/** What the array holds that `ndshm load` makes of it. */
function loaded(content: string | Uint8Array, ending: string, ...options: string[]) {
  const name = freshName();
  const { status, stdout, stderr } = ndshm('load', file(content, ending), name, ...options);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const array = api.open(name);
  const { dtype, shape } = array;
  const values = array.toNested();
  array.close();
  return { dtype, shape, values, stdout };
}

/** What it says where it does not. */
function refusal(content: string | Uint8Array, ending: string, ...options: string[]) {
  const name = freshName();
  const path = file(content, ending);
  const { status, stdout, stderr } = ndshm('load', path, name, ...options);
  expect([status, stdout, exists(name)]).toEqual([1, '', false]);
  return stderr.replace(path, 'FILE');
}

describe('ndshm load, of text', () => {
  test('takes the dtype, delimiter and header from the options or from the file', () => {
    expect(loaded('1,2\n3,4.5\n', 'csv')).toMatchObject({ dtype: 'float64', values: [[1, 2], [3, 4.5]] }); // biome-ignore format: rows
    const { values, dtype, stdout } = loaded('day;price\n1;2\n', 'csv', '--dtype', 'int64');
    expect([dtype, values]).toEqual(['int64', [[1n, 2n]]]);
    expect(stdout).toMatch(/, int64 \(1, 2\), 16 B; columns: day, price\n$/);
    expect(loaded('2025|2026\n1|2\n', 'csv', '--header', '--delimiter', '|').values).toEqual([[1, 2]]);
    expect(loaded('nan\n1\n', 'csv', '--no-header').values).toEqual([Number.NaN, 1]);
    expect(loaded('1\t2\n', 'tsv', '--delimiter', '\\t').values).toEqual([[1, 2]]);
  });

  test('names the place where it is no table of numbers, and makes nothing', () => {
    expect(refusal('1,2\n3\n', 'csv')).toContain('FILE, line 2: expected 2 numbers as before but found 1');
    expect(refusal('a,b\n1,2\n', 'csv', '--no-header')).toContain('FILE, line 1, column 1: "a" is not a float64');
    expect(refusal('a,b\n', 'csv')).toContain('FILE holds no numbers');
  });
});

describe('ndshm load, of raw elements', () => {
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);

  test('takes the dtype and shape that it is told', () => {
    expect(loaded(bytes, 'raw', '--dtype', 'float32')).toMatchObject({ shape: [6], values: [1, 2, 3, 4, 5, 6] });
    const rows = { dtype: 'float32', shape: [2, 3], values: [[1, 2, 3], [4, 5, 6]] }; // biome-ignore format: rows
    for (const shape of ['2,3', '(2, 3)', '2x3']) {
      expect(loaded(bytes, 'bin', '--dtype', 'float32', '--shape', shape)).toMatchObject(rows);
    }
  });

  test('has to be just as long', () => {
    expect(refusal(bytes, 'raw', '--dtype', 'float32', '--shape', '7')).toContain(
      'FILE has 24 bytes, but float32 (7,) takes 28',
    );
    expect(refusal(bytes.subarray(1), 'raw', '--dtype', 'float32')).toContain('FILE has 23 bytes');
  });
});

describe('ndshm load', () => {
  test('refuses a name that exists unless it shall be replaced', () => {
    const name = freshName();
    const before = api.fromArray(name, [7], { ephemeral: true });
    const path = file('1,2\n', 'csv');
    const { status, stderr } = ndshm('load', path, name, '--json');
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'EEXIST' } });
    expect(ndshmJson('load', path, name, '--if-exists', 'replace')).toEqual({
      name,
      file: path,
      dtype: 'float64',
      shape: [1, 2],
      nbytes: 16,
      header: null,
    });
    // Who has the old one open keeps it.
    expect(before.get(0)).toBe(7);
    before.close();
    expect(api.stat(name)).toMatchObject({ shape: [1, 2], ephemeral: false, peers: [] });
    api.unlink(name);
  });

  test('reads standard input, and leaves no file of it', () => {
    const name = freshName();
    const options = { input: Buffer.from('1,2\n3\n'), env: { TMPDIR: mkdtempSync(join(folder, 'tmp-')) } };
    const { status, stderr } = ndshmWith(options, 'load', '-', name, '--format', 'csv');
    expect([status, stderr]).toEqual([1, 'ndshm: standard input, line 2: expected 2 numbers as before but found 1\n']);
    const bytes = Buffer.from(Int16Array.of(5, -6).buffer);
    const raw = ['--format', 'raw', '--dtype', 'int16'];
    expect(ndshmWith({ ...options, input: bytes }, 'load', '-', name, ...raw).status).toBe(0);
    expect(readdirSync(options.env.TMPDIR)).toEqual([]);
    const array = api.open(name);
    expect(array.toNested()).toEqual([5, -6]);
    array.close();
  });

  test.each([
    [['x.xls', 'name'], 'tells no format'],
    [['x.raw', 'name'], 'Raw elements need a --dtype'],
    [['x.npy', 'name', '--dtype', 'int8'], 'An npy file says itself'],
    [['x.csv', 'name', '--shape', '3'], '--shape is for raw elements'],
    [['x.raw', 'name', '--dtype', 'int9'], 'Allowed choices are bool'],
    [['x.raw', 'name', '--dtype', 'int8', '--shape', 'a'], 'Expected a whole number'],
    [['x.csv', 'name', '--if-exists', 'open'], 'Allowed choices are fail, replace'],
  ])('%j is misuse', (args, message) => {
    const { status, stderr } = ndshmWith({ cwd: folder }, 'load', ...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  test.each([
    ['nowhere.csv', 'ENOENT'],
    ['nowhere.npy', 'ENOENT'],
    ['.', 'EISDIR'],
  ])('of %s says why not: %s', (path, code) => {
    const name = freshName();
    const { status, stderr } = ndshmWith({ cwd: folder }, 'load', path, name, '--format', 'csv');
    expect([status, stderr]).toEqual([1, expect.stringContaining(code)]);
    expect(exists(name)).toBe(false);
  });

  test('shows how far it has come with a long file', () => {
    const name = freshName();
    const path = file(new Uint8Array(2 ** 26), 'raw');
    const { status, stderr } = ndshm('load', path, name, '--dtype', 'uint8');
    expect(status).toBe(0);
    expect(stderr).toMatch(new RegExp(`^Loading ${name} \\(MiB\\): [\\s\\S]*: 64 of 64`));
    api.unlink(name);
  });
});

describeWithNumpy('ndshm load, of what numpy has written', () => {
  test('npy, raw and text are the very elements', () => {
    const arrays = [
      'np.arange(12, dtype=np.int32).reshape(3, 4)',
      'np.asfortranarray(np.linspace(0, 1, 6).reshape(2, 3))',
      'np.array([1.5, -2.25, 1e300])',
      'np.array([2**62 + 1, -5])',
      'np.array([0.1, np.nan, np.inf], dtype=np.float32)',
      'np.array([1+2j, -0.5j])',
      'np.array([True, False])',
    ];
    const written = runPython<{ at: string; dtype: string; shape: number[] }[]>(
      `
found = []
for n, a in enumerate(map(eval, given['arrays'])):
  at = f"{given['folder']}/numpy-{n}"
  np.save(at + '.npy', a)
  a.tofile(at + '.raw')
  np.savetxt(at + '.csv', a, **({} if a.dtype.kind in 'fc' else {'fmt': '%d'}))
  found.append({'at': at, 'dtype': str(a.dtype), 'shape': a.shape})
print(json.dumps(found))
`,
      { arrays, folder },
    );
    const names = written.map(({ at, dtype, shape }) => {
      const [npy, raw, csv] = [freshName('npy'), freshName('raw'), freshName('csv')];
      expect(ndshm('load', `${at}.npy`, npy).stderr).toBe('');
      expect(ndshm('load', `${at}.raw`, raw, '--dtype', dtype, '--shape', shape.join()).stderr).toBe('');
      expect(ndshm('load', `${at}.csv`, csv, '--dtype', dtype).stderr).toBe('');
      return [npy, raw, csv];
    });
    const same = runPython<boolean[][]>(
      `
def same(a, x):
  return bool(x.dtype == a.dtype and x.shape == a.shape and np.array_equal(x, a, equal_nan=a.dtype.kind in 'fc'))
print(json.dumps([[same(a, np.load('/dev/shm/' + name)) for name in names]
                  for a, names in zip(map(eval, given['arrays']), given['names'])]))
`,
      { arrays, names },
    );
    expect(same).toEqual(arrays.map(() => [true, true, true]));
  });
});
