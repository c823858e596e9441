import { create, fromArray, type PublishOptions } from './array/create';
import { type DType, float16IsBits, specOf } from './array/dtype';
import { forEachPosition } from './array/shape';
import { SharedArray } from './array/shared-array';
import { type CodedError, stateError, wrongKind } from './errors';

// `ndshm/numpy`: numpy-ts (an optional peer dependency) computes on shared memory.

// An ES module, seen from a CommonJS one.
type NumpyTs = typeof import('numpy-ts', { with: { 'resolution-mode': 'import' }});
type NDArray = import('numpy-ts', { with: { 'resolution-mode': 'import' }}).NDArray;
type Storage = NDArray['storage'];
type StorageClass = new (
  data: unknown,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  dtype: string,
) => Storage;

let loaded: { NDArray: NumpyTs['NDArray']; Storage: StorageClass } | undefined;

function numpyTs(): NonNullable<typeof loaded> {
  if (loaded === undefined) {
    let module: NumpyTs;
    try {
      module = require('numpy-ts') as NumpyTs;
    } catch (cause) {
      const hint =
        (cause as CodedError).code === 'ERR_REQUIRE_ESM'
          ? `it is an ES module, which require() takes from Node 20.19 on; this is ${process.version}`
          : 'install it: npm install numpy-ts';
      throw Object.assign(stateError('ERR_NDSHM_UNSUPPORTED', `ndshm/numpy needs numpy-ts: ${hint}`), { cause });
    }
    // The storage class has no public name; every array has an instance of it.
    loaded = { NDArray: module.NDArray, Storage: module.zeros([0]).storage.constructor as StorageClass };
  }
  return loaded;
}

/**
 * A numpy-ts NDArray over the same memory: nothing is copied, and what either writes the other sees. Views keep their
 * strides. numpy-ts knows no read-only arrays: in mode 'r' its writes reach nobody else, as with `.data`. After
 * array.close() it is empty. Errors: ERR_NDSHM_UNSUPPORTED without numpy-ts, and for float16 on runtimes without
 * Float16Array.
 * @example
 * const { asNumpy } = require('ndshm/numpy');
 * const prices = ndshm.fromArray('prices', [[1, 2], [3, 4]], { ephemeral: true });
 * console.log(asNumpy(prices).mean()); // 2.5
 * prices.close();
 */
export function asNumpy(array: SharedArray): NDArray {
  if (!(array instanceof SharedArray)) throw wrongKind('a SharedArray', 'asNumpy()', array);
  const { data, geometry } = SharedArray.memoryOf(array);
  if (array.dtype === 'float16' && float16IsBits) {
    throw stateError(
      'ERR_NDSHM_UNSUPPORTED',
      `numpy-ts needs Float16Array for float16 arrays over given memory; this runtime (${process.version}) has none, Node 24 has`,
    );
  }
  const { NDArray, Storage } = numpyTs();
  const { shape, steps, offset } = geometry;
  return NDArray.fromStorage(new Storage(data, shape, steps, offset, array.dtype));
}

/**
 * Creates an array with the shape, dtype and elements of a numpy-ts NDArray, as a copy in C order, complete before it
 * has its name. Returns it in mode 'r+'. Errors: as for create().
 * @example
 * const { fromNumpy } = require('ndshm/numpy');
 * const np = require('numpy-ts');
 * fromNumpy('grid', np.arange(0, 6, 1).reshape(2, 3), { ephemeral: true }).close();
 */
export function fromNumpy(name: string, nd: NDArray, options?: PublishOptions): SharedArray {
  const storage = (nd as NDArray | undefined)?.storage as Storage | undefined;
  if (storage === undefined) throw wrongKind('a numpy-ts NDArray', 'fromNumpy()', nd);
  const { shape, strides, offset, size } = storage;
  const dtype = storage.dtype as DType;
  const data = storage.data as Float64Array;
  const { lanes } = specOf(dtype);
  if (storage.isCContiguous) {
    const elements = data.subarray(offset * lanes, (offset + size) * lanes);
    return fromArray(name, elements, { ...options, shape, dtype });
  }
  return create(name, {
    ...options,
    shape,
    dtype,
    init(array) {
      // As numpy-ts stores it: where there is no Float16Array, its float16 is a Float32Array.
      const copy = new (data.constructor as Float64ArrayConstructor)(size * lanes);
      let n = 0;
      forEachPosition(shape, strides, offset, (at) => {
        for (let lane = 0; lane < lanes; lane++) copy[n++] = data[at * lanes + lane] as number;
      });
      array.copyFrom(copy);
    },
  });
}
