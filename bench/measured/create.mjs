// Creates, closes and unlinks a small array again and again; prints the median in microseconds.
import { create, unlink } from 'ndshm';
import { median } from '../support/statistics.mjs';

const { name, repeats } = JSON.parse(process.argv[2]);

const times = [];
for (let n = 0; n < repeats; n++) {
  const start = performance.now();
  create(name, { shape: 1000 }).close();
  unlink(name);
  times.push((performance.now() - start) * 1000);
}
process.stdout.write(JSON.stringify({ median: median(times) }));
