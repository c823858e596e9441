import * as ndshm from 'ndshm';
import { freshName, thrownBy } from '../helpers/shm';
import { draftIn, existingBytes, keepIn, mebibyte, pattern, peerWith, same, sealIn } from '../helpers/store';
import { codeOf } from '../helpers/sync';

const open = () => ndshm.Store.open(freshName(), { capacity: '64MiB' });

describe('createArray()', () => {
  test.each(['C', 'F'] as const)('makes arrays of every dtype in order %s that any process gets', async (order) => {
    const store = open();
    const peer = await peerWith(store.name);
    for (const dtype of ndshm.dtypes) {
      const draft = store.createArray([2, 3], dtype, { order });
      const { array } = draft;
      expect([array.dtype, array.shape, array.mode, array.name]).toEqual([dtype, [2, 3], 'r+', null]);
      expect(order === 'C' ? array.isCContiguous : array.isFContiguous).toBe(true);
      const like = ndshm.create(freshName(), { shape: [2, 3], dtype, order, ephemeral: true });
      const bytes = (of: ndshm.SharedArray) => new Uint8Array(of.data.buffer, of.data.byteOffset, of.data.byteLength);
      for (const each of [like, array] as ndshm.SharedArray[]) bytes(each).set(pattern(each.nbytes).map((b) => b & 1));
      const wanted = { shape: like.shape, strides: like.strides, dtype, elements: like.toNested() };
      const ref = draft.seal();
      const found = store.get<ndshm.SharedArray>(ref);
      const { shape, strides } = found;
      expect({ shape, strides, dtype: found.dtype, elements: found.toNested() }).toEqual(wanted);
      expect(found.mode).toBe('r');
      await keepIn(peer, 'array', ref);
      const there = await peer.run(({ kept }) => {
        const array = kept.get('array') as ndshm.SharedArray;
        return { shape: array.shape, strides: array.strides, dtype: array.dtype, elements: array.toNested() };
      });
      expect(there).toEqual(wanted);
      like.close();
    }
    store.close();
    await peer.kill();
    ndshm.gc();
  });

  test('makes arrays that take what is copied into them, though they begin in the midst of a buffer', () => {
    const store = open();
    const draft = store.createArray([3], 'float64');
    draft.array.copyFrom(Float64Array.of(1, 2, 3));
    expect(store.get<ndshm.SharedArray>(draft.seal()).toNested()).toEqual([1, 2, 3]);
    store.unlink();
  });

  test.each([[[0]], [[3, 0, 2]], [[]], [[1]], [7]])('takes the shape %j, float64 in C order by default', (shape) => {
    const store = open();
    const draft = store.createArray(shape as number[]);
    const wanted = typeof shape === 'number' ? [shape] : shape;
    expect([draft.array.shape, draft.array.dtype]).toEqual([wanted, 'float64']);
    draft.array.fill(2.5);
    const { size } = draft.array;
    const found = store.get<ndshm.SharedArray<'float64'>>(draft.seal());
    expect([found.shape, [...found.toTypedArray()]]).toEqual([wanted, new Array(size).fill(2.5)]);
    expect(found.isCContiguous).toBe(true);
    store.close();
  });

  test('makes large arrays whose elements stay where they were written, in fresh pages and in used ones', async () => {
    const store = open();
    const reader = await peerWith(store.name);
    for (const seed of [1, 2]) {
      const draft = store.createArray(10 * mebibyte, 'uint8');
      draft.array.data.set(pattern(10 * mebibyte, seed));
      const { usedBytes } = store.stat();
      const ref = draft.seal();
      expect(store.stat().usedBytes).toBe(usedBytes);
      await keepIn(reader, 'array', ref);
      const seen = await reader.run(({ kept }) => (kept.get('array') as ndshm.SharedArray<'uint8'>).toTypedArray());
      expect(same(seen, pattern(10 * mebibyte, seed))).toBe(true);
      const lease = store.lease<ndshm.SharedArray<'uint8'>>(ref);
      expect(same(lease.value.data, pattern(10 * mebibyte, seed))).toBe(true);
      lease.release();
      store.delete(ref);
    }
    store.close();
    await reader.kill();
    ndshm.gc();
  });

  test('refuses what create() refuses, and what does not fit, and leaves nothing', () => {
    const store = open();
    const make = (...given: unknown[]) => thrownBy(() => store.createArray(...(given as [number]))).code;
    expect(make(-1)).toBe('ERR_NDSHM_SHAPE');
    expect(make([2, 0.5])).toBe('ERR_NDSHM_SHAPE');
    expect(make(2 ** 60)).toBe('ERR_NDSHM_SHAPE');
    expect(make()).toBe(thrownBy(() => ndshm.create(freshName(), {} as never)).code);
    expect(make('3')).toBe(thrownBy(() => ndshm.create(freshName(), { shape: '3' } as never)).code);
    expect(make(3, 'float31')).toBe('ERR_NDSHM_DTYPE');
    expect(make(3, 'int8', { order: 'K' })).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(make(3, 'int8', { order: 1 })).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(make(3, 'int8', { mode: 'r' })).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(make(3, 'int8', 'F')).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(make(65 * mebibyte, 'uint8')).toBe('ERR_NDSHM_CAPACITY');
    expect(store.list()).toEqual([]);
    expect(existingBytes(store.name)).toBe(store.stat().usedBytes);
    store.close();
  });
});

