// A member of several that read-lock one array again and again, or count themselves in and out by one shared word:
// tells how many pairs it made in how many milliseconds.
import { open } from 'ndshm';
import { answer } from '../support/members.mjs';

const { way, name, milliseconds } = JSON.parse(process.argv[2]);
const batch = 1000;
const nothing = () => {};

const ways = {
  readSync(array) {
    for (let n = 0; n < batch; n++) array.readSync(nothing);
  },
  counter({ data }) {
    for (let n = 0; n < batch; n++) {
      Atomics.add(data, 0, 1);
      Atomics.sub(data, 0, 1);
    }
  },
};

let array;
function runFor(budget) {
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < budget) {
    ways[way](array);
    count += batch;
  }
  return { count, milliseconds: performance.now() - start };
}

answer({
  prepare() {
    array = open(name, { mode: 'r+' });
    runFor(milliseconds / 4); // until it is compiled
  },
  work: () => runFor(milliseconds),
});
