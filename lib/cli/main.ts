#!/usr/bin/env node
// Must not load the addon: `ndshm build` is for those who have none.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build';

interface Command {
  readonly summary: string;
  /** Throws on failure. */
  run(packageRoot: string): void;
}

const commands: Readonly<Record<string, Command>> = {
  build: { summary: 'compile the addon from the sources in the package (needs CMake and a C++ compiler)', run: build },
};

const usage = `Usage: ndshm <command>

Commands:
${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`)
  .join('\n')}

Options:
  -h, --help     print this
  -v, --version  print the version
`;

class UsageError extends Error {}

function parse(args: readonly string[]) {
  try {
    const options = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'v' } } as const;
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(messageOf(error)); // an unknown option
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function main(args: readonly string[]): void {
  const packageRoot = join(__dirname, '../..');
  const { values, positionals } = parse(args);
  if (values.help === true) {
    process.stdout.write(usage);
    return;
  }
  if (values.version === true) {
    const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
    process.stdout.write(`${version}\n`);
    return;
  }
  const [name, ...surplus] = positionals;
  if (name === undefined) throw new UsageError('Expected a command');
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) throw new UsageError(`Unknown command '${name}'`);
  if (surplus.length > 0) throw new UsageError(`Unexpected argument '${surplus[0]}' for ${name}`);
  command.run(packageRoot);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  const misused = error instanceof UsageError;
  process.stderr.write(`ndshm: ${messageOf(error)}\n${misused ? `\n${usage}` : ''}`);
  process.exitCode = misused ? 2 : 1;
}
