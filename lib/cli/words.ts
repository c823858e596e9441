// How amounts, times and other people's text are told to people.

export { bytesInWords } from '../errors';

/** '5 s', '3 min', '2 h', '4 d': how long ago that was. */
export function ageInWords(since: Date, now = Date.now()): string {
  const seconds = Math.max(0, Math.floor((now - since.getTime()) / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 72 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** '1 segment', '2 segments'. */
export const countInWords = (count: number, what: string): string =>
  `${count} ${what}${count === 1 ? '' : what.endsWith('s') ? 'es' : 's'}`;

/** As ls(1) shows permission bits: 'rw-r--r--'. */
export function permissionsInWords(bits: number): string {
  return Array.from({ length: 9 }, (_, n) => ((bits >> (8 - n)) & 1 ? 'rwx'[n % 3] : '-')).join('');
}

/** Other people's text without what a terminal would obey: names of files and command lines may contain anything. */
export function printable(text: string): string {
  // Control characters, invisible ones as those that turn the direction of writing, and line separators.
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (each) => {
    const code = (each.codePointAt(0) as number).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u{${code}}`;
  });
}

/** The text, cut off where it is longer than so many characters. */
export const clipped = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1)}…`;
