// A worker thread that attaches the arrays it is given, adds to them and says what it saw.
const { parentPort, workerData } = require('node:worker_threads');
const ndshm = require('ndshm');

const array = ndshm.attach(workerData.handle, { mode: 'r+' });
const seen = array.get(0);
array.set(1, seen + 1);
parentPort.postMessage(seen);
