import ndshm = require('ndshm');
import numpy = require('ndshm/numpy');

using array = ndshm.create('name', { shape: [2, 3] });
export const back: ndshm.SharedArray = numpy.fromNumpy('back', numpy.asNumpy(array));
// @ts-expect-error: needs an array
numpy.asNumpy([1, 2, 3]);
