// Starts threads, several at a time, that attach an array and end: by returning with it open, by closing it, by
// process.exit() in the thread, or terminated from outside. Reports what of descriptors and mappings was left.
// Arguments: name of the array, number of threads.
const { once } = require('node:events');
const { readdirSync, readFileSync } = require('node:fs');
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads');
const ndshm = require('ndshm');

const endings = ['return', 'close', 'exit', 'terminate'];
const holdings = (name) => ({
  descriptors: readdirSync('/proc/self/fd').length,
  mappings: readFileSync('/proc/self/maps', 'utf8').split(name).length,
});

async function main([name, count]) {
  const before = holdings(name);
  let seen = 0;
  const run = async (ending) => {
    const worker = new Worker(__filename, { workerData: { name, ending } });
    const ended = once(worker, 'exit');
    await once(worker, 'message');
    seen++;
    if (ending === 'terminate') await worker.terminate();
    await ended;
  };
  for (let n = 0; n < Number(count); n += endings.length) await Promise.all(endings.map(run));
  const after = holdings(name);
  process.send({
    seen,
    leaked: { descriptors: after.descriptors - before.descriptors, mappings: after.mappings - before.mappings },
  });
  process.disconnect();
}

function thread({ name, ending }) {
  const array = ndshm.open(name, { mode: 'r' });
  globalThis.keep = array; // not collected before the end
  parentPort.postMessage(array.get(0));
  if (ending === 'close') array.close();
  if (ending === 'exit') process.exit();
  if (ending === 'terminate') setInterval(() => {}, 1000);
}

if (isMainThread) void main(process.argv.slice(2));
else thread(workerData);
