import * as arrow from 'apache-arrow';
import * as ndshm from 'ndshm';
import { decode } from '../../dist/codec/decode';
import { Peer, rejection } from '../helpers/child';
import { PythonPeer } from '../helpers/python-peer';
import { describeWithMsgpack, pythonStore } from '../helpers/python-store';
import { freshName, shmPath } from '../helpers/shm';
import { getIn, peerWith } from '../helpers/store';

const rows = 8000;

/** Batches, nulls, text in a dictionary, lists, structs, times. */
function sampleTable(): arrow.Table {
  const vector = (values: readonly unknown[], type: arrow.DataType) => arrow.vectorFromArray(values, type);
  const numbers = Float64Array.from({ length: rows }, (_, n) => n / 3);
  const batch = (from: number) =>
    new arrow.Table({
      x: arrow.makeVector(numbers.subarray(from, from + rows / 2)),
      n: vector(
        Array.from({ length: rows / 2 }, (_, n) => (n % 7 === 0 ? null : n)),
        new arrow.Int32(),
      ),
      word: vector(
        Array.from({ length: rows / 2 }, (_, n) => ['ja', 'no', 'ü'][n % 3]),
        new arrow.Utf8(),
      ),
      pair: vector(
        Array.from({ length: rows / 2 }, (_, n) => ({ a: n, b: n % 2 === 0 })),
        new arrow.Struct([new arrow.Field('a', new arrow.Int16()), new arrow.Field('b', new arrow.Bool())]),
      ),
      at: vector(
        Array.from({ length: rows / 2 }, (_, n) => new Date(n * 1000)),
        new arrow.TimestampMillisecond(),
      ),
    });
  return batch(0).concat(batch(rows / 2));
}

const contentOf = (table: arrow.Table) => ({
  schema: String(table.schema),
  batches: table.batches.length,
  rows: JSON.stringify(table.toArray()),
});

describe('Arrow tables in a store', () => {
  let store: ndshm.Store;
  beforeEach(() => {
    store = ndshm.Store.open(freshName(), { capacity: '64MiB' });
  });
  afterEach(() => store.close());

  test('come out with the same schema, batches and rows, small and large, in any value', () => {
    const large = sampleTable();
    const small = arrow.tableFromArrays({ a: Int32Array.of(1, 2, 3) });
    const found = store.get<{ tables: arrow.Table[]; tag: string }>(
      store.putSync({ tables: [large, small, large], tag: 'x' }),
    );
    expect(found.tag).toBe('x');
    expect(found.tables.map(contentOf)).toEqual([large, small, large].map(contentOf));
    expect(found.tables[0]).toBe(found.tables[2]);
    expect(contentOf(store.get<arrow.Table>(store.putSync(small)))).toEqual(contentOf(small));
    expect(contentOf(store.get<arrow.Table>(store.putSync(small.slice(1, 1))))).toEqual(contentOf(small.slice(1, 1)));
  });

  test('have their columns in the pages of the store: nothing is copied', () => {
    const lease = store.lease<{ table: arrow.Table; bytes: Uint8Array }>(
      store.putSync({ table: sampleTable(), bytes: new Uint8Array(1) }),
    );
    const { table, bytes } = lease.value;
    for (const { children } of table.batches.map(({ data }) => data)) {
      for (const { values, nullBitmap } of children) {
        for (const part of [values, nullBitmap as Uint8Array]) {
          if (part !== undefined && part.byteLength > 0) expect(part.buffer).toBe(bytes.buffer);
        }
      }
    }
    const column = table.getChild('x')?.data[0]?.values as Float64Array;
    expect(column).toHaveLength(rows / 2);
    lease.release();
    expect(column).toHaveLength(0);
  });

  test('are read in another process', async () => {
    const peer = await peerWith(store.name);
    const table = sampleTable();
    const sum = await peer.run(({ kept }, ref) => {
      const found = (kept.get('store') as ndshm.Store).get<arrow.Table>(ref);
      const x = found.getChild('x')?.toArray() as Float64Array;
      return [found.constructor.name, found.numRows, x.reduce((total, each) => total + each, 0)];
    }, store.putSync(table));
    const x = table.getChild('x')?.toArray() as Float64Array;
    expect(sum).toEqual(['Table', rows, x.reduce((total, each) => total + each, 0)]);
    await peer.kill();
  });

  test('say what is missing where apache-arrow is not installed; other values need nothing of it', async () => {
    const peer = await Peer.start();
    await peer.run(() => {
      const Module = process.getBuiltinModule('node:module') as unknown as {
        _resolveFilename: (request: string, ...rest: unknown[]) => string;
      };
      const resolve = Module._resolveFilename;
      Module._resolveFilename = (request, ...rest) => {
        if (request === 'apache-arrow') throw new Error('not installed');
        return resolve(request, ...rest);
      };
    });
    await peer.run(({ ndshm, kept }, name) => void kept.set('store', ndshm.Store.open(name)), store.name);
    const error = await rejection(getIn(peer, store.putSync(sampleTable())));
    expect(error).toMatchObject({ code: 'ERR_NDSHM_UNSUPPORTED' });
    expect(error.message).toContain('npm install apache-arrow');
    expect(await getIn(peer, store.putSync({ a: 1 }))).toEqual({ a: 1 });
    await peer.kill();
  });

  test('are not what merely looks like one', () => {
    class Table {
      schema = null;
      batches = 'none';
    }
    expect(store.get(store.putSync(new Table()))).toEqual({ schema: null, batches: 'none' });
  });
});

