import { InvalidArgumentError } from 'commander';

// For options that are numbers: what commander calls with the text that was given.

export function numberFrom(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => checked(text.trim() === '' ? Number.NaN : Number(text), 'number', least, most);
}

export function wholeNumberFrom(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => checked(/^\d+$/.test(text) ? Number(text) : Number.NaN, 'whole number', least, most);
}

function checked(value: number, what: string, least: number, most: number): number {
  // NaN, too, is not among them.
  if (value >= least && value <= most) return value;
  const end = most === Number.MAX_SAFE_INTEGER ? 'on' : `to ${most}`;
  throw new InvalidArgumentError(`Expected a ${what} from ${least} ${end}.`);
}
