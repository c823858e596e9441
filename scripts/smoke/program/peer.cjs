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

function lock() {
  void arrays['r+'].write((array) => array.set([0, 2], 9)).then(() => say('was inside'));
  return 'waits';
}

function get({ name, refs }) {
  const store = ndshm.Store.open(name);
  const [{ bytes, map }, { numbers }] = refs.map((ref) => store.get(ref));
  store.close();
  return [bytes[2], String(map.get('a')), numbers.length, numbers[19_999]];
}

const values = () => Object.fromEntries(Object.entries(arrays).map(([mode, array]) => [mode, array.get(1, 2)]));
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

createInterface({ input: process.stdin }).on('line', (question) => {
  if (question === 'values') say(values());
  else if (question === 'lock') say(lock());
  else if (question.startsWith('get ')) say(get(JSON.parse(question.slice(4))));
  else say(write(question.slice('write '.length)));
});
