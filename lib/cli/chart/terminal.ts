import { Ansis } from 'ansis';
import { plot } from 'simple-ascii-chart';
import { style as usual } from '../style';
import { rangeOf, shareOf, viridis } from './colors';
import { shortNumber, tickLabels } from './numbers';
import type { Chart, HeatmapChart, HistogramChart, LineChart, Point } from './sample';

export interface Size {
  /** In characters. */
  readonly width: number;
  readonly height: number;
}

export interface TerminalOptions extends Size {
  /** As of Ansis: 0 = no colours, 1 = 16, 2 = 256, 3 = all. Default: what somebody looks at can show. */
  readonly colorLevel?: number;
}

// What is beside a drawing: labels and an axis at its left; a title, a legend, an axis, a scale or notes above and below.
const besideColumns = 12;
const besideRows = 6;
const drawingSize = ({ width, height }: Size) => ({
  columns: Math.max(10, width - besideColumns),
  rows: Math.max(4, height - besideRows),
});

/** What sample() has to give for a drawing of this size: a character of a heat map is two cells high. */
export function resolutionOf(size: Size): { columns: number; rows: number } {
  const { columns, rows } = drawingSize(size);
  return { columns, rows: 2 * rows };
}

/** A chart in characters, without a newline at its end. */
export async function textOf(chart: Chart, options: TerminalOptions): Promise<string> {
  const style = options.colorLevel === undefined ? usual : new Ansis(options.colorLevel);
  const title = `${style.bold(chart.title)}  ${chart.subtitle}`;
  const drawing = Number.isNaN(chart.low) ? ['No element is a finite number.'] : await draw(chart, options, style);
  const notes = chart.notes.map((note) => style.dim(`(${note})`));
  return [title, ...drawing, ...notes]
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .join('\n');
}

async function draw(chart: Chart, size: Size, style: Ansis): Promise<string[]> {
  switch (chart.kind) {
    case 'line':
      return lines(chart, size, style);
    case 'histogram':
      return bars(chart, size);
    case 'heatmap':
      return cells(chart, size, style);
  }
}

/** Of the lines, with the code that simple-ascii-chart puts before each of their characters. */
const palette = [
  { code: 34, color: 'ansiBlue', paint: 'blue' },
  { code: 31, color: 'ansiRed', paint: 'red' },
  { code: 32, color: 'ansiGreen', paint: 'green' },
  { code: 35, color: 'ansiMagenta', paint: 'magenta' },
  { code: 36, color: 'ansiCyan', paint: 'cyan' },
  { code: 33, color: 'ansiYellow', paint: 'yellow' },
] as const;
type Paint = (typeof palette)[number];
const escapeCode = String.fromCharCode(27);
const painted = new RegExp(`${escapeCode}\\[(3\\d)m(.)${escapeCode}\\[0m`, 'gu');

async function lines(chart: LineChart, size: Size, style: Ansis): Promise<string[]> {
  const { ticks } = await import('d3-array');
  const { columns: most, rows } = drawingSize(size);
  const up = ticks(chart.low, chart.high, Math.max(2, Math.floor(rows / 3)));
  const upLabels = tickLabels(up);
  const labelWidth = Math.max(...upLabels.map((label) => label.length));
  const columns = Math.max(10, Math.min(most, size.width - labelWidth - 2));
  const perColumn = Math.max(1, chart.length / columns);
  const stretches = chart.lines.flatMap(({ points }, n) =>
    unbroken(onePerColumn(points, perColumn)).map((points) => ({ points, paint: paintOf(n) })),
  );
  const along = ticks(0, chart.length - 1, Math.floor(columns / 12)).filter(Number.isInteger);
  const labels = {
    x: new Map(along.map((tick) => [Math.floor(tick / perColumn), shortNumber(tick)])),
    y: new Map(upLabels.map((label, n) => [up[n] as number, label])),
  };
  const text = plot(
    stretches.map(({ points }) => points),
    {
      width: columns,
      height: rows,
      color: stretches.map(({ paint }) => paint.color),
      customXAxisTicks: [...labels.x.keys()],
      customYAxisTicks: up,
      // It leaves as much room for labels as the longest value of a point takes.
      formatter: (value, { axis }) => labels[axis].get(value) ?? (axis === 'x' ? '' : ' '.repeat(labelWidth)),
    },
  );

  // Colours or, where there are none and several lines, a letter for each.
  const several = chart.lines.length > 1;
  const mark = (character: string, paint: Paint, n: number) =>
    style.level > 0 ? style[paint.paint](character) : several ? String.fromCharCode(97 + n) : character;
  const drawn = text.replace(painted, (_, code: string, character: string) => {
    const n = palette.findIndex((paint) => paint.code === Number(code));
    return mark(character, palette[n] as Paint, n);
  });
  const legend = chart.lines.map(({ label }, n) => `${mark('━', paintOf(n), n)} ${label}`).join('   ');
  return [...(several ? [legend] : []), ...drawn.split('\n').filter((line) => line.trim() !== '')];
}

