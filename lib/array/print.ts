import type { Complex, DTypeSpec, Element } from './dtype';
import { roundToFloat16 } from './float16';

// numpy's array2string with its default print options, rule by rule (numpy/_core/arrayprint.py describes them):
// the same digits, the same padding, the same line breaks, as of numpy 2.3.

const precision = 8;
const threshold = 1000;
const edgeItems = 3;
const lineWidth = 75;

export interface Printable {
  readonly spec: DTypeSpec;
  readonly shape: readonly number[];
  readonly size: number;
  /** The element at a full index. */
  element(index: readonly number[]): Element;
}

/** The values as numpy's str() prints them: a 0-d array like its element, with all digits. */
export function formatValues(array: Printable): string {
  if (array.shape.length === 0) return formatScalar(array.spec, array.element([]));
  return array2string(array, ' ', 0, 0);
}

/** The values as numpy's repr() prints them, and what belongs to them: `SharedArray([…], shape=…, …)`. */
export function formatArray(array: Printable, className: string, extras: readonly string[]): string {
  const prefix = `${className}(`;
  const text = `${prefix}${array2string(array, ', ', prefix.length, 1)},`;
  const extra = `${extras.join(', ')})`;
  const lastLine = text.length - (text.lastIndexOf('\n') + 1);
  return text + (lastLine + extra.length + 1 > lineWidth ? `\n${' '.repeat(prefix.length)}` : ' ') + extra;
}

function array2string(array: Printable, separator: string, prefixLength: number, suffixLength: number): string {
  if (array.size === 0) return '[]';
  const summarize = array.size > threshold;
  const format = formatter(array.spec, shownElements(array, summarize), array.shape.length === 0);
  const { shape } = array;
  const ndim = shape.length;

  const recurse = (index: readonly number[], indent: string, width: number): string => {
    const axis = index.length;
    const axesLeft = ndim - axis;
    if (axesLeft === 0) return format(array.element(index));
    const positions = shownPositions(shape[axis] as number, summarize);
    const parts = positions.map((position) =>
      position === null ? '...' : recurse([...index, position], `${indent} `, width - 1),
    );
    if (axesLeft > 1) {
      return `[${parts.join(separator.trimEnd() + '\n'.repeat(axesLeft - 1) + indent)}]`;
    }
    const room = width - Math.max(separator.trimEnd().length, 1);
    let lines = '';
    let line = indent;
    parts.forEach((word, n) => {
      if (n > 0) line += separator;
      if (line.length + word.length > room && line.length > indent.length) {
        lines += `${line.trimEnd()}\n`;
        line = indent;
      }
      line += word;
    });
    return `[${(lines + line).slice(indent.length)}]`;
  };
  return recurse([], ' '.repeat(prefixLength + 1), lineWidth - suffixLength);
}

/** Along one axis: all positions, or the first and last three with null for the gap. */
function shownPositions(length: number, summarize: boolean): (number | null)[] {
  const all = (count: number, from: number) => Array.from({ length: count }, (_, n) => from + n);
  if (!summarize || length <= 2 * edgeItems) return all(length, 0);
  return [...all(edgeItems, 0), null, ...all(edgeItems, length - edgeItems)];
}

/** What will be printed; the widths depend on nothing else. */
function shownElements(array: Printable, summarize: boolean): Element[] {
  const elements: Element[] = [];
  const collect = (index: readonly number[]): void => {
    if (index.length === array.shape.length) {
      elements.push(array.element(index));
      return;
    }
    for (const position of shownPositions(array.shape[index.length] as number, summarize)) {
      if (position !== null) collect([...index, position]);
    }
  };
  collect([]);
  return elements;
}

function formatter(spec: DTypeSpec, shown: readonly Element[], scalar: boolean): (element: Element) => string {
  switch (spec.kind) {
    case 'bool':
      return (element) => (element ? (scalar ? 'True' : ' True') : 'False');
    case 'int':
    case 'uint': {
      const width = largestOf(shown.map((element) => String(element as number | bigint).length));
      return (element) => String(element as number | bigint).padStart(width);
    }
    case 'float':
      return floatFormatter(shown as number[], partBytes(spec), false) as (element: Element) => string;
    case 'complex': {
      const re = floatFormatter(
        (shown as Complex[]).map((each) => each.re),
        partBytes(spec),
        false,
      );
      const im = floatFormatter(
        (shown as Complex[]).map((each) => each.im),
        partBytes(spec),
        true,
      );
      return (element) => {
        const imaginary = im((element as Complex).im);
        const end = imaginary.trimEnd().length;
        return `${re((element as Complex).re)}${imaginary.slice(0, end)}j${imaginary.slice(end)}`;
      };
    }
  }
}

