// Holds an array, writes to it, and waits to be ended.
const { parentPort, workerData } = require('node:worker_threads');
const ndshm = require('ndshm');

const array = ndshm.attach(workerData, { mode: 'r+' });
array.set([2, 3], 7);
parentPort.on('message', () => array.close()); // never comes, and keeps the thread and the array alive
parentPort.postMessage(array.get(1, 2));
