// A member of several whose tasks increment one counter, under its array's lock or without any: tells its increments
// and the 99th percentile of its event loop's delay in ms.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { open } from 'ndshm';
import { answer } from '../support/members.mjs';

const { way, name, tasks, milliseconds } = JSON.parse(process.argv[2]);

const increment = ({ data }) => {
  data[0]++;
};

const ways = {
  write: (array) => array.write(increment),
  unlocked: async (array) => increment(array),
};

// A server that answers a request lets the event loop go round before the next one, and so do the tasks here.
async function incrementUntil(end, array) {
  let count = 0;
  for (; performance.now() < end; count++) {
    await ways[way](array);
    await setImmediate();
  }
  return count;
}

let array;
answer({
  prepare() {
    array = open(name, { mode: 'r+' });
  },
  async work() {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const end = performance.now() + milliseconds;
    const running = Array.from({ length: tasks }, () => incrementUntil(end, array));
    const counts = await Promise.all([setTimeout(milliseconds, 0), ...running]);
    delay.disable();
    return { count: counts.reduce((sum, count) => sum + count), p99: delay.percentile(99) / 1e6 };
  },
});
