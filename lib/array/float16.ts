// The library is loaded when the first float16 comes along: most programs have none, and it takes a quarter of the time
// that loading ndshm takes.

type Library = typeof import('@petamoriken/float16');

let library: Library | undefined;

function load(): Library {
  library ??= require('@petamoriken/float16') as Library;
  return library;
}

const scratch = new DataView(new ArrayBuffer(2));

export function float16FromBits(bits: number): number {
  scratch.setUint16(0, bits, true);
  return load().getFloat16(scratch, 0, true);
}

export function float16ToBits(value: number): number {
  load().setFloat16(scratch, 0, value, true);
  return scratch.getUint16(0, true);
}

/** The nearest float16. */
export const roundToFloat16 = (value: number): number => load().f16round(value);
