// Opens an array, hands its memory on in one of the ways that the engine has, closes the array and uses what it got.
// Arguments: name, way.
const { readdirSync, readFileSync } = require('node:fs');
const { MessageChannel } = require('node:worker_threads');
const ndshm = require('ndshm');

const [name, way] = process.argv.slice(2);
const holdings = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  mappings: readFileSync('/proc/self/maps', 'utf8').split(name).length,
});

async function handOn(buffer) {
  switch (way) {
    case 'structuredClone':
      return structuredClone(buffer, { transfer: [buffer] });
    case 'postMessage': {
      const { port1, port2 } = new MessageChannel();
      try {
        const arrived = new Promise((done) => port2.once('message', done));
        port1.postMessage(buffer, [buffer]);
        return await arrived;
      } finally {
        port1.close();
      }
    }
    default:
      return buffer[way]?.();
  }
}

async function collect() {
  for (let round = 0; round < 5; round++) {
    globalThis.gc();
    await new Promise(setImmediate);
  }
}

async function run() {
  const array = ndshm.open(name, { mode: 'r+' });
  array.set(1, 7);
  const original = array.data.buffer;
  try {
    const received = await handOn(original);
    if (received === undefined) return 'unknown here';
    array.close();
    array.close();
    const values = new Float64Array(received);
    values[2] = 1; // must not fault
    return `${original.byteLength === 0 ? 'moved' : 'copied'}: ${values[1]}`;
  } catch (error) {
    if (error.name !== 'DataCloneError' && error.name !== 'TypeError') throw error;
    return 'refused';
  } finally {
    array.close();
  }
}

async function main() {
  ndshm.open(name).close(); // whatever the first use of all keeps
  await collect();
  const before = holdings();
  const outcome = await run();
  await collect();
  const after = holdings();
  process.send({
    outcome,
    leaked: { descriptors: after.descriptors - before.descriptors, mappings: after.mappings - before.mappings },
  });
  process.disconnect();
}

void main();
