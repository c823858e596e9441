import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { freshName, thrownBy } from '../helpers/shm';

const slotsOf = (name: string) => ndshm.stat(name).peers.map(({ slot }) => slot);

describe('peers as stat() sees them', () => {
  test('a peer is seen with its pid and mode until it is killed', async () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 3 });
    const peer = await Peer.start();
    await peer.call('a', 'open', name, { mode: 'c' });
    await peer.call('b', 'open', name, { mode: 'r' });
    const [mine, first, second] = ndshm.stat(name).peers;
    expect(mine).toMatchObject({ slot: 0, pid: process.pid, mode: 'r+', attachedAt: expect.any(Date) });
    expect(first).toMatchObject({ slot: 1, pid: peer.pid, mode: 'c' });
    expect(second).toMatchObject({ slot: 2, pid: peer.pid, mode: 'r' });
    await peer.kill();
    expect(slotsOf(name)).toEqual([0]);
    a.close();
    expect(slotsOf(name)).toEqual([]);
    ndshm.unlink(name);
  });

  test('all of them are seen, in whatever order they came and went', () => {
    const name = freshName();
    const first = ndshm.create(name, { shape: 1 });
    const others = Array.from({ length: 5 }, () => ndshm.open(name));
    others[1]?.close();
    others[3]?.close();
    first.close();
    expect(slotsOf(name)).toEqual([1, 3, 5]);
    const late = [ndshm.open(name), ndshm.open(name)];
    expect(slotsOf(name)).toEqual([0, 1, 2, 3, 5]);
    for (const array of [...others, ...late]) array.close();
    ndshm.unlink(name);
  });

  test('slots of the closed are claimed first, then those of the killed', async () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 1 });
    const peer = await Peer.start();
    await peer.call('a', 'open', name, { mode: 'r+' });
    await peer.kill();
    const others = Array.from({ length: 254 }, () => ndshm.open(name));
    expect(slotsOf(name)).not.toContain(1);
    others.push(ndshm.open(name));
    expect(ndshm.stat(name).peers[1]).toMatchObject({ slot: 1, pid: process.pid, mode: 'r' });
    for (const array of [a, ...others]) array.close();
    ndshm.unlink(name);
  });

  test('the 257th peer gets ERR_NDSHM_PEERS_FULL, and in once another has left, killed or closed', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('a', 'create', name, { shape: 1 });
    const mine = Array.from({ length: 255 }, () => ndshm.open(name));
    const error = thrownBy(() => ndshm.open(name));
    expect(error.code).toBe('ERR_NDSHM_PEERS_FULL');
    expect(error.message).toContain('256');
    expect(ndshm.stat(name).peers).toHaveLength(256);
    await peer.kill();
    mine.push(ndshm.open(name));
    expect(thrownBy(() => ndshm.open(name)).code).toBe('ERR_NDSHM_PEERS_FULL');
    mine[100]?.close();
    mine.push(ndshm.open(name));
    expect(ndshm.stat(name).peers).toHaveLength(256);
    for (const array of mine) array.close();
    ndshm.unlink(name);
  });
});
