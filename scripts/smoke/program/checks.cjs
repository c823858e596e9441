// What must work wherever ndshm is installed. Prints one line that starts with OK, or fails.
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { existsSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { Worker } = require('node:worker_threads');
const { fillRow } = require('./tasks.cjs');

/** The command by which this program was started, such as an emulator with its arguments, for starting another. */
const [command, ...commandArgs] = JSON.parse(process.env['SMOKE_COMMAND']);
const deadline = AbortSignal.timeout(60_000);

module.exports = async function checks(ndshm, how) {
  const name = `ndshm-smoke-${process.pid}-${how}`;
  // Left open on purpose: ending with an open array must be clean.
  const a = ndshm.create(name, { shape: [3, 4], dtype: 'float64' });
  try {
    a.set([1, 2], 5.5);
    await anotherProcess(ndshm, a);
    await endedThread(a);
    closing(ndshm, name);
    withoutName(ndshm);
    await workers(ndshm, `${name}-rows`);
    await managers(ndshm, `${name}-shared`);
    ndshm.unlink(name);
    assert.equal(existsSync(`/dev/shm/${name}`), false);
    assert.throws(() => ndshm.open(name), { code: 'ENOENT' });
    assert.equal(a.get(1, 2), 6.5, 'the memory outlives its name');
  } finally {
    if (existsSync(`/dev/shm/${name}`)) ndshm.unlink(name);
  }
  console.log(`OK ${runtime()} ${process.arch} by ${how}`);
};

function runtime() {
  const { bun, deno, node } = process.versions;
  return bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node ${node}`;
}

/** Another process sees writes made after it has opened the array, in each mode what the mode promises. */
async function anotherProcess(ndshm, a) {
  const child = spawn(command, [...commandArgs, join(__dirname, 'peer.cjs'), a.name], {
    stdio: ['pipe', 'pipe', 'inherit'],
    signal: deadline,
  });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextAnswer = async () => {
    const { value } = await lines.next();
    assert.notEqual(value, undefined, 'the other process ended early');
    return JSON.parse(value);
  };
  const answer = (question) => {
    child.stdin.write(`${question}\n`);
    return nextAnswer();
  };
  assert.deepEqual(await answer('values'), { r: 5.5, 'r+': 5.5, c: 5.5 });
  a.set([1, 2], 6.5);
  assert.deepEqual(await answer('values'), { r: 6.5, 'r+': 6.5, c: 6.5 });
  assert.equal(await answer('write r'), 'ERR_NDSHM_READ_ONLY');
  assert.equal(await answer('write r+'), null);
  assert.equal(await answer('write c'), null);
  assert.equal(a.get(0, 0), 1, "what 'r+' has written");
  assert.equal(a.get(0, 1), 0, "what 'c' has written is its own");
  assert.equal(ndshm.stat(a.name).peers.length, 4);
  await a.write(async () => {
    assert.equal(await answer('lock'), 'waits');
    assert.equal(a.get(0, 2), 0, 'nobody else is inside');
  });
  assert.equal(await nextAnswer(), 'was inside');
  assert.equal(a.get(0, 2), 9);
  await objects(ndshm, `${a.name}-store`, answer);
  child.stdin.end(); // it ends with its arrays open
  assert.deepEqual(await ended, [0, null]);
  assert.equal(ndshm.stat(a.name).peers.length, 1);
}

/** It gets what was put here, small and large. */
async function objects(ndshm, name, answer) {
  const store = ndshm.Store.open(name, { capacity: '16MiB' });
  try {
    const refs = [
      await store.put({ bytes: new Uint8Array([1, 2, 3]), map: new Map([['a', 7n]]) }),
      await store.put({ numbers: new Float64Array(20_000).fill(0.5) }),
    ];
    assert.deepEqual(await answer(`get ${JSON.stringify({ name, refs })}`), [3, '7', 20_000, 0.5]);
    assert.equal(store.delete(refs[0]), true);
    assert.equal(store.has(refs[0]), false);
  } finally {
    store.close();
  }
  assert.equal(existsSync(`/dev/shm/${name}`), false, 'the last one out has taken the store away');
}

/** A thread that is ended while it holds the array takes nothing with it. */
async function endedThread(a) {
  const worker = new Worker(join(__dirname, 'thread.cjs'), { workerData: a.handle });
  const [value] = await once(worker, 'message', { signal: deadline });
  assert.equal(value, 6.5);
  assert.equal(a.get(2, 3), 7);
  await worker.terminate();
  assert.equal(a.get(2, 3), 7);
}

function closing(ndshm, name) {
  const b = ndshm.open(name);
  const { data } = b;
  assert.equal(data.length, 12);
  b.close();
  b.close();
  assert.equal(data.length, 0);
  assert.throws(() => b.get(0, 0), { code: 'ERR_NDSHM_CLOSED' });
}

function withoutName(ndshm) {
  const a = ndshm.anonymous({ shape: 5, dtype: 'int32' });
  a.fill(-7);
  assert.deepEqual(a.toNested(), [-7, -7, -7, -7, -7]);
  assert.equal(a.name, null);
}

/** A pool runs functions of modules and of this file, on shared arrays and on large copies, and survives its workers. */
async function workers(ndshm, name) {
  if (command.startsWith('qemu')) process.execPath = emulated();
  const rows = ndshm.create(name, { shape: [4, 1000], ephemeral: true });
  const pool = new ndshm.Pool({ processes: 2, storeCapacity: '16MiB' });
  try {
    assert.equal(await pool.apply((base, exponent) => base ** exponent, [2, 10]), 1024);
    const pids = await pool.map(fillRow, [...rows]);
    assert(pids.every((pid) => pool.pids.includes(pid)));
    assert.deepEqual(
      [...rows.reshape([4000]).data].filter((_, n) => n % 1000 === 999),
      pids,
    );
    const halved = await pool.apply(
      (numbers) => numbers.map((number) => number / 2),
      [new Float64Array(20_000).fill(3)],
    );
    assert.deepEqual([halved.length, halved[19_999]], [20_000, 1.5]);
    const add = pool.remote((x, y) => x + y);
    assert.equal(await add(add(1, 2), 3), 6);
    await assert.rejects(
      pool.apply(() => process.exit(3)),
      { code: 'ERR_NDSHM_WORKER_LOST', exitCode: 3 },
    );
    await assert.rejects(
      pool.map((x) => new Promise((resolve) => x === 1 || resolve()), [0, 1, 2], { timeoutMs: 500 }),
      { code: 'ERR_NDSHM_TIMEOUT', index: 1 },
    );
  } finally {
    await pool.close();
    rows.close();
  }
}

/** A manager in a process of its own: values, callbacks, shared arrays and locks, also by a second connection. */
async function managers(ndshm, name) {
  if (command.startsWith('qemu')) process.execPath = emulated();
  const manager = await ndshm.Manager.start();
  const other = await ndshm.Manager.connect({ address: manager.address });
  const shared = ndshm.create(name, { shape: 3, ephemeral: true });
  try {
    const dict = await manager.getOrCreate('smoke', 'dict');
    await dict.set('value', new Map([['numbers', new Float64Array([1, 2])]]));
    assert.deepEqual((await other.getOrCreate('smoke', 'dict').get('value')).get('numbers'), new Float64Array([1, 2]));
    const makeTotal = await manager.register(
      'Total',
      class {
        async of(array, each) {
          let total = 0;
          for (const value of array.data) total += await each(value);
          return total;
        }
      },
    );
    shared.fill(2);
    assert.equal(await makeTotal().of(shared, (value) => 10 * value), 60);
    const lock = await manager.getOrCreate('lock', 'lock');
    await lock.acquire();
    const waiting = other.getOrCreate('lock', 'lock').acquire({ timeoutMs: 60_000 });
    await lock.release();
    await waiting;
    assert.equal(await lock.locked(), true);
    await assert.rejects(dict.nothing(), { code: 'ERR_NDSHM_NOT_EXPOSED' });
  } finally {
    await other.close();
    await manager.close();
    shared.close();
  }
}

/** fork() starts process.execPath, which is another machine's. */
function emulated() {
  const script = join(__dirname, 'emulated-node.sh');
  writeFileSync(script, `#!/bin/sh\nexec ${[command, ...commandArgs].join(' ')} "$@"\n`, { mode: 0o755 });
  return script;
}
