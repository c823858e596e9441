// Attaches again and again in one of several ways; prints the times in microseconds.
import { closeSync, fstatSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { quantile } from '../support/statistics.mjs';

const given = JSON.parse(process.argv[2]);
const { name, path, element, attaches } = given;

async function ndshm() {
  const { open } = await import('ndshm');
  return {
    attach() {
      const array = open(name);
      sum += array.data[element];
      return array;
    },
    close: (array) => array.close(),
  };
}

// It opens only segments of its own making: they begin with their size.
function shmTypedArray() {
  const shm = createRequire(import.meta.url)(given.entry);
  const key = `/${name}-own`;
  shm.create(given.bytes / 8, 'Float64Array', key);
  shm.detach(key);
  return {
    attach() {
      sum += shm.get(key, 'Float64Array')[element];
    },
    close: () => shm.detach(key),
    end: () => shm.destroy(key),
  };
}

function mmapIo() {
  const { map, PROT_READ, MAP_SHARED } = createRequire(import.meta.url)(given.entry);
  return {
    attach() {
      const fd = openSync(path, 'r');
      const bytes = map(fstatSync(fd).size, PROT_READ, MAP_SHARED, fd);
      sum += bytes.readDoubleLE(element * 8);
      return fd;
    },
    close: (fd) => closeSync(fd), // it has no way to unmap but the garbage collector
  };
}

let sum = 0;
const ways = { ndshm, 'shm-typed-array': shmTypedArray, 'mmap-io': mmapIo };
const { attach, close, end } = await ways[given.way]();

const attached = [];
const closed = [];
for (let n = 0; n < attaches; n++) {
  const start = performance.now();
  const handle = attach();
  const ready = performance.now();
  close(handle);
  attached.push((ready - start) * 1000);
  closed.push((performance.now() - start) * 1000);
}
end?.();
if (sum !== 0) throw new Error('Read something else than the zeros that are there');
process.stdout.write(
  JSON.stringify({
    first: attached[0],
    median: quantile(attached, 0.5),
    p90: quantile(attached, 0.9),
    whole: quantile(closed, 0.5),
  }),
);
