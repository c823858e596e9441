// A child started by ndshm.fork({ share }): reports what it inherited, writes where it may, and waits to be told to end.
const ndshm = require('ndshm');

const arrays = ndshm.inherited();
const report = Object.fromEntries(
  Object.entries(arrays).map(([key, array]) => {
    const first = array.get(0);
    if (array.mode !== 'r') array.set(0, first + 100);
    return [key, { first, mode: array.mode, name: array.name, again: ndshm.inherited()[key] === array }];
  }),
);
process.send(report);
process.on('message', () => process.disconnect());
