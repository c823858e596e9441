// Uses every part of the native code once, in several threads at a time, and ends by itself: what scripts/sanitize.sh
// runs under the sanitizers. Ends with 1 if anything is not as it should be.
const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { truncateSync } = require('node:fs');
const { join } = require('node:path');
const { isMainThread, threadId, Worker } = require('node:worker_threads');
const ndshm = require('ndshm');
const { Reservoir } = require('../../dist/array/reservoir');

const prefix = `ndshm-exercise-${process.pid}-${threadId}`;
let count = 0;
const freshName = () => `${prefix}-${count++}`;
const code = (run) => {
  try {
    run();
  } catch (error) {
    return error.code;
  }
  return undefined;
};

function modes(source) {
  const name = freshName();
  const made = ndshm.fromArray(name, source, { ephemeral: true });
  const arrays = ['r', 'r+', 'c'].map((mode) => ndshm.open(name, { mode }));
  for (const array of arrays) array.data[source.length - 1] = 2;
  assert.deepEqual(
    [made, ...arrays].map((array) => array.get(-1)),
    [2, 2, 2, 2],
  );
  assert.equal(ndshm.stat(name).peers.length, 4);
  ndshm.create(name, { shape: 3, ephemeral: true, ifExists: 'replace' }).close();
  assert.equal(
    code(() => ndshm.open(name)),
    'ENOENT',
  );
  for (const array of [made, ...arrays]) array.close();
}

function truncation() {
  const name = freshName();
  ndshm.fromArray(name, new Float64Array(100_000).fill(1)).close();
  const arrays = ['r', 'r+', 'c'].map((mode) => ndshm.open(name, { mode }));
  truncateSync(`/dev/shm/${name}`, 8192);
  for (const array of arrays) {
    assert.equal(array.get(-1), 0);
    assert.equal(
      code(() => array.get(0)),
      'ERR_NDSHM_TRUNCATED',
    );
    array.close();
  }
  ndshm.unlink(name);
}

function manyPeers() {
  const name = freshName();
  const arrays = [ndshm.create(name, { shape: 1, ephemeral: true })];
  while (code(() => arrays.push(ndshm.open(name))) === undefined);
  assert.equal(arrays.length, 256);
  assert.equal(ndshm.stat(name).peers.length, 256);
  for (const array of arrays) array.close();
}

// Ranges that are mapped, leased, dropped, lost; prefaulting that ends, and that is still going on when the thread ends.
async function reservoirs() {
  const parent = ndshm.create(freshName(), { shape: 1, ephemeral: true });
  const open = () => Reservoir.openOrCreate(parent, 'pages.0', 2 ** 30);
  const [one, other] = [open(), open()];
  const source = new Uint8Array(2 ** 25 + 5).fill(3);
  const byteLength = 2 ** 25 + 4096;
  one.fill(0, byteLength, source);
  for (const count of [1, 4097, 2 ** 21 + 7, 2 ** 23 + 7]) one.write(count, source.subarray(1, count));
  const how = { shared: false, leased: true };
  const buffers = Array.from({ length: 40 }, (_, n) => one.map((n % 20) * 4096, 4096, how));
  assert.equal(new Uint8Array(buffers[0])[7], 3);
  for (const buffer of buffers.slice(0, 30)) one.unmap(buffer);
  assert.equal(other.isLeased(0, 20 * 4096), true);
  const settled = one.prefault(2 ** 26, 2 ** 24);
  const given = assert.rejects(other.prefault(2 ** 28, 2 ** 28), { code: 'ERR_NDSHM_CLOSED' });
  other.close();
  const alive = setInterval(() => {}, 1000); // prefaulting alone would not keep the thread
  await Promise.all([settled, given]);
  clearInterval(alive);
  globalThis.mapped = one.map(0, byteLength, how);
  truncateSync(`/dev/shm/${one.name}`, 8192);
  ndshm.unlink(one.name); // without its control block it is nobody's member
  assert.deepEqual([new Uint8Array(globalThis.mapped)[2 ** 25], one.faulted], [0, true]);
  one.close();
  assert.equal(new Uint8Array(buffers[35])[0], 0);
  globalThis.parent = ndshm.create(freshName(), { shape: 1, ephemeral: true });
  globalThis.reservoir = Reservoir.openOrCreate(globalThis.parent, 'pages.0', 2 ** 30);
  globalThis.prefault = globalThis.reservoir.prefault(0, 2 ** 28);
  parent.close();
}

// A worker process that ends before its parent lets go of it, and one that ends by that.
async function watched() {
  const stdio = ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'];
  const start = (how) => fork(join(__dirname, 'watched.js'), [freshName(), how], { stdio });
  const ends = start('andEnd');
  const endless = start('twice');
  const exits = [ends, endless].map((worker) => once(worker, 'exit'));
  await once(endless, 'message');
  endless.stdio[4].destroy();
  assert.deepEqual(await Promise.all(exits), [
    [0, null],
    [137, null],
  ]);
}

function dropped() {
  globalThis.kept = ndshm.create(freshName(), { shape: 10, ephemeral: true }); // open when the thread ends
  ndshm.anonymous({ shape: 10 });
  ndshm.anonymous({ shape: 0 }).close();
}

// All threads at once, on one segment.
async function locks() {
  const name = `ndshm-exercise-${process.pid}-locks`;
  const how = { shape: 2, dtype: 'int32', ifExists: 'open', ephemeral: true };
  const array = ndshm.create(name, how);
  const other = ndshm.open(name, { mode: 'r+' });
  const add = ({ data }) => {
    data[0]++;
    data[1]++;
  };
  for (let round = 0; round < 200; round++) {
    const since = array.version;
    await Promise.all([array.write(add), other.write(add), array.read(({ data }) => assert.equal(data[0], data[1]))]);
    array.writeSync(add);
    assert.equal(await other.snapshot(({ data }) => data[0] - data[1]), 0);
    assert.ok((await other.changed({ since, timeoutMs: 10_000 })) > since);
  }
  // Waits that end in another way: by the time, by abortion, by closing.
  const controller = new AbortController();
  const { signal } = controller;
  let letGo;
  let holding = Promise.resolve();
  await new Promise((inside) => {
    holding = array.write(
      () =>
        new Promise((resolve) => {
          letGo = resolve;
          inside();
        }),
    );
  });
  const aborted = [other.write(add, { signal }), other.changed({ since: 2 ** 40, signal })].map((wait) =>
    assert.rejects(wait, { name: 'AbortError' }),
  );
  await assert.rejects(other.read(add, { timeoutMs: 5 }), { code: 'ERR_NDSHM_TIMEOUT' });
  controller.abort();
  await Promise.all(aborted);
  letGo();
  await holding;
  const closedOn = other.changed({ since: 2 ** 40 });
  other.close();
  await assert.rejects(closedOn, { code: 'ERR_NDSHM_CLOSED' });
  array.close();
}

for (const length of [1, 1000, 200_000, 6_000_001]) modes(new Float64Array(length).fill(1));
for (let round = 0; round < 20; round++) modes(new Float64Array(10 + round));
truncation();
manyPeers();
dropped();
ndshm.list({ foreign: true });
ndshm.gc();

if (isMainThread) {
  const threads = Array.from({ length: 4 }, () => new Worker(__filename));
  const ended = threads.map((thread) => once(thread, 'exit'));
  void Promise.all([locks(), reservoirs(), watched(), ...ended]).then(([, , , ...codes]) => {
    process.exitCode = Math.max(...codes.flat());
    globalThis.kept.close();
    globalThis.parent.close();
    ndshm.gc();
  });
} else {
  void locks();
  void reservoirs();
}
