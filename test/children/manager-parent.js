// A process that has started a manager, which always has something to do. Tells when it has been started, and again and again
// from then on. Arguments: address, module with the types, 'spin' for a method that never returns.
const { setImmediate: turn } = require('node:timers/promises');
const ndshm = require('ndshm');

const [address, types, what] = process.argv.slice(2);

/** What becomes of it is not asked. */
const begin = (call) => void Promise.resolve(call).catch(() => {});

async function main() {
  process.send('starting');
  const manager = await ndshm.Manager.start({ address, modules: [types] });
  process.send('started');
  const exchange = await manager.make('Exchange');
  const lock = await manager.getOrCreate('lock', 'lock');
  await lock.acquire();
  begin(lock.acquire());
  if (what === 'spin') begin(exchange.spin());
  for (;;) {
    begin(manager.getOrCreate('dict', 'dict').set('key', new Float64Array(1000)));
    begin(exchange.twice((n) => turn(n)));
    for (let turns = 0; turns < 50; turns++) await turn();
    process.send('busy');
  }
}

void main();
