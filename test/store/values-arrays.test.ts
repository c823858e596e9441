import * as ndshm from 'ndshm';
import { decode } from '../../dist/codec/decode';
import { encode, encodeArray } from '../../dist/codec/encode';
import { thrownBy } from '../helpers/shm';
import { bytesOf, through, typedArrayNames } from '../helpers/values';

const made: ndshm.SharedArray[] = [];
function array(options: ndshm.CreateOptions): ndshm.SharedArray {
  const each = ndshm.anonymous(options);
  made.push(each);
  return each;
}
afterEach(() => {
  for (const each of made.splice(0)) each.close();
});

const aligned = (value: unknown) => encode(value).buffers.map(({ offset }) => offset);

describe('typed arrays in a value', () => {
  test('are left where they are when it is encoded', () => {
    const a = new Float64Array(1000).subarray(10, 20);
    const [part] = encode({ deep: [a] }).buffers;
    expect([part?.bytes.buffer, part?.bytes.byteOffset, part?.bytes.byteLength]).toEqual([a.buffer, 80, 80]);
    expect(part?.bytes.buffer).toBe(a.buffer);
  });

  test('are views on the object when it is decoded; ArrayBuffers are copies', () => {
    const object = bytesOf(
      encode({ view: new Int32Array([1, 2]), buffer: new Uint8Array([3]).buffer, node: Buffer.from('x') }),
    );
    const got = decode(object) as { view: Int32Array; buffer: ArrayBuffer; node: Buffer };
    expect(got.view.buffer).toBe(object.buffer);
    expect(got.node.buffer).toBe(object.buffer);
    expect(got.buffer).not.toBe(object.buffer);
    const { byteOffset } = got.view;
    object[byteOffset] = 9;
    expect(got.view[0]).toBe(9);
  });

  test('begin at multiples of 64, and of 4096 from 1 MiB on', () => {
    const mebibyte = 2 ** 20;
    const offsets = aligned(
      [1, 63, 0, 64, mebibyte - 1, mebibyte, 1, mebibyte].map((length) => new Uint8Array(length)),
    );
    expect(offsets.map((offset) => offset % 64)).toEqual(offsets.map(() => 0));
    expect([offsets[5], offsets[7]].map((offset) => (offset as number) % 4096)).toEqual([0, 0]);
    expect(offsets.slice().sort((a, b) => a - b)).toEqual(offsets);
    expect((offsets[6] as number) - (offsets[5] as number)).toBe(mebibyte);
  });

  test('of any size and kind, empty ones too, come out as they were', () => {
    for (const name of typedArrayNames) {
      const Class = globalThis[name as 'Float64Array'];
      for (const length of [0, 1, 7, 1000]) {
        const value = new Class(length).map((_, n) => (name.startsWith('Big') ? BigInt(n) : n) as number);
        const got = through({ value }).value;
        expect(got).toEqual(value);
        expect(got.constructor).toBe(Class);
      }
    }
  });

  test('Float16Array, where the runtime has one', () => {
    if (globalThis.Float16Array === undefined) {
      const object = bytesOf(encode(new Uint16Array([0x3c00])));
      const at = Buffer.from(object.buffer).indexOf('Uint16Array');
      // One more byte in the name: '\xabUint16Array' becomes '\xacFloat16Array', and the document is so much longer.
      const renamed = Buffer.concat([
        object.subarray(0, at - 1),
        Buffer.from('\xacFloat16Array', 'latin1'),
        object.subarray(at + 11),
      ]);
      renamed.writeUInt32LE(renamed.readUInt32LE(8) + 1, 8);
      const whole = new Uint8Array(object.length);
      whole.set(renamed.subarray(0, object.length - 2));
      expect(thrownBy(() => decode(whole))).toMatchObject({ code: 'ERR_NDSHM_UNSUPPORTED' });
    } else {
      const value = Float16Array.of(1, -2.5, Infinity);
      expect(through(value)).toEqual(value);
    }
  });

  test('Buffers come out as Buffers, and DataViews as DataViews of their part', () => {
    const got = through({ node: Buffer.from('abc'), view: new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2) });
    expect(Buffer.isBuffer(got.node)).toBe(true);
    expect(got.node.toString()).toBe('abc');
    expect(got.view).toBeInstanceOf(DataView);
    expect([got.view.byteLength, got.view.getUint16(0)]).toEqual([2, 0x0203]);
  });

  test('over one buffer come out with what each shows', () => {
    const whole = Float64Array.of(1, 2, 3, 4);
    const got = through([whole, whole.subarray(1, 3), whole.subarray(1, 3)]);
    expect(got).toEqual([whole, Float64Array.of(2, 3), Float64Array.of(2, 3)]);
  });

  test('that are one and the same come out as one', () => {
    const a = new Uint8Array(5);
    const encoded = encode([a, { a }]);
    expect(encoded.buffers).toHaveLength(1);
    const [first, { a: second }] = decode(bytesOf(encoded)) as [Uint8Array, { a: Uint8Array }];
    expect(first).toBe(second);
  });

  test('shared with threads are copied', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(7);
    const encoded = encode({ shared });
    shared.fill(8);
    expect(decode(bytesOf(encoded))).toEqual({ shared: Uint8Array.of(7, 7, 7, 7) });
  });

  test('of a subclass with another name come out by what they are', () => {
    class Odd extends Uint16Array {
      override get [Symbol.toStringTag](): 'Uint16Array' {
        return 'Float64Array' as 'Uint16Array';
      }
    }
    const got = through(new Odd([1, 2]));
    expect(got.constructor).toBe(Uint16Array);
    expect([...got]).toEqual([1, 2]);
  });
});

