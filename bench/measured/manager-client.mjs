// One of several clients of a manager, which all call the same dict.
import { Manager } from 'ndshm';
import { answer } from '../support/members.mjs';
import { manyAtOnce, oneAtATime, warmUp } from '../support/warm-calls.mjs';

const { address, inFlight, warmCalls, milliseconds } = JSON.parse(process.argv[2]);
let get;

answer({
  async prepare() {
    const manager = await Manager.connect({ address });
    const dict = await manager.getOrCreate('calls', 'dict', { key: 1 });
    get = () => dict.get('key');
    await warmUp(get, inFlight, warmCalls);
  },
  async work() {
    const { rate } = await oneAtATime(get, milliseconds);
    return { rate, many: await manyAtOnce(get, inFlight, milliseconds) };
  },
});
