// A cluster whose workers answer from one shared table, swapped by replacement while they serve. Prints the answers.
const cluster = require('node:cluster');
const { once } = require('node:events');
const ndshm = require('ndshm');

const name = process.argv[2];

async function primary() {
  ndshm
    .fromArray(
      name,
      Float64Array.from({ length: 1000 }, (_, n) => n),
    )
    .close();
  const workers = Array.from({ length: 2 }, () => cluster.fork());
  await Promise.all(workers.map((worker) => once(worker, 'message'))); // each says that it is ready
  const ask = async (index) =>
    Promise.all(
      workers.map(async (worker) => {
        worker.send(index);
        const [answer] = await once(worker, 'message');
        return answer;
      }),
    );
  const before = await ask(41);
  const swapped = Promise.all(workers.map((worker) => once(worker, 'message')));
  ndshm
    .fromArray(
      name,
      Float64Array.from({ length: 1000 }, (_, n) => -n),
      { ifExists: 'replace' },
    )
    .close();
  await swapped;
  const after = await ask(41);
  process.stdout.write(JSON.stringify({ before, after }));
  for (const worker of workers) worker.kill();
  ndshm.unlink(name);
}

async function worker() {
  let table = ndshm.open(name);
  process.on('message', (index) => process.send(table.get(index)));
  const watch = ndshm.watch(name, { since: table });
  process.send('ready');
  for await (const next of watch) {
    table.close();
    table = next;
    process.send('swapped');
  }
}

(cluster.isPrimary ? primary() : worker()).catch((error) => {
  console.error(error);
  process.exit(1);
});
