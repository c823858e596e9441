const { nearestNeighbour } = require('./nearest-neighbour');

/** What a worker of the pool does: it is given shared arrays, and has them without a copy. */
function classify(digit, training, labels) {
  return labels.get(nearestNeighbour(training.data, digit.data));
}

module.exports = { classify };
