import { readFileSync, statSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { exists, freshName, namesInShm, shmPath, thrownBy } from '../helpers/shm';

const made: ndshm.SharedArray[] = [];
function keep<D extends ndshm.DType>(array: ndshm.SharedArray<D>): ndshm.SharedArray<D> {
  made.push(array as unknown as ndshm.SharedArray);
  return array;
}

afterEach(() => {
  for (const array of made.splice(0)) {
    array.close();
    if (array.name !== null && exists(array.name)) ndshm.unlink(array.name);
  }
});

describe('create', () => {
  test('reserves the memory of every page at once', () => {
    const a = keep(ndshm.create(freshName(), { shape: [3, 1000, 1000], dtype: 'float32' }));
    const { size, blocks, mode } = statSync(shmPath(a.name as string));
    expect(blocks * 512).toBe(size);
    expect(mode & 0o777).toBe(0o600);
  });

  test('refuses an existing name, and leaves it as it is', () => {
    const a = keep(ndshm.create(freshName(), { shape: 2, init: (array) => array.fill(5) }));
    const error = thrownBy(() => ndshm.create(a.name as string, { shape: 2 }));
    expect(error).toMatchObject({ code: 'EEXIST', errno: -17, syscall: 'linkat', path: shmPath(a.name as string) });
    expect(a.toNested()).toEqual([5, 5]);
  });

  test("ifExists: 'open' opens what agrees, writable, and creates what is missing", () => {
    const name = freshName();
    const how = { shape: [2, 3], dtype: 'int16', ifExists: 'open' } as const;
    const a = keep(ndshm.create(name, how));
    a.set([1, 2], 9);
    const b = keep(ndshm.create(name, { ...how, init: () => expect('never called').toBe('') }));
    expect([b.get(1, 2), b.mode]).toEqual([9, 'r+']);
  });

  test.each([
    ['shape', { shape: [3, 2], dtype: 'int16' }],
    ['dtype', { shape: [2, 3], dtype: 'uint16' }],
    ['order', { shape: [2, 3], dtype: 'int16', order: 'F' }],
  ] as const)("ifExists: 'open' refuses another %s and names both", (_what, other) => {
    const a = keep(ndshm.create(freshName(), { shape: [2, 3], dtype: 'int16' }));
    const error = thrownBy(() => ndshm.create(a.name as string, { ...other, ifExists: 'open' }));
    expect(error.code).toBe('ERR_NDSHM_MISMATCH');
    expect(error.message).toMatch(/int16.*\(2, 3\).*C.*asked for/);
  });

  test("ifExists: 'replace' swaps the name; who has the old array keeps it", () => {
    const name = freshName();
    const a = keep(ndshm.create(name, { shape: 2, init: (array) => array.fill(1) }));
    const reader = keep(ndshm.open(name));
    const b = keep(
      ndshm.create(name, { shape: 3, dtype: 'uint8', ifExists: 'replace', init: (array) => array.fill(2) }),
    );
    expect([reader.toNested(), a.toNested()]).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(keep(ndshm.open(name)).toNested()).toEqual([2, 2, 2]);
    expect(b.handle.id).not.toBe(a.handle.id);
    expect(thrownBy(() => ndshm.attach(reader.handle)).code).toBe('ERR_NDSHM_STALE_HANDLE');
  });

  test('init fills before the name is there; if it throws, nothing is left', () => {
    const name = freshName();
    keep(ndshm.create(name, { shape: 2, init: () => expect(exists(name)).toBe(false) }));
    const other = freshName();
    const boom = new Error('boom');
    const init = () => {
      throw boom;
    };
    expect(thrownBy(() => ndshm.create(other, { shape: 2, init }))).toBe(boom);
    expect(thrownBy(() => ndshm.create(name, { shape: 9, ifExists: 'replace', init }))).toBe(boom);
    expect([exists(other), keep(ndshm.open(name)).shape]).toEqual([false, [2]]);
    expect(thrownBy(() => ndshm.create(other, { shape: 2, init: (a) => a.close() })).code).toBe('ERR_NDSHM_CLOSED');
    expect(exists(other)).toBe(false);
  });

  test.each([0, 1, 1023, 1024, 2 ** 18 + 3, 2 ** 23 + 5])('gives %d zeros, and copies as many', (length) => {
    // Around a page, around 1 MiB (where userfaultfd begins) and around 32 MiB (where threads do).
    const zeros = keep(ndshm.create(freshName(), { shape: length, dtype: 'float32' }));
    expect(zeros.data.every((x) => x === 0)).toBe(true);
    const source = Float32Array.from({ length }, (_, n) => n % 977);
    const copy = keep(ndshm.fromArray(freshName(), source));
    expect(Buffer.compare(Buffer.from(copy.data.buffer), Buffer.from(source.buffer))).toBe(0);
    expect(copy.data.length).toBe(length);
    const { size, blocks } = statSync(shmPath(copy.name as string));
    expect(blocks * 512).toBe(size);
  });

  test('ephemeral arrays lose their name when the last one closes', () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 2, ephemeral: true });
    const b = ndshm.open(name);
    a.close();
    expect(exists(name)).toBe(true);
    b.close();
    expect(exists(name)).toBe(false);
  });
});

