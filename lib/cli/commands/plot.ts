import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Chart, type ChartKind, sample } from '../chart/sample';
import { svgOf } from '../chart/svg';
import { resolutionOf, type Size, textOf } from '../chart/terminal';
import { nameOf } from '../names';
import { replaceablePath, replaceFile, stream } from '../new-file';
import { wholeNumberFrom } from '../options';
import { note, type OutputOptions, print } from '../output';
import { withProgress } from '../progress';
import { addReadOptions, type ReadOptions, readArray } from '../read-array';
import { addSlice, labelOf, parseSlice } from '../slices';

interface PlotOptions extends OutputOptions, ReadOptions, Readonly<Partial<Record<ChartKind, boolean>>> {
  readonly bins?: number;
  readonly width?: number;
  readonly height?: number;
  readonly png?: string;
  readonly pixels: Size;
  readonly dark?: boolean;
}

export function define(command: Command): void {
  addReadOptions(addSlice(command.argument('<name>')))
    .addOption(kindOption('line', 'draw a line, or one for each of a few rows or columns'))
    .addOption(kindOption('histogram', 'draw how many elements there are of which size'))
    .addOption(kindOption('heatmap', 'draw rows and columns as colours'))
    .option('--bins <count>', 'of the histogram', wholeNumberFrom(1))
    .option('--width <characters>', 'default: those of the terminal, else 80', wholeNumberFrom(20))
    .option('--height <characters>', 'default: those of the terminal, else 24', wholeNumberFrom(5))
    .option('--png <file>', 'draw a picture instead')
    .addOption(
      new Option('--pixels <size>', 'of the picture')
        .argParser(parsePixels)
        .default({ width: 1000, height: 600 }, '1000x600'),
    )
    .option('--dark', 'on a dark ground')
    .addHelpText(
      'after',
      `
By default arrays with one axis are drawn as a line, a few long rows or columns as one line each, all others with two axes
as a heat map. Of an array that has more axes, name a slice. Large arrays are reduced: lines to the least and the greatest
of each step, heat maps to means, histograms not at all.`,
    )
    .action(plot);
}

const kinds = ['line', 'histogram', 'heatmap'] as const satisfies readonly ChartKind[];

const kindOption = (kind: ChartKind, description: string): Option =>
  new Option(`--${kind}`, description).conflicts(kinds.filter((other) => other !== kind));

function parsePixels(text: string): Size {
  const [, width, height] = /^(\d+)\s*x\s*(\d+)$/.exec(text) ?? [];
  const size = { width: Number(width), height: Number(height) };
  if (!(size.width >= 200 && size.height >= 150 && size.width <= 10_000 && size.height <= 10_000)) {
    throw new InvalidArgumentError('Expected a size such as 1000x600, from 200x150 to 10000x10000.');
  }
  return size;
}

async function plot(name: string, words: readonly string[], options: PlotOptions): Promise<void> {
  const slice = words.join(' ');
  const { png, pixels, tensor, bins } = options;
  const kind = kinds.find((each) => options[each] === true);
  const size = {
    width: options.width ?? (process.stdout.columns || 80),
    height: options.height ?? (process.stdout.rows || 24),
  };
  const resolution = png === undefined ? resolutionOf(size) : { columns: pixels.width / 2, rows: pixels.height / 2 };
  const label = labelOf(nameOf(name), slice, tensor);
  const { value, consistent, warning } = await readArray(name, parseSlice(slice), options, (part) =>
    withProgress(`Reading ${label} (Mi elements)`, part.size, (onProgress) =>
      sample(part, {
        ...resolution,
        label,
        ...(kind === undefined ? {} : { kind }),
        ...(bins === undefined ? {} : { bins }),
        ...(onProgress === undefined ? {} : { onProgress }),
      }),
    ),
  );
  const chart = warning === null ? value : { ...value, notes: [...value.notes, warning] };
  if (warning !== null) note(`${label}: ${warning}`);
  if (png === undefined) {
    const text = options.json === true ? '' : await textOf(chart, size);
    print(options, { ...forJson(chart), consistent }, () => text);
  } else {
    const bytes = await writePicture(png, chart, options);
    if (png !== '-') print(options, { file: png, ...pixels, bytes, consistent }, () => `Drew ${label} to ${png}`);
  }
}

/** NaN becomes null by itself. */
const forJson = (chart: Chart): object =>
  chart.kind === 'heatmap' ? { ...chart, values: Array.from(chart.values) } : chart;

async function writePicture(file: string, chart: Chart, { pixels, dark = false }: PlotOptions): Promise<number> {
  const { pngOf } = await import('../chart/png.js');
  const { png, hasText } = pngOf(await svgOf(chart, { ...pixels, dark }));
  if (!hasText) note('no font on this machine: the picture has no text; apt-get install fonts-dejavu-core');
  const target = replaceablePath(file);
  if (target === undefined) await stream(file, [png]);
  else replaceFile(target, [png]);
  return png.length;
}