/** Math.max() of many: a summary of seven dimensions shows more values than a call takes arguments. */
const largestOf = (values: readonly number[]): number =>
  values.reduce((largest, value) => (value > largest ? value : largest), Number.NEGATIVE_INFINITY);

function formatScalar(spec: DTypeSpec, element: Element): string {
  if (spec.kind === 'bool') return element ? 'True' : 'False';
  if (spec.kind === 'float') return scalarDigits(element as number, partBytes(spec), '.0');
  if (spec.kind !== 'complex') return String(element as number | bigint);
  const { re, im } = element as Complex;
  const imaginary = `${scalarDigits(im, partBytes(spec), '')}j`;
  if (Object.is(re, 0)) return imaginary;
  return `(${scalarDigits(re, partBytes(spec), '')}${imaginary.startsWith('-') ? '' : '+'}${imaginary})`;
}

/** All digits of a number; `whole` is put behind one that has no fraction. */
function scalarDigits(value: number, bytes: number, whole: string): string {
  if (Number.isNaN(value)) return 'nan';
  const size = Math.abs(value);
  const sign = signOf(value);
  if (size === Number.POSITIVE_INFINITY) return `${sign}inf`;
  // A float64 alone keeps its digits longer than in an array.
  const limit = bytes === 8 ? 1e16 : scientificFrom(bytes);
  const scientific = size !== 0 && (size >= limit || size < 1e-4);
  const digits = scientific ? scientificDigits(size, bytes, allDigits) : positionalDigits(size, bytes, allDigits);
  const fraction = digits.fraction === '' ? (scientific ? '' : whole) : `.${digits.fraction}`;
  return `${sign}${digits.whole}${fraction}${scientific ? `e${digits.exponent}` : ''}`;
}

const signOf = (value: number): string => (value < 0 || Object.is(value, -0) ? '-' : '');

const partBytes = (spec: DTypeSpec): number => spec.itemBytes / spec.lanes;

const roundTo = (bytes: number): ((value: number) => number) =>
  bytes === 8 ? (value) => value : bytes === 4 ? Math.fround : roundToFloat16;

/** Ten to the power of the decimal digits that the dtype is sure to keep, but 1e8 at most. */
const scientificFrom = (bytes: number): number => (bytes === 8 ? 1e8 : bytes === 4 ? 1e6 : 1e3);

function floatFormatter(shown: readonly number[], bytes: number, plusSign: boolean): (value: number) => string {
  const round = roundTo(bytes);
  const finite = shown.filter(Number.isFinite);
  const sizes = finite.filter((value) => value !== 0).map(Math.abs);
  const largest = largestOf(sizes);
  const smallest = -largestOf(sizes.map((size) => -size));
  const scientific =
    sizes.length > 0 &&
    (largest >= scientificFrom(bytes) || smallest < round(0.0001) || round(largest / smallest) > 1000);
  const signed = (value: number) => signOf(value) || (plusSign ? '+' : '');

  // Each number as sign, integer digits, fraction digits and exponent digits, shortened to what tells it apart.
  const split = (value: number, places: Places) => {
    const digitsOf = scientific ? scientificDigits : positionalDigits;
    const digits = digitsOf(Math.abs(value), bytes, places);
    return { ...digits, whole: signed(value) + digits.whole };
  };
  const parts = finite.map((value) => split(value, { most: precision, least: 0 }));
  const exponentWidth = scientific ? largestOf(parts.map((part) => part.exponent.length - 1)) : 0;
  const fractionWidth = Math.max(0, largestOf(parts.map((part) => part.fraction.length)));
  const padRight = scientific ? exponentWidth + 2 + fractionWidth : fractionWidth;
  let padLeft = Math.max(0, largestOf(parts.map((part) => part.whole.length)));
  if (finite.length < shown.length) {
    const infinitySign = plusSign || shown.includes(-Infinity) ? 1 : 0;
    padLeft = Math.max(padLeft, 3 - (padRight + 1), 3 + infinitySign - (padRight + 1));
  }
  return (value) => {
    if (!Number.isFinite(value)) {
      const name = Number.isNaN(value) ? 'nan' : 'inf';
      const sign = Number.isNaN(value) ? (plusSign ? '+' : '') : signed(value);
      return (sign + name).padStart(padLeft + padRight + 1);
    }
    const least = scientific ? fractionWidth : 0;
    const { whole, fraction, exponent } = split(value, { most: scientific ? fractionWidth : precision, least });
    if (!scientific) return `${whole.padStart(padLeft)}.${fraction.padEnd(fractionWidth)}`;
    const power = exponent.slice(1).padStart(exponentWidth, '0');
    return `${whole.padStart(padLeft)}.${fraction}e${exponent[0]}${power}`;
  };
}

