import { rangeOf, shareOf, viridis } from './colors';
import { shortNumber, tickLabels } from './numbers';
import type { Chart, HeatmapChart, HistogramChart, LineChart } from './sample';

export interface SvgOptions {
  /** In pixels. */
  readonly width: number;
  readonly height: number;
  /** Default false. */
  readonly dark?: boolean;
}

const light = { ground: '#ffffff', text: '#1f2328', muted: '#656d76', grid: '#e1e4e8', axis: '#8c959f' };
const dark = { ground: '#0d1117', text: '#e6edf3', muted: '#8d96a0', grid: '#21262d', axis: '#6e7681' };
type Theme = typeof light;

const fonts = "system-ui, 'DejaVu Sans', 'Liberation Sans', 'Noto Sans', Arial, sans-serif";

/**
 * A chart as an SVG document with its background. It holds no script, no style sheet, and refers to nothing outside; all
 * text is escaped.
 */
export async function svgOf(chart: Chart, options: SvgOptions): Promise<string> {
  const { width, height } = options;
  const theme = options.dark === true ? dark : light;
  const drawing = Number.isNaN(chart.low)
    ? text('No element is a finite number.', width / 2, height / 2, { fill: theme.muted, 'text-anchor': 'middle' })
    : await draw(chart, options, theme);
  const head = [
    text(chart.title, 16, 26, { 'font-size': 16, 'font-weight': 600, fill: theme.text }),
    text(chart.subtitle, 16, 45, { fill: theme.muted }),
  ];
  const notes = text(chart.notes.join(' · '), 16, height - 10, { 'font-size': 11, fill: theme.muted });
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      'font-family': fonts,
      'font-size': 12,
      role: 'img',
    },
    [
      element('title', {}, [escaped(chart.title)]),
      element('rect', { width, height, fill: theme.ground }),
      ...head,
      drawing,
      notes,
    ],
  );
}

type Attributes = Readonly<Record<string, string | number>>;

/** Numbers with as many digits as can be seen. */
const attribute = (value: string | number): string =>
  typeof value === 'number' ? String(Number(value.toFixed(2))) : escaped(value);

function element(name: string, attributes: Attributes, children: readonly string[] = []): string {
  const pairs = Object.entries(attributes).map(([key, value]) => ` ${key}="${attribute(value)}"`);
  return children.length === 0
    ? `<${name}${pairs.join('')}/>`
    : `<${name}${pairs.join('')}>${children.join('')}</${name}>`;
}

