// What the workers of a pool run, from a module that the main program has loaded as well.
exports.fillRow = (row) => {
  row.fill(process.pid);
  return process.pid;
};
