// Puts, gets, seals, deletes and waits in a store, in every way and with checksums, until it is killed. An object that is
// not what it was, or an error that no other process can have caused, is reported as { broken }.
//
// Objects say what they hold: the number at 0 is the seed of the rest. Arguments: name of the store, seed.
const { setImmediate: turn } = require('node:timers/promises');
const ndshm = require('ndshm');
const { broken, chooser } = require('./storm');

const [name, seedText] = process.argv.slice(2);
const store = ndshm.Store.open(name);
const pick = chooser(Number(seedText));

function fill(words) {
  let value = pick(2 ** 31);
  for (let n = 0; n < words.length; n++) {
    words[n] = value;
    value = (Math.imul(value, 1103515245) + 12345) | 0;
  }
  return words;
}

function expectWhole(words, ref, when) {
  let value = words[0];
  for (let n = 0; n < words.length; n++) {
    if (words[n] !== value) broken(`${when}, object ${JSON.stringify(ref)} has ${words[n]} at ${n} of ${words.length}`);
    value = (Math.imul(value, 1103515245) + 12345) | 0;
  }
}

const wordsIn = (value) => (value instanceof ndshm.SharedArray ? value.data : value.words);
const smallValue = () => ({ text: 'x'.repeat(pick(50)), words: fill(new Int32Array(1 + pick(2000))) });
const largeValue = () => ({ words: fill(new Int32Array(20_000 + pick(80_000))), text: 'large' });

// What this process put, and what it has mapped for longer, as it deletes and others do.
const mine = [];
const held = [];

const remember = (ref) => {
  mine.push(ref);
  return ref;
};

/** One of anybody's. There are never many more than so many: what the dead have left would slow down the living. */
function anyRef() {
  const objects = store.list();
  if (objects.length > 40) store.delete(objects[pick(objects.length)].ref);
  return objects.length === 0 ? undefined : objects[pick(objects.length)].ref;
}

const someRef = () => (mine.length > 0 && pick(4) > 0 ? mine[pick(mine.length)] : anyRef());

/** These are what others' deleting, making and holding may lead to. */
const ordinary = new Set(['ERR_NDSHM_STALE_HANDLE', 'ERR_NDSHM_NOT_SEALED', 'ERR_NDSHM_CAPACITY']);

async function tolerant(action) {
  try {
    await action();
  } catch (error) {
    if (!ordinary.has(error.code)) broken(error.stack);
  }
}

function look(ref) {
  const lease = store.lease(ref);
  expectWhole(wordsIn(lease.value), ref, 'leased');
  lease.release();
}

function hold(ref) {
  held.push({ ref, lease: store.lease(ref) });
  if (held.length <= 4) return;
  const oldest = held.shift();
  expectWhole(wordsIn(oldest.lease.value), oldest.ref, 'held for a while');
  oldest.lease.release();
}

const actions = [
  () => remember(store.putSync(smallValue())),
  async () => remember(await store.put(smallValue())),
  () => remember(store.putSync(largeValue())),
  async () => remember(await store.put(largeValue())),
  () => {
    const draft = store.createArray(20_000 + pick(60_000), 'int32');
    fill(draft.array.data);
    remember(draft.seal());
  },
  async () => {
    const draft = store.createArray(20_000, 'int32');
    fill(draft.array.data);
    await turn();
    if (pick(2) === 0) draft.close();
    else look(remember(draft.seal()));
  },
  () => Promise.all([store.put(smallValue()), store.put(largeValue())]).then((refs) => refs.map(remember)),
  () => look(someRef()),
  () => expectWhole(wordsIn(store.get(someRef())), 'one', 'got'),
  () => hold(someRef()),
  () => store.delete(someRef()),
  () => {
    if (mine.length > 0) store.delete(mine.splice(pick(mine.length), 1)[0]);
  },
  () => store.wait([someRef(), someRef()], { numReturns: 1, timeoutMs: 5 }),
  () => store.stat(),
];

async function main() {
  for (let round = 0; ; round++) {
    await tolerant(async () => {
      if (anyRef() === undefined) remember(store.putSync(smallValue()));
      await actions[pick(actions.length)]();
    });
    while (mine.length > 12) await tolerant(() => store.delete(mine.shift()));
    if (round % 4 === 0) {
      process.send(round);
      await turn();
    }
  }
}

main().catch((error) => broken(error.stack));
