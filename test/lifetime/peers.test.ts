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
    const { peers } = ndshm.stat(name);
    expect(peers).toHaveLength(3);
    expect(peers[0]).toMatchObject({ slot: 0, pid: process.pid, mode: 'r+', attachedAt: expect.any(Date) });
    const theirs = peers.filter(({ pid }) => pid === peer.pid).map(({ mode }) => mode);
    expect(theirs.sort()).toEqual(['c', 'r']);
    await peer.kill();
    expect(slotsOf(name)).toEqual([0]);
    a.close();
    expect(slotsOf(name)).toEqual([]);
    ndshm.unlink(name);
  });

  test('all of them are seen, in whatever order they came and went', () => {
    const name = freshName();
    const first = ndshm.create(name, { shape: 1 });
    const slotOf = new Map<ndshm.SharedArray, number | null>();
    const others = Array.from({ length: 5 }, () => {
      const before = new Set(slotsOf(name));
      const array = ndshm.open(name);
      slotOf.set(array, slotsOf(name).find((slot) => !before.has(slot)) as number);
      return array;
    });
    const closed = [others[1], others[3]] as ndshm.SharedArray[];
    for (const array of closed) array.close();
    first.close();
    const living = others.filter((array) => !closed.includes(array));
    const expected = living.map((array) => slotOf.get(array) as number).sort((a, b) => a - b);
    expect(slotsOf(name)).toEqual(expected);
    const late = [ndshm.open(name), ndshm.open(name)];
    expect(slotsOf(name)).toHaveLength(5);
    expect(slotsOf(name)).toEqual(expect.arrayContaining(expected));
    for (const array of [...others, ...late]) array.close();
    ndshm.unlink(name);
  });

  test('the slot of a killed peer is claimed again, and then has the words of its new holder alone', async () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 1 });
    const peer = await Peer.start();
    await peer.call('a', 'open', name, { mode: 'r+' });
    const slot = ndshm.stat(name).peers.find(({ pid }) => pid === peer.pid)?.slot as number;
    await peer.kill();
    const others = Array.from({ length: 255 }, () => ndshm.open(name));
    expect(ndshm.stat(name).peers[slot]).toMatchObject({ slot, pid: process.pid, mode: 'r' });
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
