import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { holdings, isRoot, Peer, randomFrom, rejection } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

/** A file of this header, given as text, and so many bytes of data. */
function writeTensors(header: string, dataBytes: number, name = freshName()): string {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(shmPath(name), Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
  return name;
}

/** One tensor's part of a header. */
const entry = (dtype: string, shape: readonly number[], begin: number, end: number) =>
  `{"dtype":"${dtype}","shape":[${shape.join()}],"data_offsets":[${begin},${end}]}`;

const formatError = (header: string, dataBytes: number): Error & { code?: string } => {
  const name = writeTensors(header, dataBytes);
  const error = thrownBy(() => ndshm.openTensors(name));
  ndshm.unlink(name);
  return error;
};

describe('putTensors and openTensors', () => {
  test('give back every dtype with its shape and values, views and orders included', () => {
    const name = freshName();
    const dtypes = ndshm.dtypes.filter((dtype) => dtype !== 'complex128');
    const sources = Object.fromEntries(
      dtypes.map((dtype) => {
        const order = dtype.length % 2 === 0 ? 'C' : 'F';
        const array = ndshm.anonymous({ shape: [3, 5], dtype, order });
        for (let n = 0; n < array.data.length; n++)
          array.data[n] = (typeof array.data[0] === 'bigint' ? 1n : 1) as never;
        return [dtype, array.slice(':', '::-2') as ndshm.SharedArray];
      }),
    );
    ndshm.putTensors(name, sources, { metadata: { epoch: '3', ü: '"\\' } });
    using opened = ndshm.openTensors(name);
    expect(Object.keys(opened.tensors).sort()).toEqual([...dtypes].sort());
    expect({ ...opened.metadata }).toEqual({ epoch: '3', ü: '"\\' });
    for (const dtype of dtypes) {
      const array = opened.tensors[dtype] as ndshm.SharedArray;
      expect([array.dtype, array.shape, array.mode]).toEqual([dtype, [3, 3], 'r']);
      expect(array.toNested()).toEqual(sources[dtype]?.toNested());
    }
    ndshm.unlink(name);
  });

  test('take typed arrays, nested arrays, numbers and empty arrays, under any names', () => {
    const name = freshName();
    const sources: Record<string, ndshm.TensorSource> = {
      'layer.0/ä"': Float32Array.of(1, 2, 3),
      n: [[1], [2]],
      '7': 5,
      '': [],
      flag: [true],
    };
    Object.defineProperty(sources, '__proto__', { value: [9], enumerable: true });
    ndshm.putTensors(name, sources);
    using opened = ndshm.openTensors(name);
    const values = Object.entries(opened.tensors).map(([key, array]) => [`_${key}`, [array.dtype, array.toNested()]]);
    expect(Object.fromEntries(values)).toEqual({
      ___proto__: ['float64', [9]],
      '_layer.0/ä"': ['float32', [1, 2, 3]],
      _n: ['float64', [[1], [2]]],
      _7: ['float64', 5],
      _: ['float64', []],
      _flag: ['bool', [true]],
    });
    ndshm.unlink(name);
  });

  test('align each tensor, and begin the data at a cache line', () => {
    const name = freshName();
    ndshm.putTensors(name, { a: Uint8Array.of(1), b: Float64Array.of(2), c: Int16Array.of(3), d: Float32Array.of(4) });
    using opened = ndshm.openTensors(name);
    expect(opened.names).toEqual(['b', 'd', 'c', 'a']);
    const [first, ...rest] = opened.names.map((key) => (opened.tensors[key] as ndshm.SharedArray).data);
    expect((first as Float64Array).byteOffset % 64).toBe(0);
    for (const data of rest) expect(data.byteOffset % data.BYTES_PER_ELEMENT).toBe(0);
    ndshm.unlink(name);
  });

  test("share one mapping: mode 'r+' stores for everybody, 'c' and 'r' for nobody else", () => {
    const name = freshName();
    ndshm.putTensors(name, { w: [1, 2], b: [3] });
    const before = holdings();
    const reader = ndshm.openTensors(name);
    expect(holdings()).toEqual({ ...before, mappings: before.mappings + 1 });
    const writer = ndshm.openTensors(name, { mode: 'r+' });
    const copy = ndshm.openTensors(name, { mode: 'c' });
    writer.tensors['b']?.copyFrom(Float64Array.of(4));
    copy.tensors['w']?.set(0, 7);
    expect([reader, writer, copy].map(({ tensors }) => [tensors['w']?.get(0), tensors['b']?.get(0)])).toEqual([
      [1, 4],
      [1, 4],
      [7, 4],
    ]);
    expect(thrownBy(() => reader.tensors['w']?.set(0, 1)).code).toBe('ERR_NDSHM_READ_ONLY');
    for (const each of [reader, writer, copy]) each.close();
    expect(holdings()).toEqual(before);
    ndshm.unlink(name);
  });

  test('close() ends all arrays and their views, and may be called again', () => {
    const name = freshName();
    ndshm.putTensors(name, { w: [[1, 2]] });
    const opened = ndshm.openTensors(name);
    const w = opened.tensors['w'] as ndshm.SharedArray;
    const { data } = w;
    const row = w.row(0);
    opened.close();
    opened.close();
    expect([opened.closed, w.closed, data.length]).toEqual([true, true, 0]);
    for (const use of [() => w.get(0, 0), () => row.get(0), () => w.data, () => row.toNested()]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
    ndshm.unlink(name);
  });

  test('have no lock, and say so', () => {
    const name = freshName();
    ndshm.putTensors(name, { w: [1] });
    using opened = ndshm.openTensors(name, { mode: 'r+' });
    expect(thrownBy(() => opened.tensors['w']?.writeSync(() => {})).code).toBe('ERR_NDSHM_ANONYMOUS');
    ndshm.unlink(name);
  });

  test("ifExists: 'error' leaves what is there alone, 'replace' swaps it under readers, who keep the old one", () => {
    const name = freshName();
    ndshm.putTensors(name, { w: [1] });
    expect(thrownBy(() => ndshm.putTensors(name, { w: [2] })).code).toBe('EEXIST');
    using old = ndshm.openTensors(name);
    ndshm.putTensors(name, { v: [2] }, { ifExists: 'replace' });
    using now = ndshm.openTensors(name);
    expect([old.tensors['w']?.get(0), now.tensors['v']?.get(0), now.names]).toEqual([1, 2, ['v']]);
    ndshm.unlink(name);
    ndshm.fromArray(name, [1]).close();
    ndshm.putTensors(name, { w: [3] }, { ifExists: 'replace' });
    expect(ndshm.stat(name).kind).toBe('tensors');
    ndshm.unlink(name);
  });

  test('are whole to every reader, while another process replaces them all the time', async () => {
    const name = freshName();
    const tensorsOf = (n: number) => ({ a: new Float64Array(5000).fill(n), b: new Int32Array(5000).fill(n) });
    ndshm.putTensors(name, tensorsOf(0));
    const peer = await Peer.start();
    const storm = peer.run(({ ndshm: theirs }, at) => {
      for (let n = 1; n <= 200; n++) {
        const tensors = { a: new Float64Array(5000).fill(n), b: new Int32Array(5000).fill(n) };
        theirs.putTensors(at, tensors, { ifExists: 'replace' });
      }
    }, name);
    let done = false;
    void storm.then(() => {
      done = true;
    });
    const seen = new Set<unknown>();
    while (!done) {
      using opened = ndshm.openTensors(name);
      const { a, b } = opened.tensors;
      const values = new Set<unknown>([...(a as ndshm.SharedArray).data, ...(b as ndshm.SharedArray).data]);
      expect(values.size).toBe(1);
      for (const value of values) seen.add(value);
      await new Promise(setImmediate);
    }
    await storm;
    expect(seen.size).toBeGreaterThan(1);
    await peer.kill();
    ndshm.unlink(name);
  });

  test('leave nothing behind when they fail', () => {
    const before = readdirSync('/dev/shm').length;
    const fails = [
      [() => ndshm.putTensors(freshName(), { w: {} as never }), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => ndshm.putTensors(freshName(), { w: undefined as never }), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => ndshm.putTensors(freshName(), [1] as never), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => ndshm.putTensors(freshName(), { w: [[1], [2, 3]] }), 'ERR_NDSHM_SHAPE'],
      [() => ndshm.putTensors(freshName(), { w: [{ re: 1, im: 2 }] }), 'ERR_NDSHM_DTYPE'],
      [() => ndshm.putTensors(freshName(), { __metadata__: [1] }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => ndshm.putTensors('a/b', { w: [1] }), 'ERR_NDSHM_INVALID_NAME'],
      [() => ndshm.putTensors(freshName(), {}, { metadata: { a: 1 } as never }), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => ndshm.putTensors(freshName(), {}, { metadata: { a: '\ud800' } }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => ndshm.putTensors(freshName(), {}, { metadata: { '\ud800': 'a' } }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => ndshm.putTensors(freshName(), {}, { ifExists: 'open' as never }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => ndshm.putTensors(freshName(), {}, { shape: [1] } as never), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => ndshm.openTensors(freshName()), 'ENOENT'],
      [() => ndshm.openTensors(freshName(), { names: 'w' as never }), 'ERR_NDSHM_INVALID_ARGUMENT'],
    ] as const;
    for (const [fail, code] of fails) expect(thrownBy(fail).code).toBe(code);
    expect(readdirSync('/dev/shm').length).toBe(before);
  });

  test('a mode other than r, r+ and c is refused', () => {
    const name = freshName();
    ndshm.putTensors(name, {});
    expect(thrownBy(() => ndshm.openTensors(name, { mode: 'w' as never })).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    ndshm.unlink(name);
  });

  test('stat() and list() say what they are', () => {
    const name = freshName();
    ndshm.putTensors(name, { w: [1] });
    expect(ndshm.stat(name)).toMatchObject({ kind: 'tensors', dtype: null, problem: null, peers: [] });
    expect(ndshm.list().map((each) => each.name)).toContain(name);
    ndshm.unlink(name);
  });

  (isRoot ? test : test.skip)('of another user are opened and replaced only where that is allowed', async () => {
    const name = freshName();
    const peer = await Peer.start({ uid: 65534 });
    await peer.run(({ ndshm: theirs }, at) => theirs.putTensors(at, { w: [1] }), name);
    expect(thrownBy(() => ndshm.openTensors(name)).code).toBe('ERR_NDSHM_FOREIGN_OWNER');
    expect(thrownBy(() => ndshm.putTensors(name, {}, { ifExists: 'replace' })).code).toBe('ERR_NDSHM_FOREIGN_OWNER');
    ndshm.openTensors(name, { allowForeignOwner: true }).close();
    ndshm.putTensors(name, {}, { ifExists: 'replace', allowForeignOwner: true });
    expect(await rejection(peer.run(({ ndshm: theirs }, at) => theirs.openTensors(at).close(), name))).toMatchObject({
      code: 'EACCES',
    });
    await peer.kill();
    ndshm.unlink(name);
  });
});

describe('tensors that have no like here', () => {
  const header = `{"w":${entry('F32', [2], 0, 8)},"h":${entry('BF16', [2, 2], 8, 16)},"f":${entry('F8_E4M3', [2], 16, 18)}}`;

  test('are named by the error; the others open by their names', () => {
    const name = writeTensors(header.padEnd(8 * Math.ceil(header.length / 8)), 18);
    const error = thrownBy(() => ndshm.openTensors(name));
    expect(error).toMatchObject({ code: 'ERR_NDSHM_DTYPE', name: 'TypeError' });
    expect(error.message).toMatch(/'h' .* BF16/);
    using opened = ndshm.openTensors(name, { names: ['w'] });
    expect([opened.names, Object.keys(opened.tensors)]).toEqual([['w', 'h', 'f'], ['w']]);
    expect(thrownBy(() => ndshm.openTensors(name, { names: ['w', 'x'] }))).toMatchObject({
      code: 'ERR_NDSHM_OUT_OF_RANGE',
      message: expect.stringContaining('w, h, f') as string,
    });
    ndshm.unlink(name);
  });

  test('that begin at an odd place are refused by name', () => {
    const name = writeTensors(`{"a":${entry('U8', [1], 0, 1)},"b":${entry('F32', [1], 1, 5)}}`, 5);
    expect(thrownBy(() => ndshm.openTensors(name))).toMatchObject({
      code: 'ERR_NDSHM_ALIGNMENT',
      message: expect.stringContaining("'b'") as string,
    });
    ndshm.openTensors(name, { names: ['a'] }).close();
    ndshm.unlink(name);
  });
});

describe('what is no safetensors file', () => {
  const one = `"w":${entry('U8', [4], 0, 4)}`;

  test.each([
    ['a gap before the first tensor', `{"w":${entry('U8', [4], 1, 5)}}`, 5],
    ['a gap between tensors', `{${one},"v":${entry('U8', [1], 5, 6)}}`, 6],
    ['an overlap', `{${one},"v":${entry('U8', [2], 3, 5)}}`, 5],
    ['two tensors in one place', `{${one},"v":${entry('U8', [4], 0, 4)}}`, 4],
    ['bytes after the last tensor', `{${one}}`, 5],
    ['too few bytes', `{${one}}`, 3],
    ['a shape of another size', `{"w":${entry('U16', [4], 0, 4)}}`, 4],
    ['an end before the beginning', `{"w":${entry('U8', [0], 4, 0)}}`, 0],
    ['a shape that cannot be counted', `{"w":${entry('F64', [2 ** 40, 2 ** 40], 0, 0)}}`, 0],
    ['a negative length', `{"w":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}`, 0],
    ['a fraction', `{"w":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}`, 4],
    ['a number with an exponent', `{"w":{"dtype":"U8","shape":[4e0],"data_offsets":[0,4]}}`, 4],
    ['a name twice', `{${one},${one}}`, 4],
    ['a name twice, once escaped', `{${one},"\\u0077":${entry('U8', [0], 4, 4)}}`, 4],
    ['a key twice', `{"w":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4],
    ['an unknown key', `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"toString":1}}`, 4],
    ['a missing key', `{"w":{"dtype":"U8","shape":[4]}}`, 4],
    ['an unknown dtype', `{"w":${entry('U7', [4], 0, 4)}}`, 4],
    ['a dtype of Object.prototype', `{"w":${entry('constructor', [4], 0, 4)}}`, 4],
    ['three offsets', `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}}`, 4],
    ['metadata that are no texts', `{"__metadata__":{"a":1},${one}}`, 4],
    ['metadata twice', `{"__metadata__":{"a":"1"},"__metadata__":{},${one}}`, 4],
    ['a metadata key twice', `{"__metadata__":{"a":"1","a":"2"},${one}}`, 4],
    ['half a surrogate pair', `{"\\ud800":${entry('U8', [0], 0, 0)}}`, 0],
    ['a control character in a name', `{"\u0001":${entry('U8', [0], 0, 0)}}`, 0],
    ['a string without an end', `{"w\\"`, 0],
    ['a comma too many', `{${one},}`, 4],
    ['a list', `[]`, 0],
    ['space before the header', ` {${one}}`, 4],
    ['something after the header', `{${one}} x`, 4],
    ['deep nesting', `{"w":${'['.repeat(100_000)}`, 0],
    ['65 dimensions', `{"w":${entry('U8', new Array<number>(65).fill(1), 0, 1)}}`, 1],
    [
      'too many tensors',
      `{${Array.from({ length: 2 ** 17 + 1 }, (_, n) => `"${n}":${entry('U8', [0], 0, 0)}`).join()}}`,
      0,
    ],
  ])('%s', (_, header, dataBytes) => {
    expect(formatError(header, dataBytes)).toMatchObject({ code: 'ERR_NDSHM_FORMAT' });
  });

  test('a header of more than 100 MB, more than the file, not UTF-8, or an empty file', () => {
    const name = freshName();
    const headers = [
      Buffer.from([0, 0, 0, 0, 0, 0, 0, 0x80, 0x7b]),
      Buffer.from([255, 255, 255, 255, 255, 255, 255, 255, 0x7b, 0x7d]),
      Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]),
      Buffer.from([0, 0, 0, 0, 0, 0, 0, 0]),
      Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d]),
      Buffer.from([3, 0]),
      Buffer.alloc(0),
    ];
    for (const header of headers) {
      writeFileSync(shmPath(name), header);
      expect(thrownBy(() => ndshm.openTensors(name)).code).toBe('ERR_NDSHM_FORMAT');
    }
    ndshm.unlink(name);
  });

  test('padding and any order of keys are allowed', () => {
    const name = writeTensors(
      `{ "w" : {"data_offsets":[0,4],\n "shape" : [ 2 , 2 ], "dtype":"U8"} , "__metadata__" : { } }   `,
      4,
    );
    using opened = ndshm.openTensors(name);
    expect(opened.tensors['w']?.shape).toEqual([2, 2]);
    ndshm.unlink(name);
  });

  test('an array, a table, a folder, and every prefix of a valid file', () => {
    const name = freshName();
    ndshm.fromArray(name, [1]).close();
    expect(thrownBy(() => ndshm.openTensors(name)).code).toBe('ERR_NDSHM_FORMAT');
    ndshm.putTensors(name, { w: [1, 2], b: [true] }, { metadata: { a: 'b' }, ifExists: 'replace' });
    const whole = readFileSync(shmPath(name)).length;
    for (let length = whole - 1; length >= 0; length--) {
      truncateSync(shmPath(name), length);
      expect(thrownBy(() => ndshm.openTensors(name)).code).toBe('ERR_NDSHM_FORMAT');
    }
    ndshm.unlink(name);
  });

  test('whatever bytes are changed, there is an error of ours or the arrays can be read', () => {
    const name = freshName();
    ndshm.putTensors(name, { w: [[1, 2]], b: Uint8Array.of(3), s: 'x'.length }, { metadata: { a: 'b' } });
    const valid = readFileSync(shmPath(name));
    const random = randomFrom(7);
    const pick = (below: number) => Math.floor(random() * below);
    let opened = 0;
    for (let n = 0; n < 3000; n++) {
      const bytes = Buffer.from(valid);
      // Mostly in the header, with characters that mean something there.
      for (let changes = 1 + pick(3); changes > 0; changes--) {
        const at = pick(4) === 0 ? pick(8) : 8 + pick(valid.length - 8);
        bytes[at] = pick(2) === 0 ? pick(256) : '{}[]",:0123456789.eE\\ UFI'.charCodeAt(pick(26));
      }
      writeFileSync(shmPath(name), bytes);
      try {
        using tensors = ndshm.openTensors(name);
        for (const array of Object.values(tensors.tensors)) array.toNested();
        opened++;
      } catch (error) {
        expect((error as ndshm.CodedError).code).toMatch(/^ERR_NDSHM_(FORMAT|ALIGNMENT|DTYPE)$/);
      }
    }
    expect(opened).toBeGreaterThan(50);
    expect(opened).toBeLessThan(2950);
    ndshm.unlink(name);
  });

  test('a file truncated under its arrays reads as zeros, and the next call says so', () => {
    const name = freshName();
    ndshm.putTensors(name, { w: new Float64Array(65_536).fill(5) });
    using opened = ndshm.openTensors(name);
    const { w } = opened.tensors as { w: ndshm.SharedArray };
    truncateSync(shmPath(name), 0);
    expect(w.data[60_000]).toBe(0);
    expect(thrownBy(() => w.get(0)).code).toBe('ERR_NDSHM_TRUNCATED');
    ndshm.unlink(name);
  });
});
