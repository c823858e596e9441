import { chmodSync, writeFileSync } from 'node:fs';
import { tableFromArrays } from 'apache-arrow';
import * as api from 'ndshm';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { ndshm, ndshmJson, ndshmWith } from '../helpers/cli';
import { describeWithNumpy, runPython } from '../helpers/python';
import { freshName, shmPath } from '../helpers/shm';

interface Printed {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly consistent: boolean | null;
  readonly values: unknown;
}

/** A named array with these elements, which nobody has open. */
function put(source: Parameters<typeof api.fromArray>[1], options: api.FromArrayOptions = {}): string {
  const name = freshName();
  api.fromArray(name, source, options).close();
  return name;
}

const matrix = [
  [0, 1, 2, 3],
  [4, 5, 6, 7],
  [8, 9, 10, 11],
];
const [row0, row1, row2] = matrix;

describe('ndshm print', () => {
  test('prints a heading and the values', () => {
    const name = put(matrix, { dtype: 'int32' });
    expect(ndshm('print', name)).toEqual({
      status: 0,
      stdout: `${name}  int32 (3, 4)\n[[ 0  1  2  3]\n [ 4  5  6  7]\n [ 8  9 10 11]]\n`,
      stderr: '',
    });
    expect(ndshm('print', name, '1, ::3').stdout).toBe(`${name}[1, ::3]  int32 (2,)\n[4 7]\n`);
  });

  test.each<[string[], unknown]>([
    [['-1'], row2],
    [['-2:'], [row1, row2]],
    [
      ['-2:,', '1'],
      [5, 9],
    ], // a shell has split it
    [['None, 0'], [row0]],
    [['1,1'], 5],
  ])('takes the slice %j, also one that begins with a minus sign', (words, values) => {
    const name = put(matrix, { dtype: 'int32' });
    expect(ndshmJson<Printed>('print', name, ...words).values).toEqual(values);
  });

  test.each([
    ['x', 'ERR_NDSHM_INVALID_ARGUMENT', 'received "x"'],
    ['3', 'ERR_NDSHM_OUT_OF_RANGE', 'axis 0 with length 3'],
    ['::0', 'ERR_NDSHM_OUT_OF_RANGE', 'cannot be zero'],
    ['0, 0, 0', 'ERR_NDSHM_OUT_OF_RANGE', 'Too many indices'],
  ])('refuses the slice %j and says why', (slice, code, why) => {
    const name = put(matrix);
    const { status, stdout, stderr } = ndshm('print', name, slice, '--json');
    expect([status, stdout]).toEqual([1, '']);
    const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
    expect(error).toEqual({ code, message: expect.stringContaining(why) as string });
  });

  test('an unknown option is misuse, not a slice', () => {
    const { status, stderr } = ndshm('print', put(matrix), '--slice');
    expect(status).toBe(2);
    expect(stderr).toContain("unknown option '--slice'");
  });

  test('an unknown name suggests the nearest', () => {
    const name = put(matrix);
    const { status, stderr } = ndshm('print', `${name}x`);
    expect(status).toBe(1);
    expect(stderr).toContain(`did you mean '${name}'`);
  });

  test('--json tells what JSON has no numbers for', () => {
    const special = put([Number.NaN, Number.POSITIVE_INFINITY, -1.5]);
    expect(ndshmJson<Printed>('print', special).values).toEqual(['NaN', 'Infinity', -1.5]);
    const whole = put(BigInt64Array.of(2n ** 62n, -1n));
    expect(ndshmJson<Printed>('print', whole).values).toEqual([String(2n ** 62n), '-1']);
    const complex = put([{ re: 1, im: Number.NaN }]);
    expect(ndshmJson<Printed>('print', complex).values).toEqual([{ re: 1, im: 'NaN' }]);
    const truth = put([true, false]);
    expect(ndshmJson<Printed>('print', truth)).toEqual({
      name: truth,
      dtype: 'bool',
      shape: [2],
      consistent: true,
      values: [true, false],
    });
  });

  test('reads a moment between two writes, and is gone from the peers afterwards', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 2000, dtype: 'int32', ephemeral: true });
    const writer = await Peer.start();
    await writer.call('a', 'open', name, { mode: 'r+' });
    await writer.run(({ kept }) => {
      const a = kept.get('a') as api.SharedArray<'int32'>;
      let count = 0;
      const writeOn = () => {
        if (a.closed) return;
        a.writeSync(() => a.fill(++count));
        setImmediate(writeOn);
      };
      writeOn();
    });
    for (let round = 0; round < 3; round++) {
      const { values, consistent } = ndshmJson<Printed>('print', name, '--timeout', '15');
      expect(consistent).toBe(true);
      expect(new Set(values as number[]).size).toBe(1);
    }
    await writer.kill();
    expect(api.stat(name).peers).toHaveLength(1);
    array.close();
  });

  test('does not wait for a writer that stays inside, but says that it was there', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const writer = await Peer.start();
    await writer.call('a', 'open', name, { mode: 'r+' });
    await writer.run(
      ({ kept }) =>
        new Promise<void>((inside) => {
          const a = kept.get('a') as api.SharedArray;
          void a.write(() => {
            a.set(0, 7);
            inside();
            return new Promise(() => {});
          });
        }),
    );
    const { status, stdout, stderr } = ndshm('print', name, '--json', '--timeout', '0.05');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ consistent: false, values: [7, 0, 0] });
    expect(stderr).toContain('it was being written all the time');

    await writer.kill();
    const after = ndshm('print', name, '--json', '--timeout', '15');
    expect(JSON.parse(after.stdout)).toMatchObject({ consistent: false, values: [7, 0, 0] });
    expect(after.stderr).toContain('a process died while it was writing it');
    // It has repaired nothing: that is for those who know the data.
    expect(api.stat(name).lock?.state).toBe('abandoned');
    array.close();
  });

  test('of a primitive tells what it is, and its words only with --raw', () => {
    const name = freshName();
    const permits = new api.Semaphore(name, { value: 3, ephemeral: true });
    expect(ndshm('print', name).stdout).toMatch(new RegExp(`^${name} is a Semaphore: value 3, initial 3`));
    expect(ndshmJson('print', name)).toMatchObject({ name, kind: 'Semaphore', facts: { value: 3 } });
    expect(ndshmJson<Printed>('print', name, ':1', '--raw')).toMatchObject({ dtype: 'int32', shape: [1] });
    expect(ndshm('print', name, ':1').status).toBe(1);
    permits.close();
  });

  test('of tensors lists them, and prints the one that is named', () => {
    const name = freshName();
    api.putTensors(name, { 'layer.w': matrix, b: new Float32Array(2) }, { metadata: { epoch: '3' } });
    expect(ndshm('print', name).stdout).toBe(
      'TENSOR   DTYPE    SHAPE\nlayer.w  float64  (3, 4)\nb        float32  (2,)\nepoch: 3\n',
    );
    expect(ndshmJson<Printed>('print', name, '1', '--tensor', 'layer.w')).toMatchObject({
      values: row1,
      consistent: null,
    });
    const { status, stderr } = ndshm('print', name, '--tensor', 'layer.v');
    expect(status).toBe(1);
    expect(stderr).toContain('it has: layer.w, b');
    expect(ndshm('print', put([1]), '--tensor', 'w').stderr).toContain('is no file of tensors');
    api.unlink(name);
  });

  test('of a table prints the schema and the first rows', () => {
    const name = freshName();
    api.putTable(name, tableFromArrays({ price: Float64Array.from({ length: 12 }, (_, n) => n / 2) }));
    expect(ndshm('print', name).stdout).toBe(
      `${name}  12 rows\nprice: Float64\n${[0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5].map((each) => String(each).padStart(14)).join('\n')}\n… 2 more rows\n`,
    );
    expect(ndshmJson('print', name)).toMatchObject({
      rows: 12,
      columns: [{ name: 'price', type: 'Float64', nullable: false }],
    });
    api.unlink(name);
  });

  test('reads raw memory of others as it is told to', () => {
    const name = freshName();
    writeFileSync(shmPath(name), new Uint8Array(Float64Array.of(1, 2, 3, 4, 5).buffer));
    const { status, stderr } = ndshm('print', name);
    expect(status).toBe(1);
    expect(stderr).toContain('--dtype (with --shape and --offset) reads it as raw memory');
    const { values } = ndshmJson<Printed>('print', name, '--dtype', 'float64', '--offset', '8', '--shape', '2x2');
    expect(values).toEqual([
      [2, 3],
      [4, 5],
    ]);
    expect(ndshm('print', name, '--dtype', 'float65').status).toBe(2);
  });
});

