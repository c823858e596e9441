// The particle filter in one process and on ndshm's pool; prints the milliseconds of an update.
import { ArrayTable, Pool } from 'ndshm';
import { median } from '../support/statistics.mjs';
import { warmTimes } from '../support/warm-times.mjs';
import { openParticles, propagate } from './particle.mjs';

const { name, workers, count, times, milliseconds } = JSON.parse(process.argv[2]);
const table = ArrayTable.open(name, { ephemeral: true });
const handle = table.createArray(count, 'float64');
const particles = table.getArray(handle);
const tasks = Array.from({ length: count }, (_, index) => ({ index, times }));

async function millisecondsOf(update) {
  particles.fill(0);
  const took = await warmTimes(update, milliseconds);
  if (particles.data.some((value) => value !== times)) throw new Error('A particle was not moved');
  return median(took);
}

openParticles(name, handle);
const pool = new Pool({ processes: workers, initializer: openParticles, initArgs: [name, handle] });
try {
  await pool.ready();
  const results = {
    sequential: await millisecondsOf(() => {
      // In a for-of loop V8 makes half the speed of it.
      for (let n = 0; n < count; n++) propagate(tasks[n]);
    }),
    parallel: await millisecondsOf(() => pool.map(propagate, tasks)),
  };
  process.stdout.write(JSON.stringify(results));
} finally {
  await pool.close();
  table.unlink();
}
