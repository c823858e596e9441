import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as arrow from 'apache-arrow';
import * as ndshm from 'ndshm';
import { holdings, isRoot, Peer, randomFrom, rejection } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const rows = 1000;

/** Batches, nulls, text, text in a dictionary, lists, structs, times. */
function sampleTable(count = rows): arrow.Table {
  const numbers = Array.from({ length: count }, (_, n) => n);
  const vector = (make: (n: number) => unknown, type: arrow.DataType) => arrow.vectorFromArray(numbers.map(make), type);
  const words = vector((n) => ['ja', 'no', 'ü'][n % 3], new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32(), 7));
  const batch = (from: number) =>
    new arrow.Table({
      x: arrow.makeVector(Float64Array.from(numbers, (n) => (n + from) / 3)),
      n: vector((n) => (n % 7 === 0 ? null : n), new arrow.Int32()),
      text: vector((n) => `text ${n}`, new arrow.Utf8()),
      flag: vector((n) => n % 3 === 0, new arrow.Bool()),
      list: vector((n) => [n, n + 1].slice(n % 2), new arrow.List(new arrow.Field('item', new arrow.Int16()))),
      pair: vector((n) => ({ a: n }), new arrow.Struct([new arrow.Field('a', new arrow.Int16())])),
      at: vector((n) => new Date(n * 1000), new arrow.TimestampMillisecond()),
      word: words,
    });
  return batch(0).concat(batch(count));
}

const contentOf = (table: arrow.Table) => ({
  schema: String(table.schema),
  batches: table.batches.length,
  rows: JSON.stringify(table.toArray()),
});

const open = (name: string) => ndshm.openTable<arrow.Table>(name);

