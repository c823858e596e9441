// The child of sync_peer.py in Node: does what a line of JSON asks for, and answers with one.
const { createInterface } = require('node:readline');
const ndshm = require(process.argv[2]);

let it;
const holds = [];
const ms = (seconds) => (seconds === null || seconds === undefined ? {} : { timeoutMs: seconds * 1000 });
/** false where Python's methods give False. */
const inTime = (promise) =>
  promise.then(
    (result) => result ?? true,
    (error) => {
      if (error.code !== 'ERR_NDSHM_TIMEOUT') throw error;
      return false;
    },
  );
/** Holds a lock of which JavaScript's methods are functions that run inside. */
const hold = (run) =>
  new Promise((entered, failed) => {
    const stay = (held) =>
      new Promise((letGo) => {
        holds.push(letGo);
        entered(held.abandoned);
      });
    run(stay).catch(failed);
  });

const acquiring = {
  acquire: (seconds) => inTime(it.acquire(ms(seconds)).then(() => true)),
  acquire_now: () => it.tryAcquire() !== undefined,
  release: () => it.release(),
  repair: () => it.run((held) => held.abandoned, { onAbandoned: 'repair' }),
};
const methods = {
  Mutex: { ...acquiring, locked: () => it.locked },
  RWLock: {
    read: (seconds) => hold((fn) => it.read(fn, ms(seconds))),
    write: (seconds) => hold((fn) => it.write(fn, ms(seconds))),
    repair: () => it.write((held) => held.abandoned, { onAbandoned: 'repair' }),
    let_go: () => holds.pop()(),
  },
  Semaphore: {
    ...acquiring,
    acquire_now: () => it.tryAcquire(),
    release: (n) => it.release(n),
    value: () => it.value,
  },
  Condition: {
    ...acquiring,
    notify: (n) => it.run(() => it.notify(n)),
    wait: (seconds) => it.run(() => inTime(it.wait(ms(seconds)).then(() => true))),
  },
  Event: {
    set: () => it.set(),
    clear: () => it.clear(),
    is_set: () => it.isSet,
    wait: (seconds) => inTime(it.wait(ms(seconds))),
  },
  Barrier: {
    wait: (seconds) => it.wait(ms(seconds)),
    abort: () => it.abort(),
    reset: () => it.reset(),
    n_waiting: () => it.waiting,
    broken: () => it.broken,
  },
  Value: {
    load: () => plain(it.load()),
    add: (operand) => plain(it.add(typed(operand))),
    exchange: (value) => plain(it.exchange(typed(value))),
    or_: (operand) => plain(it.or(typed(operand))),
    compare_exchange: (expected, value) => plain(it.compareExchange(typed(expected), typed(value))),
    until_at_least: async (least, seconds) => plain(await it.until((value) => value >= least, ms(seconds))),
    add_often: (times) => {
      for (let n = 0; n < times; n++) it.add(typed(1));
    },
  },
  Queue: {
    put: (item, seconds) => it.put(item, ms(seconds)),
    get: (seconds) => it.get(ms(seconds)),
    qsize: () => it.size,
    shutdown: () => it.shutdown(),
    put_all: async (items) => {
      for (const item of items) await it.put(item);
    },
    get_all: async () => {
      const items = [];
      for await (const item of it) items.push(item);
      return items;
    },
  },
};
const isBig = () => ['int64', 'uint64'].includes(it.dtype);
const typed = (value) => (isBig() ? BigInt(value) : value);
const plain = (value) => (typeof value === 'bigint' ? Number(value) : value);

let own;
function make(kind, name, options) {
  const camel = Object.entries(options).map(([key, value]) => [key.replace(/_(.)/g, (_, c) => c.toUpperCase()), value]);
  it = new ndshm[kind](name, { ephemeral: true, ...Object.fromEntries(camel) });
  own = methods[kind];
}

const lines = createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const {
    id,
    body,
    args: { args },
  } = JSON.parse(line);
  const answer = { id };
  try {
    if (body === 'make') make(...args);
    else answer.value = await own[body](...args);
    answer.value ??= null;
  } catch (error) {
    answer.error = { code: error.code, message: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
lines.on('close', () => process.exit(0));
