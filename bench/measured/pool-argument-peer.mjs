// Gives an array to a task of one of the other pools, or to a bare process; prints milliseconds.
import { openBareFork, openPool } from '../support/pools.mjs';
import { median } from '../support/statistics.mjs';
import { warmTimes } from '../support/warm-times.mjs';

const { key, shared, elements, milliseconds } = JSON.parse(process.argv[2]);
const pool = key === 'bareFork' ? openBareFork() : await openPool(key, 1);
const bytes = elements * Float64Array.BYTES_PER_ELEMENT;
const array = new Float64Array(shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes)).fill(1.5);

const times = await warmTimes(async () => {
  const sum = await pool.run('sample', array);
  if (sum !== 4.5) throw new Error(`The task found ${sum}`);
}, milliseconds);
process.stdout.write(JSON.stringify(median(times)));
await pool.close();
