// Three generations: the first makes an anonymous array and forks the second with it, which starts the third by Node's
// own fork. Each reports { generation, … } to the test through its parent.
const { fork } = require('node:child_process');
const ndshm = require('ndshm');

const generation = Number(process.argv[2] ?? 1);
const pass = (child) => child.on('message', (message) => process.send(message));

function inherit() {
  try {
    const { scratch } = ndshm.inherited();
    return { value: scratch.get(0), again: ndshm.inherited().scratch === scratch };
  } catch (error) {
    return { code: error.code };
  }
}

if (generation === 1) {
  const scratch = ndshm.anonymous({ shape: 4 });
  globalThis.keep = scratch; // or it is collected and leaves its peers
  scratch.fill(5);
  pass(ndshm.fork(__filename, ['2'], { share: { scratch } }));
} else {
  process.send({ generation, pid: process.pid, ...inherit() });
  if (generation === 2) pass(fork(__filename, ['3']));
}
process.on('disconnect', () => process.exit(0));
