// Starts watched.js twice and tells the pids; ends when told 'exit'. With the first argument 'thread', a worker thread
// starts them, which is terminated when told 'terminate'. The other arguments are those of watched.js.
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { resolve } = require('node:path');
const { isMainThread, parentPort, Worker } = require('node:worker_threads');

const [, , where, ...rest] = process.argv;

async function start() {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc', 'pipe'];
  const workers = [1, 2].map(() => fork(resolve(__dirname, 'watched.js'), rest, { stdio }));
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  return workers.map(({ pid }) => pid);
}

if (!isMainThread) {
  void start().then((pids) => parentPort.postMessage(pids));
} else if (where === 'thread') {
  const thread = new Worker(__filename, { argv: ['thread', ...rest] });
  thread.once('message', (pids) => process.send(pids));
  process.once('message', () => void thread.terminate());
} else {
  void start().then((pids) => process.send(pids));
  process.once('message', () => process.exit());
}
