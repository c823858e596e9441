const { pixels, side } = require('./digits');

/** The row of `training` (rows of 784 pixels) that is nearest to `digit` by squared Euclidean distance. */
function nearestNeighbour(training, digit) {
  let nearest = -1;
  let shortest = Infinity;
  for (let row = 0, start = 0; start < training.length; row++, start += pixels) {
    const distance = squaredDistance(training, start, digit, shortest);
    if (distance < shortest) {
      shortest = distance;
      nearest = row;
    }
  }
  return nearest;
}

/** Gives up after a line of the image that takes it beyond `limit`. */
function squaredDistance(training, start, digit, limit) {
  let distance = 0;
  for (let pixel = 0; pixel < pixels && distance < limit; ) {
    // Four at a time: one addition after the other is what a processor waits for.
    for (const end = pixel + side; pixel < end; pixel += 4) {
      const a = digit[pixel] - training[start + pixel];
      const b = digit[pixel + 1] - training[start + pixel + 1];
      const c = digit[pixel + 2] - training[start + pixel + 2];
      const d = digit[pixel + 3] - training[start + pixel + 3];
      distance += a * a + b * b + c * c + d * d;
    }
  }
  return distance;
}

module.exports = { nearestNeighbour };
