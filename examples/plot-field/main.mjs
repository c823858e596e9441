// node examples/plot-field/main.mjs [--processes N] [--width 1200] [--height 800] [--output FILE.png]
// A pool of Node processes fills an array, and Python plots it from the same memory.
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import * as ndshm from 'ndshm';
import { wholeNumber } from '../support/options.mjs';
import { findPython, startPython } from '../support/python.mjs';
import { fillRow } from './julia.mjs';

const { values: options } = parseArgs({
  options: {
    processes: { type: 'string', default: String(ndshm.availableProcessors()) },
    width: { type: 'string', default: '1200' },
    height: { type: 'string', default: '800' },
    output: { type: 'string', default: join(tmpdir(), 'ndshm-julia.png') },
  },
});
const processes = wholeNumber(options, 'processes', 250);
const width = wholeNumber(options, 'width', 10_000);
const height = wholeNumber(options, 'height', 10_000);
const output = resolve(options.output);

const python = findPython(['numpy', 'ndshm', 'matplotlib']);
const name = `plot-field-${process.pid}`;
const c = [-0.8, 0.156];
const scale = 3.2 / width;
const [left, bottom] = [(-width / 2) * scale, (-height / 2) * scale];

const field = ndshm.create(name, { shape: [height, width], dtype: 'float32', ephemeral: true });
const pool = new ndshm.Pool({ processes });
const end = new AbortController();
try {
  const onProgress = ndshm.progressBar('filling rows', { stream: process.stdout });
  const tasks = Array.from(field, (row, n) => [row, { left, y: bottom + n * scale, scale, c }]);
  await pool.starmap(fillRow, tasks, { onProgress });

  const title = `Julia set of z² + c for c = ${c[0]} + ${c[1]}i`;
  const given = { name, extent: [left, -left, bottom, -bottom], title, output };
  const plot = startPython(python, new URL('plot.py', import.meta.url), given, { signal: end.signal });
  const [[line]] = await Promise.all([once(plot.lines, 'line'), plot.ended]);
  const { smallest, largest } = JSON.parse(line);
  console.log(`Python has found numbers from ${smallest.toFixed(2)} to ${largest.toFixed(2)}, and plotted them:`);
  console.log(output);
} finally {
  end.abort();
  await pool.close();
  field.close();
}
