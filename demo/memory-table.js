const Table = require('cli-table3');

const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
const cell = (content) => ({ content, hAlign: 'right' });
const columns = [
  ['started', 'pss'],
  ['shared', 'rss'],
  ['shared', 'shared'],
  ['shared', 'private'],
  ['shared', 'pss'],
  ['copied', 'pss'],
];

/** One row a process: `rows` are { title, started, shared, copied }, each of these three by memoryOf(). */
function memoryTable(rows) {
  const table = new Table({ style: { head: [], border: [], compact: true } });
  table.push(
    ['', 'started', { content: 'sharing the array', colSpan: 4, hAlign: 'center' }, 'a copy each'],
    ['MiB', ...['Pss', 'Rss', 'Shared', 'Private', 'Pss', 'Pss'].map((title) => cell(title))],
  );
  for (const row of rows) {
    table.push([row.title, ...columns.map(([when, what]) => cell(mebibytes(row[when][what])))]);
  }
  const sums = columns.map(([when, what]) =>
    what === 'pss' ? cell(mebibytes(sum(rows.map((row) => row[when].pss)))) : '',
  );
  table.push(['together', ...sums]);
  return table.toString();
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

module.exports = { mebibytes, memoryTable, sum };
