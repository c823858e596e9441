import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import * as api from 'ndshm';
import { describeAsRoot, otherUser, Peer, within } from '../helpers/child';
import { ndshm, ndshmJson, ndshmWith } from '../helpers/cli';
import { describeWithNumpy, python } from '../helpers/python';
import { freshName, shmPath } from '../helpers/shm';

interface Who {
  readonly name: string;
  readonly lock: api.LockState | null;
  readonly peers: readonly (api.PeerInfo & {
    readonly process: { readonly pid: number; readonly command: string } | null;
    readonly claims: readonly object[];
  })[];
  readonly others: readonly { readonly pid: number; readonly how: string; readonly mode: string }[];
}

const who = (name: string): Who => ndshmJson<Who>('who', name);
const commandLine = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();

/** A peer inside of its own write(), and another that waits for it. */
async function writerAndWaiter(name: string): Promise<{ writer: Peer; waiter: Peer }> {
  const [writer, waiter] = await Promise.all([Peer.start(), Peer.start()]);
  await writer.call('a', 'open', name, { mode: 'r+' });
  await waiter.call('a', 'open', name, { mode: 'r+' });
  await writer.run(
    ({ kept }) =>
      new Promise<void>((inside) => {
        const array = kept.get('a') as api.SharedArray;
        void array.write(() => {
          inside();
          return new Promise(() => {});
        });
      }),
  );
  await waiter.run(({ kept }) => {
    void (kept.get('a') as api.SharedArray).write(() => {}).catch(() => {});
  });
  await until(() => api.stat(name).peers.some(({ waitsFor }) => waitsFor !== null));
  return { writer, waiter };
}

/** Looks until it is so; the waiting of another process has no handshake. */
async function until(isSo: () => boolean): Promise<void> {
  const looking = async (): Promise<void> => {
    while (!isSo()) await new Promise(setImmediate);
  };
  await within(looking(), 'such state');
}

/** All its threads, as the kernel tells: the letter behind the command, proc(5). */
const standsStill = (pid: number): boolean =>
  readdirSync(`/proc/${pid}/task`).every((tid) => /\) T/.test(readFileSync(`/proc/${pid}/task/${tid}/stat`, 'utf8')));

describe('ndshm who', () => {
  test('tells each peer with pid, command, mode, and what it does with the lock', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const { writer, waiter } = await writerAndWaiter(name);
    const { lock, peers, others } = who(name);
    expect(lock?.state).toBe('write');
    const of = (pid: number) => peers.find((peer) => peer.pid === pid);
    const told = { mode: 'r+', attachedAt: expect.any(String), claims: [] };
    const by = ({ pid }: { pid: number }) => ({ ...told, process: { pid, command: commandLine(pid) } });
    expect(of(writer.pid)).toMatchObject({ ...by(writer), holds: 'write', waitsFor: null });
    expect(of(waiter.pid)).toMatchObject({ ...by(waiter), holds: null, waitsFor: 'write' });
    expect(of(process.pid)).toMatchObject({ ...by(process), holds: null, waitsFor: null });
    expect(others).toEqual([]);
    const { stdout, status } = ndshm('who', name);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ *PID +THREAD +MODE +SINCE +DOES +COMMAND$/m);
    expect(stdout).toMatch(new RegExp(`^ *${writer.pid} .* writes .*peer\\.js`, 'm'));
    expect(stdout).toMatch(new RegExp(`^ *${waiter.pid} .* waits to write .*peer\\.js`, 'm'));
    await Promise.all([writer.kill(), waiter.kill()]);
    expect(ndshm('who', name).stderr).toContain('The lock is abandoned');
    array.close();
  });

  test.each(['who', 'stat', 'ls'])('%s neither waits for a writer that stands still nor attaches', async (command) => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const { writer, waiter } = await writerAndWaiter(name);
    for (const { pid } of [writer, waiter]) process.kill(pid, 'SIGSTOP');
    await until(() => standsStill(writer.pid) && standsStill(waiter.pid));
    const before = readFileSync(shmPath(name));
    const { mtimeMs } = statSync(shmPath(name));
    const { status, stdout } = ndshm(command, name);
    expect([status, stdout]).toEqual([0, expect.stringMatching(/write/)]);
    // A peer would have left the words of its slot.
    expect(readFileSync(shmPath(name)).equals(before)).toBe(true);
    expect(statSync(shmPath(name)).mtimeMs).toBe(mtimeMs);
    await Promise.all([writer.kill(), waiter.kill()]);
    array.close();
  });

  test('tells what peers have of a primitive', async () => {
    const [permitsName, locksName] = [freshName('permits'), freshName('locks')];
    const permits = new api.Semaphore(permitsName, { value: 3, ephemeral: true });
    permits.tryAcquire();
    permits.tryAcquire();
    const locks = new api.LockManager(locksName, { ephemeral: true });
    let release: () => void = () => {};
    const held = locks.request(
      'db',
      () =>
        new Promise<void>((done) => {
          release = done;
        }),
    );
    await until(() => api.inspect(locksName)?.claims.length === 1);
    expect(who(permitsName).peers).toMatchObject([{ claims: [{ holds: '2 permits', waitsFor: null }] }]);
    expect(ndshm('who', permitsName).stdout).toContain('holds 2 permits');
    expect(ndshm('who', locksName).stdout).toMatch(/holds "db" \(exclusive\)/);
    release();
    await held;
    permits.close();
    locks.close();
  });

  test('tells the thread of a peer that is not its process’s first', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const peer = await Peer.start({ thread: true });
    await peer.call('a', 'open', name);
    const { tid } = api.stat(name).peers.find(({ pid }) => pid === peer.pid) as api.PeerInfo;
    expect(ndshm('who', name).stdout).toMatch(new RegExp(`^ *${peer.pid} +${tid} +r `, 'm'));
    await peer.kill();
    array.close();
  });

  test('a segment that nobody has open, and a file that is not of ndshm’s making, say so', () => {
    const [name, foreign] = [freshName(), freshName()];
    api.create(name, { shape: 3 }).close();
    writeFileSync(shmPath(foreign), 'hello');
    expect(ndshm('who', name).stdout).toBe(`Nobody is a peer of '${name}'\n`);
    expect(ndshm('who', foreign).stdout).toContain('it has no peers and no lock');
    expect(who(foreign)).toMatchObject({ lock: null, peers: [], others: [] });
    api.unlink(name);
    rmSync(shmPath(foreign));
  });

  test('an unknown name is an error with the nearest', () => {
    const name = freshName('prices');
    const array = api.create(name, { shape: 1, ephemeral: true });
    const { status, stdout, stderr } = ndshm('who', name.replace('prices', 'prcies'));
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`did you mean '${name}'`);
    array.close();
  });
});