describe('SharedArrays in a value', () => {
  const shapes = [[], [0], [3], [2, 3], [2, 0, 3], [2, 3, 4]];

  test.each(ndshm.dtypes)('of %s come out with shape, dtype, order and elements', (dtype) => {
    for (const shape of shapes) {
      for (const order of ['C', 'F'] as const) {
        const a = array({ shape, dtype, order });
        new Uint8Array(a.data.buffer, a.data.byteOffset, a.data.byteLength).forEach((_, n, bytes) => {
          bytes[n] = dtype === 'bool' ? n % 2 : (n * 37) % 120;
        });
        const got = through({ a }).a;
        expect([got.shape, got.dtype, got.toNested()]).toEqual([a.shape, dtype, a.toNested()]);
        if (a.size > 0) expect(got.strides).toEqual(a.strides);
      }
    }
  });

  test('are read-only views without a name', () => {
    const object = bytesOf(encode(array({ shape: [2], dtype: 'int32' })));
    const got = decode(object) as ndshm.SharedArray;
    expect([got.mode, got.name]).toEqual(['r', null]);
    expect((got.data as Int32Array).buffer).toBe(object.buffer);
    expect(thrownBy(() => got.set(0, 1))).toMatchObject({ code: 'ERR_NDSHM_READ_ONLY' });
    got.close();
    expect(thrownBy(() => got.get(0))).toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
    expect(object.buffer.byteLength).toBeGreaterThan(0);
  });

  test('are not copied to be encoded if they are contiguous', () => {
    const a = array({ shape: [3, 4], dtype: 'float64', order: 'F' });
    expect(encode(a).buffers[0]?.bytes.buffer).toBe((a.data as Float64Array).buffer);
    expect(encode(a.transpose()).buffers[0]?.bytes.buffer).toBe((a.data as Float64Array).buffer);
  });

  test('may be views with gaps, steps and reversals', () => {
    const a = array({ shape: [4, 6], dtype: 'int16' });
    a.copyFrom(Int16Array.from({ length: 24 }, (_, n) => n));
    for (const view of [
      a.slice('::2', '1:4'),
      a.slice('::-1'),
      a.transpose(),
      a.row(2),
      a.slice(null, 3),
      a.slice(1, 2),
    ]) {
      const got = through(view);
      expect([got.shape, got.toNested()]).toEqual([view.shape, view.toNested()]);
    }
  });

  test('that are closed say so', () => {
    const a = array({ shape: [2] });
    const { data } = a;
    a.close();
    expect(thrownBy(() => encode({ a }))).toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
    expect(thrownBy(() => encode({ data }))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
      message: expect.stringContaining('value.data') as string,
    });
  });

  test('tell of pages that were lost', () => {
    const object = bytesOf(encode(array({ shape: [2], dtype: 'int32' })));
    let asked = 0;
    const got = decode(object, { faulted: () => ++asked > 0 }) as ndshm.SharedArray;
    expect(got.get(0)).toBe(0); // nothing faulted in this process, so nobody asks
    expect(asked).toBe(0);
  });

  test.each(['C', 'F'] as const)('have the bytes that a draft of theirs will have (order %s)', (order) => {
    // What is contiguous both ways counts as C order.
    for (const shape of order === 'C'
      ? [[], [0], [5, 7], [2 ** 18]]
      : [
          [5, 7],
          [512, 256],
        ]) {
      const whole = encode(array({ shape, dtype: 'float64', order }));
      const draft = encodeArray('float64', shape, order);
      expect(Buffer.from(draft.head)).toEqual(Buffer.from(whole.head));
      expect([draft.byteLength, draft.buffers[0]?.offset]).toEqual([whole.byteLength, whole.buffers[0]?.offset]);
    }
  });
});
