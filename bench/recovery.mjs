// Claim: when the owner of a lock is killed, whoever waits for it has it within milliseconds, and nobody else is slowed.
import { setTimeout } from 'node:timers/promises';
import * as ndshm from 'ndshm';
import { monotonicMs } from './support/clock.mjs';
import { ask, end, startMember } from './support/members.mjs';
import { runJson } from './support/processes.mjs';
import { segmentName } from './support/segments.mjs';
import { quantile } from './support/statistics.mjs';
import { compileC, findPython, runPython } from './support/tools.mjs';

export const title = 'recover from SIGKILL of the owner';

const patienceOfPython = 1;
const file = 'recovery.mjs';

/**
 * Kills one owner after the other inside the locks of `names`, while the waiters wait; gives for each waiter the
 * milliseconds from each kill to its entry.
 */
async function killOwners(kills, names, waiters, progress) {
  const times = waiters.map(() => []);
  for (let n = 0; n < kills; n++) {
    if (n % 50 === 0) progress(`kill ${n + 1} of ${kills}`);
    const owner = startMember(file, { role: 'owner', names });
    await ask(owner, 'own');
    const answers = Promise.all(waiters.map((waiter) => ask(waiter, 'wait')));
    // Waiters look at the owner now and then: the kill must not keep in step with that.
    await setTimeout(20 + 20 * Math.random());
    const killed = monotonicMs();
    owner.kill('SIGKILL');
    for (const [waiter, { began, entered }] of (await answers).entries()) {
      if (began > killed) throw new Error('A waiter came after the kill: the machine is too busy to tell anything');
      times[waiter].push(entered - killed);
    }
  }
  return times;
}

async function measureOurs(kills, progress) {
  const [first, second, unwanted, others] = ['first', 'second', 'unwanted', 'others'].map(segmentName);
  const arrays = [first, second, unwanted, others].map((name) => ndshm.create(name, { shape: 2, ephemeral: true }));
  const waiters = [
    startMember(file, { role: 'blockingWaiter', names: [first] }),
    startMember(file, { role: 'waiter', names: [second] }),
  ];
  const bystanders = [1, 2].map((id) => startMember(file, { role: 'bystander', names: [others], id }));
  const latencies = async () => (await Promise.all(bystanders.map((one) => ask(one, 'latencies')))).flat();
  try {
    for (const bystander of bystanders) await ask(bystander, 'begin');
    await latencies();
    await killOwners(kills, [unwanted], [], (text) => progress(`nobody waits, ${text}`));
    const undisturbed = await latencies();
    const [blocking, awaiting] = await killOwners(kills, [first, second], waiters, progress);
    return { blocking, awaiting, undisturbed, meanwhile: await latencies() };
  } finally {
    await end([...waiters, ...bystanders]);
    for (const array of arrays) array.close(); // ephemeral: takes the name away
  }
}

async function askPython() {
  if ((await findPython()) === undefined) return 'no Python with numpy here';
  const { recovered } = await runPython('recovery.py', { seconds: patienceOfPython });
  return recovered ? undefined : `never (waited ${patienceOfPython} s)`;
}

export async function measure({ quick, progress }) {
  const kills = quick ? 20 : 200;
  const ours = await measureOurs(kills, progress);
  progress('C, Python');
  const inC = await runJson(await compileC('recovery'), [kills]);
  const missing = await askPython();
  const rows = [];
  for (const [waiter, times] of [
    ['writeSync(fn)', ours.blocking],
    ['await write(fn)', ours.awaiting],
  ]) {
    const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)];
    const what = `from the kill until ${waiter} is inside`;
    rows.push(
      { what: `${what}: 99th percentile`, ours: p99, peer: 'the promise', theirs: 20, unit: 'ms', atMost: 1 },
      { what: `${what}: 99th percentile`, ours: p99, peer: 'C: robust pthread mutex', theirs: inC.p99, unit: 'ms' },
      { what: `${what}: median`, ours: p50, peer: 'C: robust pthread mutex', theirs: inC.p50, unit: 'ms' },
      { what: `${what}: median`, ours: p50, peer: 'Python multiprocessing.Lock', unit: 'ms', missing },
    );
  }
  for (const [q, label, goal] of [
    [0.5, 'median', { atMost: 1.25 }],
    [0.99, '99th percentile'],
  ]) {
    rows.push({
      what: `two others at another array hand over meanwhile: ${label}`,
      ours: quantile(ours.meanwhile, q) * 1000,
      peer: 'the same while owners are killed for whom nobody waits',
      theirs: quantile(ours.undisturbed, q) * 1000,
      unit: 'µs',
      ...goal,
    });
  }
  return { rows };
}
