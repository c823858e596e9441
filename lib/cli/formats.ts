import { extname } from 'node:path';
import { type Command, Option } from 'commander';
import { Misuse } from './output';

export const formats = ['npy', 'raw', 'csv'] as const;
export type Format = (typeof formats)[number];

export interface FormatOptions {
  readonly format?: Format;
  /** Between the numbers of a csv file. */
  readonly delimiter?: string;
}

const extensions: Readonly<Record<string, Format>> = {
  '.npy': 'npy',
  '.csv': 'csv',
  '.tsv': 'csv',
  '.txt': 'csv',
  '.raw': 'raw',
  '.bin': 'raw',
};

export function addFormatOptions(command: Command, delimiter: string): Command {
  return command
    .addOption(new Option('--format <format>', 'default: by the ending of the file').choices(formats))
    .option('--delimiter <text>', `of csv: what is between the numbers (default: ${delimiter})`, (text) =>
      text === '\\t' ? '\t' : text,
    );
}

export function formatOf(file: string, { format }: FormatOptions): Format {
  const found = format ?? extensions[extname(file).toLowerCase()];
  if (found !== undefined) return found;
  const which = file === '-' ? "what comes through '-' has no ending" : `the ending of '${file}' tells no format`;
  throw new Misuse(`${which}; say --format ${formats.join(' or ')}`);
}
