// Takes the locks of two arrays, of one through a Mutex, in every way, until it is killed. What contradicts the
// invariants, or an error that no other process can have caused, is reported as { broken }.
//
// Each array's elements are all equal but while somebody writes, or after he died doing so; the last element says who is
// inside. Arguments: name of the array, name of the Mutex and its array, seed.
const ndshm = require('ndshm');
const { broken, chooser } = require('./storm');

const [name, guarded, seedText] = process.argv.slice(2);
const array = ndshm.open(name, { mode: 'r+' });
const protectedArray = ndshm.open(guarded, { mode: 'r+' });
const mutex = new ndshm.Mutex(`${guarded}-mutex`);
const pick = chooser(Number(seedText));

const inside = (of) => of.size - 1;

/** Alone inside: nobody else may be, and what he left is whole unless we are told otherwise. */
function enterAlone(of, abandoned) {
  const before = Atomics.exchange(of.data, inside(of), process.pid);
  if (abandoned) return;
  if (before !== 0) broken(`${before} is inside with ${process.pid}`);
  expectWhole(of, 'a writer');
}

function leaveAlone(of) {
  const before = Atomics.exchange(of.data, inside(of), 0);
  if (before !== process.pid) broken(`${before} came inside to ${process.pid}`);
}

function expectWhole(of, who) {
  const { data } = of;
  for (let n = 1; n < inside(of); n++) {
    if (data[n] !== data[0]) broken(`${who} sees ${data[0]} and ${data[n]} at ${n} in ${of.name}`);
  }
}

function fill(of, from, to, value) {
  for (let n = from; n < to; n++) of.data[n] = value;
}

function writeNow(of, { abandoned }) {
  enterAlone(of, abandoned);
  fill(of, 0, inside(of), pick(2 ** 30));
  leaveAlone(of);
}

/** Half-way the event loop has its turn. */
async function writeLater(of, { abandoned }) {
  enterAlone(of, abandoned);
  const value = pick(2 ** 30);
  fill(of, 0, 10, value);
  await new Promise(setImmediate);
  fill(of, 10, inside(of), value);
  leaveAlone(of);
}

function readNow(of, { abandoned }) {
  if (!abandoned) expectWhole(of, 'a reader');
}

async function readLater(of, hold) {
  readNow(of, hold);
  await new Promise(setImmediate);
  readNow(of, hold);
}

/** A snapshot's function may see what does not count; its result does. */
function copyWhole(values) {
  for (let n = 1; n < values.length - 1; n++) if (values[n] !== values[0]) broken(`a snapshot saw ${values}`);
}

async function abandonedIsAllRight(action) {
  try {
    await action();
  } catch (error) {
    if (error.code !== 'ERR_NDSHM_ABANDONED') throw error;
  }
}

// Far more than any recovery takes: who waits for so long has been forgotten.
const timeoutMs = 10_000;
const repair = { timeoutMs, onAbandoned: 'repair' };
const ignore = { timeoutMs, onAbandoned: 'ignore' };
const actions = [
  () => array.writeSync(writeNow, repair),
  () => array.write(writeNow, repair),
  () => array.write(writeLater, repair),
  () => array.tryWrite(writeNow, { onAbandoned: 'repair' }),
  () => abandonedIsAllRight(() => array.writeSync((of) => writeNow(of, { abandoned: false }), { timeoutMs })),
  () => Promise.all([array.write(writeNow, repair), array.read(readNow, ignore), array.write(writeLater, repair)]),
  () => array.readSync(readNow, ignore),
  () => array.read(readLater, ignore),
  () => array.tryRead(readNow, { onAbandoned: 'ignore' }),
  () => Promise.all([array.read(readLater, ignore), array.read(readLater, ignore)]),
  () => abandonedIsAllRight(() => copyWhole(array.snapshotSync((of) => of.data.slice(), { timeoutMs }))),
  () => abandonedIsAllRight(async () => copyWhole(await array.snapshot((of) => of.data.slice(), { timeoutMs }))),
  () => mutex.runSync((hold) => writeNow(protectedArray, hold), repair),
  () => mutex.run((hold) => writeLater(protectedArray, hold), repair),
  async () => {
    const hold = await mutex.acquire(repair);
    await writeLater(protectedArray, hold);
    mutex.release();
  },
  () => {
    const another = ndshm.open(name, { mode: 'r+' });
    another.writeSync(writeNow, repair);
    another.close();
  },
  async () => {
    const another = ndshm.open(name, { mode: 'r' });
    const waits = another.read(readNow, ignore).catch((error) => {
      if (error.code !== 'ERR_NDSHM_CLOSED') throw error;
    });
    await Promise.race([waits, new Promise(setImmediate)]);
    another.close();
    await waits;
  },
];

async function main() {
  for (let count = 0; ; count++) {
    const action = actions[pick(actions.length)];
    try {
      await Promise.resolve(action());
    } catch (error) {
      broken(`${action}: ${error.stack}`);
    }
    if (count % 4 === 0) process.send(count);
  }
}
void main();
