// Opens the table, makes an array of 2000 sevens in it or frees the one that is there, and ends.
// Arguments: name of the table, 'create' or 'free'.
const ndshm = require('ndshm');

const [name, action] = process.argv.slice(2);
const table = ndshm.ArrayTable.open(name);
if (action === 'create') table.createArray(2000, 'int32', { init: (array) => array.fill(7) });
else for (const handle of table.handles()) table.freeArray(handle);
table.close();