const text = (content: string, x: number, y: number, attributes: Attributes): string =>
  content === '' ? '' : element('text', { x, y, ...attributes }, [escaped(content)]);

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Without what XML does not know at all: one such character would spoil the whole document. */
function escaped(content: string): string {
  return content
    .toWellFormed()
    .replace(/[^\t\n\r\x20-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"']/g, (each) => entities[each] as string);
}

/** Where the axes are. */
interface Area {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

async function draw(chart: Chart, size: SvgOptions, theme: Theme): Promise<string> {
  switch (chart.kind) {
    case 'line':
      return lines(chart, size, theme);
    case 'histogram':
      return bars(chart, size, theme);
    case 'heatmap':
      return cells(chart, size, theme);
  }
}

/** Of the longest of these labels, nearly. */
const widthOf = (labels: readonly string[]): number => 7.5 * Math.max(0, ...labels.map((label) => label.length));

function areaFor({ width, height }: SvgOptions, labels: readonly string[], right = 20, top = 64): Area {
  return { left: 24 + widthOf(labels), top, right: width - right, bottom: height - 54 };
}

interface Tick {
  readonly at: number;
  readonly label: string;
}

const ticksOf = (values: readonly number[], place: (value: number) => number): Tick[] =>
  tickLabels(values).map((label, n) => ({ at: place(values[n] as number), label }));

function xAxis(ticks: readonly Tick[], name: string, { left, right, bottom }: Area, theme: Theme): string {
  const marks = ticks.map(
    ({ at, label }) =>
      element('line', { x1: at, x2: at, y1: bottom, y2: bottom + 4, stroke: theme.axis }) +
      text(label, at, bottom + 17, { fill: theme.muted, 'text-anchor': 'middle', 'font-size': 11 }),
  );
  const line = element('line', { x1: left, x2: right, y1: bottom, y2: bottom, stroke: theme.axis });
  const title = text(name, right, bottom + 31, { fill: theme.muted, 'text-anchor': 'end', 'font-size': 11 });
  return line + marks.join('') + title;
}

/** With lines across the area. */
function yAxis(ticks: readonly Tick[], { left, right }: Area, theme: Theme): string {
  return ticks
    .map(
      ({ at, label }) =>
        element('line', { x1: left, x2: right, y1: at, y2: at, stroke: theme.grid }) +
        text(label, left - 8, at + 4, { fill: theme.muted, 'text-anchor': 'end', 'font-size': 11 }),
    )
    .join('');
}

/** A number on its axis: a range of one number is widened. */
const widened = (low: number, high: number): [number, number] =>
  low < high ? [low, high] : [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];

async function lines(chart: LineChart, size: SvgOptions, theme: Theme): Promise<string> {
  const [{ scaleLinear }, { line }, { schemeTableau10 }] = await Promise.all([
    import('d3-scale'),
    import('d3-shape'),
    import('d3-scale-chromatic'),
  ]);
  const y = scaleLinear(widened(chart.low, chart.high), [0, 0]).nice();
  const values = y.ticks(Math.max(2, Math.floor(size.height / 60)));
  const several = chart.lines.length > 1;
  const area = areaFor(size, tickLabels(values), 20, several ? 84 : 64);
  y.range([area.bottom, area.top]);
  const x = scaleLinear([0, Math.max(1, chart.length - 1)], [area.left, area.right]);
  const indices = x.ticks(Math.floor((area.right - area.left) / 90)).filter(Number.isInteger);

  const path = line<readonly [number, number]>(
    ([at]) => x(at),
    ([, value]) => y(value),
  )
    .defined(([, value]) => !Number.isNaN(value))
    .digits(1);
  const colorOf = (n: number) => schemeTableau10[n % schemeTableau10.length] as string;
  const paths = chart.lines.map(({ points }, n) =>
    element('path', {
      d: path(points) ?? '',
      fill: 'none',
      stroke: colorOf(n),
      'stroke-width': 1.5,
      'stroke-linejoin': 'round',
      // A point between two gaps is seen as a dot.
      'stroke-linecap': 'round',
    }),
  );
  let at = area.left;
  const legend = chart.lines.map(({ label }, n) => {
    const begin = at;
    at += 36 + widthOf([label]);
    return (
      element('line', { x1: begin, x2: begin + 16, y1: 65, y2: 65, stroke: colorOf(n), 'stroke-width': 3 }) +
      text(label, begin + 21, 69, { fill: theme.text, 'font-size': 11 })
    );
  });
  return [
    yAxis(ticksOf(values, y), area, theme),
    xAxis(ticksOf(indices, x), 'index', area, theme),
    ...paths,
    ...(several ? legend : []),
  ].join('');
}

async function bars({ bins, whole }: HistogramChart, size: SvgOptions, theme: Theme): Promise<string> {
  const [{ scaleLinear }, { schemeTableau10 }] = await Promise.all([import('d3-scale'), import('d3-scale-chromatic')]);
  const most = Math.max(...bins.map(({ count }) => count));
  const y = scaleLinear([0, most], [0, 0]).nice();
  const counts = y.ticks(Math.max(2, Math.floor(size.height / 60))).filter(Number.isInteger);
  const area = areaFor(size, tickLabels(counts));
  y.range([area.bottom, area.top]);
  const [first, last] = [bins[0], bins.at(-1)] as [(typeof bins)[0], (typeof bins)[0]];
  const x = scaleLinear([first.from, last.to], [area.left, area.right]);
  const values = x.ticks(Math.floor((area.right - area.left) / 90)).filter((tick) => !whole || Number.isInteger(tick));
  const color = schemeTableau10[0] as string;
  const drawn = bins.map(({ from, to, count }) => {
    const [left, right] = [x(from), x(to)];
    // A gap where there is room for one.
    const gap = right - left > 4 ? 1 : 0;
    return element('rect', {
      x: left,
      y: y(count),
      width: right - left - gap,
      height: area.bottom - y(count),
      fill: color,
    });
  });
  return [yAxis(ticksOf(counts, y), area, theme), ...drawn, xAxis(ticksOf(values, x), 'value', area, theme)].join('');
}

/** As many colours as can be told apart, each drawn as one path. */
const shades = 64;

async function cells(chart: HeatmapChart, size: SvgOptions, theme: Theme): Promise<string> {
  const [{ ticks }, colorOf] = await Promise.all([import('d3-array'), viridis()]);
  const range = rangeOf(chart.values);
  const [rows, columns] = chart.shape;
  const indices = (length: number, room: number) =>
    ticks(0, length - 1, Math.max(1, Math.floor(room))).filter(Number.isInteger);
  const rowTicks = indices(rows, size.height / 50);
  const area = areaFor(size, tickLabels(rowTicks), 40 + widthOf(range.map((each) => shortNumber(each))), 76);
  // An index is in the middle of its row or column.
  const x = (column: number) => area.left + ((column + 0.5) / columns) * (area.right - area.left);
  const y = (row: number) => area.top + ((row + 0.5) / rows) * (area.bottom - area.top);
  const columnTicks = indices(columns, (area.right - area.left) / 90);
  const rowMarks = ticksOf(rowTicks, y).map(({ at, label }) =>
    text(label, area.left - 8, at + 4, { fill: theme.muted, 'text-anchor': 'end', 'font-size': 11 }),
  );
  const ground = element('rect', {
    x: area.left,
    y: area.top,
    width: area.right - area.left,
    height: area.bottom - area.top,
    fill: theme.grid,
  });
  const scale = `translate(${area.left} ${area.top}) scale(${(area.right - area.left) / chart.columns} ${(area.bottom - area.top) / chart.rows})`;
  const paths = pathsOf(chart, range).map((d, shade) =>
    d === '' ? '' : element('path', { d, fill: colorOf(shade / (shades - 1)) }),
  );
  return [
    ground, // seen where there is no number
    element('g', { transform: scale, 'shape-rendering': 'crispEdges' }, paths),
    ...rowMarks,
    text('row', area.left - 8, area.top - 8, { fill: theme.muted, 'text-anchor': 'end', 'font-size': 11 }),
    xAxis(ticksOf(columnTicks, x), 'column', area, theme),
    colorBar(range, colorOf, area, theme),
  ].join('');
}

/** For each shade the cells of its color, as runs along their rows, one unit each. */
function pathsOf({ rows, columns, values }: HeatmapChart, range: readonly [number, number]): string[] {
  const paths = new Array<string>(shades).fill('');
  const shadeAt = (row: number, column: number) =>
    Math.round(shareOf(values[row * columns + column] as number, range) * (shades - 1)); // NaN stays NaN
  for (let row = 0; row < rows; row++) {
    for (let begin = 0, end = 0; begin < columns; begin = end) {
      const shade = shadeAt(row, begin);
      do end++;
      while (end < columns && shadeAt(row, end) === shade);
      if (!Number.isNaN(shade)) paths[shade] += `M${begin} ${row}h${end - begin}v1h${begin - end}z`;
    }
  }
  return paths;
}

function colorBar(
  range: readonly [number, number],
  colorOf: (share: number) => string,
  { right, top, bottom }: Area,
  theme: Theme,
): string {
  const step = (bottom - top) / shades;
  const drawn = Array.from({ length: shades }, (_, n) =>
    // One unit higher than its part, so that no background shines through between two.
    element('rect', {
      x: right + 14,
      y: bottom - (n + 1) * step,
      width: 12,
      height: n === 0 ? step : step + 1,
      fill: colorOf(n / (shades - 1)),
    }),
  );
  const [low, high] = range;
  const marks = [
    { value: low, at: bottom },
    { value: (low + high) / 2, at: (top + bottom) / 2 + 4 },
    { value: high, at: top + 9 },
  ].filter((_, n) => low < high || n === 1);
  const labels = marks.map(({ value, at }) =>
    text(shortNumber(value, 4), right + 32, at, { fill: theme.muted, 'font-size': 11 }),
  );
  return drawn.join('') + labels.join('');
}
