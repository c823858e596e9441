// Takes and releases a lock that nobody else wants, in one of several ways; prints the nanoseconds of a pair.
import * as ndshm from 'ndshm';
import { median } from '../support/statistics.mjs';

const { way, name, milliseconds } = JSON.parse(process.argv[2]);
const batch = 10_000;
const nothing = () => {};
const asyncNothing = async () => {};

const ways = {
  compareExchange() {
    const words = new Int32Array(new SharedArrayBuffer(64));
    return (count) => {
      for (let n = 0; n < count; n++) Atomics.compareExchange(words, 0, 0, 0);
    };
  },
  acquireSync() {
    const mutex = new ndshm.Mutex(name, { ephemeral: true });
    return (count) => {
      for (let n = 0; n < count; n++) {
        mutex.acquireSync();
        mutex.release();
      }
    };
  },
  writeSync() {
    const array = ndshm.anonymous({ shape: 1 });
    return (count) => {
      for (let n = 0; n < count; n++) array.writeSync(nothing);
    };
  },
  readSync() {
    const array = ndshm.anonymous({ shape: 1 });
    return (count) => {
      for (let n = 0; n < count; n++) array.readSync(nothing);
    };
  },
  rwLockRead() {
    const lock = new ndshm.RWLock(name, { ephemeral: true });
    return (count) => {
      for (let n = 0; n < count; n++) lock.readSync(nothing);
    };
  },
  write() {
    const array = ndshm.anonymous({ shape: 1 });
    return async (count) => {
      for (let n = 0; n < count; n++) await array.write(nothing);
    };
  },
  read() {
    const array = ndshm.anonymous({ shape: 1 });
    return async (count) => {
      for (let n = 0; n < count; n++) await array.read(nothing);
    };
  },
  awaitNothing: () => async (count) => {
    for (let n = 0; n < count; n++) await asyncNothing();
  },
};

const run = ways[way]();

async function timesFor(budget) {
  const times = [];
  for (const end = performance.now() + budget; performance.now() < end; ) {
    const start = performance.now();
    await run(batch);
    times.push(((performance.now() - start) * 1e6) / batch);
  }
  return times;
}

await timesFor(milliseconds); // the compiler is still at work
process.stdout.write(JSON.stringify({ median: median(await timesFor(milliseconds)) }));
