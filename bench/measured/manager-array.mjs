// Puts a typed array into a dict of another process and gets it back; prints the milliseconds of each.
import { dicts } from '../support/dicts.mjs';
import { median } from '../support/statistics.mjs';
import { warmTimes } from '../support/warm-times.mjs';

const { key, elements, milliseconds } = JSON.parse(process.argv[2]);
const { dict, close } = await dicts[key].open();
const array = Float64Array.from({ length: elements }, (_, n) => n);

const set = await warmTimes(() => dict.set('key', array), milliseconds);
const get = await warmTimes(async () => {
  const got = await dict.get('key');
  if (!(got instanceof Float64Array) || got[elements - 1] !== elements - 1) throw new Error('Got something else');
}, milliseconds);
process.stdout.write(JSON.stringify({ set: median(set), get: median(get) }));
await close();
