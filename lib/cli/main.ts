#!/usr/bin/env node
// Must not load the addon: `ndshm build` and `ndshm doctor` are for those who have none. So each command is a module of
// its own, loaded when it is asked for.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { Misuse, reportFailure } from './output';

interface CommandModule {
  /** Adds arguments, options and the action; the action may be async. */
  define(command: Command): void;
}

interface CommandEntry {
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

const commands: Readonly<Record<string, CommandEntry>> = {
  ls: { summary: 'list what is in shared memory', load: () => import('./commands/ls.js') },
  stat: { summary: 'show all that is known of one segment', load: () => import('./commands/stat.js') },
  who: {
    summary: 'show who has a segment open, and who holds or awaits its lock',
    load: () => import('./commands/who.js'),
  },
  top: { summary: 'watch all segments live', load: () => import('./commands/top.js') },
  print: { summary: 'print an array, or a slice of it', load: () => import('./commands/print.js') },
  plot: { summary: 'draw an array, or a slice of it', load: () => import('./commands/plot.js') },
  load: { summary: 'put a file into shared memory as an array', load: () => import('./commands/load.js') },
  save: { summary: 'write an array to a file', load: () => import('./commands/save.js') },
  rm: { summary: 'remove segments', load: () => import('./commands/rm.js') },
  gc: { summary: 'remove what crashes have left', load: () => import('./commands/gc.js') },
  watch: { summary: 'report each change of a segment', load: () => import('./commands/watch.js') },
  store: { summary: 'look into object stores', load: () => import('./commands/store.js') },
  serve: { summary: 'show shared memory in a browser', load: () => import('./commands/serve.js') },
  doctor: {
    summary: 'check whether this machine is fit for shared memory, and say what to do',
    load: () => import('./commands/doctor.js'),
  },
  build: {
    summary: 'compile the addon from the sources in the package (needs CMake and a C++ compiler)',
    load: () => import('./commands/build.js'),
  },
  completion: {
    summary: 'print what completes these commands in a shell',
    load: () => import('./commands/completion.js'),
  },
};

async function programFor(args: readonly string[]): Promise<Command> {
  const { version } = JSON.parse(readFileSync(join(__dirname, '../../package.json'), 'utf8')) as { version: string };
  const program = new Command('ndshm')
    .description('See and manage the arrays, locks and stores in shared memory.')
    .version(version, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print this')
    .helpCommand('help [command]', 'print this, or all about one command')
    .enablePositionalOptions()
    .showHelpAfterError()
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'ndshm: ')) });
  // Not only the first: 'help ls', and completion is asked about a line with another command in it.
  const mentioned = new Set(args);
  for (const [name, { summary, load }] of Object.entries(commands)) {
    const command = program.command(name).description(summary).option('--json', 'print JSON');
    command.copyInheritedSettings(program);
    if (mentioned.has(name)) (await load()).define(command);
  }
  return program;
}

async function main(args: readonly string[]): Promise<void> {
  const program = await programFor(args);
  try {
    if (args.length === 0) program.error('ndshm: expected a command', { exitCode: 2 });
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    // Commander has said what is wrong, or printed what was asked for.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else if (error instanceof Misuse) {
      const misused = program.commands.find((command) => command.name() === args[0]) ?? program;
      misused.error(`ndshm: ${error.message}`, { exitCode: 2 });
    } else throw error;
  }
}

const args = process.argv.slice(2);

// `ndshm ls | head` has read enough; a full disk is a failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    reportFailure(error, args.includes('--json'));
    process.exit(1);
  });
}

void main(args).catch((error: unknown) => {
  if (!(error instanceof CommanderError)) reportFailure(error, args.includes('--json'));
  process.exitCode = error instanceof CommanderError ? 2 : 1;
});
