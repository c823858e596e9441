const { readdirSync } = require('node:fs');
const ndshm = require('ndshm');
const { withCrew } = require('./crew');
const { pixels } = require('./digits');

// Two demos at a time do not get into each other's way.
const prefix = `ndshm-demo-${process.pid}-`;
const nameOf = (key) => prefix + key;
const names = {
  digits: nameOf('digits'),
  labels: nameOf('labels'),
  predictions: nameOf('predictions'),
  means: nameOf('means'),
  store: nameOf('store'),
};

/**
 * Calls `work` with the demo's arrays, and closes them whatever comes of that. They are ephemeral: the last process
 * that closes one takes its name away, and what a SIGKILL leaves is removed by the next that creates an array.
 */
async function withArrays(heldOut, signal, work) {
  const arrays = {};
  try {
    // A process of its own, since the memory that parsing takes would blur the picture of the parent's.
    await withCrew(1, signal, async (loader) => {
      await loader.askAll({ task: 'load', names });
      arrays.digits = ndshm.open(names.digits);
      arrays.labels = ndshm.open(names.labels);
    });
    arrays.predictions = ndshm.create(names.predictions, { shape: [heldOut], dtype: 'uint8', ephemeral: true });
    arrays.means = ndshm.create(names.means, { shape: [10, pixels], dtype: 'float32', ephemeral: true });
    return await work(arrays);
  } finally {
    for (const array of Object.values(arrays)) array.close();
    expectNothingLeft();
  }
}

function expectNothingLeft() {
  const left = readdirSync('/dev/shm').filter((name) => name.includes(`-${process.pid}-`));
  if (left.length > 0) throw new Error(`These are left in /dev/shm: ${left.join(', ')}`);
}

module.exports = { names, withArrays };
