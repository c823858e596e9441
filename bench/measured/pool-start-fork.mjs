// Starts bare Node processes; prints the milliseconds until each has sent a message.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { median } from '../support/statistics.mjs';

const { processes, rounds } = JSON.parse(process.argv[2]);
const script = fileURLToPath(new URL('pool-start-empty.cjs', import.meta.url));

const times = [];
for (let round = 0; round <= rounds; round++) {
  const start = performance.now();
  const children = Array.from({ length: processes }, () => fork(script));
  const exits = children.map((child) => once(child, 'exit')); // it has nothing else to do, and may end before this does
  await Promise.all(children.map((child) => once(child, 'message')));
  times.push(performance.now() - start);
  await Promise.all(exits);
}
process.stdout.write(JSON.stringify(median(times.slice(1))));
