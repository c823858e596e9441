import type { Command } from 'commander';
import { gc } from '../../index';
import { type OutputOptions, print } from '../output';
import { allSegments } from '../segments';
import { bytesInWords, countInWords, printable } from '../words';

interface GcOptions extends OutputOptions {
  readonly dryRun?: boolean;
}

export function define(command: Command): void {
  command
    .option('-n, --dry-run', 'only say what would be removed')
    .addHelpText(
      'after',
      '\nRemoves segments that belonged to processes which have all ended, and replacements that never got their name. Never\n' +
        'anything that a living process has, or that was made to stay: `ndshm rm` removes that.',
    )
    .action((options: GcOptions) => {
      const { dryRun = false } = options;
      const sizes = new Map(allSegments().map(({ name, allocatedBytes }) => [name, allocatedBytes]));
      const names = gc({ dryRun });
      const removed = names.map((name) => ({ name, bytes: sizes.get(name) ?? 0 }));
      const bytes = removed.reduce((sum, each) => sum + each.bytes, 0);
      print(options, { dryRun, removed, bytes }, () => {
        if (removed.length === 0) return 'Nothing is left over';
        const verb = dryRun ? 'Would remove' : 'Removed';
        return [
          ...removed.map((each) => `${verb} ${printable(each.name)} (${bytesInWords(each.bytes)})`),
          `${countInWords(removed.length, 'segment')}, ${bytesInWords(bytes)}`,
        ].join('\n');
      });
    });
}
