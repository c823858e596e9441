import { chmodSync, chownSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { describeAsRoot, otherUser, Peer, rejection } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

describeAsRoot('segments of another user (needs root to make them)', () => {
  test('open with allowForeignOwner alone', () => {
    const name = freshName();
    ndshm.fromArray(name, [1, 2]).close();
    chownSync(shmPath(name), otherUser, otherUser);
    for (const attempt of [
      () => ndshm.open(name),
      () => ndshm.openRaw(name, { dtype: 'uint8' }),
      () => ndshm.create(name, { shape: 2, ifExists: 'open' }),
      () => ndshm.create(name, { shape: 2, ifExists: 'replace' }),
    ]) {
      const error = thrownBy(attempt);
      expect(error.code).toBe('ERR_NDSHM_FOREIGN_OWNER');
      expect(error.message).toContain(String(otherUser));
    }
    const a = ndshm.open(name, { mode: 'r+', allowForeignOwner: true });
    expect([...a]).toEqual([1, 2]);
    a.close();
    expect(ndshm.gc()).not.toContain(name);
    ndshm.unlink(name);
  });

  test('of root are closed to others, and open for reading where permissions say so', async () => {
    const name = freshName();
    const a = ndshm.fromArray(name, [1, 2]);
    const peer = await Peer.start({ uid: otherUser });
    expect((await rejection(peer.call('a', 'open', name, { allowForeignOwner: true }))).code).toBe('EACCES');
    chmodSync(shmPath(name), 0o444);
    expect((await rejection(peer.call('a', 'open', name))).code).toBe('ERR_NDSHM_FOREIGN_OWNER');
    expect((await rejection(peer.call('a', 'open', name, { mode: 'r+', allowForeignOwner: true }))).code).toBe(
      'EACCES',
    );
    await peer.call('a', 'open', name, { allowForeignOwner: true });
    await peer.call('b', 'open', name, { mode: 'c', allowForeignOwner: true });
    a.set(0, 9);
    expect(await peer.on('a', 'get', 0)).toBe(9);
    await peer.on('b', 'set', 0, 5);
    await peer.on('a', 'poke', 1, 6);
    expect([...a]).toEqual([9, 2]);
    expect((await rejection(peer.call('c', 'unlink', name))).code).toMatch(/^(EPERM|EACCES)$/);
    await peer.kill();
    a.close();
    ndshm.unlink(name);
  });
});