describeAsRoot('ndshm print, as another user', () => {
  test('refuses what belongs to others unless it is told otherwise', () => {
    const name = put([1, 2]);
    const secret = ndshmWith({ uid: otherUser }, 'print', name);
    expect([secret.status, secret.stderr]).toEqual([1, expect.stringContaining('EACCES: permission denied')]);
    chmodSync(shmPath(name), 0o644);
    const { status, stderr } = ndshmWith({ uid: otherUser }, 'print', name);
    expect(status).toBe(1);
    expect(stderr).toContain('belongs to another user; --allow-foreign-owner reads it all the same');
    expect(ndshmWith({ uid: otherUser }, 'print', name, '--allow-foreign-owner').stdout).toContain('[1. 2.]');
  });
});

describeWithNumpy('ndshm print, compared with numpy', () => {
  test('prints what print(a) does', () => {
    const cases = [
      put(
        Float64Array.from({ length: 3000 }, (_, n) => Math.sin(n) * 10 ** (n % 7)),
        { shape: [3, 1000] },
      ),
      put(Float32Array.of(1.5, Number.NaN, -2.25e-8, 3e7)),
      put(BigInt64Array.of(-(2n ** 63n), 12n)),
      put([
        { re: 1, im: -2 },
        { re: 0.5, im: 1e9 },
      ]),
      put([true, false]),
    ];
    const printed = runPython<string[]>(
      'print(json.dumps([str(np.load("/dev/shm/" + name, mmap_mode="r")) for name in given]))',
      cases,
    );
    const ours = cases.map((name) => ndshm('print', name).stdout);
    expect(ours.map((text) => text.slice(text.indexOf('\n') + 1))).toEqual(printed.map((text) => `${text}\n`));
  });
});
