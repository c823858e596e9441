import { rangeError } from '../../errors';
import { type ChartKind, sample } from '../chart/sample';
import { svgOf } from '../chart/svg';
import { readArray } from '../read-array';
import { labelOf, parseSlice } from '../slices';

/** From a query: text, as far as it is given. */
export interface ChartRequest {
  /** As numpy writes it. Default: all of the array. */
  readonly slice?: string;
  readonly kind?: string;
  readonly tensor?: string;
  /** In pixels. */
  readonly width?: string;
  readonly height?: string;
  readonly dark?: string;
}

export interface DrawnChart {
  readonly svg: string;
  /** What people should know about it. */
  readonly warning: string | null;
}

const kinds: readonly string[] = ['line', 'histogram', 'heatmap'] satisfies ChartKind[];
const isKind = (text: string): text is ChartKind => kinds.includes(text);

/** Reads the array, without a lock, and draws it. Errors: those of readArray() and sample(). */
export async function drawChart(name: string, request: ChartRequest): Promise<DrawnChart> {
  const { slice = '', kind = '', tensor, dark } = request;
  const width = pixels(request.width, 600);
  const height = pixels(request.height, 360);
  const { value, warning } = await readArray(name, parseSlice(slice), tensor === undefined ? {} : { tensor }, (part) =>
    sample(part, {
      ...(isKind(kind) ? { kind } : {}),
      label: labelOf(name, slice, tensor),
      columns: Math.ceil(width / 2),
      rows: Math.ceil(height / 2),
    }),
  );
  return { svg: await svgOf(value, { width, height, dark: dark === 'true' }), warning };
}

function pixels(text: string | undefined, otherwise: number): number {
  const given = text === undefined ? otherwise : Number(text);
  if (!Number.isInteger(given) || given < 100 || given > 4000) {
    throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `Expected 100 to 4000 pixels but received '${text}'`);
  }
  return given;
}
