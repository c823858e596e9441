// Claim: N processes that read a 1 GB array hold it once between them.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import * as ndshm from 'ndshm';
import { segmentName } from './support/segments.mjs';

export const title = 'memory of many readers';

const bytes = 1e9;
const readers = 4;
const path = fileURLToPath(new URL('./measured/memory.mjs', import.meta.url));

async function answerOf(child, request) {
  child.send(request);
  const answered = new AbortController();
  const limit = AbortSignal.any([answered.signal, AbortSignal.timeout(5 * 60_000)]);
  const died = once(child, 'exit', { signal: limit }).then(() => {
    throw new Error(`A reader died instead of answering '${request}'`);
  });
  try {
    const [answer] = await Promise.race([once(child, 'message', { signal: limit }), died]);
    return answer;
  } finally {
    died.catch(() => {});
    answered.abort();
  }
}

/** What touching all pages adds to each process, while all of them hold on to theirs. */
async function growth(way, name, count) {
  const children = Array.from({ length: count }, () => fork(path, [way, name]));
  try {
    const ask = (request) => Promise.all(children.map((child) => answerOf(child, request)));
    const before = await ask('pss');
    await ask('read');
    const after = await ask('pss');
    return after.map((pss, n) => pss - before[n]);
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

export async function measure({ progress }) {
  const name = segmentName('memory');
  const array = ndshm.create(name, { shape: bytes / 8, ephemeral: true });
  try {
    progress(`${readers} processes read 1 GB`);
    const shared = await growth('ndshm', name, readers);
    progress('one process copies 1 GB');
    const [copied] = await growth('copy', name, 1);
    // This process has the pages mapped as well.
    const share = bytes / (readers + 1);
    const beyond = Math.max(...shared) - share;
    return {
      rows: [
        {
          what: `1 GB, ${readers} readers and its maker: PSS added to a reader`,
          ours: mean(shared) / 1e6,
          peer: 'an equal share of the pages',
          theirs: share / 1e6,
          unit: 'MB',
        },
        {
          what: 'the most that a reader adds beyond its share',
          ours: beyond / 1e6,
          peer: 'the array, 1 GB',
          theirs: bytes / 1e6,
          unit: 'MB',
          atMost: 0.02,
        },
        {
          what: `1 GB, ${readers} readers and its maker: PSS added to a reader`,
          ours: mean(shared) / 1e6,
          peer: 'a reader with a copy of its own',
          theirs: copied / 1e6,
          unit: 'MB',
        },
      ],
    };
  } finally {
    array.close(); // ephemeral: takes the name away
  }
}
