// Fills fresh pages in one of several ways; prints the time to fill and the time to visit each page once, in seconds.
import { createRequire } from 'node:module';
import { create, fromArray } from 'ndshm';
import { leaveTouchedMemory } from '../support/fresh-memory.mjs';
import { median } from '../support/statistics.mjs';

const { way, name, bytes, repeats, entry } = JSON.parse(process.argv[2]);
const length = bytes / 8;
const source = new Float64Array(length).fill(1.5);

const fillers = {
  fromArray: {
    fill: () => fromArray(name, source, { ephemeral: true }),
    drop: (array) => array.close(),
    dataOf: (array) => array.data,
  },
  create: {
    fill: () => create(name, { shape: length, ephemeral: true }),
    drop: (array) => array.close(),
    dataOf: (array) => array.data,
  },
  'shm-typed-array': {
    fill() {
      const data = shm.create(length, 'Float64Array', `/${name}`);
      data.set(source);
      return data;
    },
    drop: () => shm.destroy(`/${name}`),
    dataOf: (data) => data,
  },
};
const shm = entry === undefined ? undefined : createRequire(import.meta.url)(entry);
const { fill, drop, dataOf } = fillers[way];

function touchEachPage(data) {
  for (let n = 0; n < length; n += 512) data[n] += 0;
}

const fills = [];
const touches = [];
for (let n = 0; n < repeats; n++) {
  leaveTouchedMemory(bytes);
  const start = performance.now();
  const made = fill();
  const filled = performance.now();
  touchEachPage(dataOf(made));
  touches.push((performance.now() - filled) / 1000);
  fills.push((filled - start) / 1000);
  const expected = way === 'create' ? 0 : 1.5;
  if (dataOf(made)[length - 1] !== expected) throw new Error(`${way} has filled something else`);
  drop(made);
}
process.stdout.write(JSON.stringify({ median: median(fills), touch: median(touches) }));
