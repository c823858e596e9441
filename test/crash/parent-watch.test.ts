import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import * as ndshm from 'ndshm';
import { endWithParent } from '../../dist/pool/parent-watch';
import { Child, within } from '../helpers/child';
import { eventually } from '../helpers/lock-words';
import { stopped } from '../helpers/locker';
import { freshName, namesInShm, thrownBy } from '../helpers/shm';
import { segmentsOf } from '../helpers/store';

type How = 'plainly' | 'twice' | 'andReuseTheDescriptor' | 'inAThreadThatEnds' | 'andStopAtOnce';

const running = new Set<number>();

/** Of a process that is not our child. One that nobody has waited for yet is gone, too. */
function isGone(pid: number): boolean {
  try {
    return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

/** Resolves when all workers that this test has started are gone. */
async function workersGone(): Promise<void> {
  await Promise.all([...running].map((pid) => eventually(`end of worker ${pid}`, () => isGone(pid))));
  running.clear();
}

/** A parent with two workers, which are busy for ever. */
async function parentOf(store: string, where: 'process' | 'thread' = 'process', how: How = 'plainly'): Promise<Child> {
  const parent = new Child('watched-parent.js', [where, store, how]);
  for (const pid of await parent.message<number[]>()) running.add(pid);
  return parent;
}

const workersStopped = (): Promise<unknown> => Promise.all([...running].map(stopped));

async function stopWorkers(): Promise<void> {
  for (const pid of running) process.kill(pid, 'SIGSTOP');
  await workersStopped();
}

const ends: Record<string, { where: 'process' | 'thread'; end: (parent: Child) => unknown }> = {
  'is killed': { where: 'process', end: (parent) => parent.kill() },
  exits: { where: 'process', end: (parent) => parent.send('exit') },
  'was a thread that is terminated': { where: 'thread', end: (parent) => parent.send('terminate') },
};

afterEach(() => {
  for (const pid of running) if (!isGone(pid)) process.kill(pid, 'SIGKILL');
  running.clear();
});

describe('A worker ends with its parent, which', () => {
  test.each(Object.keys(ends))('%s, though it is busy', async (title) => {
    const { where, end } = ends[title] as (typeof ends)[string];
    const parent = await parentOf(freshName(), where);
    await end(parent);
    await workersGone();
  });

  test.each(Object.keys(ends))('%s, though it is stopped', async (title) => {
    const { where, end } = ends[title] as (typeof ends)[string];
    const parent = await parentOf(freshName(), where);
    await stopWorkers();
    await end(parent);
    await workersGone();
  });
});

describe('A worker ends with its parent, busy or stopped, if it has begun to watch it', () => {
  test.each<How>(['twice', 'andReuseTheDescriptor', 'inAThreadThatEnds'])('%s', async (how) => {
    const parent = await parentOf(freshName(), 'process', how);
    await stopWorkers();
    await parent.kill();
    await workersGone();
  });

  test('just before it was stopped', async () => {
    const parent = await parentOf(freshName(), 'process', 'andStopAtOnce');
    await workersStopped();
    await parent.kill();
    await workersGone();
  });
});

describe('What is left in /dev/shm', () => {
  test('is not the store, and everything whose name is only similar', async () => {
    const before = freshName('pool');
    const store = `${before}1`;
    const others = [before, `${store}0`, `${store}0.pages.0`, `${store}x`, `${store}-1.pages.0`];
    for (const name of [store, `${store}.pages.0`, `${store}.1.a`, ...others]) ndshm.create(name, { shape: 1 }).close();
    const parent = await parentOf(store);
    await parent.kill();
    await workersGone();
    expect(namesInShm().filter((name) => name.startsWith(before))).toEqual(others.sort());
    for (const name of others) ndshm.unlink(name);
  });

  test('is the note of where the store’s objects lie on disk, and gc() removes both', async () => {
    const name = freshName();
    const note = `${name}.spill.0`;
    const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-watch-'));
    const store = ndshm.Store.open(name, { capacity: '1MiB', spillDir });
    // So that the gc() of another test leaves it.
    const held = ndshm.open(note, { mode: 'r+' });
    const parent = await parentOf(name);
    await parent.kill();
    await workersGone();
    expect(segmentsOf(name)).toEqual([note]);
    expect(readdirSync(spillDir)).toHaveLength(1);
    held.close();
    store.close();
    ndshm.gc();
    await eventually('removal of the folder', () => readdirSync(spillDir).length === 0);
    expect(segmentsOf(name)).toEqual([]);
    rmSync(spillDir, { recursive: true });
  });
});

test('A worker that ends by itself does so as if it watched nobody', async () => {
  const worker = fork(resolve(__dirname, '../children/watched.js'), [freshName(), 'andEnd'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc', 'pipe'],
  });
  expect(await within(once(worker, 'exit'), 'end of the worker')).toEqual([0, null]);
});

describe('Nobody is watched', () => {
  const codeOf = (fd: unknown, store: unknown): string | undefined =>
    thrownBy(() => endWithParent(fd as number, store as string)).code;

  test('through what is no descriptor, or not that of a socket', () => {
    expect(codeOf(2 ** 31 - 1, freshName())).toBe('EBADF');
    const fd = openSync('/dev/null', 'r');
    expect(codeOf(fd, freshName())).toBe('ENOTSOCK');
    closeSync(fd);
    expect(codeOf(-1, freshName())).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(codeOf('4', freshName())).toBe('ERR_NDSHM_INVALID_ARGUMENT');
  });

  test('for what is no store’s name: the empty one would be everybody’s temporary names', () => {
    for (const name of ['', '.ndshm-0', 'a/b', '..']) expect(codeOf(2 ** 31 - 1, name)).toBe('ERR_NDSHM_INVALID_NAME');
  });
});
