// A member that moves particles of its own, for what the machine gives to loops that have nothing to do with each other.
import { answer } from '../support/members.mjs';
import { move } from './pool-work.mjs';

const { count, times } = JSON.parse(process.argv[2]);
const particles = new Float64Array(count);

function milliseconds() {
  const start = performance.now();
  for (let index = 0; index < count; index++) move(particles, index, times);
  return performance.now() - start;
}

answer({ prepare: milliseconds, work: milliseconds });
