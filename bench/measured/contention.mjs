// A member of several that increment one counter under one lock: tells its increments and its longest stall in ms.
import * as ndshm from 'ndshm';
import { answer } from '../support/members.mjs';

const { way, name, milliseconds } = JSON.parse(process.argv[2]);
const batch = 64;

const ways = {
  writeSync(array) {
    const { data } = array;
    const increment = () => {
      data[0]++;
    };
    return () => {
      for (let n = 0; n < batch; n++) array.writeSync(increment);
    };
  },
  Mutex({ data }) {
    const mutex = new ndshm.Mutex(`${name}-mutex`, { ephemeral: true });
    return () => {
      for (let n = 0; n < batch; n++) {
        mutex.acquireSync();
        data[0]++;
        mutex.release();
      }
    };
  },
};

let runBatch;
answer({
  prepare() {
    runBatch = ways[way](ndshm.open(name, { mode: 'r+' }));
  },
  work() {
    let count = 0;
    let longest = 0;
    const start = performance.now();
    for (let last = start; last - start < milliseconds; ) {
      runBatch();
      count += batch;
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }
    return { count, longest };
  },
});
