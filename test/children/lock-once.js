// Attaches an array, writes 1 into it, be it abandoned or not, and ends. Argument: its name.
const ndshm = require('ndshm');

const array = ndshm.open(process.argv[2], { mode: 'r+' });
array.writeSync(() => array.fill(1), { onAbandoned: 'repair', timeoutMs: 10_000 });
array.close();
process.disconnect();
