// Has a pool do all kinds of tasks, many at a time, while somebody else kills its workers; reports a call that never
// settles, or not as it has to, as { broken }. Takes turns with the killer: tells { pids }, and is told 'killed', or
// 'enough', upon which it ends, if nothing is left of all that, with a report.
//
// Arguments: prefix of names, seed, options of the pool. Needs --expose-gc.
const { readdirSync, readFileSync } = require('node:fs');
const { once } = require('node:events');
const { setImmediate: turn } = require('node:timers/promises');
const ndshm = require('ndshm');
const { broken, chooser } = require('./storm');
const tasks = require('./pool-storm-tasks');

const [prefix, seedText, optionsText] = process.argv.slice(2);
const seed = Number(seedText);

const clients = 12;
/** More than any call takes on a busy machine. */
const limitMs = 60_000;
const manyRetries = 1000;
const lostCode = 'ERR_NDSHM_WORKER_LOST';
const attemptPlaces = 4096;

const pool = new ndshm.Pool({ processes: 3, storeCapacity: '48MiB', ...JSON.parse(optionsText) });
const attempts = ndshm.create(`${prefix}attempts`, { shape: attemptPlaces, dtype: 'int32', ephemeral: true });

let isEnough = false;
let calls = 0;
let nextPlace = 0;
/** How many workers tasks have ended. */
let suicides = 0;
/** A worker that dies takes one task with it. (One error may reject several calls, of those that depend on each other.) */
const lost = new Set();

/** What became of a call. */
async function outcomeOf(what, call) {
  const timer = setTimeout(() => broken(`${what} has not settled within ${limitMs} ms`), limitMs);
  try {
    return { value: await call };
  } catch (error) {
    return { error };
  } finally {
    clearTimeout(timer);
    calls++;
  }
}

function expectError(what, error, codes) {
  if (!codes.includes(error?.code)) broken(`${what} was rejected with ${error?.stack ?? error}`);
  if (error.code === lostCode) lost.add(error);
}

/** `right`: whether a value is; `codes`: errors it may be rejected with. */
async function expectOutcome(what, call, right, codes) {
  const { value, error } = await outcomeOf(what, call);
  if (error !== undefined) expectError(what, error, codes);
  else if (!right(value)) broken(`${what} gave ${String(value).slice(0, 200)}`);
  return error;
}

const never = () => false;
const same = (found, wanted) => found.length === wanted.length && found.every((each, n) => each === wanted[n]);
const isWhole = (first, length) => (found) => same(found, tasks.words(first, length));

/** Whether the deaths of workers are to be seen. */
const retrying = (pick) => (pick(2) === 0 ? { retries: manyRetries, codes: [] } : { retries: 0, codes: [lostCode] });
/** From within a cell to far beyond it. */
const someLength = (pick) => [10, 900, 1100, 10_000, 40_000][pick(5)];
const someNumbers = (pick, count) => Array.from({ length: 1 + pick(count) }, () => pick(2 ** 30));

