import { chmodSync, readdirSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { lockAndPeers } from '../../dist/array/peers';
import { binding } from '../../dist/binding';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { eventually } from '../helpers/lock-words';
import { freshName } from '../helpers/shm';

const lockOf = (name: string) => ndshm.stat(name).lock;
const peerOf = (name: string, { pid }: Peer) => ndshm.stat(name).peers.find((peer) => peer.pid === pid);

/** Enters the lock of the peer's array 'a', and stays until its 'leave' is called. */
async function enter(peer: Peer, access: 'write' | 'read'): Promise<void> {
  await peer.run(
    ({ kept }, how) =>
      new Promise<void>((entered) => {
        const array = kept.get('a') as ndshm.SharedArray;
        const left = new Promise<void>((leave) => kept.set('leave', { leave }));
        void array[how](() => {
          entered();
          return left;
        });
      }),
    access,
  );
}

async function startPeers(name: string, count: number): Promise<Peer[]> {
  const peers = await Promise.all(Array.from({ length: count }, () => Peer.start()));
  for (const peer of peers) await peer.call('a', 'open', name, { mode: 'r+' });
  return peers;
}

describe('the lock of a segment as stat() sees it', () => {
  test('is free, then written, and free again, with the version of each moment', () => {
    const a = ndshm.create(freshName(), { shape: 3, ephemeral: true });
    const name = a.name as string;
    expect(lockOf(name)).toEqual({ state: 'free', version: 0 });
    a.writeSync(() => expect(lockOf(name)).toEqual({ state: 'write', version: 1 }));
    expect(lockOf(name)).toEqual({ state: 'free', version: 2 });
    a.readSync(() => expect(lockOf(name)).toEqual({ state: 'read', version: 2 }));
    a.close();
  });

  test('is not abandoned by a writer that was inside at the first look, and had left before the next', () => {
    const { words } = binding.layout;
    const looks = [
      { writer: 1, version: 1n },
      { writer: 0, version: 2n },
    ];
    const segment = {
      peers: () => [],
      read(page: Buffer) {
        const { writer, version } = looks.shift() as (typeof looks)[number];
        page.writeUInt32LE(writer, words.writer);
        page.writeBigUInt64LE(version, words.version);
        return page.length;
      },
    };
    expect(lockAndPeers(segment as never, 0, 0, 'name').lock).toEqual({ state: 'free', version: 1 });
  });

  test('tells who reads, who writes, and who waits for which of both', async () => {
    const a = ndshm.create(freshName(), { shape: 3, ephemeral: true });
    const name = a.name as string;
    const [one, two, three] = (await startPeers(name, 3)) as [Peer, Peer, Peer];
    await enter(one, 'read');
    await enter(two, 'read');
    expect([peerOf(name, one)?.holds, peerOf(name, two)?.holds, peerOf(name, three)?.holds]).toEqual([
      'read',
      'read',
      null,
    ]);
    expect(lockOf(name)?.state).toBe('read');
    await one.on('leave', 'leave');
    await two.on('leave', 'leave');
    await enter(three, 'write');
    expect(peerOf(name, three)).toMatchObject({ holds: 'write', waitsFor: null });
    const waits = [enter(one, 'write'), enter(two, 'read')];
    await eventually(
      'two who wait',
      () => peerOf(name, one)?.waitsFor === 'write' && peerOf(name, two)?.waitsFor === 'read',
    );
    expect([peerOf(name, one)?.holds, peerOf(name, two)?.holds]).toEqual([null, null]);
    await three.on('leave', 'leave');
    await eventually(
      'one who entered',
      () => peerOf(name, one)?.holds === 'write' || peerOf(name, two)?.holds === 'read',
    );
    await Promise.race(waits);
    for (const peer of [one, two, three]) await peer.kill();
    await Promise.allSettled(waits);
    a.close();
  });

  test('is abandoned once its writer was killed inside, written while somebody repairs, and free thereafter', async () => {
    const a = ndshm.create(freshName(), { shape: 3, ephemeral: true });
    const name = a.name as string;
    const [peer] = (await startPeers(name, 1)) as [Peer];
    await enter(peer, 'write');
    await peer.kill();
    expect(lockOf(name)).toEqual({ state: 'abandoned', version: 1 });
    expect(ndshm.stat(name).peers.map(({ holds }) => holds)).toEqual([null]);
    a.writeSync(() => expect(lockOf(name)?.state).toBe('write'), { onAbandoned: 'repair' });
    expect(lockOf(name)?.state).toBe('free');
    a.close();
  });

  test('is looked at while a writer is stopped inside, without becoming a peer', async () => {
    const a = ndshm.create(freshName(), { shape: 3, ephemeral: true });
    const name = a.name as string;
    const [peer] = (await startPeers(name, 1)) as [Peer];
    await enter(peer, 'write');
    process.kill(peer.pid, 'SIGSTOP');
    const { lock, peers } = ndshm.stat(name);
    process.kill(peer.pid, 'SIGCONT');
    expect([lock?.state, peers.length]).toEqual(['write', 2]);
    expect(ndshm.stat(name).peers).toHaveLength(2);
    await peer.kill();
    a.close();
  });

  test('is null for what has none', () => {
    const name = freshName();
    ndshm.putTensors(name, { x: [1, 2] });
    expect(ndshm.stat(name).lock).toBeNull();
    ndshm.unlink(name);
  });
});

describe('what crashes leave, as list() and gc() see it', () => {
  test('is listed with leftovers: true, named by a dry run, and there until gc()', async () => {
    const [array, store] = [freshName('array'), freshName('store')];
    const peer = await Peer.start();
    await peer.call('a', 'create', array, { shape: 3, ephemeral: true });
    await peer.run(({ ndshm: library }, name) => void library.Store.open(name, { capacity: '1MiB' }), store);
    const left = [array, store, `${store}.pages.0`];
    const rows = () => ndshm.list({ leftovers: true }).filter(({ name }) => left.includes(name));
    expect(rows().map(({ leftover }) => leftover)).toEqual([false, false, false]);
    expect(ndshm.gc({ dryRun: true })).not.toEqual(expect.arrayContaining([array]));
    await peer.kill();
    expect(rows().map(({ name, leftover, memberOf }) => [name, leftover, memberOf])).toEqual([
      [array, true, null],
      [store, true, null],
      [`${store}.pages.0`, true, store],
    ]);
    expect(ndshm.gc({ dryRun: true })).toEqual(expect.arrayContaining(left));
    expect(rows()).toHaveLength(3);
    expect(ndshm.gc()).toEqual(expect.arrayContaining(left));
    expect(rows()).toEqual([]);
  });

  test('list() without options removes it, as ever', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('a', 'create', name, { shape: 3, ephemeral: true });
    await peer.kill();
    ndshm.list();
    expect(readdirSync('/dev/shm')).not.toContain(name);
  });

  test('a dry run names no more and no less than gc() removes: not what lives, not what is to stay', () => {
    const kept = ndshm.create(freshName('kept'), { shape: 3 });
    const living = ndshm.create(freshName('living'), { shape: 3, ephemeral: true });
    kept.close();
    const would = ndshm.gc({ dryRun: true });
    expect(ndshm.gc()).toEqual(would);
    expect(would).not.toEqual(expect.arrayContaining([kept.name]));
    expect(would).not.toEqual(expect.arrayContaining([living.name]));
    living.close();
    kept.unlink();
  });
});

describeAsRoot('a segment that may not be read', () => {
  test('is listed as foreign, with its size and owner, where foreign ones are', async () => {
    const a = ndshm.create(freshName(), { shape: 1000 });
    const name = a.name as string;
    chmodSync(`/dev/shm/${name}`, 0o600);
    const peer = await Peer.start({ uid: otherUser });
    const rows = await peer.run(
      ({ ndshm: library }, wanted) => library.list({ foreign: true }).filter((row) => row.name === wanted),
      name,
    );
    const [row] = rows as unknown as ndshm.SegmentInfo[];
    expect(row).toMatchObject({ kind: 'foreign', uid: 0, permissions: 0o600, problem: { code: 'EACCES' }, peers: [] });
    expect(row?.fileBytes).toBe(ndshm.stat(name).fileBytes);
    await peer.kill();
    a.unlink();
    a.close();
  });
});
