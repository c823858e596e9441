// What a process of particle-filter.mjs does: it opens the weights once, and then moves one particle after the other.
import * as ndshm from 'ndshm';

let weights;

export function openWeights(tableName, handle) {
  const table = ndshm.ArrayTable.open(tableName);
  weights = table.getArray(handle);
  table.close();
}

/** A particle has an element of the weights for its own, and writes it at every step. */
export function propagate({ index, steps }) {
  const { data } = weights;
  for (let step = 0; step < steps; step++) data[index] = step;
}
