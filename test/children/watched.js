// A worker process that ends when its parent does, and not by itself: its loop never comes round.
// Arguments: the name of its store; how it begins to watch.
const { closeSync, openSync } = require('node:fs');
const { isMainThread, Worker, workerData } = require('node:worker_threads');
const { endWithParent } = require('../../dist/pool/parent-watch');

const socket = 4;
const [, , store, how] = process.argv;

const begin = {
  plainly: () => endWithParent(socket, store),
  twice: () => {
    endWithParent(socket, store);
    endWithParent(socket, store);
  },
  andReuseTheDescriptor: () => {
    endWithParent(socket, store);
    closeSync(socket);
    if (openSync('/dev/null') !== socket) throw new Error('The descriptor is not free');
  },
  inAThreadThatEnds: () => new Promise((ended) => new Worker(__filename, { workerData: store }).once('exit', ended)),
  andStopAtOnce: async () => {
    await new Promise((sent) => process.send('watching', sent));
    endWithParent(socket, store);
    process.kill(process.pid, 'SIGSTOP');
    for (;;);
  },
  andEnd: () => {
    endWithParent(socket, store);
    process.disconnect();
  },
};

async function main() {
  await begin[how]();
  if (!process.connected) return;
  process.send('watching', () => {
    for (;;);
  });
}

if (isMainThread) void main();
else endWithParent(socket, workerData);
