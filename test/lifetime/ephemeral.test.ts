import { chmodSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { exists, freshName } from '../helpers/shm';

const createEphemeral = (name: string) => ndshm.create(name, { shape: 4, ephemeral: true });

describe('ephemeral arrays', () => {
  test.each(['first', 'last'])('go with the last close, the maker being the %s to leave', async (order) => {
    const name = freshName();
    const made = createEphemeral(name);
    const peer = await Peer.start();
    await peer.call('a', 'open', name);
    if (order === 'first') made.close();
    else await peer.on('a', 'close');
    expect(exists(name)).toBe(true);
    if (order === 'first') await peer.on('a', 'close');
    else made.close();
    expect(exists(name)).toBe(false);
    await peer.kill();
  });

  test('go when the last process exits without closing', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('a', 'create', name, { shape: 4, ephemeral: true });
    const mine = ndshm.open(name);
    mine.close();
    expect(exists(name)).toBe(true);
    peer.send({ of: 'a', method: 'exit', args: [0] });
    expect(await peer.end()).toEqual({ code: 0, signal: null });
    expect(exists(name)).toBe(false);
  });

  test('are reaped by gc() after all peers were killed, and not before', async () => {
    const name = freshName();
    const [one, other] = await Promise.all([Peer.start(), Peer.start()]);
    await one.call('a', 'create', name, { shape: 4, ephemeral: true });
    await other.call('a', 'open', name, { mode: 'r' });
    await one.kill();
    expect(ndshm.gc()).not.toContain(name);
    expect(await other.on('a', 'get', 0)).toBe(0);
    await other.kill();
    expect(exists(name)).toBe(true);
    expect(ndshm.gc()).toContain(name);
    expect(exists(name)).toBe(false);
  });

  test('live while one peer lives in a worker thread, and are reaped when that thread is terminated', async () => {
    const name = freshName();
    const made = createEphemeral(name);
    const peer = await Peer.start({ thread: true });
    await peer.call('a', 'open', name, { mode: 'r+' });
    made.close();
    expect(ndshm.gc()).not.toContain(name);
    expect(ndshm.stat(name).peers).toHaveLength(1);
    await peer.on('a', 'terminate');
    expect(ndshm.stat(name).peers).toEqual([]);
    expect(ndshm.gc()).toContain(name);
    await peer.kill();
  });

  test('a name that is replaced while ephemeral leaves the old array to its peers', () => {
    const name = freshName();
    const old = createEphemeral(name);
    const next = ndshm.create(name, { shape: 4, ifExists: 'replace', init: (array) => array.fill(2) });
    old.set(0, 1);
    old.close();
    expect(exists(name)).toBe(true);
    expect(next.get(0)).toBe(2);
    next.close();
    ndshm.unlink(name);
  });

  test('a thousand of them leave no listeners behind', () => {
    createEphemeral(freshName()).close();
    const before = process.listenerCount('exit');
    for (let n = 0; n < 1000; n++) createEphemeral(freshName()).close();
    expect(process.listenerCount('exit')).toBe(before);
  });
});

describeAsRoot('an ephemeral array with a peer that may not write (needs root to become another user)', () => {
  test('is not reaped while that peer lives', async () => {
    const name = freshName();
    const made = createEphemeral(name);
    chmodSync(`/dev/shm/${name}`, 0o444);
    const peer = await Peer.start({ uid: otherUser });
    expect(await peer.on('a', 'identity')).toBe(otherUser);
    await peer.call('a', 'open', name, { allowForeignOwner: true });
    expect(ndshm.stat(name).peers.map(({ slot, mode }) => [slot, mode])).toEqual([
      [0, 'r+'],
      [null, 'r'],
    ]);
    made.close();
    expect(exists(name)).toBe(true);
    expect(ndshm.gc()).not.toContain(name);
    expect(await peer.on('a', 'get', 0)).toBe(0);
    await peer.kill();
    expect(ndshm.gc()).toContain(name);
  });
});