describe('putTable and openTable', () => {
  test('give back schema, batches and rows; tables without rows or columns too', () => {
    const name = freshName();
    const empty = sampleTable(4);
    for (const table of [
      sampleTable(),
      sampleTable().slice(3, 1500),
      arrow.tableFromArrays({ a: Int32Array.of(1, 2, 3) }),
      new arrow.Table(empty.schema),
      new arrow.Table(),
    ]) {
      ndshm.putTable(name, table, { ifExists: 'replace' });
      using opened = open(name);
      const { batches: _, ...rest } = contentOf(opened.table);
      const { batches: __, ...expected } = contentOf(table);
      expect(rest).toEqual(expected);
    }
    ndshm.unlink(name);
  });

  test('metadata of the schema and of fields go along', () => {
    const name = freshName();
    const field = new arrow.Field('a', new arrow.Int32(), true, new Map([['unit', 'm']]));
    const schema = new arrow.Schema([field], new Map([['origin', 'test']]));
    const data = arrow.makeData({
      type: new arrow.Struct(schema.fields),
      children: [arrow.makeData({ type: new arrow.Int32(), data: Int32Array.of(1) })],
    });
    ndshm.putTable(name, new arrow.Table([new arrow.RecordBatch(schema, data)]));
    using opened = open(name);
    expect([...opened.table.schema.metadata]).toEqual([['origin', 'test']]);
    expect([...(opened.table.schema.fields[0]?.metadata ?? [])]).toEqual([['unit', 'm']]);
    ndshm.unlink(name);
  });

  test('the columns are views on one mapping, each aligned to 64 bytes: nothing is copied', () => {
    const name = freshName();
    const before = holdings();
    ndshm.putTable(name, sampleTable());
    const opened = open(name);
    expect(holdings()).toEqual({ ...before, mappings: before.mappings + 1 });
    const column = opened.table.getChild('x')?.data[0]?.values as Float64Array;
    const { buffer } = column;
    expect(buffer.byteLength).toBe(readFileSync(shmPath(name)).length);
    for (const batch of opened.table.batches) {
      for (const { values, nullBitmap, valueOffsets } of batch.data.children) {
        for (const part of [values, nullBitmap, valueOffsets] as (ArrayBufferView | undefined)[]) {
          if (part === undefined || part.byteLength === 0) continue;
          expect([part.buffer === buffer, part.byteOffset % 64]).toEqual([true, 0]);
        }
      }
    }
    opened.close();
    opened.close();
    expect([opened.closed, column.length]).toEqual([true, 0]);
    expect(thrownBy(() => opened.table).code).toBe('ERR_NDSHM_CLOSED');
    expect(holdings()).toEqual(before);
    ndshm.unlink(name);
  });

  test('a stray store into a column reaches nobody else', () => {
    const name = freshName();
    ndshm.putTable(name, arrow.tableFromArrays({ a: Int32Array.of(1, 2, 3) }));
    using first = open(name);
    using second = open(name);
    const values = first.table.getChild('a')?.data[0]?.values as Int32Array;
    values[0] = 9;
    expect([first.table.getChild('a')?.get(0), second.table.getChild('a')?.get(0)]).toEqual([9, 1]);
    ndshm.unlink(name);
  });

  test('the file is a file and, behind its magic, a stream', () => {
    const name = freshName();
    const table = sampleTable();
    ndshm.putTable(name, table);
    const file = Uint8Array.from(readFileSync(shmPath(name)));
    expect(contentOf(arrow.tableFromIPC(file))).toEqual(contentOf(table));
    expect(contentOf(arrow.tableFromIPC(file.slice(8)))).toEqual(contentOf(table));
    writeFileSync(shmPath(name), arrow.tableToIPC(table, 'file'));
    using opened = open(name);
    expect(contentOf(opened.table)).toEqual(contentOf(table));
    ndshm.unlink(name);
  });

  test("ifExists: 'error' leaves what is there alone, 'replace' swaps it under readers, who keep the old one", () => {
    const name = freshName();
    const tableOf = (value: number) => arrow.tableFromArrays({ a: Int32Array.of(value) });
    ndshm.putTable(name, tableOf(1));
    expect(thrownBy(() => ndshm.putTable(name, tableOf(2))).code).toBe('EEXIST');
    using old = open(name);
    ndshm.putTable(name, tableOf(3), { ifExists: 'replace' });
    using now = open(name);
    expect([old, now].map(({ table }) => table.getChild('a')?.get(0))).toEqual([1, 3]);
    ndshm.unlink(name);
  });

  test('tables are whole to every reader, while another process replaces them all the time', async () => {
    const name = freshName();
    ndshm.putTable(name, arrow.tableFromArrays({ a: new Float64Array(5000), b: new Int32Array(5000) }));
    const peer = await Peer.start();
    const storm = peer.run(
      ({ ndshm: theirs }, at, library) => {
        const { tableFromArrays } = process.getBuiltinModule('node:module').createRequire('/')(library) as typeof arrow;
        for (let n = 1; n <= 200; n++) {
          const columns = { a: new Float64Array(5000).fill(n), b: new Int32Array(5000).fill(n) };
          theirs.putTable(at, tableFromArrays(columns), { ifExists: 'replace' });
        }
      },
      name,
      require.resolve('apache-arrow'),
    );
    let done = false;
    void storm.then(() => {
      done = true;
    });
    const seen = new Set<unknown>();
    while (!done) {
      using opened = open(name);
      const values = new Set<unknown>(['a', 'b'].flatMap((key) => [...(opened.table.getChild(key)?.toArray() ?? [])]));
      expect(values.size).toBe(1);
      for (const value of values) seen.add(value);
      await new Promise(setImmediate);
    }
    await storm;
    expect(seen.size).toBeGreaterThan(1);
    await peer.kill();
    ndshm.unlink(name);
  });

  test('batches with different dictionaries for a column are refused; several parts of one are not', () => {
    const name = freshName();
    const words = (...texts: string[]) => new arrow.Table({ w: arrow.vectorFromArray(texts) });
    const { w } = { w: words('a', 'b') };
    const type = w.schema.fields[0]?.type as arrow.Dictionary;
    const other = arrow.vectorFromArray(['c', 'd'], new arrow.Dictionary(type.dictionary, type.indices, type.id));
    const mixed = w.concat(new arrow.Table({ w: other }) as unknown as typeof w);
    expect(thrownBy(() => ndshm.putTable(name, mixed))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringContaining('dictionaries') as string,
    });
    ndshm.putTable(name, w.concat(w.slice(1)));
    using opened = open(name);
    expect([...(opened.table.getChild('w') ?? [])]).toEqual(['a', 'b', 'b']);
    ndshm.unlink(name);
  });

  test('leave nothing behind when they fail', () => {
    const table = arrow.tableFromArrays({ a: Int32Array.of(1) });
    const before = readdirSync('/dev/shm').length;
    const fails = [
      [() => ndshm.putTable(freshName(), { a: [1] }), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => ndshm.putTable(freshName(), undefined as never), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => ndshm.putTable('a/b', table), 'ERR_NDSHM_INVALID_NAME'],
      [() => ndshm.putTable(freshName(), table, { ifExists: 'open' as never }), 'ERR_NDSHM_OUT_OF_RANGE'],
      [() => ndshm.putTable(freshName(), table, { ephemeral: true } as never), 'ERR_NDSHM_INVALID_ARGUMENT'],
      [() => open(freshName()), 'ENOENT'],
      [() => ndshm.openTable(freshName(), { mode: 'r' } as never), 'ERR_NDSHM_INVALID_ARGUMENT'],
    ] as const;
    for (const [fail, code] of fails) expect(thrownBy(fail).code).toBe(code);
    expect(readdirSync('/dev/shm').length).toBe(before);
  });

  test('stat() and list() say what they are', () => {
    const name = freshName();
    ndshm.putTable(name, arrow.tableFromArrays({ a: Int32Array.of(1) }));
    expect(ndshm.stat(name)).toMatchObject({ kind: 'table', dtype: null, problem: null, peers: [] });
    expect(ndshm.list().map((each) => each.name)).toContain(name);
    ndshm.unlink(name);
  });

  (isRoot ? test : test.skip)('of another user are opened only where that is allowed', async () => {
    const name = freshName();
    ndshm.putTable(name, arrow.tableFromArrays({ a: Int32Array.of(1) }));
    const peer = await Peer.start({ uid: 65534 });
    expect(await rejection(peer.run(({ ndshm: theirs }, at) => theirs.openTable(at).close(), name))).toMatchObject({
      code: 'EACCES',
    });
    await peer.kill();
    ndshm.unlink(name);
  });
});

