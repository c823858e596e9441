// Gives an array to a task of ndshm's pool, in one of several ways; prints milliseconds.
import * as ndshm from 'ndshm';
import { median } from '../support/statistics.mjs';
import { warmTimes } from '../support/warm-times.mjs';
import { sample } from './pool-work.mjs';

const { way, name, elements, milliseconds } = JSON.parse(process.argv[2]);
const pool = new ndshm.Pool({ processes: 1 });

async function run(argument) {
  const sum = await pool.apply(sample, [argument]);
  if (sum !== 4.5) throw new Error(`The task found ${sum}`);
}

const makeArray = () => ndshm.create(name, { shape: elements, dtype: 'float64' }).fill(1.5);
const makePlain = () => new Float64Array(elements).fill(1.5);

function end(array) {
  array.unlink();
  array.close();
}

async function timesOf(argument) {
  return warmTimes(() => run(argument), milliseconds);
}

const ways = {
  async shared() {
    const array = makeArray();
    const times = await timesOf(array);
    end(array);
    return times;
  },
  /** Each array is one that the worker does not know yet. */
  async sharedFirst() {
    const times = [];
    for (let n = 0; n < 8; n++) {
      const array = makeArray();
      const start = performance.now();
      await run(array);
      times.push(performance.now() - start);
      end(array);
    }
    return times.slice(2);
  },
  async ref() {
    return timesOf(await pool.put(makePlain()));
  },
  async plain() {
    return timesOf(makePlain());
  },
};

process.stdout.write(JSON.stringify(median(await ways[way]())));
await pool.close();
