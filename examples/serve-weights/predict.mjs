export const side = 28;
const digits = 10;

/**
 * Reads a digit (784 bytes) by a model: rows of ten weights for each part of the image, and a last one for a constant,
 * between two rows that tell the step of the training. Who writes begins with the first row, and this with the last: if
 * both are equal in the end, nothing was written in between, be that by the lock or by luck.
 */
export function predict({ data, shape: [rows] }, pixels) {
  const last = (rows - 1) * digits;
  const step = data[last];
  const inputs = inputsOf(pixels, Math.sqrt(rows - 3));
  const scores = data.slice(last - digits, last);
  inputs.forEach((input, n) => {
    if (input === 0) return;
    for (let digit = 0; digit < digits; digit++) scores[digit] += input * data[(n + 1) * digits + digit];
  });
  return { digit: scores.indexOf(Math.max(...scores)), step, torn: data[0] !== step };
}

/** As inputs_of() in train.py. */
function inputsOf(pixels, parts) {
  const length = side / parts;
  const sums = new Float32Array(parts ** 2);
  for (let y = 0, at = 0; y < side; y++) {
    const start = Math.floor(y / length) * parts;
    for (let x = 0; x < side; x++) sums[start + Math.floor(x / length)] += pixels[at++] / 255 / length;
  }
  return sums;
}
