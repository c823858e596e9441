// The values that are put into stores; bench/measured has the same in Python.

/** The headline's object: `bytes` of float64 in so many arrays. */
export function objectOfArrays(bytes, arrays) {
  const length = bytes / arrays / 8;
  return Object.fromEntries(
    Array.from({ length: arrays }, (_, n) => [`array${n}`, new Float64Array(length).fill(n + 1.5)]),
  );
}

/** Throws unless the last array of such an object ends as it should. */
export function checkArrays(object, arrays) {
  const last = object[`array${arrays - 1}`];
  if (last[last.length - 1] !== arrays + 0.5) throw new Error('Got something else than was put');
}

/** Objects of about 1 KB. */
export function smallValues() {
  const fields = Array.from({ length: 18 }, (_, n) => [`field${n}`, n % 3 === 0 ? `value ${n}` : n * 1.5]);
  const record = { ...Object.fromEntries(fields), tags: ['small', 'object'], payload: new Uint8Array(768) };
  return { bytes: new Uint8Array(1024), record };
}
