// npm run bench [-- --quick] [-- --only NAME] [-- --json FILE]
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as attach from './attach.mjs';
import * as contention from './contention.mjs';
import * as create from './create.mjs';
import * as elementAccess from './element-access.mjs';
import * as eventLoop from './event-loop.mjs';
import * as freshPages from './fresh-pages.mjs';
import * as handover from './handover.mjs';
import * as locks from './locks.mjs';
import * as manager from './manager.mjs';
import * as memory from './memory.mjs';
import * as objects from './objects.mjs';
import * as particles from './particles.mjs';
import * as pool from './pool.mjs';
import * as poolStart from './pool-start.mjs';
import * as python from './python.mjs';
import * as readers from './readers.mjs';
import * as recovery from './recovery.mjs';
import * as store from './store.mjs';
import { describeMachine } from './support/machine.mjs';
import { killAll } from './support/processes.mjs';
import { detailTable, judge, tableOf } from './support/report.mjs';
import { removeSegments } from './support/segments.mjs';

const claims = {
  attach,
  'element-access': elementAccess,
  'fresh-pages': freshPages,
  create,
  memory,
  locks,
  readers,
  contention,
  'event-loop': eventLoop,
  handover,
  recovery,
  store,
  objects,
  pool,
  particles,
  'pool-start': poolStart,
  manager,
  python,
};

const { values: options } = parseArgs({
  options: {
    json: { type: 'string' },
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
  },
});
const chosen = options.only ?? Object.keys(claims);
const unknown = chosen.find((name) => !Object.hasOwn(claims, name));
if (unknown !== undefined) {
  console.error(`--only ${unknown}: known are ${Object.keys(claims).join(', ')}`);
  process.exit(2);
}

process.on('exit', removeSegments);
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
]) {
  process.on(signal, () => {
    killAll();
    process.exit(code);
  });
}

const machine = await describeMachine();
const rows = [];
const tables = [];
for (const name of chosen) {
  const { title, measure } = claims[name];
  const progress = (text) => console.error(`${name}: ${text}`);
  const measured = await measure({ quick: options.quick, progress });
  rows.push(...measured.rows.map((row) => judge({ claim: title, ...row })));
  tables.push(...(measured.tables ?? []));
}

for (const [what, value] of Object.entries(machine)) console.log(`${what.padEnd(11)} ${value}`);
for (const table of tables) console.log(`\n${detailTable(table)}`);
console.log(`\n${tableOf(rows)}`);
if (options.quick) console.log('\n--quick: too few repetitions to be quoted.');
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ machine, rows, tables }, null, 2)}\n`);
