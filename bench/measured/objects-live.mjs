// Puts many small objects and keeps them; prints what that adds to the descriptors, mappings and memory of the process.
import { readdirSync, readFileSync } from 'node:fs';
import { Store } from 'ndshm';
import { bytesInMemory } from '../support/segments.mjs';
import { smallValues } from '../support/store-values.mjs';

const { name, value: kind, count } = JSON.parse(process.argv[2]);
const value = smallValues()[kind];

// Not of V8's own heap, which grows by mappings as well.
const sharedMappings = () => readFileSync('/proc/self/maps', 'utf8').match(/ \/dev\/shm\//g)?.length ?? 0;

function footprint() {
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: sharedMappings(),
    shared: bytesInMemory(name),
  };
}

const store = Store.open(name, { capacity: '1GiB', prefault: 0 });
// The store's own descriptors and mappings are there from the first object on.
store.get(store.putSync(value));
const before = footprint();
const refs = Array.from({ length: count }, () => store.putSync(value));
const values = refs.map((ref) => store.get(ref));
const after = footprint();
if (values.length !== count || store.list().length < count) throw new Error('Not all objects are there');
store.close();

process.stdout.write(
  JSON.stringify(Object.fromEntries(Object.keys(before).map((what) => [what, after[what] - before[what]]))),
);
