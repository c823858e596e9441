// Puts, gets, seals, deletes and waits in a store, in every way, until it is killed. An object that is not what it was, or an
// error that no other process can have caused, ends it with what is wrong on stdout; else it says 'round' now and then.
//
// Objects say what they hold: the number at 0 is the seed of the rest. Arguments: name of the store, seed.
const { writeSync } = require('node:fs');
const ndshm = require('../../dist');

const [name, seedText] = process.argv.slice(2);
const store = ndshm.Store.open(name);
let state = Number(seedText) | 0;
const pick = (below) => {
  state = (Math.imul(state, 1103515245) + 12345) | 0;
  return (state >>> 8) % below;
};
const say = (line) => writeSync(1, `${line}\n`);

function fill(words) {
  const first = pick(1 << 20);
  for (let n = 0; n < words.length; n++) words[n] = first + n;
  return words;
}

function expectWhole(words, when) {
  for (let n = 0; n < words.length; n++) {
    if (words[n] !== words[0] + n)
      throw new Error(`${when}: ${words[n]} at ${n} of ${words.length}, which begins with ${words[0]}`);
  }
}

// What Python has put comes as a SharedArray, what Node has put as a typed array.
const wordsOf = (value) => {
  const words = value.words ?? value;
  return words.data ?? words;
};
const value = (length) => ({ words: fill(new Int32Array(length)), text: 'x' });
const anyRef = () => {
  const objects = store.list();
  if (objects.length > 40) store.delete(objects[pick(objects.length)].ref);
  return objects.length === 0 ? store.putSync(value(10)) : objects[pick(objects.length)].ref;
};

const actions = [
  () => store.put(value(1 + pick(2000))),
  () => store.put(value(20_000 + pick(80_000))),
  () => store.putSync(value(20_000 + pick(80_000))),
  () => {
    const draft = store.createArray(20_000 + pick(40_000), 'int32');
    fill(draft.array.data);
    if (pick(4) === 0) draft.close();
    else draft.seal();
  },
  () => {
    const lease = store.lease(anyRef());
    expectWhole(wordsOf(lease.value), 'leased');
    lease.release();
  },
  () => expectWhole(wordsOf(store.get(anyRef())), 'got'),
  () => store.delete(anyRef()),
  () => store.wait([anyRef(), anyRef()], { numReturns: 1, timeoutMs: 5 }),
];

// These are what others' deleting, making and holding may lead to.
const ordinary = new Set(['ERR_NDSHM_STALE_HANDLE', 'ERR_NDSHM_NOT_SEALED', 'ERR_NDSHM_CAPACITY']);

(async () => {
  for (let round = 0; ; round++) {
    try {
      await actions[pick(actions.length)]();
    } catch (error) {
      if (!ordinary.has(error.code)) {
        say(`broken: ${error.stack.replaceAll('\n', ' | ')}`);
        process.exit(1);
      }
    }
    if (round % 4 === 0) say('round');
  }
})();
