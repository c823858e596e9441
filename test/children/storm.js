// What the storms' children have in common: a stream of choices that a seed repeats, and the report that an invariant is
// broken.

/** Gives a function that picks a whole number from 0 to `count` - 1. */
function chooser(seed) {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

function broken(message) {
  process.send({ broken: message }, () => process.exit(1));
  process.removeAllListeners();
  throw new Error(message);
}

module.exports = { broken, chooser };
