// Claim: a pool's workers are ready for tasks little later than bare Node processes are there.
import { availableParallelism } from 'node:os';
import { mediansOfTurns, runMeasured } from './support/processes.mjs';

export const title = 'pool start';

const sizes = [...new Set([1, availableParallelism(), 8])];

export async function measure({ quick, progress }) {
  const ways = { ours: ['ndshm', 'pool-start.mjs'], bare: ['fork', 'pool-start-fork.mjs'] };
  const contestants = Object.fromEntries(
    sizes.flatMap((processes) =>
      Object.entries(ways).map(([way, [name, file]]) => [
        `${way} ${processes}`,
        { name: `${name}, ${processes}`, run: () => runMeasured(file, { processes, rounds: 4 }) },
      ]),
    ),
  );
  const measured = await mediansOfTurns(contestants, quick ? 1 : 3, progress);
  const rows = sizes.map((processes) => ({
    what: `a pool of ${processes}, until all are ready`,
    ours: measured[`ours ${processes}`],
    peer: 'fork of an empty script, until it has sent a message',
    theirs: measured[`bare ${processes}`],
    unit: 'ms',
    atMost: 1.3,
  }));
  return { rows };
}
