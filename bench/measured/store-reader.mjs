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
  const { result: object, took: firstOfObject } = microsecondsOf(() => store.get(ref));
  checkArrays(object, arrays);
  const visit = microsecondsOf(() => visitEachPage(object)).took;

  // A lease maps the object for itself alone, and unmaps it: what a process pays that holds nothing of the object.
  const again = Array.from({ length: gets }, () => {
    const { result: lease, took } = microsecondsOf(() => store.lease(ref));
    checkArrays(lease.value, arrays);
    lease[Symbol.dispose]();
    return took;
  });

  const held = Array.from({ length: gets }, () => microsecondsOf(() => store.get(ref)).took);
  checkArrays(object, arrays);

  return { first: firstOfObject, again: median(again), p90: quantile(again, 0.9), held: median(held), visit };
}

answer({ first, get });
