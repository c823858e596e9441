// Asked by its parent: 'first' gets this process's first object, 'get' gets an object in several ways; in microseconds.
import { Store } from 'ndshm';
import { answer } from '../support/members.mjs';
import { median, quantile } from '../support/statistics.mjs';
import { checkArrays } from '../support/store-values.mjs';

const { name, gets } = JSON.parse(process.argv[2]);
const store = Store.open(name);

function microsecondsOf(work) {
  const start = performance.now();
  const result = work();
  return { result, took: (performance.now() - start) * 1000 };
}

const first = (ref) => microsecondsOf(() => store.get(ref)).took;

function visitEachPage(object) {
  let sum = 0;
  for (const array of Object.values(object)) {
    for (let n = 0; n < array.length; n += 512) sum += array[n];
  }
  return sum;
}

function get(ref, arrays) {
  let { result: object, took: firstOfObject } = microsecondsOf(() => store.get(ref));
  checkArrays(object, arrays);
  const visit = microsecondsOf(() => visitEachPage(object)).took;

  const again = Array.from({ length: gets }, () => {
    object = undefined; // nobody in this process holds the object any more; for a moment the store keeps it mapped
    const { result, took } = microsecondsOf(() => store.get(ref));
    object = result;
    return took;
  });
  checkArrays(object, arrays);

  const held = Array.from({ length: gets }, () => microsecondsOf(() => store.get(ref)).took);

  // A lease maps the object for itself alone, and unmaps it: as if it were got for the first time, each time.
  const lease = Array.from({ length: gets / 10 }, () => {
    const { result, took } = microsecondsOf(() => store.lease(ref));
    checkArrays(result.value, arrays);
    result.release();
    return took;
  });

  return {
    first: firstOfObject,
    again: median(again),
    p90: quantile(again, 0.9),
    held: median(held),
    lease: median(lease),
    visit,
  };
}

answer({ first, get });
