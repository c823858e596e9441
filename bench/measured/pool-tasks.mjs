// Has ndshm's pool do trivial tasks, all at once and one by one; prints the microseconds of a task.
import { Pool } from 'ndshm';
import { median } from '../support/statistics.mjs';
import { checkIncremented, inTurn } from '../support/trivial-tasks.mjs';
import { warmTimes } from '../support/warm-times.mjs';
import { increment } from './pool-work.mjs';

const { workers, tasks, batch, milliseconds } = JSON.parse(process.argv[2]);
const items = Array.from({ length: tasks }, (_, n) => n);
const pool = new Pool({ processes: workers });

async function microsecondsOf(work, workTasks, budget) {
  return (median(await warmTimes(work, budget)) * 1e3) / workTasks;
}

const ofMany = (work) => microsecondsOf(async () => checkIncremented(await work(), tasks), tasks, milliseconds);
const results = {
  many: await ofMany(() => pool.map(increment, items, { chunkSize: 1 })),
  calls: await ofMany(() => Promise.all(items.map((item) => pool.apply(increment, [item])))),
  chunks: await ofMany(() => pool.map(increment, items)),
  one: await microsecondsOf(() => inTurn(batch, (item) => pool.apply(increment, [item])), batch, milliseconds / 2),
};
process.stdout.write(JSON.stringify(results));
await pool.close();
