import { rangeError, typeError, wrongKind } from './errors';

/**
 * Checks that `options` is a plain object with no key but these, and returns it; `undefined` counts as {}.
 * Unknown keys are refused: a misspelt option would otherwise be ignored in silence.
 */
export function checkOptions<T extends object>(
  options: T | undefined,
  known: readonly (keyof T & string)[],
  where: string,
): T {
  if (options === undefined) return {} as T;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw wrongKind('an options object', where, options);
  }
  for (const key of Object.keys(options)) {
    if (!(known as readonly string[]).includes(key)) {
      throw typeError(
        'ERR_NDSHM_INVALID_ARGUMENT',
        `Unknown option '${key}' for ${where}; known options: ${known.join(', ')}`,
      );
    }
  }
  return options;
}

export function oneOf<T extends string>(value: unknown, choices: readonly T[], what: string): T {
  if (typeof value !== 'string') throw wrongKind(choices.map((choice) => `'${choice}'`).join(' or '), what, value);
  if (!(choices as readonly string[]).includes(value)) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Expected ${choices.map((choice) => `'${choice}'`).join(' or ')} for ${what} but received '${value}'`,
    );
  }
  return value as T;
}

export function booleanOption(value: unknown, what: string): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw wrongKind('true or false', what, value);
  return value;
}

/** A whole number in [low, high]. */
export function integerIn(value: unknown, low: number, high: number, what: string): number {
  if (typeof value !== 'number') throw wrongKind('a whole number', what, value);
  if (!Number.isInteger(value) || value < low || value > high) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Expected a whole number from ${low} to ${high} for ${what} but received ${value}`,
    );
  }
  return value;
}

const byteUnits = ['', 'Ki', 'Mi', 'Gi', 'Ti'];

/** A number of bytes: 2147483648, '2GiB', '512 MiB' (IEC units, powers of 1024). */
export function byteCount(value: unknown, what: string): number {
  if (typeof value !== 'string') return integerIn(value, 0, Number.MAX_SAFE_INTEGER, what);
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?([KMGT]i)?B$/.exec(value) ?? [];
  if (number === undefined) {
    throw rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `Expected bytes as a number or like '512MiB' or '2GiB' for ${what} but received ${JSON.stringify(value.slice(0, 60))}`,
    );
  }
  return integerIn(
    Math.floor(Number(number) * 1024 ** byteUnits.indexOf(unit ?? '')),
    0,
    Number.MAX_SAFE_INTEGER,
    what,
  );
}

const namePattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,249}$/;

/** A segment name: 1–250 bytes of [A-Za-z0-9._-], not starting with a dot. */
export function checkName(name: unknown): string {
  if (typeof name !== 'string') throw wrongKind('a string', 'the segment name', name);
  if (!namePattern.test(name)) {
    throw rangeError(
      'ERR_NDSHM_INVALID_NAME',
      `Expected 1 to 250 characters of A-Z a-z 0-9 . _ - for the segment name, not starting with a dot, but received ${JSON.stringify(name.slice(0, 300))}`,
    );
  }
  return name;
}

export type Mode = 'r' | 'r+' | 'c';
export const modes = ['r', 'r+', 'c'] as const;
