// Makes, checks, changes and frees arrays of a table until it is killed. What contradicts the invariants, or an error
// that no other process can have caused, is reported as { broken }.
//
// All elements of an array are equal, but while somebody writes under its lock, or after he died doing so. Arrays of
// dtype int32 are the test's own, and nobody frees them. Arguments: name of the table, seed.
const ndshm = require('ndshm');
const { broken, chooser } = require('./storm');

const [name, seedText] = process.argv.slice(2);
let table = ndshm.ArrayTable.open(name);
const freed = [];
const lengths = [1, 500, 140_000];
const pick = chooser(Number(seedText));

function expectWhole(array, handle) {
  const { data } = array;
  for (const value of data) if (value !== data[0]) broken(`array ${handle} holds both ${data[0]} and ${value}`);
}

/** Undefined where somebody else was faster. */
function unlessStale(action) {
  try {
    return action();
  } catch (error) {
    if (error.code !== 'ERR_NDSHM_STALE_HANDLE') throw error;
    return undefined;
  }
}

function any() {
  const handles = table.handles();
  return handles[pick(handles.length)];
}

function using(use) {
  const handle = any();
  const array = unlessStale(() => table.getArray(handle));
  if (array === undefined) return;
  use(array, handle);
  array.close();
}

function create() {
  return table.createArray(lengths[pick(lengths.length)], 'float64', { init: (array) => array.fill(pick(1_000_000)) });
}

const timeoutMs = 10_000;
const actions = [
  create,
  create,
  () => {
    try {
      table.createArray(lengths[pick(lengths.length)], 'float64', {
        init: () => {
          throw new Error('no');
        },
      });
    } catch (error) {
      if (error.message !== 'no') throw error;
    }
  },
  () => {
    const handle = any();
    const dtype = unlessStale(() => {
      const array = table.getArray(handle, { mode: 'r' });
      array.close();
      return array.dtype;
    });
    if (dtype !== 'float64') return;
    unlessStale(() => table.freeArray(handle));
    freed.push(handle);
  },
  () => {
    const handle = create();
    table.freeArray(handle);
    freed.push(handle);
  },
  () =>
    using((array, handle) =>
      array.readSync((of, { abandoned }) => abandoned || expectWhole(of, handle), { onAbandoned: 'ignore', timeoutMs }),
    ),
  () => using((array) => array.writeSync((of) => of.fill(pick(1_000_000)), { onAbandoned: 'repair', timeoutMs })),
  () => {
    for (const handle of freed.splice(0)) if (table.has(handle)) broken(`${handle} was freed, and is there again`);
  },
  () => {
    table.close();
    table = ndshm.ArrayTable.open(name);
  },
  () => ndshm.gc(),
];

// However fast somebody is, the others' arrays are not to fill the memory.
const maxArrays = 60;
for (let count = 0; ; count++) {
  const action = table.handles().length > maxArrays ? actions[3] : actions[pick(actions.length)];
  try {
    action();
  } catch (error) {
    process.send({ broken: `${action}: ${error.stack}` }, () => process.exit(1));
    break;
  }
  if (count % 4 === 0) process.send(count);
}
