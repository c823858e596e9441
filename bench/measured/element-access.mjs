// Times a loop over a shared array and the same over a plain Float64Array, in turns; prints nanoseconds per element.
import { anonymous, dtypes } from 'ndshm';
import { median } from '../support/statistics.mjs';

const { kernel, manyDTypes, rounds } = JSON.parse(process.argv[2]);

function sum(data) {
  let total = 0;
  for (let i = 0; i < data.length; i++) total += data[i];
  return total;
}

function sumByHand(data, rows, columns) {
  let total = 0;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) total += data[i * columns + j];
  return total;
}

function sumByGet(array, rows, columns) {
  let total = 0;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) total += array.get(i, j);
  return total;
}

function storeByHand(data, rows, columns) {
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) data[i * columns + j] = i + j;
  return data[rows * columns - 1];
}

function storeBySet(array, rows, columns) {
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) array.set([i, j], i + j);
  return array.get(rows - 1, columns - 1);
}

// Teaches the engine that get() and set() meet arrays of every dtype.
function useAllDTypes() {
  for (const dtype of dtypes) {
    const array = anonymous({ shape: [100, 100], dtype });
    const one = array.get(0, 0);
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 100; i++) {
        for (let j = 0; j < 100; j++) {
          array.get(i, j);
          array.set([i, j], one);
        }
      }
    }
    array.close();
  }
}

const kernels = {
  sum: { rows: 10_000, columns: 1000, ours: (array) => sum(array.data), theirs: sum },
  // In the cache, and repeated, since once is too short to be timed.
  sumSmall: { rows: 100, columns: 100, repeat: 100, ours: (array) => sum(array.data), theirs: sum },
  get: { rows: 1000, columns: 1000, ours: sumByGet, theirs: sumByHand },
  set: { rows: 1000, columns: 1000, ours: storeBySet, theirs: storeByHand },
};

const { rows, columns, repeat = 1, ours, theirs } = kernels[kernel];
if (manyDTypes) useAllDTypes();
const array = anonymous({ shape: [rows, columns] });
const own = new Float64Array(rows * columns);
for (let n = 0; n < own.length; n++) own[n] = n % 1000;
array.copyFrom(own);

function nanoseconds(loop, over) {
  const start = performance.now();
  let result = 0;
  for (let n = 0; n < repeat; n++) result = loop(over, rows, columns);
  return { time: ((performance.now() - start) * 1e6) / (rows * columns * repeat), result };
}

const times = { ours: [], theirs: [] };
for (let round = 0; round < 2 * rounds; round++) {
  const one = nanoseconds(ours, array);
  const other = nanoseconds(theirs, own);
  if (one.result !== other.result) throw new Error(`${kernel}: ${one.result} is not ${other.result}`);
  if (round < rounds) continue; // the compiler is still at work
  times.ours.push(one.time);
  times.theirs.push(other.time);
}
process.stdout.write(JSON.stringify({ ours: median(times.ours), theirs: median(times.theirs) }));
