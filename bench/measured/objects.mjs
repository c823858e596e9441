// Puts and gets a small object in one of several ways; prints the microseconds of a pair.
import { deserialize, serialize } from 'node:v8';
import { Store } from 'ndshm';
import { ask, end, startMember } from '../support/members.mjs';
import { median } from '../support/statistics.mjs';
import { smallValues } from '../support/store-values.mjs';

const { way, value: kind, name, milliseconds } = JSON.parse(process.argv[2]);
const batch = 1000;
const value = smallValues()[kind];
const store = way === 'v8' ? undefined : Store.open(name, { capacity: '256MiB' });

function deleteAll(refs) {
  for (const ref of refs) store.delete(ref);
}

const ways = {
  putGet() {
    const refs = [];
    const start = performance.now();
    for (let n = 0; n < batch; n++) {
      const ref = store.putSync(value);
      store.get(ref);
      refs.push(ref);
    }
    const took = performance.now() - start;
    deleteAll(refs);
    return took;
  },
  async awaitPutGet() {
    const refs = [];
    const start = performance.now();
    for (let n = 0; n < batch; n++) {
      const ref = await store.put(value);
      store.get(ref);
      refs.push(ref);
    }
    const took = performance.now() - start;
    deleteAll(refs);
    return took;
  },
  putGetDelete() {
    const start = performance.now();
    for (let n = 0; n < batch; n++) {
      const ref = store.putSync(value);
      store.get(ref);
      store.delete(ref);
    }
    return performance.now() - start;
  },
  async getElsewhere() {
    const refs = Array.from({ length: batch }, () => store.putSync(value));
    reader ??= startMember('objects-reader.mjs', { name });
    const took = await ask(reader, 'getAll', refs);
    deleteAll(refs);
    return took;
  },
  v8() {
    const start = performance.now();
    for (let n = 0; n < batch; n++) deserialize(serialize(value));
    return performance.now() - start;
  },
};

let reader;
const work = ways[way];

async function timesFor(budget) {
  const times = [];
  for (const end = performance.now() + budget; performance.now() < end; ) {
    times.push(((await work()) * 1000) / batch);
  }
  return times;
}

try {
  await timesFor(milliseconds); // the compiler is still at work
  process.stdout.write(JSON.stringify({ median: median(await timesFor(milliseconds)) }));
} finally {
  if (reader !== undefined) await end([reader]);
  store?.close();
}
