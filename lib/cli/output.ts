import widthOf from 'string-width';
import { printable } from './words';

/** What every command has. */
export interface OutputOptions {
  readonly json?: boolean;
}

/** A command line that makes no sense: the message, the usage, exit code 2. All other errors: exit code 1. */
export class Misuse extends Error {}

/** Prints a result: with --json the value, as one line, else the text. */
export function print({ json }: OutputOptions, value: unknown, text: () => string): void {
  const shown = json === true ? JSON.stringify(value) : text();
  if (shown !== '') process.stdout.write(`${shown}\n`);
}

/** For people, beside the result: to standard error. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function reportFailure(error: unknown, json: boolean): void {
  const { code, message } = error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error) };
  // What names are in a message may be anybody's.
  const lines = message.split('\n').map(printable);
  note(json ? JSON.stringify({ error: { code: code ?? null, message } }) : `ndshm: ${lines.join('\n')}`);
}

/** In a table: there is no such thing here. */
export const none = '–';

/** Columns for people, two spaces apart, without lines between them. Columns of numbers are aligned to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  if (rows.length === 0) return '';
  const columns = head.map((title, n) =>
    columnOf(
      title,
      rows.map((row) => row[n] ?? ''),
    ),
  );
  const lines = [head, ...rows].map((_, n) => columns.map((column) => column[n]).join('  '));
  return lines.map((line) => line.trimEnd()).join('\n');
}

/** All cells made as wide as the widest. */
function columnOf(title: string, cells: readonly (string | number)[]): string[] {
  const told = cells.filter((cell) => cell !== none);
  const isNumeric = told.length > 0 && told.every((cell) => typeof cell === 'number');
  const texts = [title, ...cells.map(String)];
  const widths = texts.map((text) => widthOf(text));
  const width = widths.reduce((most, each) => Math.max(most, each), 0);
  return texts.map((text, n) => {
    const space = ' '.repeat(width - (widths[n] as number));
    return isNumeric ? space + text : text + space;
  });
}
