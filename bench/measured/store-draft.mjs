// Creates arrays in a store and seals them as they are; prints the microseconds by their number of bytes.
import { Store } from 'ndshm';
import { leaveTouchedMemory } from '../support/fresh-memory.mjs';
import { median } from '../support/statistics.mjs';

const { name, capacity, sizes, repeats } = JSON.parse(process.argv[2]);
const store = Store.open(name, { capacity, prefault: 0 });

function timedDraft(bytes) {
  const start = performance.now();
  const draft = store.createArray([bytes / 8], 'float64');
  const ref = draft.seal();
  const took = (performance.now() - start) * 1000;
  store.delete(ref);
  return took;
}

const results = {};
for (const bytes of sizes.toSorted((one, other) => other - one)) {
  leaveTouchedMemory(bytes);
  const fresh = timedDraft(bytes);
  results[bytes] = { fresh, recycled: median(Array.from({ length: repeats }, () => timedDraft(bytes))) };
}
store.close();
process.stdout.write(JSON.stringify(results));
