// How amounts, times and other people's text are told to people.

/** @typedef {import('../dist/cli/serve/state.js').Sent<import('../dist/cli/serve/state.js').ListedSegment>} Segment */

export const none = '–';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** @param {number} bytes */
export function bytesInWords(bytes) {
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${units[power]}`;
}

/**
 * '5 s', '3 min': how long before `now` that was.
 * @param {string} since
 * @param {number} now
 */
export function ageInWords(since, now) {
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 72 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/**
 * @param {number} count
 * @param {string} what
 */
export const countInWords = (count, what) => `${count} ${what}${count === 1 ? '' : 's'}`;

/**
 * As numpy writes it.
 * @param {readonly number[] | null} shape
 */
export function shapeInWords(shape) {
  if (shape === null) return none;
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
}

/** @param {number} bits */
export const permissionsInWords = (bits) =>
  Array.from({ length: 9 }, (_, n) => ((bits >> (8 - n)) & 1 ? 'rwx'[n % 3] : '-')).join('');

/**
 * Names of files and command lines may contain anything: also what turns the direction of the text around it.
 * @param {string} text
 */
export const printable = (text) =>
  text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (each) => `\\u{${each.charCodeAt(0).toString(16)}}`);

/** @param {Segment} segment */
export const kindOf = ({ kind, primitive }) => primitive?.kind ?? kind;

/** @param {Segment} segment */
export const bornAt = ({ createdAt, modifiedAt }) => createdAt ?? modifiedAt;

/**
 * 'capacityBytes' → 'capacity', 'maxItems' → 'max items'
 * @param {string} fact
 */
export const factName = (fact) => fact.replace(/Bytes$/, '').replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

/**
 * @param {string} fact
 * @param {string | number | boolean | null} value
 */
export function factValue(fact, value) {
  if (typeof value === 'number' && /bytes$/i.test(fact)) return bytesInWords(value);
  return value === null ? none : printable(String(value));
}
