import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as ndshm from 'ndshm';
import { bytesOf, fillFrom } from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { type Content, PythonPeer } from '../helpers/python-peer';
import { exists, freshName, thrownBy } from '../helpers/shm';

const program = `
def answer(given):
    if given['do'] == 'load':
        a = np.load(given['path'])
    else:
        count = int(np.prod(given['shape']))
        a = (np.arange(count) % 2).astype(given['dtype']) if given['dtype'] == 'bool' else np.arange(count).astype(given['dtype'])
        a = a.reshape(given['shape'], order=given['order'])
        np.save(given['path'], a)
    return {**content(a), 'C': a.flags.c_contiguous, 'F': a.flags.f_contiguous}
`;

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ndshm-files-'));
  file = join(folder, 'array.npy');
});
afterEach(() => {
  rmSync(file, { force: true });
  expect(readdirSync(folder)).toEqual([]);
});
afterAll(() => rmSync(folder, { recursive: true }));

describeWithNumpy('files on disk, beside numpy', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  const everyCase = ndshm.dtypes.flatMap((dtype) =>
    (['C', 'F'] as const).flatMap((order) =>
      [[], [0], [5], [3, 4], [2, 3, 4]].map((shape) => ({ dtype, order, shape })),
    ),
  );

  test('load() takes what np.save wrote, Fortran order kept', async () => {
    for (const each of everyCase) {
      const { shape, bytes, C, F } = await numpy.ask<Content & { C: boolean; F: boolean }>({
        do: 'save',
        path: file,
        ...each,
      });
      const array = ndshm.load(freshName(), file, { ephemeral: true });
      expect([array.dtype, array.shape, bytesOf(array), array.mode]).toEqual([each.dtype, shape, bytes, 'r+']);
      expect([array.isCContiguous, array.isFContiguous]).toEqual([C, F]);
      array.close();
    }
  });

  test('np.load takes what save() wrote, Fortran order kept', async () => {
    for (const { dtype, order, shape } of everyCase) {
      const array = ndshm.create(freshName(), { dtype, order, shape, ephemeral: true });
      fillFrom(array, dtype.includes('int64') ? [1n, 2n, 3n] : dtype === 'bool' ? [1, 0, 0] : [1, 2, 3]);
      ndshm.save(array, file);
      const seen = await numpy.ask<Content & { C: boolean; F: boolean }>({ do: 'load', path: file });
      expect([seen.dtype, seen.shape, seen.bytes]).toEqual([dtype, shape, bytesOf(array)]);
      expect([seen.C, seen.F]).toEqual([array.isCContiguous, array.isFContiguous]);
      array.close();
    }
  });

  test('views are saved as they are seen: in Fortran order where they lie so, in C order where there are gaps', async () => {
    const array = ndshm.create(freshName(), { dtype: 'int16', shape: [4, 6], ephemeral: true });
    fillFrom(array, [1, 2, 3, 4, 5, 6, 7]);
    for (const [view, C, F] of [
      [array.transpose(), false, true],
      [array.slice('1:3'), true, false],
      [array.slice('::2', '::-2'), true, false],
      [array.transpose().slice(':', '1:3'), false, true],
    ] as const) {
      ndshm.save(view, file);
      const seen = await numpy.ask<Content & { C: boolean; F: boolean }>({ do: 'load', path: file });
      expect([seen.shape, seen.bytes, seen.C, seen.F]).toEqual([view.shape, bytesOf(view), C, F]);
    }
    array.close();
  });

  test('save() writes where a link leads to, and does not put a file in the place of a device or pipe', () => {
    const array = ndshm.fromArray(freshName(), [1, 2], { ephemeral: true });
    const [link, pipe] = [`${file}.link`, `${file}.pipe`];
    ndshm.save(array, file);
    symlinkSync(file, link);
    array.set(0, 7);
    ndshm.save(array, link);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    const loaded = ndshm.load(freshName(), file, { ephemeral: true });
    expect(loaded.get(0)).toBe(7);
    execFileSync('mkfifo', [pipe]);
    expect(thrownBy(() => ndshm.save(array, pipe)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(lstatSync(pipe).isFIFO()).toBe(true);
    for (const path of [link, pipe]) rmSync(path);
    loaded.close();
    array.close();
  });

  test('save() by name, load() by URL', async () => {
    const name = freshName();
    const array = ndshm.fromArray(name, [[1.5, 2.5]], { ephemeral: true });
    ndshm.save(name, file);
    expect((await numpy.ask<Content>({ do: 'load', path: file })).bytes).toBe(bytesOf(array));
    const loaded = ndshm.load(freshName(), pathToFileURL(file), { ephemeral: true });
    expect(loaded.toNested()).toEqual([[1.5, 2.5]]);
    loaded.close();
    array.close();
  });
});

describe('save()', () => {
  let array: ndshm.SharedArray<'float64'>;
  beforeAll(() => {
    array = ndshm.anonymous({ shape: [100] });
  });
  afterAll(() => array.close());

  test('tells its progress from nothing to all', () => {
    const seen: number[][] = [];
    ndshm.save(array, file, { onProgress: (done, total) => seen.push([done, total]) });
    expect(seen).toEqual([
      [0, 800],
      [800, 800],
    ]);
  });

  test('leaves the old file as it was, and nothing beside it, where it fails in between', () => {
    writeFileSync(file, 'old');
    for (const failAt of [0, 800]) {
      const stop = (done: number) => {
        if (done === failAt) throw new Error('stop');
      };
      expect(thrownBy(() => ndshm.save(array, file, { onProgress: stop })).message).toBe('stop');
      expect(readFileSync(file, 'utf8')).toBe('old');
      expect(readdirSync(folder)).toEqual(['array.npy']);
    }
    ndshm.save(array, file);
    expect(readFileSync(file).length).toBe(256 + 800);
  });

  test('refuses a folder that is not there, a target that is a folder, names that are not there and wrong kinds', () => {
    expect(thrownBy(() => ndshm.save(array, join(folder, 'no', 'array.npy'))).code).toBe('ENOENT');
    expect(thrownBy(() => ndshm.save(array, folder)).code).toBe('EISDIR');
    expect(readdirSync(join(folder, '..')).filter((name) => name.startsWith(`${folder}.`))).toEqual([]);
    expect(thrownBy(() => ndshm.save(freshName(), file)).code).toBe('ENOENT');
    for (const [source, path, options] of [
      [7, file, {}],
      [array, 7, {}],
      [array, file, { progress: () => {} }],
      [array, file, { onProgress: 1 }],
    ]) {
      expect(thrownBy(() => ndshm.save(source as never, path as never, options as never)).code).toBe(
        'ERR_NDSHM_INVALID_ARGUMENT',
      );
    }
  });
});

describe('load()', () => {
  const headerBytes = 256;
  const savedBytes = headerBytes + 800;
  beforeEach(() => {
    const array = ndshm.anonymous({ shape: [100] });
    ndshm.save(array, file);
    array.close();
  });

  test('tells its progress from nothing to all', () => {
    const seen: number[][] = [];
    const onProgress = (done: number, total: number) => seen.push([done, total]);
    ndshm.load(freshName(), file, { ephemeral: true, onProgress }).close();
    expect(seen).toEqual([
      [0, 800],
      [800, 800],
    ]);
  });

  test.each([savedBytes - 1, 300, 256, 255, 20, 11, 9, 6, 1, 0])(
    'refuses a file cut to %d bytes and leaves no name',
    (bytes) => {
      truncateSync(file, bytes);
      const name = freshName();
      expect(thrownBy(() => ndshm.load(name, file)).code).toBe(
        bytes >= headerBytes ? 'ERR_NDSHM_TRUNCATED' : 'ERR_NDSHM_HEADER',
      );
      expect(exists(name)).toBe(false);
    },
  );

  test('leaves no name where the file becomes shorter while it is read, or a callback throws', () => {
    const name = freshName();
    const shorten = () => truncateSync(file, 300);
    expect(thrownBy(() => ndshm.load(name, file, { onProgress: shorten })).code).toBe('ERR_NDSHM_TRUNCATED');
    expect(exists(name)).toBe(false);
    writeFileSync(file, readFileSync(file).subarray(0, headerBytes));
    truncateSync(file, savedBytes);
    const stop = () => {
      throw new Error('stop');
    };
    expect(thrownBy(() => ndshm.load(name, file, { onProgress: stop })).message).toBe('stop');
    expect(exists(name)).toBe(false);
  });

  test('refuses a name that exists unless told otherwise', () => {
    const name = freshName();
    const first = ndshm.create(name, { shape: [2], ephemeral: true });
    expect(thrownBy(() => ndshm.load(name, file)).code).toBe('EEXIST');
    const second = ndshm.load(name, file, { ifExists: 'replace', ephemeral: true });
    expect([first.shape, second.shape]).toEqual([[2], [100]]);
    first.close();
    second.close();
  });

  test('refuses what is not there, a folder, and wrong options', () => {
    expect(thrownBy(() => ndshm.load(freshName(), join(folder, 'no.npy'))).code).toBe('ENOENT');
    expect(thrownBy(() => ndshm.load(freshName(), folder)).code).toBe('EISDIR');
    expect(thrownBy(() => ndshm.load(freshName(), file, { onProgress: 1 } as never)).code).toBe(
      'ERR_NDSHM_INVALID_ARGUMENT',
    );
    expect(thrownBy(() => ndshm.load(freshName(), file, { shape: [1] } as never)).code).toBe(
      'ERR_NDSHM_INVALID_ARGUMENT',
    );
  });
});
