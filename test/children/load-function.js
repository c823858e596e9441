// Loads the functions that it is told of, as a worker of a pool does, and calls them.
const { loadFunction } = require('../../dist/pool/load-function.js');

process.on('message', async ({ spec, args }) => {
  try {
    const fn = await loadFunction(spec);
    process.send({ value: await fn(...args), name: fn.name });
  } catch ({ name, code, message, stack, cause }) {
    process.send({ error: { name, code, message, stack, cause: cause?.message } });
  }
});
