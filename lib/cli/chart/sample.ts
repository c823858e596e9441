import { rangeError } from '../../errors';
import type { OnProgress, SharedArray } from '../../index';
import { shapeInWords } from '../segments';
import { shortNumber } from './numbers';
import { forEachNumber, numberOf, Tally } from './tally';

// An array, however large, as the few numbers of a chart. Synchronous, so that it can be read under a snapshot.

export type ChartKind = 'line' | 'histogram' | 'heatmap';

export interface SampleOptions {
  /** Default: by the shape. */
  readonly kind?: ChartKind;
  /** What the title calls the array. Default: its name. */
  readonly label?: string;
  /** Resolution of the chart: points or cells across and down. A bar is two cells wide. */
  readonly columns: number;
  readonly rows: number;
  /** Of a histogram. Default: as many as it has elements for, and one for each value if these are few whole numbers. */
  readonly bins?: number;
  /** Elements done, and in all. */
  readonly onProgress?: OnProgress;
}

interface ChartFacts {
  readonly title: string;
  /** Dtype, shape, range. */
  readonly subtitle: string;
  /** What is drawn otherwise than somebody might think. */
  readonly notes: readonly string[];
  /** Of the elements that are drawn; NaN if there are none. */
  readonly low: number;
  readonly high: number;
}

export type Point = readonly [x: number, y: number];

export interface Line {
  readonly label: string;
  /** In the order of the elements, x being the index; y is NaN where there is a gap. */
  readonly points: readonly Point[];
}

export interface LineChart extends ChartFacts {
  readonly kind: 'line';
  /** Elements in each line. */
  readonly length: number;
  readonly lines: readonly Line[];
}

export interface Bin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export interface HistogramChart extends ChartFacts {
  readonly kind: 'histogram';
  /** Each bin is for one whole number, in its middle. */
  readonly whole: boolean;
  /** As numpy.histogram has them: without their ends, but for the last. */
  readonly bins: readonly Bin[];
}

export interface HeatmapChart extends ChartFacts {
  readonly kind: 'heatmap';
  /** Of the array. */
  readonly shape: readonly [rows: number, columns: number];
  /** Of the chart. */
  readonly rows: number;
  readonly columns: number;
  /** Means of the blocks of elements behind each cell, row by row; NaN where no element is finite. */
  readonly values: Float64Array;
}

export type Chart = LineChart | HistogramChart | HeatmapChart;

const mostLines = 6;
const mostBins = 10_000;

/**
 * The chart of an array of one or two axes, or a histogram of any. Looks at every element, at those of a histogram twice.
 * Errors: ERR_NDSHM_SHAPE for what cannot be drawn so, ERR_NDSHM_OUT_OF_RANGE for bins.
 */
export function sample(array: SharedArray, given: SampleOptions): Chart {
  const options = { ...given, columns: Math.floor(given.columns), rows: Math.floor(given.rows) };
  const { size, shape, dtype } = array;
  if (size === 0) throw rangeError('ERR_NDSHM_SHAPE', `There is nothing to draw: the shape is ${shapeInWords(shape)}`);
  const part = squeezed(array);
  const kind = options.kind ?? (part.ndim === 2 && !looksLikeLines(part.shape) ? 'heatmap' : 'line');
  const tally = new Tally(kind === 'histogram' ? 2 * size : size, options.onProgress);
  const drawn = draw[kind](part, options, tally);

  const { low, high, nan, infinite } = tally;
  const range =
    low < high ? ` · ${shortNumber(low)} … ${shortNumber(high)}` : low === high ? ` · ${shortNumber(low)}` : '';
  const notes = [
    ...drawn.notes,
    ...(dtype.startsWith('complex') ? ['complex numbers by their magnitude'] : []),
    ...(nan > 0 ? [`${nan} NaN left out`] : []),
    ...(infinite > 0 ? [`${infinite} infinite or beyond 1e290 left out`] : []),
  ];
  return {
    ...drawn,
    title: options.label ?? array.name ?? 'anonymous',
    subtitle: `${dtype} ${shapeInWords(shape)}${range}`,
    notes,
    low: low <= high ? low : Number.NaN,
    high: low <= high ? high : Number.NaN,
  };
}

type Drawn<C extends Chart> = Omit<C, 'title' | 'subtitle' | 'low' | 'high'>;
type Draw<C extends Chart> = (part: SharedArray, options: SampleOptions, tally: Tally) => Drawn<C>;

const draw: {
  line: Draw<LineChart>;
  histogram: Draw<HistogramChart>;
  heatmap: Draw<HeatmapChart>;
} = { line: drawLines, histogram: drawHistogram, heatmap: drawHeatmap };

/** Without the axes of length 1, which have no extent to draw. */
const squeezed = (array: SharedArray): SharedArray =>
  array.slice(...array.shape.map((length) => (length === 1 ? 0 : ':')));

/** A few long rows or columns. */
function looksLikeLines(shape: readonly number[]): boolean {
  const few = Math.min(...shape);
  return few <= mostLines && Math.max(...shape) >= 4 * few;
}

function drawLines(part: SharedArray, { columns }: SampleOptions, tally: Tally): Drawn<LineChart> {
  if (part.ndim === 0) {
    throw rangeError('ERR_NDSHM_SHAPE', `A single element makes no line: ${part.toString()}`);
  }
  if (part.ndim > 2) throw tooManyAxes(part, 'lines');
  if (part.ndim === 1) return lineChart([{ label: '', line: part }], columns, tally);
  const [rows, across] = part.shape as [number, number];
  const byColumn = across < rows;
  if (Math.min(rows, across) > mostLines) {
    throw rangeError(
      'ERR_NDSHM_SHAPE',
      `${shapeInWords(part.shape)} would be ${Math.min(rows, across)} lines; name a slice of up to ${mostLines}, such as '${byColumn ? ':, ' : ''}:4', or draw a heat map`,
    );
  }
  const lines = Array.from({ length: Math.min(rows, across) }, (_, n) =>
    byColumn ? { label: `[:, ${n}]`, line: part.slice(':', n) } : { label: `[${n}]`, line: part.row(n) },
  );
  return lineChart(lines, columns, tally);
}

