const { constants } = require('node:os');

/** Why the demo ends early: a signal that asks it to. */
class Interrupted extends Error {
  constructor(signalName) {
    super(`Interrupted by ${signalName}`);
    /** What shells expect of a program that a signal has ended. */
    this.exitCode = 128 + constants.signals[signalName];
  }
}

/**
 * An AbortSignal that is aborted by the first SIGINT, SIGTERM or SIGHUP (the second one kills, as it always does), or
 * when nobody reads the output any more, which Node reports as an error where other programs get SIGPIPE.
 */
function interruptionSignal() {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => controller.abort(new Interrupted(name)));
  process.stdout.on('error', () => controller.abort(new Interrupted('SIGPIPE')));
  return controller.signal;
}

module.exports = { Interrupted, interruptionSignal };
