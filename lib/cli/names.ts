import { readdirSync } from 'node:fs';
import { distance } from 'fastest-levenshtein';
import picomatch from 'picomatch';
import { binding } from '../binding';
import type { CodedError } from '../errors';
import { list, type SegmentInfo, stat } from '../index';
import { printable } from './words';

const { directory } = binding.layout;

/** The name that somebody means who writes it as a path in /dev/shm. */
export const nameOf = (given: string): string => (given.startsWith(directory) ? given.slice(directory.length) : given);

/**
 * What is under the name that somebody typed; also of what ndshm would not open: names that it does not allow, files that
 * may not be read. An unknown name is an error that tells the nearest names. Errors: ENOENT, ERR_NDSHM_INVALID_NAME.
 */
export function statNamed(given: string): SegmentInfo {
  const name = nameOf(given);
  try {
    return stat(name);
  } catch (error) {
    const { code, message } = error as CodedError;
    const beside = list({ foreign: true, leftovers: true }).find((info) => info.name === name);
    if (beside !== undefined) return beside;
    throw code === 'ENOENT' ? Object.assign(error as CodedError, { message: message + hint(name) }) : error;
  }
}

function hint(name: string): string {
  const near = nearest(name, readdirSync(directory));
  if (near.length === 0) return '; `ndshm ls` shows what there is';
  return `; did you mean ${near.map((each) => `'${printable(each)}'`).join(' or ')}?`;
}

/** Up to three that a typing error or a forgotten ending leads away from. */
function nearest(name: string, names: readonly string[]): string[] {
  const most = Math.max(1, Math.floor(name.length / 3));
  return names
    .filter((each) => !each.startsWith('.'))
    .map((each) => ({ each, steps: each.startsWith(name) && name.length > 2 ? 1 : distance(name, each) }))
    .filter(({ steps }) => steps <= most)
    .sort((a, b) => a.steps - b.steps)
    .slice(0, 3)
    .map(({ each }) => each);
}

/** Whether it can fit several names. */
export const isPattern = (given: string): boolean => picomatch.scan(given).isGlob === true;

/** Those of the names that the shell-like pattern fits: '*', '?', '[a-z]', '{a,b}'. A name always fits itself. */
export function matching(pattern: string, names: readonly string[]): string[] {
  const wanted = nameOf(pattern);
  const fits = picomatch(wanted, { nonegate: true });
  return names.filter((name) => name === wanted || fits(name));
}
