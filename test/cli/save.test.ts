import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as api from 'ndshm';
import { replaceablePath, replaceFile } from '../../dist/cli/new-file';
import { ndshm, ndshmJson, ndshmWith } from '../helpers/cli';
import { describeWithNumpy, runPython } from '../helpers/python';
import { freshName, thrownBy } from '../helpers/shm';

const folder = mkdtempSync(join(tmpdir(), 'ndshm-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (file: string): string => join(folder, file);

function put(source: Parameters<typeof api.fromArray>[1], options: api.FromArrayOptions = {}): string {
  const name = freshName();
  api.fromArray(name, source, options).close();
  return name;
}

const grid = [
  [0.5, 1, 2],
  [3, -4, 1e300],
];

describe('ndshm save', () => {
  test('writes text: rows, or a column, that mean the same numbers', () => {
    const save = (name: string, ...slice: string[]) => ndshm('save', name, '-', ...slice, '--format', 'csv').stdout;
    const name = put(grid);
    expect(save(name)).toBe('0.5,1,2\n3,-4,1e+300\n');
    expect(save(name, '::-1, 1')).toBe('-4\n1\n');
    expect(save(name, '0, 0')).toBe('0.5\n');
    expect(save(put([Number.NaN, -0, Number.NEGATIVE_INFINITY]))).toBe('nan\n-0\n-inf\n');
    expect(save(put(Float32Array.of(0.1, 16777216, 1.17549435e-38)))).toBe('0.1\n16777216\n1.1754944e-38\n');
    expect(save(put(BigInt64Array.of(-(2n ** 63n))))).toBe('-9223372036854775808\n');
    expect(save(put([true, false]))).toBe('1\n0\n');
    expect(
      save(
        put([
          { re: 1.5, im: -2 },
          { re: 0, im: 1 },
        ]),
      ),
    ).toBe('1.5-2j\n0+1j\n');
  });

  test('writes the elements in C order', () => {
    const name = put([1, 2, 3, 4, 5, 6], { dtype: 'int16', shape: [2, 3], order: 'F' });
    const { stdout } = ndshmWith({ encoding: 'latin1' }, 'save', name, '-', '--format', 'raw');
    const bytes = Uint8Array.from(Buffer.from(stdout, 'latin1'));
    expect([...new Int16Array(bytes.buffer)]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('takes the format of the ending, and says what it did', () => {
    const name = put(grid);
    expect(ndshm('save', name, path('a.csv'), '0')).toEqual({
      status: 0,
      stdout: `Saved ${name}[0], float64 (3,), to ${path('a.csv')}\n`,
      stderr: '',
    });
    expect(readFileSync(path('a.csv'), 'utf8')).toBe('0.5\n1\n2\n');
    expect(ndshmJson('save', name, path('a.tsv'))).toEqual({
      name,
      file: path('a.tsv'),
      format: 'csv',
      dtype: 'float64',
      shape: [2, 3],
      bytes: 48,
      consistent: true,
    });
    expect(readFileSync(path('a.tsv'), 'utf8')).toBe('0.5\t1\t2\n3\t-4\t1e+300\n');
    ndshm('save', name, path('a.raw'));
    expect(readFileSync(path('a.raw'))).toHaveLength(48);
    ndshm('save', name, path('a.npy'));
    expect(readFileSync(path('a.npy')).toString('latin1', 1, 6)).toBe('NUMPY');
    expect(ndshm('save', name, path('a.csv'), '--delimiter', ' ', '0:1').status).toBe(0);
    expect(readFileSync(path('a.csv'), 'utf8')).toBe('0.5 1 2\n');
  });

  test.each([
    [['x.txt2'], 2, 'tells no format'],
    [['-'], 2, 'say --format npy or raw or csv'],
    [['x.csv', '--format', 'xls'], 2, 'Allowed choices are npy, raw, csv'],
  ])('%j is misuse', (args, status, message) => {
    const ran = ndshmWith({ cwd: folder }, 'save', put(grid), ...args);
    expect([ran.status, ran.stderr]).toEqual([status, expect.stringContaining(message)]);
  });

  test('text of more than two axes is refused with a slice that would do, and leaves the file there was', () => {
    writeFileSync(path('kept.csv'), 'old');
    const { status, stderr } = ndshm('save', put(new Float64Array(24), { shape: [2, 3, 4] }), path('kept.csv'));
    expect(status).toBe(1);
    expect(stderr).toContain("name a slice such as '0, :, :'");
    expect(readFileSync(path('kept.csv'), 'utf8')).toBe('old');
  });

  test('writes one tensor of several', () => {
    const name = freshName();
    api.putTensors(name, { w: grid, b: new Float32Array(2) });
    expect(ndshm('save', name, '-', '0', '--tensor', 'w', '--format', 'csv').stdout).toBe('0.5\n1\n2\n');
    api.unlink(name);
  });

  test('needs no memory for a copy', () => {
    writeFileSync(path('little-memory.js'), "require('os').freemem = () => 0;");
    const options = { execArgv: ['--require', path('little-memory.js')] };
    const name = put(grid);
    for (const format of ['csv', 'npy', 'raw']) {
      expect(ndshmWith(options, 'save', name, path(`little.${format}`), '::-1').stderr).toBe('');
      expect(ndshm('save', name, path(`much.${format}`), '::-1').stderr).toBe('');
      expect(readFileSync(path(`little.${format}`))).toEqual(readFileSync(path(`much.${format}`)));
    }
  });

  test('shows how far it has come with a large array', () => {
    const name = freshName();
    api.create(name, { shape: 2 ** 26, dtype: 'uint8' }).close();
    const { status, stderr } = ndshm('save', name, path('large.raw'));
    api.unlink(name);
    expect([status, readFileSync(path('large.raw')).length]).toEqual([0, 2 ** 26]);
    expect(stderr).toMatch(new RegExp(`^Saving ${name} \\(MiB\\): [\\s\\S]*: 64 of 64`));
  });

  test('ends quietly where nobody reads on', () => {
    const name = put(new Float64Array(100_000));
    const ran = ndshmWith({ wrap: ['sh', '-c', '"$@" | head -c 4', 'sh'] }, 'save', name, '-', '--format', 'csv');
    expect(ran).toEqual({ status: 0, stdout: '0\n0\n', stderr: '' });
  });
});

describe('a file that is replaced', () => {
  test('stays what it was if writing fails half way', () => {
    writeFileSync(path('whole'), 'old');
    function* failing(): Generator<Uint8Array> {
      yield Buffer.from('new');
      throw new Error('no more');
    }
    expect(thrownBy(() => replaceFile(path('whole'), failing())).message).toBe('no more');
    expect(readFileSync(path('whole'), 'utf8')).toBe('old');
    expect(readdirSync(folder).filter((file) => file.includes('.tmp'))).toEqual([]);
  });

  test('may be behind a link; a folder, a device or a socket is never replaced', async () => {
    writeFileSync(path('behind'), 'old');
    symlinkSync('behind', path('link'));
    ndshm('save', put([1, 2]), path('link'), '--format', 'csv');
    expect(readlinkSync(path('link'))).toBe('behind');
    expect(readFileSync(path('behind'), 'utf8')).toBe('1\n2\n');

    expect(replaceablePath('/dev/null')).toBeUndefined();
    expect(replaceablePath('/dev/stdout')).not.toBe('/dev/stdout');
    const server = createServer().listen(path('socket'));
    await once(server, 'listening');
    expect(replaceablePath(path('socket'))).toBeUndefined();
    server.close();
    expect(ndshm('save', put([1, 2]), folder, '--format', 'raw').status).toBe(1);
    expect(existsSync(folder)).toBe(true);
  });
});

describeWithNumpy('ndshm save, read by numpy', () => {
  const sources: Record<string, { name: () => string; slice?: string }> = {
    'rows of float64': { name: () => put(grid) },
    'a column of float32': { name: () => put(Float32Array.of(0.1, 1e-40, 3e38, -7)) },
    'a reversed slice': { name: () => put(grid), slice: '::-1, ::2' },
    'Fortran order': { name: () => put([1, 2, 3, 4, 5, 6], { shape: [3, 2], order: 'F' }) },
    int64: { name: () => put(BigInt64Array.of(2n ** 62n + 1n, -5n)) },
    uint8: { name: () => put(Uint8Array.of(0, 255)) },
    float16: { name: () => put([0.1, 65504, 6e-8], { dtype: 'float16' }) },
    complex64: {
      name: () =>
        put(
          [
            { re: 1.5, im: -0.1 },
            { re: 0, im: 2 },
          ],
          { dtype: 'complex64' },
        ),
    },
    bool: { name: () => put([true, false, true]) },
  };

  test.each(Object.keys(sources))('%s: npy, raw and csv are the very elements', (key) => {
    const { name: make, slice = '...' } = sources[key] as { name: () => string; slice?: string };
    const name = make();
    for (const format of ['npy', 'raw', 'csv']) {
      const { status } = ndshm('save', name, path(`numpy.${format}`), slice);
      expect(status).toBe(0);
    }
    const same = runPython<Record<string, boolean>>(
      `
a = np.load('/dev/shm/' + given['name'], mmap_mode='r')
a = eval('a[' + given['slice'] + ']')
npy, raw, csv = [given['folder'] + '/numpy.' + ending for ending in ('npy', 'raw', 'csv')]
found = {
  'npy': np.load(npy),
  'raw': np.fromfile(raw, dtype=a.dtype).reshape(a.shape),
  'csv': np.loadtxt(csv, dtype=a.dtype, delimiter=',').reshape(a.shape),
}
print(json.dumps({key: bool(x.dtype == a.dtype and x.shape == a.shape and (x == a).all()) for key, x in found.items()}))
`,
      { name, slice, folder },
    );
    expect(same).toEqual({ npy: true, raw: true, csv: true });
  });

  test('npy through a pipe', () => {
    const name = put(grid);
    const { stdout } = ndshmWith({ encoding: 'latin1' }, 'save', name, '-', '--format', 'npy');
    writeFileSync(path('piped.npy'), Buffer.from(stdout, 'latin1'));
    expect(runPython('print(json.dumps(np.load(given).tolist()))', path('piped.npy'))).toEqual(grid);
  });
});
