import type * as api from 'ndshm';
import type { Chart, HeatmapChart, HistogramChart, LineChart, SampleOptions } from '../../dist/cli/chart/sample';
import { Peer } from '../helpers/child';
import { describeWithNumpy, runPython } from '../helpers/python';

// In a process of its own: d3 is of ES modules, which jest cannot import.

interface Drawn {
  readonly chart: Chart;
  readonly svg: string;
  /** Of 60 by 20 characters, without colours. */
  readonly text: string;
  readonly hasPicture: boolean;
}

let peer: Peer;
beforeAll(async () => {
  peer = await Peer.start();
});
afterAll(() => peer.kill());

interface Source {
  readonly data: ArrayBufferView;
  readonly shape: readonly number[];
  readonly dtype?: api.DType;
  readonly order?: api.Order;
}

const resolution = { columns: 48, rows: 32, label: 'a' };

function draw<C extends Chart>(source: Source, options: Partial<SampleOptions> = {}): Promise<Drawn & { chart: C }> {
  return peer.run(
    async ({ ndshm, part }, { data, shape, dtype, order }: Source, options: SampleOptions) => {
      const { sample } = part('cli/chart/sample') as typeof import('../../dist/cli/chart/sample');
      const { svgOf } = part('cli/chart/svg') as typeof import('../../dist/cli/chart/svg');
      const { textOf } = part('cli/chart/terminal') as typeof import('../../dist/cli/chart/terminal');
      const { pngOf } = part('cli/chart/png') as typeof import('../../dist/cli/chart/png');
      const array = ndshm.anonymous({ shape, dtype: dtype ?? 'float64', order: order ?? 'C' });
      try {
        array.copyFrom(data);
        const chart = sample(array, options);
        const svg = await svgOf(chart, { width: 400, height: 300 });
        const text = await textOf(chart, { width: 60, height: 20, colorLevel: 0 });
        // An SVG that is not well-formed is refused.
        return { chart: chart as C, svg, text, hasPicture: pngOf(svg).png.length > 0 };
      } finally {
        array.close();
      }
    },
    source,
    { ...resolution, ...options },
  );
}

const line = (values: readonly number[]): Source => ({ data: Float64Array.from(values), shape: [values.length] });
const sines = (length: number): number[] => Array.from({ length }, (_, n) => Math.sin(n / 7) * (n % 11));

describe('which chart', () => {
  test.each<[number[], string]>([
    [[30], 'line'],
    [[1, 30], 'line'],
    [[30, 1, 3], 'line'],
    [[3, 30], 'line'],
    [[6, 24], 'line'],
    [[7, 30], 'heatmap'],
    [[6, 23], 'heatmap'],
    [[2, 2], 'heatmap'],
  ])('of the shape %j a %s', async (shape, kind) => {
    const size = shape.reduce((product, length) => product * length, 1);
    expect((await draw({ data: Float64Array.from(sines(size)), shape })).chart.kind).toBe(kind);
  });

  test.each<[number[], Partial<SampleOptions>, string]>([
    [[2, 3, 4], {}, "name a slice such as '0, :, :'"],
    [[2, 3, 4], { kind: 'line' }, "name a slice such as '0, :, :'"],
    [[7, 30], { kind: 'line' }, "such as ':4'"],
    [[30, 7], { kind: 'line' }, "such as ':, :4'"],
    [[0, 3], {}, 'nothing to draw'],
    [[1, 1], {}, 'A single element makes no line'],
  ])('of the shape %j with %j none: says what would do', async (shape, options, message) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const drawing = draw({ data: new Float64Array(size), shape }, options);
    await expect(drawing).rejects.toMatchObject({
      code: 'ERR_NDSHM_SHAPE',
      message: expect.stringContaining(message) as string,
    });
  });
});

