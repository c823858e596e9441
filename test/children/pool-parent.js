// A process whose pool, and actors, always have something to do. Says again and again that they do; ends when it is told
// how. Argument: seed.
const { setImmediate: turn } = require('node:timers/promises');
const ndshm = require('ndshm');
const { chooser } = require('./storm');
const tasks = require('./pool-storm-tasks');

const pick = chooser(Number(process.argv[2]));

const ends = {
  exits: () => process.exit(0),
  throws: () => {
    throw new Error('not caught by anybody');
  },
};

const pool = new ndshm.Pool({ processes: 2, storeCapacity: '16MiB', maxTasksPerChild: 30 });
/** What becomes of it is not asked. */
const begin = (call) => void Promise.resolve(call).catch(() => {});

const actions = [
  () =>
    begin(
      pool.map(
        tasks.mix,
        Array.from({ length: 100 }, (_, n) => n),
      ),
    ),
  () => begin(pool.apply(tasks.words, [pick(1000), 20_000])),
  () => begin(pool.apply(tasks.sum, [tasks.words(pick(1000), 20_000)])),
  () => begin(pool.apply(tasks.endless, [], { timeoutMs: 30 })),
  () => begin(pool.apply(tasks.stopped, [], { timeoutMs: 30 })),
  () => begin(pool.apply(tasks.leaving, [0])),
  () => begin(pool.actor(tasks.Counter, 0).then((counter) => counter.add(1))),
];

async function main() {
  process.once('message', (how) => ends[how]());
  process.send('busy');
  for (;;) {
    actions[pick(actions.length)]();
    for (let turns = pick(40); turns > 0; turns--) await turn();
    process.send('busy');
  }
}

void main();