describe('a draft', () => {
  test('has its ref from the start, by which nobody gets or deletes it before it is sealed', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const theirs = await draftIn(peer, mebibyte);
    const mine = store.createArray(2, 'int8');
    for (const ref of [theirs, mine.ref]) {
      expect(JSON.parse(JSON.stringify(ref))).toEqual(ref);
      expect(store.has(ref)).toBe(false);
      for (const use of ['get', 'lease', 'delete'] as const) {
        expect(thrownBy(() => store[use](ref)).code).toBe('ERR_NDSHM_NOT_SEALED');
      }
    }
    await sealIn(peer);
    expect(mine.seal()).toBe(mine.ref);
    expect([theirs, mine.ref].map((ref) => store.has(ref))).toEqual([true, true]);
    expect(store.delete(theirs)).toBe(true);
    store.close();
    await peer.kill();
    ndshm.gc();
  });

  test('is over for its maker when it is sealed: the array is closed, its memory detached', () => {
    const store = open();
    const draft = store.createArray([4], 'int32');
    const { array } = draft;
    const view = array.slice('1:3');
    const { data } = array;
    array.fill(6);
    const ref = draft.seal();
    expect([data.length, array.closed]).toEqual([0, true]);
    for (const use of [() => array.get(0), () => array.set(0, 1), () => array.data, () => view.get(0)]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
    data[0] = 9; // nowhere
    const found = store.get<ndshm.SharedArray<'int32'>>(ref);
    expect(found.toNested()).toEqual([6, 6, 6, 6]);
    expect(thrownBy(() => found.set(0, 1)).code).toBe('ERR_NDSHM_READ_ONLY');
    store.close();
  });

  test('is sealed once, and then neither thrown away nor sealed again', async () => {
    const store = open();
    const draft = store.createArray(3, 'uint8');
    draft.array.fill(1);
    const ref = draft.seal();
    const again = thrownBy(() => draft.seal());
    expect(again.code).toBe('ERR_NDSHM_CLOSED');
    expect(again.message).toMatch(/sealed before/);
    draft.close();
    draft[Symbol.dispose]();
    expect(store.get<ndshm.SharedArray>(ref).toNested()).toEqual([1, 1, 1]);
    store.delete(ref);
    const next = await store.put('not the draft’s any more');
    draft.close();
    expect(store.get(next)).toBe('not the draft’s any more');
    store.close();
  });

  test('that is closed is nothing, its memory is free, and it cannot be sealed', () => {
    const store = open();
    store.createArray(1, 'uint8').close(); // makes the first rows
    const before = store.stat();
    for (const length of [3, 5 * mebibyte]) {
      const draft = store.createArray(length, 'uint8');
      const { data } = draft.array;
      expect(store.stat().usedBytes).toBeGreaterThan(before.usedBytes);
      draft.close();
      draft.close();
      expect([data.length, draft.array.closed]).toEqual([0, true]);
      expect(store.stat()).toEqual(before);
      expect(existingBytes(store.name)).toBe(before.usedBytes);
      expect(thrownBy(() => draft.seal()).code).toBe('ERR_NDSHM_CLOSED');
      expect(thrownBy(() => store.get(draft.ref)).code).toBe('ERR_NDSHM_STALE_HANDLE');
      expect([store.has(draft.ref), store.delete(draft.ref)]).toEqual([false, false]);
    }
    store.close();
  });

  test('is thrown away by `using` unless it was sealed', () => {
    const store = open();
    const make = (fails: boolean) => {
      using draft = store.createArray(2, 'int8');
      draft.array.fill(3);
      if (fails) throw Object.assign(new Error('in the middle'), { ref: draft.ref });
      return draft.seal();
    };
    const error = thrownBy(() => make(true)) as Error & { ref: ndshm.ObjectRef };
    expect(thrownBy(() => store.get(error.ref)).code).toBe('ERR_NDSHM_STALE_HANDLE');
    expect(store.list()).toEqual([]);
    expect(store.get<ndshm.SharedArray>(make(false)).toNested()).toEqual([3, 3]);
    store.close();
  });

  test('whose array the caller has closed cannot be sealed, only thrown away', () => {
    const store = open();
    const draft = store.createArray(2, 'int8');
    draft.array.close();
    expect(thrownBy(() => draft.seal()).code).toBe('ERR_NDSHM_CLOSED');
    draft.close();
    expect(store.list()).toEqual([]);
    store.close();
  });

  test('whose memory the caller has moved away keeps its pages from others as long as that lives', async () => {
    const store = open();
    const draft = store.createArray(4 * mebibyte, 'uint8');
    draft.array.fill(1);
    const buffer = draft.array.data.buffer as ArrayBuffer & { transfer?: () => ArrayBuffer };
    // Before Node 22 there is no way to move it: what is transferred is copied.
    const moved = new Uint8Array(buffer.transfer?.() ?? structuredClone(buffer, { transfer: [buffer] }));
    draft.close();
    const others = [await store.put(pattern(4 * mebibyte, 1)), await store.put(pattern(4 * mebibyte, 2))];
    moved.fill(255);
    expect(others.map((ref, n) => same(store.get(ref), pattern(4 * mebibyte, n + 1)))).toEqual([true, true]);
    store.close();
  });

  test('in a store that was unlinked can only be thrown away', async () => {
    const store = open();
    const draft = store.createArray(2, 'int8');
    store.unlink();
    expect(thrownBy(() => draft.seal()).code).toBe('ERR_NDSHM_CLOSED');
    draft.close();
    expect(draft.array.closed).toBe(true);
    expect(await codeOf(store.wait([draft.ref]))).toBe('ERR_NDSHM_CLOSED');
    store.close();
  });
});
