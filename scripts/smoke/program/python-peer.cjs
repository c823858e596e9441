// The other side of exchange.py.
const ndshm = require('ndshm');

const [name, what] = process.argv.slice(2);
const a = ndshm.open(name, { mode: 'r+' });
const all = (value) => a.data.every((element) => element === value);

async function exchange() {
  let since = a.version;
  await a.write(() => a.data.set(a.data.map((element) => element + 1)));
  while (!all(5)) since = await a.changed({ since, timeoutMs: 60_000 });
  console.log(a.data.reduce((sum, element) => sum + element));
}

const hold = () =>
  a.write(async () => {
    console.log('inside');
    await new Promise(() => process.stdin.resume()); // until it is killed, or its parent is
  });

void { exchange, hold }[what]();
