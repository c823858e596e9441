const { SingleBar } = require('cli-progress');

/** A bar on a terminal, a line now and then elsewhere. Calls `work` with the function that moves it. */
async function withProgress(label, total, work) {
  const bar = new SingleBar({
    format: process.stdout.isTTY ? '   {label}: {bar} {value} of {total}' : '   {label}: {value} of {total}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    clearOnComplete: true,
    hideCursor: true,
    noTTYOutput: true,
    notTTYSchedule: 2000,
    gracefulExit: false, // signals are the demo's own business
    stream: process.stdout,
  });
  bar.start(total, 0, { label });
  try {
    return await work((value) => bar.update(value));
  } finally {
    bar.stop();
  }
}

module.exports = { withProgress };