describe('bad input', () => {
  const cases: [string, () => unknown, string, string][] = [
    [
      'a name that is no string',
      () => ndshm.create(3 as never, { shape: 1 }),
      'TypeError',
      'ERR_NDSHM_INVALID_ARGUMENT',
    ],
    ['an empty name', () => ndshm.create('', { shape: 1 }), 'RangeError', 'ERR_NDSHM_INVALID_NAME'],
    ['a name with a slash', () => ndshm.create('a/b', { shape: 1 }), 'RangeError', 'ERR_NDSHM_INVALID_NAME'],
    ['a name that climbs', () => ndshm.open('..'), 'RangeError', 'ERR_NDSHM_INVALID_NAME'],
    ['a name that starts with a dot', () => ndshm.open('.ndshm-x'), 'RangeError', 'ERR_NDSHM_INVALID_NAME'],
    ['a name with NUL', () => ndshm.open('a\0b'), 'RangeError', 'ERR_NDSHM_INVALID_NAME'],
    ['a name of 251 bytes', () => ndshm.open('a'.repeat(251)), 'RangeError', 'ERR_NDSHM_INVALID_NAME'],
    ['no options', () => ndshm.create('x', undefined as never), 'TypeError', 'ERR_NDSHM_INVALID_ARGUMENT'],
    [
      'an unknown option',
      () => ndshm.create('x', { shape: 1, dtyp: 'int8' } as never),
      'TypeError',
      'ERR_NDSHM_INVALID_ARGUMENT',
    ],
    [
      'an unknown option of open',
      () => ndshm.open('x', { write: true } as never),
      'TypeError',
      'ERR_NDSHM_INVALID_ARGUMENT',
    ],
    [
      'an unknown dtype',
      () => ndshm.create('x', { shape: 1, dtype: 'float' as never }),
      'RangeError',
      'ERR_NDSHM_DTYPE',
    ],
    [
      'a dtype from the prototype',
      () => ndshm.create('x', { shape: 1, dtype: 'toString' as never }),
      'RangeError',
      'ERR_NDSHM_DTYPE',
    ],
    ['a negative length', () => ndshm.create('x', { shape: [2, -1] }), 'RangeError', 'ERR_NDSHM_SHAPE'],
    ['a fraction of a length', () => ndshm.create('x', { shape: 1.5 }), 'RangeError', 'ERR_NDSHM_SHAPE'],
    [
      'a length that is a string',
      () => ndshm.create('x', { shape: ['2'] as never }),
      'TypeError',
      'ERR_NDSHM_INVALID_ARGUMENT',
    ],
    ['65 dimensions', () => ndshm.create('x', { shape: new Array(65).fill(1) }), 'RangeError', 'ERR_NDSHM_SHAPE'],
    ['a product beyond 2^53', () => ndshm.create('x', { shape: [2 ** 30, 2 ** 30] }), 'RangeError', 'ERR_NDSHM_SHAPE'],
    [
      'a product beyond 2^53 hidden by a zero',
      () => ndshm.create('x', { shape: [2 ** 52, 0, 2 ** 52] }),
      'RangeError',
      'ERR_NDSHM_SHAPE',
    ],
    ['an unknown mode', () => ndshm.open('x', { mode: 'w' as never }), 'RangeError', 'ERR_NDSHM_OUT_OF_RANGE'],
    [
      'an unknown ifExists',
      () => ndshm.create('x', { shape: 1, ifExists: 'maybe' as never }),
      'RangeError',
      'ERR_NDSHM_OUT_OF_RANGE',
    ],
    [
      'an unknown order',
      () => ndshm.create('x', { shape: 1, order: 'A' as never }),
      'RangeError',
      'ERR_NDSHM_OUT_OF_RANGE',
    ],
    [
      'an init that is no function',
      () => ndshm.create('x', { shape: 1, init: 3 as never }),
      'TypeError',
      'ERR_NDSHM_INVALID_ARGUMENT',
    ],
    ['a handle that is none', () => ndshm.attach({} as never), 'TypeError', 'ERR_NDSHM_INVALID_ARGUMENT'],
    ['openRaw without a dtype', () => ndshm.openRaw('x', {} as never), 'TypeError', 'ERR_NDSHM_INVALID_ARGUMENT'],
  ];
  test.each(cases)('%s is an error with a code', (_what, run, kind, code) => {
    const error = thrownBy(run);
    expect([error.name, error.code]).toEqual([kind, code]);
    expect(error instanceof (kind === 'TypeError' ? TypeError : RangeError)).toBe(true);
    expect(namesInShm()).toEqual([]);
  });

  test('a missing name is ENOENT with syscall and path, as Node’s own errors have them', () => {
    const name = freshName();
    const expected = { code: 'ENOENT', errno: -2, path: shmPath(name) };
    expect(thrownBy(() => ndshm.open(name))).toMatchObject({ ...expected, syscall: 'open' });
    expect(thrownBy(() => ndshm.stat(name))).toMatchObject({ ...expected, syscall: 'open' });
    expect(thrownBy(() => ndshm.unlink(name))).toMatchObject({ ...expected, syscall: 'unlink' });
  });

  test('a handle’s view must lie within its array', () => {
    const a = keep(ndshm.create(freshName(), { shape: [4], dtype: 'int32' }));
    const { handle } = a.slice('1:3');
    const view = handle.view as NonNullable<typeof handle.view>;
    const attach = (change: object) => () => ndshm.attach({ ...handle, view: { ...view, ...change } });
    keep(ndshm.attach(handle));
    for (const change of [
      { shape: [5] },
      { byteOffset: 12 },
      { byteOffset: -4 },
      { byteOffset: 2 },
      { strides: [8] },
      { strides: [4, 4] },
    ]) {
      const code = thrownBy(attach({ shape: [2], ...change, ...('strides' in change ? { byteOffset: 8 } : {}) })).code;
      expect(code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    }
  });
});

test('the file is a valid .npy file of version 1.0, 4096 bytes before the elements', () => {
  const a = keep(ndshm.fromArray(freshName(), new Uint16Array([258, 772]), {}));
  const bytes = readFileSync(shmPath(a.name as string));
  expect(bytes.toString('latin1', 0, 8)).toBe('\x93NUMPY\x01\x00');
  expect(bytes.readUInt16LE(8)).toBe(4086);
  expect(bytes.toString('latin1', 10, 4096)).toBe(
    "{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }".padEnd(4085) + '\n',
  );
  expect([...bytes.subarray(4096, 4100)]).toEqual([2, 1, 4, 3]);
  expect(bytes.toString('latin1', 8192, 8200)).toBe('NDSHMCTL');
  expect(bytes.length).toBe(8192 + 20480);
});
