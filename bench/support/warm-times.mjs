/**
 * The milliseconds that each call of `work` takes, as many as go into `milliseconds`, and one at least. As many before
 * them do not count: the compiler is still at work, and processes are not yet awake.
 */
export async function warmTimes(work, milliseconds) {
  await timesFor(work, milliseconds);
  return timesFor(work, milliseconds);
}

async function timesFor(work, milliseconds) {
  const times = [];
  const end = performance.now() + milliseconds;
  for (let start = performance.now(); start < end; ) {
    await work();
    const now = performance.now();
    times.push(now - start);
    start = now;
  }
  return times;
}
