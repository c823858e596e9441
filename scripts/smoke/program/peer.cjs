// The other process: opens an array in every mode and does what its standard input says. Ends without closing it.
const { createInterface } = require('node:readline');
const ndshm = require('ndshm');

const name = process.argv[2];
const arrays = Object.fromEntries(['r', 'r+', 'c'].map((mode) => [mode, ndshm.open(name, { mode })]));

function write(mode) {
  try {
    arrays[mode].set(mode === 'c' ? [0, 1] : [0, 0], 1);
    return null;
  } catch (error) {
    return error.code;
  }
}

createInterface({ input: process.stdin }).on('line', (question) => {
  const answer =
    question === 'values'
      ? Object.fromEntries(Object.entries(arrays).map(([mode, array]) => [mode, array.get(1, 2)]))
      : write(question.slice('write '.length));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
