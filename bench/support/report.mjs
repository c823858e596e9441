import Table from 'cli-table3';

const digits = (value) => {
  if (value === undefined) return '–';
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
};

const withUnit = (value, unit) => (value === undefined ? '–' : `${digits(value)} ${unit}`);

function goalOf({ atMost, atLeast, between }) {
  if (atMost !== undefined) return `≤ ${atMost}`;
  if (atLeast !== undefined) return `≥ ${atLeast}`;
  return between === undefined ? '' : `${between[0]}–${between[1]}`;
}

/** Adds the ratio, the goal and whether it is met; null where nothing is promised or could be compared. */
export function judge(row) {
  const ratio = row.ratio ?? (row.theirs === undefined ? undefined : row.ours / row.theirs);
  const { atMost, atLeast, between, ...rest } = row;
  const [low, high] = between ?? [atLeast, atMost];
  const promised = low !== undefined || high !== undefined;
  const met = !promised || ratio === undefined ? null : ratio >= (low ?? ratio) && ratio <= (high ?? ratio);
  return { ...rest, ratio, goal: goalOf(row), met };
}

const inWords = new Map([
  [true, 'met'],
  [false, 'MISSED'],
  [null, ''],
]);

export function tableOf(rows) {
  const table = new Table({
    head: ['what', 'ours', 'compared with', 'theirs', 'ratio', 'goal', ''],
    colAligns: ['left', 'right', 'left', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const { what, ours, unit, peer, theirs, missing, ratio, goal, met } of rows) {
    const other = missing === undefined ? peer : `${peer}: ${missing}`;
    table.push([what, withUnit(ours, unit), other, withUnit(theirs, unit), digits(ratio), goal, inWords.get(met)]);
  }
  return table.toString();
}

export function detailTable({ title, head, rows }) {
  const colAligns = head.map((_, n) => (n === 0 ? 'left' : 'right'));
  const table = new Table({ head, colAligns, style: { head: [], border: [], compact: true } });
  table.push(...rows);
  return `${title}\n${table.toString()}`;
}
