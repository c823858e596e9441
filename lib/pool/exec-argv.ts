// Node's options that say which program to run, or how.
const modes = ['-i', '--interactive', '-c', '--check', '--test', '--watch'];
const withValue = ['-e', '--eval', '-p', '--print', '-pe', '--input-type'];

/**
 * This process's own options, without what would make a worker run its program instead of the worker's. (Node's fork
 * leaves `-e` out itself, but not in a worker thread, where each worker would then start the program, and its pool, anew.)
 */
export function inheritedExecArgv(argv: readonly string[] = process.execArgv): string[] {
  const kept: string[] = [];
  for (let n = 0; n < argv.length; n++) {
    const option = argv[n] as string;
    const name = option.split('=')[0] as string;
    if (withValue.includes(name)) {
      if (name === option) n++; // the value is the next one
    } else if (!modes.includes(name)) kept.push(option);
  }
  return kept;
}
