// The particle filter on one of the other pools, one task a particle; prints the milliseconds of an update.
import { openPool, pools } from '../support/pools.mjs';
import { median } from '../support/statistics.mjs';
import { warmTimes } from '../support/warm-times.mjs';

const { key, workers, count, times, milliseconds } = JSON.parse(process.argv[2]);
const { threads } = pools[key];
const particles = new Float64Array(new SharedArrayBuffer(count * Float64Array.BYTES_PER_ELEMENT));
const pool = await openPool(key, workers, threads ? { workerData: particles.buffer } : {});
const indices = [...particles.keys()];

async function update() {
  const written = await Promise.all(indices.map((index) => pool.run('propagate', { index, times })));
  if (!threads) particles.set(written);
}

const took = await warmTimes(update, milliseconds);
if (particles.some((value) => value !== times)) throw new Error('A particle was not moved');
process.stdout.write(JSON.stringify(median(took)));
await pool.close();
