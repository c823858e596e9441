// Puts objects of arrays into a store and gets them in another process; prints milliseconds (put) and microseconds (get).
import { Store } from 'ndshm';
import { leaveTouchedMemory } from '../support/fresh-memory.mjs';
import { ask, end, startMember } from '../support/members.mjs';
import { median } from '../support/statistics.mjs';
import { objectOfArrays } from '../support/store-values.mjs';

const { name, capacity, bytes, arrays, puts, forms, gets: repeats } = JSON.parse(process.argv[2]);
const store = Store.open(name, { capacity, prefault: 0 });
const large = objectOfArrays(bytes, arrays);

async function timedPut() {
  const start = performance.now();
  const ref = await store.put(large);
  return { ref, took: performance.now() - start };
}

leaveTouchedMemory(bytes);
const first = await timedPut();
store.delete(first.ref);

const recycled = [];
for (let n = 0; n < puts; n++) {
  const { ref, took } = await timedPut();
  recycled.push(took);
  store.delete(ref);
}

const reader = startMember('store-reader.mjs', { name, gets: repeats });
try {
  const firstOfProcess = await ask(reader, 'first', await store.put(objectOfArrays(1e6, 1)));
  const gets = [];
  for (const form of forms) {
    const ref = await store.put(form.bytes === bytes ? large : objectOfArrays(form.bytes, form.arrays));
    gets.push(await ask(reader, 'get', ref, form.arrays));
  }
  process.stdout.write(JSON.stringify({ fresh: first.took, recycled: median(recycled), first: firstOfProcess, gets }));
} finally {
  await end([reader]);
  store.close();
}