describe('lines', () => {
  test('of few elements have them all', async () => {
    const { chart } = await draw<LineChart>(line([3, 1, 2]));
    expect(chart.lines).toEqual([
      {
        label: '',
        points: [
          [0, 3],
          [1, 1],
          [2, 2],
        ],
      },
    ]);
    expect([chart.low, chart.high, chart.notes]).toEqual([1, 3, []]);
  });

  test('of many elements keep every peak, in order', async () => {
    const values = new Array<number>(100_000).fill(0);
    values[12_345] = 9;
    values[12_346] = -9;
    const { chart, text } = await draw<LineChart>(line(values));
    const points = chart.lines[0]?.points ?? [];
    expect(points.length).toBeLessThanOrEqual(2 * resolution.columns);
    expect(points.filter(([, y]) => y !== 0)).toEqual([
      [12_345, 9],
      [12_346, -9],
    ]);
    expect(chart.notes).toEqual(['least and greatest of each 2100 elements']);
    expect(text).toMatch(/┏/);
  });

  test('leave out what is no finite number, and say so', async () => {
    const { chart, text, svg } = await draw<LineChart>(
      line([0, 1, Number.NaN, 3, Number.POSITIVE_INFINITY, Number.NaN, 2]),
    );
    expect(chart.lines[0]?.points.map(([, y]) => y)).toEqual([0, 1, Number.NaN, 3, Number.NaN, Number.NaN, 2]);
    expect([chart.low, chart.high]).toEqual([0, 3]);
    expect(chart.notes).toEqual(['2 NaN left out', '1 infinite or beyond 1e290 left out']);
    expect(text).toContain('(2 NaN left out)');
    expect(svg).not.toContain('NaN,');
    expect(svg.match(/M[^"]*/)?.[0].match(/M/g)).toHaveLength(3); // one for each stretch
  });

  test.each([0, 1, 777, 99_999])('draw a peak at %i though thousands lie beside it', async (at) => {
    const values = new Array<number>(100_000).fill(0);
    values[at] = 9;
    const { text } = await draw<LineChart>(line(values));
    // The uppermost row, below the title and the arrow of the axis.
    expect(text.split('\n')[2]).toMatch(/[┏━┓]/);
  });

  test('show an element beside a gap, though both are in one column of characters', async () => {
    const { text } = await draw<LineChart>(
      line(Array.from({ length: 2 * resolution.columns }, (_, n) => (n % 2 === 0 ? Number.NaN : n))),
    );
    expect(text).toMatch(/┏[\s\S]*┛/);
  });

  test('of a few columns are one for each, and told apart without colours', async () => {
    const { chart, text } = await draw<LineChart>({
      data: Float64Array.from({ length: 80 }, (_, n) => (n % 2 === 0 ? n : -n)),
      shape: [40, 2],
    });
    expect(chart.lines.map(({ label }) => label)).toEqual(['[:, 0]', '[:, 1]']);
    expect(chart.lines[1]?.points[3]).toEqual([3, -7]);
    expect(text.split('\n')[1]).toBe('a [:, 0]   b [:, 1]');
    expect(text).toMatch(/┤a+[\s\S]*b/);
  });
});

describe('histograms', () => {
  test('of a few whole numbers have a bin for each', async () => {
    const { chart, text } = await draw<HistogramChart>(
      { data: Int8Array.of(3, 5, 5, 3, 5), shape: [5], dtype: 'int8' },
      { kind: 'histogram' },
    );
    expect(chart.whole).toBe(true);
    expect(chart.bins).toEqual([
      { from: 2.5, to: 3.5, count: 2 },
      { from: 3.5, to: 4.5, count: 0 },
      { from: 4.5, to: 5.5, count: 3 },
    ]);
    expect(text.split('\n').slice(1)).toEqual([`3 ┤${'█'.repeat(36)} 2`, '4 ┤ 0', `5 ┤${'█'.repeat(54)} 3`]);
  });

  test('of any shape and order count each element once', async () => {
    const data = Float64Array.from({ length: 2 * 3 * 4 * 5 }, (_, n) => n);
    for (const order of ['C', 'F'] as const) {
      const { chart } = await draw<HistogramChart>(
        { data, shape: [2, 3, 4, 5], order },
        { kind: 'histogram', bins: 4 },
      );
      expect(chart.bins.map(({ count }) => count)).toEqual([30, 30, 30, 30]);
    }
  });

  test('refuse bins without end', async () => {
    const drawing = draw(line([1, 2]), { kind: 'histogram', bins: 10_001 });
    await expect(drawing).rejects.toMatchObject({ code: 'ERR_NDSHM_OUT_OF_RANGE' });
  });
});

describe('heat maps', () => {
  test('of many elements have the means of blocks', async () => {
    const data = Float64Array.from({ length: 64 * 96 }, (_, n) => Math.floor(n / 96) * 1000 + (n % 96));
    const { chart } = await draw<HeatmapChart>({ data, shape: [64, 96] });
    expect([chart.rows, chart.columns, chart.shape]).toEqual([32, 48, [64, 96]]);
    expect(chart.values[0]).toBe((0 + 1 + 1000 + 1001) / 4);
    expect(chart.values.at(-1)).toBe((62_094 + 62_095 + 63_094 + 63_095) / 4);
    expect(chart.notes).toEqual(['each cell the mean of 2 × 2 elements']);
  });

  test('take any resolution', async () => {
    const { chart } = await draw<HeatmapChart>(
      { data: new Float64Array(9), shape: [3, 3] },
      { columns: 2.5, rows: 2.9 },
    );
    expect([chart.rows, chart.columns]).toEqual([2, 2]);
  });

  test('show where there is no number', async () => {
    const data = Float64Array.of(0, Number.NaN, 1, 2);
    const { chart, text } = await draw<HeatmapChart>({ data, shape: [2, 2] });
    expect(Array.from(chart.values)).toEqual([0, Number.NaN, 1, 2]);
    expect(text).toContain('××××');
  });
});

describe('each chart', () => {
  test('says that complex numbers are drawn by their magnitude', async () => {
    const { chart } = await draw<LineChart>({ data: Float64Array.of(3, 4, 0, -1), shape: [2], dtype: 'complex128' });
    expect(chart.lines[0]?.points).toEqual([
      [0, 5],
      [1, 1],
    ]);
    expect(chart.notes).toEqual(['complex numbers by their magnitude']);
  });

  test('escapes its title: names of files are anything', async () => {
    const label = `<script>alert("1")</script>&'\u0007\ud800`;
    const { svg, hasPicture } = await draw(line([1, 2]), { label });
    expect(hasPicture).toBe(true);
    expect(svg).not.toContain('<script');
    expect(svg).toContain('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\ufffd\ufffd');
  });

  test.each<[string, Source]>([
    ['no finite number', line([Number.NaN, Number.NEGATIVE_INFINITY])],
    ['one number again and again', line([7, 7, 7, 7])],
    ['one element', line([7])],
    ['numbers as far apart as can be', line([-1e290, 0, 1e290, 5e-324, Number.MAX_VALUE])],
    ['numbers that hardly differ', line([1e9, 1e9 + 1e-6, 1e9 + 2e-6])],
    ['large integers', { data: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n), shape: [2], dtype: 'int64' }],
    ['booleans', { data: Uint8Array.of(0, 1, 1, 0), shape: [4], dtype: 'bool' }],
    ['many elements', line(sines(5000))],
    ['rows and columns', { data: Float64Array.from(sines(5000)), shape: [50, 100] }],
    ['a row', { data: Float64Array.from(sines(50)), shape: [1, 50] }],
  ])('of %s fits its size, in every kind', async (_, source) => {
    for (const kind of ['line', 'histogram', 'heatmap'] as const) {
      if (kind === 'line' && (source.shape[0] === 50 || source.data.byteLength === 8)) continue; // too many, or none
      const { text, svg, hasPicture } = await draw(source, { kind });
      expect(hasPicture).toBe(true);
      expect(svg).not.toMatch(/="[^"]*(NaN|Infinity)/);
      const lines = text.split('\n');
      expect(lines.length).toBeLessThanOrEqual(24);
      for (const each of lines.slice(1)) expect(each.length).toBeLessThanOrEqual(60);
    }
  });
});

describeWithNumpy('charts, compared with numpy', () => {
  test('histograms have the edges and counts of numpy.histogram', async () => {
    const lists = [sines(1000), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [5, 5, 5], [-1e-9, 0, 1e9, 3]];
    for (const bins of [1, 3, 7, 100]) {
      const theirs = runPython<[number[], number[]][]>(
        'print(json.dumps([[x.tolist() for x in np.histogram(a, bins=given["bins"])] for a in given["lists"]]))',
        { lists, bins },
      );
      for (const [n, list] of lists.entries()) {
        const { chart } = await draw<HistogramChart>(line(list), { kind: 'histogram', bins });
        const [counts, edges] = theirs[n] as [number[], number[]];
        expect(chart.bins.map(({ count }) => count)).toEqual(counts);
        for (const [n, { from }] of chart.bins.entries()) {
          const edge = edges[n] as number;
          expect(Math.abs(from - edge)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(edge)));
        }
      }
    }
  });
});
