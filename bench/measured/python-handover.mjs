// This process and a Python one, which it starts, pass a token to and fro; prints the round trip in microseconds.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import * as ndshm from 'ndshm';
import { quantile } from '../support/statistics.mjs';
import { withPackage } from '../support/tools.mjs';

const { way, command, name, milliseconds } = JSON.parse(process.argv[2]);
const names = [`${name}-there`, `${name}-back`];
const limit = { timeoutMs: 60_000 };

const ways = {
  changed() {
    const [there, back] = names.map((each) => ndshm.create(each, { shape: 1, ephemeral: true }));
    let seen = back.version;
    return {
      pass: () => there.writeSync((view) => view.set([0], seen)),
      async take() {
        seen = await back.changed({ since: seen, ...limit });
      },
    };
  },
  event() {
    const [there, back] = names.map((each) => new ndshm.Event(each, { ephemeral: true }));
    return {
      pass: () => there.set(),
      async take() {
        await back.wait(limit);
        back.clear();
      },
    };
  },
  pipe: (partner, lines) => ({ pass: () => partner.stdin.write('token\n'), take: () => lines.next() }),
};

const file = fileURLToPath(new URL('python_handover.py', import.meta.url));
// Before the partner opens them.
const early = way === 'pipe' ? undefined : ways[way]();
const partner = spawn(command, ['-B', file, JSON.stringify({ way, names })], {
  stdio: ['pipe', 'pipe', 'inherit'],
  env: withPackage,
});
const lines = createInterface({ input: partner.stdout })[Symbol.asyncIterator]();
const { pass, take } = early ?? ways.pipe(partner, lines);
await lines.next(); // it is there

const times = [];
const end = performance.now() + milliseconds;
for (let last = performance.now(); last < end; ) {
  pass();
  await take();
  const now = performance.now();
  times.push((now - last) * 1000);
  last = now;
}
const ended = once(partner, 'exit');
partner.kill('SIGKILL');
await ended;
times.splice(0, times.length / 2); // the compiler is still at work
process.stdout.write(JSON.stringify({ p50: quantile(times, 0.5), p99: quantile(times, 0.99) }));
process.exit(); // with what is waited for