interface Digits {
  readonly whole: string;
  readonly fraction: string;
  /** With its sign, at least two digits; '' in positional notation. */
  readonly exponent: string;
}

/**
 * Fraction digits wanted. Within these bounds as few as tell the number apart; where there have to be more, they are
 * the digits of its exact value, as numpy has them: 4.94e-324, though 5e-324 would do.
 */
interface Places {
  readonly least: number;
  readonly most: number;
}
const allDigits: Places = { least: 0, most: Number.POSITIVE_INFINITY };

function positionalDigits(value: number, bytes: number, { most }: Places): Digits {
  let text = shortest(value, bytes).positional;
  if ((text.split('.')[1] ?? '').length > most) text = roundHalfEven(value.toFixed(100), most);
  const [whole, fraction] = text.split('.') as [string, string | undefined];
  return { whole, fraction: (fraction ?? '').replace(/0+$/, ''), exponent: '' };
}

function scientificDigits(value: number, bytes: number, { least, most }: Places): Digits {
  let text = shortest(value, bytes).scientific;
  const places = /\.(\d*)/.exec(text)?.[1]?.length ?? 0;
  if (places < least || places > most) {
    text = roundScientific(value, Math.min(Math.max(places, least), most));
  }
  const [mantissa, power] = text.split('e') as [string, string];
  const [whole, fraction = ''] = mantissa.split('.') as [string, string | undefined];
  const exponent = Number(power);
  return {
    whole,
    fraction: fraction.replace(/0+$/, '').padEnd(least, '0'),
    exponent: `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`,
  };
}

/** The fewest digits that mean this very number in its precision. */
function shortest(value: number, bytes: number): { positional: string; scientific: string } {
  const scientific = bytes === 8 ? value.toExponential() : shortestBelowDouble(value, roundTo(bytes));
  const [mantissa, power] = scientific.split('e') as [string, string];
  const [whole, fraction = ''] = mantissa.split('.') as [string, string | undefined];
  const digits = whole + fraction;
  const point = 1 + Number(power);
  const positional =
    point <= 0
      ? `0.${'0'.repeat(-point)}${digits}`
      : `${digits.slice(0, point).padEnd(point, '0')}.${digits.slice(point)}`;
  return { positional, scientific };
}

function shortestBelowDouble(value: number, round: (value: number) => number): string {
  for (let places = 0; ; places++) {
    const means = (text: string) => round(Number(text)) === value;
    const nearest = value.toExponential(places);
    if (means(nearest)) {
      const even = roundScientific(value, places); // what numpy takes of two that are as near
      return means(even) ? even : nearest;
    }
    // Numbers lie closer below a power of two than above it: the nearest decimal may mean the neighbour below, where
    // the next one still means the power.
    const above = nextAbove(nearest, places);
    if (means(above)) return above;
  }
}

function nextAbove(scientific: string, places: number): string {
  const [mantissa, power] = scientific.split('e') as [string, string];
  return `${(Number(mantissa) + 10 ** -places).toFixed(places)}e${power}`;
}

/** toExponential(), but for ties: it would take the larger. */
function roundScientific(value: number, places: number): string {
  const [mantissa, power] = value.toExponential(100).split('e') as [string, string];
  const rounded = roundHalfEven(mantissa, places);
  return rounded.startsWith('10') ? `1.${rounded.slice(3)}e${Number(power) + 1}` : `${rounded}e${power}`;
}

/** Cuts exact decimal digits to `places` behind the point; a tie goes to the even digit, as IEEE and numpy round. */
function roundHalfEven(exact: string, places: number): string {
  const point = exact.indexOf('.');
  const kept = exact.slice(0, point) + exact.slice(point + 1, point + 1 + places);
  const rest = exact.slice(point + 1 + places);
  const up = rest > '5' && !/^50*$/.test(rest) ? true : /^50*$/.test(rest) && Number(kept.at(-1)) % 2 === 1;
  const digits = (BigInt(kept) + (up ? 1n : 0n)).toString().padStart(places + 1, '0');
  return `${digits.slice(0, digits.length - places)}.${digits.slice(digits.length - places)}`;
}
