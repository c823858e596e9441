// node examples/ray.mjs [--processes 4] [--length 1000000]
// The program that shows Ray for this purpose: an array is put once, and four tasks take its reference and a number.
import { parseArgs } from 'node:util';
import * as ndshm from 'ndshm';

const { values: options } = parseArgs({
  options: {
    processes: { type: 'string', default: '4' },
    length: { type: 'string', default: '1000000' },
  },
});

const pool = new ndshm.Pool({ processes: Number(options.processes) });
try {
  // Ray: @ray.remote def func(array, param)
  const func = pool.remote((array, param) => ({
    pid: process.pid,
    product: array.reduce((sum, value) => sum + value, 0) * param,
  }));

  // Ray: array_id = ray.put(array); result_ids = [func.remote(array_id, i) for i in range(4)]; output = ray.get(result_ids)
  const array = new Float64Array(Number(options.length)).fill(1);
  const ref = await pool.put(array);
  const results = await pool.get([0, 1, 2, 3].map((param) => func(ref, param)));

  results.forEach(({ pid, product }, param) => {
    console.log(`process ${pid}: the sum of the array, times ${param}, is ${product}`);
  });
} finally {
  await pool.close();
}
