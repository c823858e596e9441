import { quantile } from './statistics.mjs';
import { warmTimes } from './warm-times.mjs';

const atOnce = (call, inFlight) => Promise.all(Array.from({ length: inFlight }, call));

/** Until the compiler has seen so many calls: on a busy machine that is longer than warmTimes() takes for it. */
export async function warmUp(call, inFlight, calls) {
  for (let made = 0; made < calls; made += inFlight) await atOnce(call, inFlight);
}

/** Calls one at a time: the median and the 99th percentile in microseconds, and thousands of calls a second. */
export async function oneAtATime(call, milliseconds) {
  const times = await warmTimes(call, milliseconds);
  const sum = times.reduce((one, other) => one + other);
  return { median: quantile(times, 0.5) * 1e3, p99: quantile(times, 0.99) * 1e3, rate: times.length / sum };
}

/** So many calls at once, then as many again when all are answered: thousands of calls a second. */
export async function manyAtOnce(call, inFlight, milliseconds) {
  const times = await warmTimes(() => atOnce(call, inFlight), milliseconds);
  return (times.length * inFlight) / times.reduce((one, other) => one + other);
}