describe('who uses a segment without being a peer', () => {
  const started: ChildProcess[] = [];

  afterEach(async () => {
    for (const child of started.splice(0)) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await within(exited, 'end of a child');
    }
  });

  test.each([
    ['r', 'r'],
    ['r+', 'r+'],
  ])('a process that has the file open (%s) is told', (flags, mode) => {
    const name = freshName();
    api.create(name, { shape: 3 }).close();
    const descriptor = openSync(shmPath(name), flags);
    const child = spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', descriptor] });
    started.push(child);
    closeSync(descriptor);
    const { peers, others } = who(name);
    expect(peers).toEqual([]);
    expect(others).toMatchObject([{ pid: child.pid, command: 'sleep 1000', how: 'open', mode }]);
    expect(ndshm('who', name).stdout).toMatch(
      new RegExp(`^ *${child.pid} +open +${mode.replace('+', '\\+')} +sleep`, 'm'),
    );
    // The same name again is another file.
    api.create(name, { shape: 3, ifExists: 'replace' }).close();
    expect(who(name).others).toEqual([]);
    api.unlink(name);
  });

  describeWithNumpy('numpy', () => {
    test.each([
      ['r', 'r'],
      ['r+', 'r+'],
      ['c', 'c'],
    ])('a memmap of mode %s is told as mapped', async (given, mode) => {
      const name = freshName();
      api.create(name, { shape: 3 }).close();
      const program = `import numpy, time; a = numpy.load('${shmPath(name)}', mmap_mode='${given}'); print('ready', flush=True); time.sleep(1000)`;
      const child = spawn(python as string, ['-c', program], { stdio: ['ignore', 'pipe', 'inherit'] });
      started.push(child);
      await within(once(child.stdout, 'data'), 'mapping');
      expect(who(name)).toMatchObject({ peers: [], others: [{ pid: child.pid, how: 'mapped', mode }] });
      api.unlink(name);
    });
  });
});

describeAsRoot('a peer in a pid namespace of its own', () => {
  test('is told by the pid that it has here, and never by another process of the same number', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const peer = await Peer.start({ wrap: ['unshare', '--pid', '--fork', '--kill-child'] });
    await peer.call('a', 'open', name);
    const theirs = who(name).peers.find(({ pid }) => pid !== process.pid);
    // The first process in there. Ours of this number is another one.
    expect(theirs?.pid).toBe(1);
    expect(theirs?.process?.command).toContain('peer.js');
    expect(theirs?.process?.pid).not.toBe(1);
    await peer.kill();
    array.close();
  });
});

describeAsRoot('ndshm who by another user', () => {
  test('says so where it may not read the segment', () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const { status, stdout } = ndshmWith({ uid: otherUser }, 'who', name);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Peers and lock cannot be told: EACCES: permission denied/);
    array.close();
  });

  test('says that there are processes it may not look into, and does not guess', () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    chmodSync(shmPath(name), 0o644);
    const { status, stdout, stderr } = ndshmWith({ uid: otherUser }, 'who', name);
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^ *${process.pid} .* \\?$`, 'm'));
    expect(stderr).toMatch(/^\d+ process(es)? of others may not be looked into/);
    array.close();
  });
});