describe('what is no Arrow file', () => {
  test('an array, tensors, a stream, an empty file, and every prefix of a valid file', () => {
    const name = freshName();
    const table = arrow.tableFromArrays({ a: Int32Array.of(1, 2) });
    ndshm.fromArray(name, [1]).close();
    expect(thrownBy(() => open(name)).code).toBe('ERR_NDSHM_FORMAT');
    ndshm.putTensors(name, { w: [1] }, { ifExists: 'replace' });
    expect(thrownBy(() => open(name)).code).toBe('ERR_NDSHM_FORMAT');
    writeFileSync(shmPath(name), arrow.tableToIPC(table, 'stream'));
    expect(thrownBy(() => open(name)).code).toBe('ERR_NDSHM_FORMAT');
    ndshm.putTable(name, table, { ifExists: 'replace' });
    for (let length = readFileSync(shmPath(name)).length - 1; length >= 0; length--) {
      truncateSync(shmPath(name), length);
      expect(thrownBy(() => open(name)).code).toBe('ERR_NDSHM_FORMAT');
    }
    ndshm.unlink(name);
  });

  test('a footer that names a message twice, or one as being of another kind', () => {
    const name = freshName();
    ndshm.putTable(name, sampleTable(10));
    const valid = readFileSync(shmPath(name));
    const footerAt = valid.length - 10 - valid.readInt32LE(valid.length - 10);
    // As layOutArrowFile() writes it: the vector of one dictionary at 36, that of two batches behind it.
    const dictionary = footerAt + 40;
    const batches = dictionary + 24 + 8;
    const change = (write: (bytes: Buffer) => void) => {
      const bytes = Buffer.from(valid);
      write(bytes);
      writeFileSync(shmPath(name), bytes);
      return thrownBy(() => open(name)).message;
    };
    expect(change((bytes) => bytes.copy(bytes, batches + 24, batches, batches + 24))).toContain('overlap');
    const swapped = change((bytes) => {
      valid.copy(bytes, dictionary, batches, batches + 24);
      valid.copy(bytes, batches, dictionary, dictionary + 24);
    });
    expect(swapped).toContain('kind');
    ndshm.unlink(name);
  });

  test('whatever bytes are changed, there is an error of ours or a table that can be read', () => {
    const name = freshName();
    ndshm.putTable(name, sampleTable(3));
    const valid = readFileSync(shmPath(name));
    const random = randomFrom(11);
    const pick = (below: number) => Math.floor(random() * below);
    const extremes = [0, 2 ** 16, 2 ** 30, 1 - 2 ** 31];
    let opened = 0;
    for (let n = 0; n < 2000; n++) {
      const bytes = Buffer.from(valid);
      for (let changes = 1 + pick(3); changes > 0; changes--) {
        const at = pick(valid.length - 4);
        if (pick(2) === 0) bytes[at] = pick(256);
        else bytes.writeInt32LE(pick(3) - 1 + (extremes[pick(extremes.length)] as number), at);
      }
      writeFileSync(shmPath(name), bytes);
      try {
        using shared = open(name);
        expect(shared.table.numRows).toBeLessThan(2 ** 20);
        opened++;
      } catch (error) {
        expect((error as ndshm.CodedError).code).toBe('ERR_NDSHM_FORMAT');
      }
    }
    expect(opened).toBeGreaterThan(50);
    expect(opened).toBeLessThan(1950);
    ndshm.unlink(name);
  });

  test('a file truncated under its columns reads as zeros, and the next look at the table says so', () => {
    const name = freshName();
    ndshm.putTable(name, arrow.tableFromArrays({ a: new Float64Array(65_536).fill(5) }));
    using opened = open(name);
    const values = opened.table.getChild('a')?.data[0]?.values as Float64Array;
    truncateSync(shmPath(name), 0);
    expect(values[60_000]).toBe(0);
    expect(thrownBy(() => opened.table).code).toBe('ERR_NDSHM_TRUNCATED');
    ndshm.unlink(name);
  });
});