const actions = {
  async call(pick) {
    const { retries, codes } = retrying(pick);
    const n = pick(2 ** 30);
    const fn = pick(2) === 0 ? tasks.mix : tasks.later;
    await expectOutcome('a call', pool.apply(fn, [n], { retries }), (value) => value === tasks.mix(n), codes);
  },

  async largeArgument(pick) {
    const { retries, codes } = retrying(pick);
    const all = tasks.words(pick(1000), someLength(pick));
    await expectOutcome('a sum', pool.apply(tasks.sum, [all], { retries }), (value) => value === tasks.sum(all), codes);
  },

  async largeResult(pick) {
    const { retries, codes } = retrying(pick);
    const [first, length] = [pick(1000), someLength(pick)];
    await expectOutcome('words', pool.apply(tasks.words, [first, length], { retries }), isWhole(first, length), codes);
  },

  async tooLargeArgument() {
    const call = pool.apply(tasks.sum, [new Int32Array(2 ** 24)]);
    await expectOutcome('what finds no room', call, never, ['ERR_NDSHM_CAPACITY']);
  },

  async map(pick) {
    const { retries, codes } = retrying(pick);
    const items = someNumbers(pick, 300);
    const chunkSize = pick(2) === 0 ? 'auto' : 1 + pick(20);
    let last = -1;
    const onProgress = ({ done, total }) => {
      if (done < last || total !== items.length) broken(`progress from ${last} to ${done} of ${total}`);
      last = done;
    };
    const isWatched = pick(2) === 0;
    const error = await expectOutcome(
      'a map',
      pool.map(tasks.mix, items, { chunkSize, retries, ...(isWatched ? { onProgress } : {}) }),
      (values) => same(values, items.map(tasks.mix)),
      codes,
    );
    if (isWatched && error === undefined && last !== items.length) broken(`${last} of ${items.length} were done`);
  },

  async mapOfArrays(pick) {
    const items = Array.from({ length: 1 + pick(8) }, () => [pick(1000), someLength(pick)]);
    const call = pool.starmap(tasks.words, items, { chunkSize: 1 + pick(3), retries: manyRetries });
    await expectOutcome('a map of arrays', call, (found) => found.every((each, n) => isWhole(...items[n])(each)), []);
  },

  async failingMap(pick) {
    const items = Array.from({ length: 2 + pick(40) }, (_, n) => 7 * n + 1);
    const bad = pick(items.length);
    items[bad] = 7 * bad;
    const call = pool.map(tasks.failingAtSome, items, { chunkSize: 1 + pick(5), retries: manyRetries });
    const error = await expectOutcome('a failing map', call, never, [`E${7 * bad}`]);
    if (error.index !== bad || error.cause.n !== 7 * bad)
      broken(`item ${bad} failed as ${error.index}, ${error.cause}`);
  },

  async imap(pick) {
    const { retries, codes } = retrying(pick);
    const items = someNumbers(pick, 40);
    const chunkSize = 1 + pick(4);
    const ordered = pick(2) === 0;
    const last = pick(3) === 0 ? pick(items.length) : items.length; // or it is left before its end
    const mapped = pool[ordered ? 'imap' : 'imapUnordered'](tasks.failingAtSome, items, { chunkSize, retries });
    const left = new Map(items.map((n, index) => [index, n]));
    for (let count = 0; count < last; count++) {
      const { value: result, error } = await outcomeOf('an imap', mapped.next());
      if (error?.code === lostCode) {
        expectError('an imap', error, codes); // which is that of a whole chunk
        if (ordered) left.delete(count);
        continue;
      }
      const wanted = [...left].find(([index, n]) =>
        error === undefined ? n % 7 !== 0 && tasks.mix(n) === result.value : index === error.index,
      );
      if (wanted === undefined) broken(`an imap gave ${result?.value}, ${error?.stack}`);
      const [index, n] = wanted;
      left.delete(index);
      if (error !== undefined) expectError('an imap', error, n % 7 === 0 ? [`E${n}`] : []);
      if (ordered && index !== count && tasks.mix(items[index]) !== tasks.mix(items[count])) {
        broken(`an imap gave item ${index} in place ${count}`);
      }
    }
    if (last < items.length) await outcomeOf('the end of an imap', mapped.return());
    else if (!(await mapped.next()).done) broken('an imap gave more than its items');
  },

  async graph(pick) {
    const { retries, codes } = retrying(pick);
    const make = pool.remote(tasks.words, { retries });
    const add = pool.remote(tasks.sumOf, { retries });
    const leaves = Array.from({ length: 2 + pick(6) }, () => [pick(1000), someLength(pick)]);
    let layer = leaves.map((leaf) => make(...leaf));
    while (layer.length > 1) {
      layer = Array.from({ length: Math.ceil(layer.length / 2) }, (_, n) => add(...layer.slice(2 * n, 2 * n + 2)));
    }
    const wanted = tasks.sumOf(...leaves.map((leaf) => tasks.words(...leaf)));
    await expectOutcome('a graph', layer[0], (value) => value === wanted, codes);
  },

  async failure(pick) {
    const n = pick(1000);
    const error = await expectOutcome('a failure', pool.apply(tasks.failing, [n]), never, [`E${n}`, lostCode]);
    if (error.code !== lostCode && error.message !== `task ${n}`) broken(`task ${n} says '${error.message}'`);
  },

  async unsendable() {
    const call = pool.apply(tasks.unsendable, [], { retries: manyRetries });
    await expectOutcome('a function', call, never, ['ERR_NDSHM_INVALID_ARGUMENT']);
  },

  async tooLong(pick) {
    const call = pool.apply(pick(2) === 0 ? tasks.endless : tasks.stopped, [], {
      timeoutMs: 1 + pick(20),
      retries: pick(2),
    });
    await expectOutcome('what takes too long', call, never, ['ERR_NDSHM_TIMEOUT', lostCode]);
  },

  async cancelled(pick) {
    const [fn, n] = [pick(2) === 0 ? tasks.endless : tasks.later, pick(1000)];
    const ref = pool.applyAsync(fn, [n], { retries: pick(2) });
    const dependent = pool.remote(tasks.mix)(ref);
    for (let turns = pick(30); turns > 0; turns--) await turn();
    const isCancelled = pool.cancel(ref);
    if (fn === tasks.endless && isCancelled) {
      for (const each of [ref, dependent])
        await expectOutcome('what is cancelled', each, never, ['ERR_NDSHM_CANCELLED']);
    } else {
      const codes = isCancelled ? ['ERR_NDSHM_CANCELLED'] : [lostCode];
      await expectOutcome('what may be cancelled', ref, (value) => value === tasks.mix(n), codes);
      await expectOutcome('what depends on it', dependent, (value) => value === tasks.mix(tasks.mix(n)), [
        ...codes,
        lostCode,
      ]);
    }
  },

  async aborted(pick) {
    const controller = new AbortController();
    const reason = Object.assign(new Error('not wanted'), { code: 'ABORTED' });
    const items = someNumbers(pick, 100);
    const how = { signal: controller.signal, retries: manyRetries };
    const call = outcomeOf(
      'a map',
      pick(2) === 0 ? pool.map(tasks.later, items, how) : pool.map(tasks.endless, items, how),
    );
    for (let turns = pick(50); turns > 0; turns--) await turn();
    controller.abort(reason);
    const { value, error } = await call;
    if (error === undefined ? !same(value, items.map(tasks.mix)) : error !== reason)
      broken(`an aborted map: ${error?.stack}`);
  },

  async leaving(pick) {
    suicides++;
    const code = pick(100);
    const error = await expectOutcome('the end of a worker', pool.apply(tasks.leaving, [code]), never, [lostCode]);
    if (error.exitCode !== code && error.signal !== 'SIGKILL') broken(`exit with ${code} is told as ${error.message}`);
  },

  async secondTime(pick) {
    suicides++;
    const [place, n] = [nextPlace++ % attemptPlaces, pick(2 ** 30)];
    attempts.data[place] = 0;
    const call = pool.apply(tasks.secondTime, [attempts, place, n], { retries: manyRetries });
    await expectOutcome('what succeeds the second time', call, (value) => value === tasks.mix(n), []);
  },

  async sharedRows(pick) {
    const rows = ndshm.create(`${prefix}rows-${calls}-${pick(2 ** 30)}`, { shape: [8, 50], ephemeral: true });
    const items = Array.from({ length: 8 }, (_, n) => [rows.slice(n), pick(1000) + n]);
    const call = pool.starmap(tasks.fillRow, items, { chunkSize: 1 + pick(3), retries: manyRetries });
    const wanted = items.flatMap(([, n]) => new Array(50).fill(tasks.mix(n) % 1000));
    await expectOutcome('rows', call, () => same(rows.data, wanted), []);
    rows.close();
  },

  async actor(pick) {
    const { value: counter, error } = await outcomeOf('an actor', pool.actor(tasks.Counter, 5));
    if (error !== undefined) {
      expectError('an actor', error, [lostCode]);
      return;
    }
    const refs = Array.from({ length: 1 + pick(20) }, () => counter.add(2));
    const ends = await Promise.all(refs.map((ref) => outcomeOf('a method', ref)));
    const alive = ends.findIndex(({ error }) => error !== undefined);
    for (const [n, { value, error }] of ends.entries()) {
      if (alive < 0 || n < alive ? value !== 5 + 2 * (n + 1) : error?.code !== lostCode) {
        broken(`call ${n} of an actor, which died at ${alive}, gave ${value}, ${error?.stack}`);
      }
    }
    await outcomeOf('the end of an actor', counter[Symbol.asyncDispose]());
  },
};

