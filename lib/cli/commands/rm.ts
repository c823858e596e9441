import { readdirSync } from 'node:fs';
import type { Command } from 'commander';
import picomatch from 'picomatch';
import { binding } from '../../binding';
import { nameOf } from '../names';
import { note, type OutputOptions, print } from '../output';
import { usage } from '../processes';
import { type Removed, removable, remove } from '../remove';
import { bytesInWords, countInWords, printable } from '../words';

interface RmOptions extends OutputOptions {
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

interface Refused {
  readonly name: string;
  readonly code: string | null;
  readonly message: string;
}

export function define(command: Command): void {
  command
    .argument('<name...>', "names, or patterns of names like 'demo-*'")
    .option('-f, --force', 'remove also what is in use; whoever uses it keeps it until they close it')
    .option('-n, --dry-run', 'only say what would be removed')
    .addHelpText(
      'after',
      '\nA pattern means neither foreign segments nor those of other users: name them exactly. A store goes with all that\n' +
        'belongs to it.',
    )
    .action((given: string[], options: RmOptions) => {
      const { force = false, dryRun = false } = options;
      const refused: Refused[] = [];
      // Each by itself: what can be done is done.
      const attempt = <T>(name: string, run: () => T): T[] => {
        try {
          return [run()];
        } catch (error) {
          const { code = null, message } = error as NodeJS.ErrnoException;
          refused.push({ name, code, message });
          return [];
        }
      };
      const processes = usage();
      const names = new Set(given.flatMap((each) => attempt(each, () => namesOf(each)).flat()));
      const removed = [...names].flatMap((name) => attempt(name, () => remove(name, { force, dryRun, processes })));
      print(options, { dryRun, removed, refused }, () => removed.map((each) => inWords(each, dryRun)).join('\n'));
      if (refused.length === 0) return;
      process.exitCode = 1;
      if (options.json === true) return;
      for (const { message } of refused) note(`ndshm: ${printable(message)}`);
      if (refused.some(({ code }) => code === 'EBUSY')) {
        note('--force takes away the name of what is in use; whoever uses it keeps it until they close it');
      }
    });
}

/** A name that is there means itself, whatever is in it. */
function namesOf(given: string): string[] {
  const name = nameOf(given);
  if (!picomatch.scan(name).isGlob || readdirSync(binding.layout.directory).includes(name)) return [name];
  const found = removable(name);
  if (found.length > 0) return found;
  const message = `'${printable(name)}' fits no segment of yours; foreign ones, and other users', have to be named exactly`;
  throw Object.assign(new Error(message), { code: 'ENOENT' });
}

function inWords({ name, members, bytes, users }: Removed, dryRun: boolean): string {
  const what = `${dryRun ? 'Would remove' : 'Removed'} ${printable(name)}`;
  const more = members.length === 0 ? '' : ` and ${countInWords(members.length, 'segment')} of it`;
  const until =
    users.length === 0 ? '' : `, free when ${users.join(', ')} ${users.length === 1 ? 'has' : 'have'} closed it`;
  return `${what}${more} (${bytesInWords(bytes)}${until})`;
}
