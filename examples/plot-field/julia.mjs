const radius = 8; // so far out the numbers of steps join smoothly
const mostSteps = 500;

/** One task of the pool. Fills a row of a field: from each point of a line, how many steps of z² + c lead away from 0. */
export function fillRow(row, { left, y, scale, c }) {
  const { data } = row; // the shared memory itself
  for (let n = 0; n < data.length; n++) data[n] = stepsFrom(left + n * scale, y, c);
}

function stepsFrom(x, y, [cx, cy]) {
  let [re, im] = [x, y];
  for (let step = 1; step < mostSteps; step++) {
    [re, im] = [re * re - im * im + cx, 2 * re * im + cy];
    const distance = Math.hypot(re, im);
    if (distance > radius) return step + 1 - Math.log2(Math.log2(distance));
  }
  return mostSteps;
}
