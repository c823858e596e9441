import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { Peer } from '../helpers/child';
import { opening, outcome } from '../helpers/locker';
import { freshName, thrownBy } from '../helpers/shm';

describe('RWLock', () => {
  test('lets in readers together and writers alone, among processes', async () => {
    const name = freshName('rwlock');
    const lock = new ndshm.RWLock(name);
    const other = await Peer.start();
    await other.call('l', 'RWLock', name);
    const hold = (access: 'read' | 'write') =>
      other.run(({ kept }: PeerContext, method) => {
        const theirs = kept.get('l') as ndshm.RWLock;
        return new Promise<void>((entered) => {
          const inside = () => {
            entered();
            return new Promise<void>((leave) => kept.set('leave', leave));
          };
          void theirs[method](inside);
        });
      }, access);
    const release = () => other.run(({ kept }: PeerContext) => (kept.get('leave') as () => void)());

    await hold('read');
    expect([lock.tryWrite(() => 'in'), lock.tryRead(() => 'in'), lock.readSync(() => 'in')]).toEqual([
      undefined,
      'in',
      'in',
    ]);
    expect(await lock.read(() => 'in')).toBe('in');
    const writing = lock.write(() => 'in');
    await release();
    expect(await writing).toBe('in');

    await hold('write');
    expect([lock.tryWrite(() => 'in'), lock.tryRead(() => 'in')]).toEqual([undefined, undefined]);
    expect(await outcome(lock.read(() => 'in', { timeoutMs: 20 }))).toBe('ERR_NDSHM_TIMEOUT');
    expect(thrownBy(() => lock.writeSync(() => 'in', { timeoutMs: 20 })).code).toBe('ERR_NDSHM_TIMEOUT');
    const waiting = outcome(lock.read((each) => each, { onAbandoned: 'ignore' }));
    await other.kill();
    expect(await waiting).toEqual({ abandoned: true });
    expect(thrownBy(() => lock.readSync(() => 'in')).code).toBe('ERR_NDSHM_ABANDONED');
    expect(await lock.write((each) => each, { onAbandoned: 'repair' })).toEqual({ abandoned: true });
    expect(lock.writeSync((each) => each)).toEqual({ abandoned: false });
    lock.close();
    lock.unlink();
  });

  test('rejects its callers when it is closed, and after', async () => {
    const lock = new ndshm.RWLock(freshName(), { ephemeral: true });
    const [left, leave] = opening();
    const inside = outcome(lock.read(() => left));
    const waiting = outcome(lock.write(() => 'in'));
    await new Promise(setImmediate);
    lock.close();
    expect(await waiting).toBe('ERR_NDSHM_CLOSED');
    leave();
    expect(await inside).toBe('ERR_NDSHM_CLOSED');
    expect(await outcome(lock.read(() => 'in'))).toBe('ERR_NDSHM_CLOSED');
    expect(thrownBy(() => lock.writeSync(() => 'in')).code).toBe('ERR_NDSHM_CLOSED');
    expect(thrownBy(() => lock.tryRead(() => 'in')).code).toBe('ERR_NDSHM_CLOSED');
    lock.close();
  });

  test('does not let a caller wait for itself', async () => {
    using lock = new ndshm.RWLock(freshName(), { ephemeral: true });
    await lock.read(async () => {
      expect(await lock.read(() => 'in')).toBe('in');
      expect(await outcome(lock.write(() => 'in'))).toBe('ERR_NDSHM_DEADLOCK');
    });
    expect(thrownBy(() => lock.writeSync(() => lock.readSync(() => 'in'))).code).toBe('ERR_NDSHM_DEADLOCK');
    expect(lock.tryWrite(() => 'in')).toBe('in');
  });
});
