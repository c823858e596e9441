// Claim: N processes that read a 1 GB array hold it once between them.
import * as ndshm from 'ndshm';
import { ask, end, startMember } from './support/members.mjs';
import { segmentName } from './support/segments.mjs';

export const title = 'memory of many readers';

const bytes = 1e9;
const readers = 4;

/** What touching all pages adds to each process, while all of them hold on to theirs. */
async function growth(way, name, count) {
  const children = Array.from({ length: count }, () => startMember('memory.mjs', { way, name }));
  try {
    const askAll = (request) => Promise.all(children.map((child) => ask(child, request)));
    const before = await askAll('pss');
    await askAll('read');
    const after = await askAll('pss');
    return after.map((pss, n) => pss - before[n]);
  } finally {
    await end(children);
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
