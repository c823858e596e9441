import { create, type SharedArray } from 'ndshm';
import { asNumpy, fromNumpy } from 'ndshm/numpy';

using array = create('name', { shape: [2, 3] });
export const back: SharedArray = fromNumpy('back', asNumpy(array));
// @ts-expect-error: needs an array
asNumpy([1, 2, 3]);