test('where apache-arrow is not installed, the error says what to install', async () => {
  const name = freshName();
  ndshm.putTable(name, arrow.tableFromArrays({ a: Int32Array.of(1) }));
  const peer = await Peer.start();
  const opening = peer.run(({ ndshm: theirs }, at) => {
    const Module = process.getBuiltinModule('node:module') as unknown as {
      _resolveFilename: (request: string, ...rest: unknown[]) => string;
    };
    const resolve = Module._resolveFilename;
    Module._resolveFilename = (request, ...rest) => {
      if (request === 'apache-arrow') throw new Error('not installed');
      return resolve(request, ...rest);
    };
    theirs.openTable(at).close();
  }, name);
  const error = await rejection(opening);
  expect(error).toMatchObject({ code: 'ERR_NDSHM_UNSUPPORTED' });
  expect(error.message).toContain('npm install apache-arrow');
  await peer.kill();
  ndshm.unlink(name);
});

describe('the copy of apache-arrow that a table was made with', () => {
  test("may be that of ES modules, which is not the one that ndshm's own require() gives", () => {
    const [name, store] = [freshName(), freshName()];
    const program = `
      import * as arrow from 'apache-arrow';
      import * as ndshm from 'ndshm';
      const table = arrow.tableFromArrays({ price: Float64Array.of(1.5, 2.5), word: ['ja', 'no'] });
      ndshm.putTable('${name}', table);
      const store = ndshm.Store.open('${store}', { capacity: '1MiB' });
      console.log(JSON.stringify([String(table), String(store.get(store.putSync(table)))]));
      store.close();
    `;
    const run = { cwd: resolve(__dirname, '../..'), encoding: 'utf8', timeout: 20_000 } as const;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], run);
    expect(stderr).toBe('');
    const [expected, fromStore] = JSON.parse(stdout) as [string, string];
    using opened = open(name);
    expect([fromStore, String(opened.table)]).toEqual([expected, expected]);
    ndshm.unlink(name);
  });

  test('may not be one that ndshm cannot find: its tables would be written wrong', () => {
    let other: typeof arrow = arrow;
    jest.isolateModules(() => {
      other = jest.requireActual('apache-arrow');
    });
    expect(other.Table).not.toBe(arrow.Table);
    const table = other.tableFromArrays({ a: Int32Array.of(1) });
    expect(thrownBy(() => ndshm.putTable(freshName(), table))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringContaining('another copy') as string,
    });
  });
});