const program = `${pythonStore}
import pyarrow as pa

def table_of(stream):
    return pa.ipc.open_stream(pa.py_buffer(stream)).read_all()

def answer(given):
    if given['do'] == 'encode':
        table = pa.table({'x': pa.array([1.5, None, -0.0]), 'word': pa.array(['ja', 'no', 'ja']).dictionary_encode(),
                          'list': pa.array([[1], [], [2, 3]], pa.list_(pa.int16()))})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer: writer.write_table(table, max_chunksize=2)
        return encode({'table': sink.getvalue(), 'n': 1}).hex()
    before = pa.total_allocated_bytes()
    table = table_of(decode(object_bytes(given['ref']))['table'])
    places = [place(buffer.address, buffer.size) for column in table.columns for chunk in column.chunks
              for buffer in chunk.buffers() if buffer is not None and buffer.size > 0]
    return {'files': sorted({each['file'] for each in places}), 'aligned': all(each['at'] % 8 == 0 for each in places),
            'allocated': pa.total_allocated_bytes() - before, 'rows': table.slice(3_998, 4).to_pydict() }
`;

describeWithMsgpack('Arrow tables and pyarrow', () => {
  let python: PythonPeer;
  beforeAll(() => {
    python = new PythonPeer(program);
  });
  afterAll(() => python.close());

  test('pyarrow reads a table of a store out of /dev/shm without copying', async () => {
    const store = ndshm.Store.open(freshName(), { capacity: '64MiB' });
    const table = sampleTable().select(['x', 'n', 'word']);
    const ref = store.putSync({ table });
    const columns = table.slice(3_998, 4_002).toArray() as { x: number; n: number | null; word: string }[];
    expect(await python.ask({ do: 'read', ref })).toEqual({
      files: [`${shmPath(store.name)}.pages.0`],
      aligned: true,
      allocated: 0,
      rows: { x: columns.map(({ x }) => x), n: columns.map(({ n }) => n), word: columns.map(({ word }) => word) },
    });
    store.close();
  });

  test('a table that pyarrow wrote comes out of an object that Python wrote', async () => {
    const object = new Uint8Array(Buffer.from(await python.ask<string>({ do: 'encode' }), 'hex'));
    const { table, n } = decode(object) as { table: arrow.Table; n: number };
    expect([n, table.batches.length]).toEqual([1, 2]);
    const column = (name: string) => JSON.parse(JSON.stringify([...(table.getChild(name) ?? [])])) as unknown;
    expect(['word', 'list'].map(column)).toEqual([
      ['ja', 'no', 'ja'],
      [[1], [], [2, 3]],
    ]);
    expect([...(table.getChild('x') ?? [])]).toEqual([1.5, null, -0]);
  });
});
