// What the workers of pool-storm.js run. What a task gives depends on its arguments alone.

/** Some number that tells which one it was made of. */
const mix = (n) => Math.imul(n ^ (n >>> 15), 0x2c1b3c6d) >>> 0;

function words(first, length) {
  const all = new Int32Array(length);
  for (let n = 0; n < length; n++) all[n] = mix(first + n);
  return all;
}

const sum = (all) => all.reduce((total, word) => (total + word) | 0, 0);
const sumOf = (...parts) =>
  parts.reduce((total, part) => (total + (typeof part === 'number' ? part : sum(part))) | 0, 0);

async function later(n) {
  for (let turn = n % 4; turn >= 0; turn--) await new Promise(setImmediate); // what is awaited lets others in
  return mix(n);
}

function failing(n) {
  throw Object.assign(new Error(`task ${n}`), { code: `E${n}`, cause: { n } });
}

/** Fails with the numbers that are multiples of 7. */
const failingAtSome = (n) => (n % 7 === 0 ? failing(n) : mix(n));

const unsendable = () => () => {};

function endless() {
  for (;;);
}

function stopped() {
  for (;;) process.kill(process.pid, 'SIGSTOP');
}

const leaving = (code) => process.exit(code);

/** Comes to its end only when it is tried again. */
function secondTime(attempts, place, n) {
  if (Atomics.add(attempts.data, place, 1) === 0) process.kill(process.pid, 'SIGKILL');
  return mix(n);
}

function fillRow(row, n) {
  row.fill(mix(n) % 1000);
}

class Counter {
  constructor(from) {
    this.total = from;
  }
  add(by) {
    this.total += by;
    return this.total;
  }
}

module.exports = {
  Counter,
  endless,
  failing,
  failingAtSome,
  fillRow,
  later,
  leaving,
  mix,
  secondTime,
  stopped,
  sum,
  sumOf,
  unsendable,
  words,
};
