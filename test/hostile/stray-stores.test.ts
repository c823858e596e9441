import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { freshName } from '../helpers/shm';

describe("a store through .data of an array in mode 'r'", () => {
  test('is seen by nobody else and crashes nothing', async () => {
    const name = freshName();
    const a = ndshm.fromArray(
      name,
      Float64Array.from({ length: 2000 }, (_, n) => n),
    );
    const peer = await Peer.start();
    await peer.call('r', 'open', name);
    await peer.call('again', 'open', name);
    await peer.on('r', 'poke', 0, -1);
    expect(await peer.on('r', 'peek', 0)).toBe(-1);
    expect(await peer.on('again', 'peek', 0)).toBe(0);
    expect(a.get(0)).toBe(0);
    a.set(1999, 7); // another page than the stray store's: still live
    expect(await peer.on('r', 'peek', 1999)).toBe(7);
    await peer.kill();
    a.close();
    ndshm.unlink(name);
  });

  test('ends the process by SIGSEGV under NDSHM_GUARD=1', async () => {
    const name = freshName();
    const a = ndshm.fromArray(name, [1, 2]);
    const peer = await Peer.start({ env: { NDSHM_GUARD: '1' } });
    await peer.call('r', 'open', name);
    expect(await peer.on('r', 'peek', 1)).toBe(2);
    peer.send({ of: 'r', method: 'poke', args: [0, 5] });
    expect(await peer.end()).toEqual({ code: null, signal: 'SIGSEGV' });
    expect(a.get(0)).toBe(1);
    expect(ndshm.stat(name).peers).toHaveLength(1);
    a.close();
    ndshm.unlink(name);
  });
});
