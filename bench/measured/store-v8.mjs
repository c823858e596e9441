// Serialises an object of arrays by node:v8 and takes it apart again; prints the times in milliseconds.
import { deserialize, serialize } from 'node:v8';
import { leaveTouchedMemory } from '../support/fresh-memory.mjs';
import { checkArrays, objectOfArrays } from '../support/store-values.mjs';

const { bytes, arrays } = JSON.parse(process.argv[2]);
const value = objectOfArrays(bytes, arrays);

leaveTouchedMemory(2 * bytes); // the output grows by moving into a larger place
let start = performance.now();
const serialized = serialize(value);
const put = performance.now() - start;

leaveTouchedMemory(bytes);
start = performance.now();
const deserialized = deserialize(serialized);
const get = performance.now() - start;
checkArrays(deserialized, arrays);

process.stdout.write(JSON.stringify({ put, get }));
