// Starts pools; prints the milliseconds until all workers of one are ready for tasks.
import { Pool } from 'ndshm';
import { median } from '../support/statistics.mjs';

const { processes, rounds } = JSON.parse(process.argv[2]);

const times = [];
for (let round = 0; round <= rounds; round++) {
  const start = performance.now();
  const pool = new Pool({ processes });
  await pool.ready();
  times.push(performance.now() - start);
  await pool.close();
}
process.stdout.write(JSON.stringify(median(times.slice(1))));
