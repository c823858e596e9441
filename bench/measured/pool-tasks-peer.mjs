// Has one of the other pools do trivial tasks, all at once and one by one; prints the microseconds of a task.
import { openPool } from '../support/pools.mjs';
import { median } from '../support/statistics.mjs';
import { checkIncremented, inTurn } from '../support/trivial-tasks.mjs';
import { warmTimes } from '../support/warm-times.mjs';

const { key, workers, tasks, batch, milliseconds } = JSON.parse(process.argv[2]);
const items = Array.from({ length: tasks }, (_, n) => n);
const pool = await openPool(key, workers);

const many = await warmTimes(async () => {
  checkIncremented(await Promise.all(items.map((item) => pool.run('increment', item))), tasks);
}, milliseconds);
const one = await warmTimes(() => inTurn(batch, (item) => pool.run('increment', item)), milliseconds / 2);
process.stdout.write(JSON.stringify({ many: (median(many) * 1e3) / tasks, one: (median(one) * 1e3) / batch }));
await pool.close();
