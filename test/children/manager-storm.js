// Uses the objects of a manager in every way until it is killed, or told 'enough', upon which it ends. What contradicts the
// invariants, or an error that no other process can have caused, is reported as { broken }.
//
// Arguments: the manager's address, seed, name of an array of ones.
const { readFileSync } = require('node:fs');
const { setImmediate: turn } = require('node:timers/promises');
const ndshm = require('ndshm');
const { broken, chooser } = require('./storm');

const [address, seedText, arrayName] = process.argv.slice(2);
const pick = chooser(Number(seedText));
/** Far more than any of it takes: who waits for so long has been forgotten. */
const limitMs = 10_000;
const patient = { timeoutMs: limitMs };
const permits = 3;

/** Of those that were killed, some are still on their way out. */
async function expectDead(pid, message) {
  const end = performance.now() + limitMs;
  for (;;) {
    try {
      if (/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return;
    } catch {
      return;
    }
    if (performance.now() > end) broken(message);
    await turn();
  }
}

/** These are what others' deaths, and short patience, may lead to. */
async function tolerant(codes, action) {
  try {
    await action();
  } catch (error) {
    if (!codes.includes(error.code)) throw error;
  }
}

async function main() {
  const manager = await ndshm.Manager.connect({ address, reconnectMs: 0 });
  const [lock, rlock, semaphore, condition, barrier, event] = await Promise.all(
    ['lock', 'rlock', 'semaphore', 'condition', 'barrier', 'event'].map((name) => manager.find(name)),
  );
  const [state, queue, again, seen] = await Promise.all(
    ['state', 'queue', 'again', 'seen'].map((name) => manager.find(name)),
  );
  const exchange = await manager.make('Exchange');
  const shared = ndshm.open(arrayName);
  const kept = [];

  /** Nobody else may be inside, whatever those left who died there. */
  async function alone(key) {
    const before = await state.get(`${key} inside`);
    if (before) await expectDead(before, `${before} is inside of ${key} with ${process.pid}`);
    await state.set(`${key} inside`, process.pid);
    const count = (await state.get(key)) ?? 0;
    if (pick(2) === 0) await turn();
    await state.set(key, count + 1);
    if ((await state.get(key)) !== count + 1) broken(`${key} was changed by two at once`);
    const after = await state.get(`${key} inside`);
    if (after !== process.pid) broken(`${after} came inside of ${key} to ${process.pid}`);
    await state.set(`${key} inside`, 0);
  }

  async function withPermit() {
    await state.set(`permit ${process.pid}`, 1);
    const holders = (await state.keys()).filter((key) => key.startsWith('permit '));
    if (holders.length > permits) {
      // The dead leave their entries; more than so many that live are too many.
      const others = holders.map((key) => Number(key.slice(7))).filter((pid) => pid !== process.pid);
      const first = others.slice(0, others.length - permits + 1);
      await Promise.all(first.map((pid) => expectDead(pid, `more than ${permits} have a permit`)));
      for (const pid of first) await state.delete(`permit ${pid}`);
    }
    await state.delete(`permit ${process.pid}`);
  }

  async function take(from, isDoubled) {
    const item = await from.get(patient);
    if ((await seen.has(item)) && !isDoubled) broken(`${item} was given twice`);
    await seen.set(item, process.pid);
    await from.taskDone();
  }

  const actions = [
    () => lock.run(() => alone('locked'), patient),
    async () => {
      await lock.acquire(patient);
      await alone('locked');
      await lock.release();
    },
    () => tolerant(['ERR_NDSHM_TIMEOUT'], () => lock.acquire({ timeoutMs: 1 }).then(() => lock.release())),
    async () => {
      await rlock.acquire(patient);
      await rlock.acquire(patient);
      await alone('relocked');
      await rlock.release();
      await rlock.release();
    },
    async () => {
      await semaphore.acquire(patient);
      await withPermit();
      await semaphore.release();
    },
    () => take(queue, false),
    () => take(queue, false),
    () => take(again, true),
    () => tolerant(['ERR_NDSHM_TIMEOUT'], () => event.wait({ timeoutMs: 2 })),
    () => (pick(2) === 0 ? event.set() : event.clear()),
    async () => {
      await condition.acquire(patient);
      await tolerant(['ERR_NDSHM_TIMEOUT'], () => condition.wait({ timeoutMs: 5 }));
      await condition.notify();
      await condition.release();
    },
    () =>
      tolerant(['ERR_NDSHM_TIMEOUT', 'ERR_NDSHM_BROKEN_BARRIER'], () => barrier.wait({ timeoutMs: 5 })).then(() =>
        barrier.reset(),
      ),
    () => state.change('changed', async (before = 0) => (pick(2) === 0 ? before + 1 : turn(before + 1)), patient),
    async () => {
      let sum = 0;
      for await (const number of await exchange.numbers(1 + pick(5))) sum += number;
      if (![0, 1, 3, 6, 10].includes(sum)) broken(`an iterator gave numbers with the sum ${sum}`);
    },
    async () => {
      for await (const _ of await exchange.numbers(1000)) if (pick(3) === 0) break;
    },
    async () => {
      const total = await exchange.total(
        (async function* () {
          yield* [1, 2, 3];
        })(),
      );
      if (total !== 6) broken(`an iterator arrived with the total ${total}`);
    },
    async () => {
      const twice = await exchange.twice(async (n) => turn(10 * n));
      if (twice !== 30) broken(`a callback gave ${twice}`);
    },
    async () => {
      const copied = ndshm.anonymous({ shape: 50_000, dtype: 'float64' });
      copied.fill(1);
      const sums = await Promise.all([exchange.sum(shared), exchange.sum(copied)]);
      if (sums[0] !== shared.size || sums[1] !== 50_000) broken(`arrays arrived with the sums ${sums}`);
      copied.close();
    },
    async () => {
      const list = await manager.list([1]);
      const dict = await manager.dict();
      await dict.set('list', list);
      await (await dict.get('list')).push(2);
      if ((await list.length()) !== 2) broken('a proxy came home as another object');
      kept.push(list, dict);
      while (kept.length > 6) kept.shift()[Symbol.dispose]();
    },
  ];

  let isEnough = false;
  process.once('message', () => {
    isEnough = true;
  });
  for (let count = 0; !isEnough; count++) {
    const action = actions[pick(actions.length)];
    try {
      // Some are left in the midst of several at once.
      if (pick(5) === 0) await Promise.all([action(), actions[0](), state.get('locked')]);
      else await action();
    } catch (error) {
      broken(`${action}: ${error.stack}`);
    }
    if (count % 4 === 0) process.send(count);
  }
  shared.close();
  await manager.close();
  process.disconnect();
}

main().catch((error) => broken(error.stack));
