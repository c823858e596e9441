// A process of its own. It is told names, never data, and answers each request when it is done.
const ndshm = require('ndshm');
const { count, loadDigits, pixels } = require('./digits');
const { nearestNeighbour } = require('./nearest-neighbour');

/** What this process holds: as long as it does, it is a peer of these arrays. */
const arrays = {};
let images;

const tasks = {
  /** Makes the array that all the others share, complete before it has its name. */
  load({ names }) {
    arrays.labels = ndshm.create(names.labels, { shape: [count], dtype: 'uint8', ephemeral: true });
    arrays.digits = ndshm.create(names.digits, {
      shape: [count, pixels],
      dtype: 'float32',
      ephemeral: true,
      init: (digits) => loadDigits(digits.data, arrays.labels.data),
    });
  },

  open({ names }) {
    arrays.digits = ndshm.open(names.digits);
    images = arrays.digits.data;
    readEveryPage(images);
    openRest(names);
  },

  /** What a program without shared memory has: the same data, in memory of its own. */
  copy({ names }) {
    const digits = ndshm.open(names.digits);
    images = digits.toTypedArray();
    digits.close();
    openRest(names);
  },

  /** Predicts held-out digits `from` up to `to` by all the digits that come before the held-out ones. */
  classify({ from, to, firstHeldOut }) {
    const training = images.subarray(0, firstHeldOut * pixels);
    const labels = arrays.labels.data;
    const predictions = arrays.predictions.data;
    for (let n = from; n < to; n++) {
      const start = (firstHeldOut + n) * pixels;
      const nearest = nearestNeighbour(training, images.subarray(start, start + pixels));
      predictions[n] = labels[nearest];
    }
  },

  /** What a report in the object store says, as this process reads it. */
  readReport({ names, ref }) {
    const store = ndshm.Store.open(names.store);
    const before = performance.now();
    const { images, confusion, mistakes } = store.get(ref);
    const ms = performance.now() - before;
    const right = confusion.filter((_, n) => n % 11 === 0).reduce((sum, count) => sum + count, 0);
    const answer = { ms, shape: images.shape, right, mistakes: mistakes.size };
    store.close();
    return answer;
  },

  /** For how long this process has had a processor, in milliseconds. An answer at all says that it has started. */
  processorTime() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

function openRest(names) {
  arrays.labels = ndshm.open(names.labels);
  arrays.predictions = ndshm.open(names.predictions, { mode: 'r+' });
}

/** The kernel counts to a process's memory only what the process has looked at. */
function readEveryPage(data) {
  const step = 4096 / data.BYTES_PER_ELEMENT;
  let sum = 0;
  for (let at = 0; at < data.length; at += step) sum += data[at];
  return sum;
}

process.on('message', (request) => {
  const result = tasks[request.task](request);
  // A parent that is gone hears no answer. The end of its channel is the end of this process, without an error.
  process.send({ result }, () => {});
});

// Ctrl-C reaches every process of the terminal. The parent decides what follows from it.
process.on('SIGINT', () => {});
