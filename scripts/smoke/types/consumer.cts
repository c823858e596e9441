import ndshm = require('ndshm');

const { create } = ndshm;

using array = create('name', { shape: [2, 3], dtype: 'float32' });
export const same: ndshm.SharedArray<'float32'> = array;
export const element: number = array.get(0, 1);
export const data: Float32Array = array.data;
export const big: bigint = create('big', { shape: 1, dtype: 'int64' }).get(0);
export const dtypes: readonly ndshm.DType[] = ndshm.dtypes;

// @ts-expect-error: no such option
create('name', { shape: 2, dtyp: 'float32' });
// @ts-expect-error: no such dtype
create('name', { shape: 2, dtype: 'float8' });
// @ts-expect-error: a bigint does not go into a float32 array
array.set([0, 1], 1n);