const paintOf = (line: number): Paint => palette[line % palette.length] as Paint;

/**
 * Of each column's extremes the one that is farther from where the line comes from (where it begins: from its mean), so that
 * no peak is lost.
 */
function onePerColumn(points: readonly Point[], perColumn: number): Point[] {
  const drawn: Point[] = [];
  const finite = points.flatMap(([, y]) => (Number.isNaN(y) ? [] : [y]));
  const mean = finite.reduce((sum, y) => sum + y / finite.length, 0);
  let from = mean;
  for (const [x, y] of points) {
    const column = Math.floor(x / perColumn);
    const last = drawn.at(-1);
    if (last === undefined || last[0] !== column) {
      from = last === undefined || Number.isNaN(last[1]) ? mean : last[1];
      drawn.push([column, y]);
    } else if (Number.isNaN(last[1]) || Math.abs(y - from) > Math.abs(last[1] - from)) {
      drawn[drawn.length - 1] = [column, y];
    }
  }
  return drawn;
}

/** The stretches between gaps. */
function unbroken(points: readonly Point[]): [number, number][][] {
  const stretches: [number, number][][] = [[]];
  for (const [x, y] of points) {
    if (Number.isNaN(y)) stretches.push([]);
    else stretches.at(-1)?.push([x, y]);
  }
  return stretches.filter((stretch) => stretch.length > 0);
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

function bars({ bins, whole }: HistogramChart, { width }: Size): string[] {
  const edges = tickLabels([...bins.map(({ from }) => from), (bins.at(-1) as { to: number }).to]);
  const labels = bins.map(({ from }, n) => (whole ? String(from + 0.5) : `${edges[n]} … ${edges[n + 1]}`));
  const labelWidth = Math.max(...labels.map((label) => label.length));
  const most = Math.max(...bins.map(({ count }) => count));
  const room = Math.max(10, width - labelWidth - String(most).length - 4);
  return bins.map(({ count }, n) => {
    const eights = Math.round((count / most) * room * 8);
    const bar = '█'.repeat(Math.floor(eights / 8)) + eighths[eights % 8];
    return `${(labels[n] as string).padStart(labelWidth)} ┤${bar} ${count}`;
  });
}

const shades = ' ░▒▓█';
/** How large the cells of a small array get, so that they are seen. */
const largestCell = 4;

/** Half a character is a square, nearly: two cells, one above the other, in the colours of its text and of its ground. */
async function cells(chart: HeatmapChart, size: Size, style: Ansis): Promise<string[]> {
  const room = drawingSize(size);
  const unit = Math.max(
    1,
    Math.min(largestCell, Math.floor(room.columns / chart.columns), Math.floor((2 * room.rows) / chart.rows)),
  );
  const [rows, columns] = [chart.rows * unit, chart.columns * unit];
  const range = rangeOf(chart.values);
  const colorOf = await viridis();
  const color = (value: number) => colorOf(shareOf(value, range));
  const shade = (share: number) => shades[Math.min(shades.length - 1, Math.floor(share * shades.length))] as string;
  const valueAt = (row: number, column: number) =>
    row < rows
      ? (chart.values[Math.floor(row / unit) * chart.columns + Math.floor(column / unit)] as number)
      : Number.NaN;

  const character = (top: number, bottom: number): string => {
    if (style.level === 0) {
      const value = Number.isNaN(top) ? bottom : Number.isNaN(bottom) ? top : (top + bottom) / 2;
      return Number.isNaN(value) ? '×' : shade(shareOf(value, range));
    }
    if (Number.isNaN(top)) return Number.isNaN(bottom) ? ' ' : style.hex(color(bottom))('▄');
    return Number.isNaN(bottom) ? style.hex(color(top))('▀') : style.hex(color(top)).bgHex(color(bottom))('▀');
  };
  const drawn: string[] = [];
  for (let row = 0; row < rows; row += 2) {
    const label = row === 0 ? '0' : row >= rows - 2 ? String(chart.shape[0] - 1) : '';
    const across = Array.from({ length: columns }, (_, column) =>
      character(valueAt(row, column), valueAt(row + 1, column)),
    );
    drawn.push(`${label.padStart(besideColumns - 3)} ┤${across.join('')}`);
  }
  const indent = ' '.repeat(besideColumns - 1);
  const last = String(chart.shape[1] - 1);
  const axis = columns > last.length + 1 ? `0${last.padStart(columns - 1)}` : '0';
  const [low, high] = range.map((each) => shortNumber(each));
  const scale = Array.from({ length: 20 }, (_, n) =>
    style.level === 0 ? shade(n / 20) : style.hex(colorOf(n / 19))('█'),
  );
  return [...drawn, indent + axis, low === high ? '' : `${indent}${low} ${scale.join('')} ${high}`];
}