/** The kinds of which there are more, because they are what others are disturbed in. */
const common = ['call', 'call', 'largeArgument', 'largeResult', 'map', 'map', 'imap', 'graph'];
/** Those that cost the start of a worker, which takes as long as a hundred of the others. */
const rare = new Set(['actor', 'tooLong', 'leaving', 'secondTime', 'cancelled', 'aborted']);
const usual = [...common, ...common, ...Object.keys(actions).filter((kind) => !rare.has(kind))];

async function client(number) {
  const pick = chooser(seed + number);
  while (!isEnough) {
    const kinds = pick(50) === 0 ? [...rare] : usual;
    await actions[kinds[pick(kinds.length)]](pick);
  }
}

async function takeTurns() {
  for (let isReady = true; ; isReady = !isReady) {
    // Every other time some workers are still on their way. More than that in a row would be a pool that cannot start any.
    if (isReady) await outcomeOf('ready()', pool.ready());
    process.send({ pids: pool.pids });
    const [message] = await once(process, 'message');
    if (message === 'enough') break;
  }
  isEnough = true;
}

/** All functions have been described once, so that nothing else remains of what has been done. */
async function warmUp() {
  await pool.ready();
  await pool.map(tasks.mix, [1]);
  for (const fn of [tasks.words, tasks.sum, tasks.sumOf, tasks.later, tasks.mix]) await pool.apply(fn, [[1], 1]);
  for (const name of ['failing', 'failingAtSome', 'unsendable']) await outcomeOf(name, pool.apply(tasks[name], [0]));
  await pool.apply(tasks.fillRow, [new Float64Array(1), 1]);
  const aborted = { timeoutMs: 1 };
  for (const name of ['endless', 'stopped']) await outcomeOf(name, pool.apply(tasks[name], [], aborted));
  await outcomeOf('leaving', pool.apply(tasks.leaving, [0]));
  await pool.apply(tasks.secondTime, [attempts, 0, 0], { retries: manyRetries });
  await (await pool.actor(tasks.Counter, 0))[Symbol.asyncDispose]();
  await pool.ready();
}

function children() {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        new RegExp(`^PPid:\\s+${process.pid}$`, 'm').test(readFileSync(`/proc/${pid}/status`, 'utf8'))
      );
    } catch {
      return false; // it has gone meanwhile
    }
  });
}

const holdings = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  objects: pool.store.stat().objects,
  workers: children().length,
});

/** What was there before is what is there now, once all refs have been collected and all sockets closed. */
async function expectNothingLeft(before) {
  const wanted = JSON.stringify(before);
  const end = performance.now() + limitMs;
  for (;;) {
    global.gc();
    await pool.ready();
    const found = JSON.stringify(holdings());
    if (found === wanted) return;
    if (performance.now() > end) broken(`${found} are left of ${wanted}; ${JSON.stringify(pool.store.list())}`);
    await turn();
  }
}

async function main() {
  await warmUp();
  global.gc();
  const before = holdings();
  await Promise.all([takeTurns(), ...Array.from({ length: clients }, (_, number) => client(number))]);
  await expectNothingLeft(before);
  await outcomeOf('close()', pool.close());
  if (children().length > 0) broken(`the workers ${children()} are left`);
  attempts.close();
  process.send({ calls, lost: lost.size, suicides }, () => process.disconnect());
}

main().catch((error) => broken(error.stack));
