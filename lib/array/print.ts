import { f16round } from '@petamoriken/float16';
import type { Complex, DTypeSpec, Element } from './dtype';

// numpy's array2string with its default print options, rule by rule (numpy/_core/arrayprint.py describes them):
// the same digits, the same padding, the same line breaks.

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

/** The values as numpy's str() prints them. */
export function formatValues(array: Printable): string {
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
      const width = Math.max(...shown.map((element) => String(element).length));
      return (element) => String(element).padStart(width);
    }
    case 'float':
      return floatFormatter(shown as number[], partBytes(spec), false) as (element: Element) => string;
    case 'complex': {
      const re = floatFormatter((shown as Complex[]).map((each) => each.re), partBytes(spec), false);
      const im = floatFormatter((shown as Complex[]).map((each) => each.im), partBytes(spec), true);
      return (element) => {
        const imaginary = im((element as Complex).im);
        const end = imaginary.trimEnd().length;
        return `${re((element as Complex).re)}${imaginary.slice(0, end)}j${imaginary.slice(end)}`;
      };
    }
  }
}

const partBytes = (spec: DTypeSpec): number => spec.itemBytes / spec.lanes;

const roundTo = (bytes: number): ((value: number) => number) =>
  bytes === 8 ? (value) => value : bytes === 4 ? Math.fround : f16round;

function floatFormatter(shown: readonly number[], bytes: number, plusSign: boolean): (value: number) => string {
  const round = roundTo(bytes);
  const finite = shown.filter(Number.isFinite);
  const sizes = finite.filter((value) => value !== 0).map(Math.abs);
  const largest = Math.max(...sizes);
  const smallest = Math.min(...sizes);
  const scientific =
    sizes.length > 0 && (largest >= 1e8 || smallest < round(0.0001) || round(largest / smallest) > 1000);
  const signOf = (value: number) => (value < 0 || Object.is(value, -0) ? '-' : plusSign ? '+' : '');

  // Each number as sign, integer digits, fraction digits and exponent digits, shortened to what tells it apart.
  const split = (value: number) => {
    const digits = scientific ? scientificDigits(Math.abs(value), bytes) : positionalDigits(Math.abs(value), bytes);
    return { ...digits, whole: signOf(value) + digits.whole };
  };
  const parts = finite.map(split);
  const exponentWidth = scientific ? Math.max(...parts.map((part) => part.exponent.length - 1)) : 0;
  const fractionWidth = Math.max(0, ...parts.map((part) => part.fraction.length));
  const padRight = scientific ? exponentWidth + 2 + fractionWidth : fractionWidth;
  let padLeft = Math.max(0, ...parts.map((part) => part.whole.length));
  if (finite.length < shown.length) {
    const infinitySign = plusSign || shown.includes(-Infinity) ? 1 : 0;
    padLeft = Math.max(padLeft, 3 - (padRight + 1), 3 + infinitySign - (padRight + 1));
  }
  return (value) => {
    if (!Number.isFinite(value)) {
      const name = Number.isNaN(value) ? 'nan' : 'inf';
      const sign = Number.isNaN(value) ? (plusSign ? '+' : '') : signOf(value);
      return (sign + name).padStart(padLeft + padRight + 1);
    }
    const { whole, fraction, exponent } = split(value);
    if (!scientific) return `${whole.padStart(padLeft)}.${fraction.padEnd(fractionWidth)}`;
    const power = exponent.slice(1).padStart(exponentWidth, '0');
    return `${whole.padStart(padLeft)}.${fraction.padEnd(fractionWidth, '0')}e${exponent[0]}${power}`;
  };
}

interface Digits {
  readonly whole: string;
  readonly fraction: string;
  /** With its sign, at least two digits; '' in positional notation. */
  readonly exponent: string;
}

function positionalDigits(value: number, bytes: number): Digits {
  let text = shortest(value, bytes).positional;
  if ((text.split('.')[1] ?? '').length > precision) text = roundHalfEven(value.toFixed(100), precision);
  const [whole, fraction] = text.split('.') as [string, string | undefined];
  return { whole, fraction: (fraction ?? '').replace(/0+$/, ''), exponent: '' };
}

function scientificDigits(value: number, bytes: number): Digits {
  let text = shortest(value, bytes).scientific;
  if ((/\.(\d*)/.exec(text)?.[1] ?? '').length > precision) {
    const [mantissa, power] = value.toExponential(100).split('e') as [string, string];
    const rounded = roundHalfEven(mantissa, precision);
    text = rounded.startsWith('10') ? `1e${Number(power) + 1}` : `${rounded}e${power}`;
  }
  const [mantissa, power] = text.split('e') as [string, string];
  const [whole, fraction] = mantissa.split('.') as [string, string | undefined];
  const exponent = Number(power);
  return {
    whole,
    fraction: (fraction ?? '').replace(/0+$/, ''),
    exponent: `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`,
  };
}

/** The fewest digits that mean this very number in its precision. */
function shortest(value: number, bytes: number): { positional: string; scientific: string } {
  let scientific = value.toExponential();
  if (bytes < 8) {
    const round = roundTo(bytes);
    for (let digits = 0; digits <= 9; digits++) {
      scientific = value.toExponential(digits);
      if (round(Number(scientific)) === value) break;
    }
  }
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

/** Cuts exact decimal digits to `places` behind the point; a tie goes to the even digit, as IEEE and numpy round. */
function roundHalfEven(exact: string, places: number): string {
  const point = exact.indexOf('.');
  const kept = exact.slice(0, point) + exact.slice(point + 1, point + 1 + places);
  const rest = exact.slice(point + 1 + places);
  const up = rest > '5' && !/^50*$/.test(rest) ? true : /^50*$/.test(rest) && Number(kept.at(-1)) % 2 === 1;
  const digits = (BigInt(kept) + (up ? 1n : 0n)).toString().padStart(places + 1, '0');
  return `${digits.slice(0, -places)}.${digits.slice(-places)}`;
}