function lineChart(
  lines: readonly { readonly label: string; readonly line: SharedArray }[],
  columns: number,
  tally: Tally,
): Drawn<LineChart> {
  const length = lines[0]?.line.size ?? 0;
  const width = length / columns;
  return {
    kind: 'line',
    length,
    lines: lines.map(({ label, line }) => ({
      label,
      points: width <= 2 ? allPoints(line, tally) : extremes(line, columns, tally),
    })),
    notes: width <= 2 ? [] : [`least and greatest of each ${shortNumber(width, 2)} elements`],
  };
}

function allPoints(line: SharedArray, tally: Tally): Point[] {
  return Array.from({ length: line.size }, (_, n) => {
    const value = numberOf(line.get(n));
    return [n, tally.add(value) ? value : Number.NaN];
  });
}

/** The least and the greatest of each column, in the order in which they come. */
function extremes(line: SharedArray, columns: number, tally: Tally): Point[] {
  const points: Point[] = [];
  const { size } = line;
  for (let column = 0; column < columns; column++) {
    const begin = Math.floor((column * size) / columns);
    const end = Math.floor(((column + 1) * size) / columns);
    let low: Point = [begin, Number.NaN];
    let high = low;
    for (let n = begin; n < end; n++) {
      const value = numberOf(line.get(n));
      if (!tally.add(value)) continue;
      // Also true at the first one, where they are NaN.
      if (!(value >= low[1])) low = [n, value];
      if (!(value <= high[1])) high = [n, value];
    }
    if (low[0] === high[0]) points.push(low);
    else points.push(...(low[0] < high[0] ? [low, high] : [high, low]));
  }
  return points;
}

function drawHistogram(part: SharedArray, options: SampleOptions, tally: Tally): Drawn<HistogramChart> {
  const { bins: asked } = options;
  if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1 && asked <= mostBins)) {
    throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `Expected 1 to ${mostBins} bins but received ${asked}`);
  }
  forEachNumber(part, (value) => tally.add(value));
  const { low, high } = tally;
  if (!(low <= high)) return { kind: 'histogram', whole: false, bins: [], notes: [] };

  const most = Math.max(1, Math.min(Math.floor(options.rows / 2), Math.ceil(2 * Math.cbrt(part.size))));
  const integers = !part.dtype.startsWith('float') && !part.dtype.startsWith('complex');
  const eachValue = asked === undefined && integers && high - low < most;
  const [from, to, count] = eachValue
    ? [low - 0.5, high + 0.5, high - low + 1]
    : [low === high ? low - 0.5 : low, low === high ? high + 0.5 : high, asked ?? most];
  const edge = (n: number) => (n === count ? to : from + (n * (to - from)) / count);
  const counts = new Float64Array(count);
  forEachNumber(part, (value) => {
    tally.tick();
    if (!(value >= low && value <= high)) return;
    let bin = Math.min(count - 1, Math.floor(((value - from) / (to - from)) * count));
    // As numpy does: the edges decide, whatever the division has rounded.
    if (value < edge(bin)) bin--;
    else if (bin < count - 1 && value >= edge(bin + 1)) bin++;
    counts[bin] = (counts[bin] as number) + 1;
  });
  return {
    kind: 'histogram',
    whole: eachValue,
    bins: Array.from(counts, (each, n) => ({ from: edge(n), to: edge(n + 1), count: each })),
    notes: [],
  };
}

function drawHeatmap(part: SharedArray, options: SampleOptions, tally: Tally): Drawn<HeatmapChart> {
  if (part.ndim > 2) throw tooManyAxes(part, 'a heat map');
  const plane = part.ndim === 2 ? part : part.reshape([1, -1]);
  const shape = plane.shape as readonly [number, number];
  const rows = Math.min(shape[0], options.rows);
  const columns = Math.min(shape[1], options.columns);
  const sums = new Float64Array(rows * columns);
  const counts = new Float64Array(rows * columns);
  for (let i = 0; i < shape[0]; i++) {
    const row = Math.floor((i * rows) / shape[0]) * columns;
    for (let j = 0; j < shape[1]; j++) {
      const value = numberOf(plane.get(i, j));
      if (!tally.add(value)) continue;
      const cell = row + Math.floor((j * columns) / shape[1]);
      sums[cell] = (sums[cell] as number) + value;
      counts[cell] = (counts[cell] as number) + 1;
    }
  }
  const perCell = [shape[0] / rows, shape[1] / columns].map((each) => shortNumber(each, 2)).join(' × ');
  return {
    kind: 'heatmap',
    shape,
    rows,
    columns,
    values: sums.map((sum, cell) => sum / (counts[cell] as number)), // 0 / 0 is NaN
    notes: perCell === '1 × 1' ? [] : [`each cell the mean of ${perCell} elements`],
  };
}

function tooManyAxes(part: SharedArray, what: string): Error {
  const slice = part.shape.map((_, axis) => (axis < part.ndim - 2 ? '0' : ':')).join(', ');
  return rangeError(
    'ERR_NDSHM_SHAPE',
    `The shape ${shapeInWords(part.shape)} has ${part.ndim} axes, too many for ${what}; name a slice such as '${slice}'`,
  );
}
