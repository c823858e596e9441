import { rangeError } from '../errors';
import type { DType, Element, OnProgress, SharedArray } from '../index';
import { shapeInWords } from './segments';

/** A column for one axis, rows for two. */
export function checkTable(array: SharedArray): void {
  if (array.ndim <= 2) return;
  const slice = array.shape.map((_, axis) => (axis < array.ndim - 2 ? '0' : ':')).join(', ');
  throw rangeError(
    'ERR_NDSHM_SHAPE',
    `A csv file has rows and columns, but the shape is ${shapeInWords(array.shape)}; name a slice such as '${slice}'`,
  );
}

const chunkLength = 2 ** 16;

/**
 * The elements as text, in as few digits as mean the same numbers; what numpy.loadtxt reads. bool: 0 and 1. `onProgress` gets
 * elements.
 */
export function* csvOf(array: SharedArray, delimiter: string, onProgress?: OnProgress): Generator<Uint8Array> {
  checkTable(array);
  const write = writers[array.dtype];
  const { size } = array;
  const [rows, columns] = array.ndim === 2 ? (array.shape as [number, number]) : [size, 1];
  const element = elementsOf(array);
  let text = '';
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      text += (column === 0 ? '' : delimiter) + write(element(row, column));
    }
    text += '\n';
    if (text.length >= chunkLength) {
      yield Buffer.from(text);
      onProgress?.((row + 1) * columns, size);
      text = '';
    }
  }
  yield Buffer.from(text);
  onProgress?.(size, size);
}

function elementsOf(array: SharedArray): (row: number, column: number) => Element {
  if (array.ndim === 2) return (row, column) => array.get(row, column);
  return array.ndim === 1 ? (row) => array.get(row) : () => array.get();
}

function float(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value);
  return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
}

function float32(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const shorter = Number(value.toPrecision(digits));
    if (Object.is(Math.fround(shorter), value)) return float(shorter);
  }
  return float(value === 0 ? value : Number(value.toPrecision(9))); // toPrecision() loses the sign of -0
}

const complex = (part: (value: number) => string) => (element: Element) => {
  const { re, im } = element as { re: number; im: number };
  const imaginary = part(im);
  return `${part(re)}${imaginary.startsWith('-') ? '' : '+'}${imaginary}j`;
};

type Write = (element: Element) => string;
const writers: Readonly<Record<DType, Write>> = {
  bool: (element) => (element === true ? '1' : '0'),
  int8: String,
  uint8: String,
  int16: String,
  uint16: String,
  int32: String,
  uint32: String,
  int64: String,
  uint64: String,
  float16: float as Write,
  float32: float32 as Write,
  float64: float as Write,
  complex64: complex(float32),
  complex128: complex(float),
};
