// Calls a dict of another process; prints what support/warm-calls.mjs gives for get() and set().
import { dicts } from '../support/dicts.mjs';
import { manyAtOnce, oneAtATime, warmUp } from '../support/warm-calls.mjs';

const { key, inFlight, warmCalls, milliseconds } = JSON.parse(process.argv[2]);
const { dict, close } = await dicts[key].open();
await dict.set('key', 1);

const calls = { get: () => dict.get('key'), set: () => dict.set('key', 1) };
const results = {};
for (const [name, call] of Object.entries(calls)) {
  await warmUp(call, inFlight, warmCalls);
  results[name] = {
    ...(await oneAtATime(call, milliseconds)),
    many: await manyAtOnce(call, inFlight, milliseconds),
  };
}
process.stdout.write(JSON.stringify(results));
await close();
