// Creates, replaces, opens, closes and unlinks arrays until it is killed. Every array holds one value throughout; what
// contradicts that, or an error that no other process can have caused, is reported as { broken }.
// Arguments: prefix of the names, seed.
const ndshm = require('ndshm');
const { broken, chooser } = require('./storm');

const [prefix, seedText] = process.argv.slice(2);
const replaced = `${prefix}-replaced`; // never missing
const fleeting = [`${prefix}-fleeting-0`, `${prefix}-fleeting-1`]; // there or not
const lengths = [1, 500, 132_000]; // the last one, above 1 MiB, is filled by userfaultfd where that is allowed
const pick = chooser(Number(seedText));

function allowing(codes, action) {
  try {
    return action();
  } catch (error) {
    if (!codes.includes(error.code)) throw error;
    return undefined;
  }
}

function verify(array) {
  const { data } = array;
  for (const value of data) if (value !== data[0]) throw new Error(`${array.name} holds both ${data[0]} and ${value}`);
  array.close();
}

const filled = () => new Float64Array(lengths[pick(lengths.length)]).fill(pick(1_000_000));
const actions = [
  () => ndshm.fromArray(replaced, filled(), { ifExists: 'replace' }).close(),
  () => ndshm.create(replaced, { shape: 100, ifExists: 'replace', init: (array) => array.fill(pick(1000)) }).close(),
  () => verify(ndshm.open(replaced, { mode: ['r', 'r+', 'c'][pick(3)] })),
  () => allowing(['EEXIST'], () => ndshm.fromArray(fleeting[pick(2)], filled()))?.close(),
  () => ndshm.fromArray(fleeting[pick(2)], filled(), { ifExists: 'replace', ephemeral: pick(2) === 1 }).close(),
  () => {
    const array = allowing(['ENOENT'], () => ndshm.open(fleeting[pick(2)]));
    if (array !== undefined) verify(array);
  },
  () => allowing(['ENOENT'], () => ndshm.unlink(fleeting[pick(2)])),
  () => {
    const name = `${prefix}-ephemeral-${process.pid}-${pick(1000)}`;
    const mine = ndshm.fromArray(name, filled(), { ephemeral: true });
    const again = ndshm.open(name, { mode: 'r+' });
    (pick(2) === 0 ? mine : again).close();
    again.close();
    mine.close();
  },
  () => ndshm.gc(),
  () => ndshm.list(),
];

for (let count = 0; ; count++) {
  const action = pick(actions.length);
  try {
    actions[action]();
  } catch (error) {
    broken(`${actions[action]}: ${error.stack}`);
  }
  if (count % 4 === 0) process.send(count);
}
