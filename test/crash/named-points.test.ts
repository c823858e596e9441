import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as ndshm from 'ndshm';
import { Peer, within } from '../helpers/child';
import { describeWithNumpy, python } from '../helpers/python';
import { exists, freshName, shmPath, thrownBy } from '../helpers/shm';

// Bytes of native/core/layout.h: kSlotLock and kNameLock.
const slotLock = 2 ** 40;
const nameLock = slotLock + 257;

const locker = `
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
def lock(kind):
    fcntl.fcntl(fd, 37, struct.pack('hhqqi4x', kind, 0, int(sys.argv[2]), int(sys.argv[3]), 0))  # F_OFD_SETLK
lock(fcntl.F_WRLCK)
print('locked', flush=True)
sys.stdin.readline()
`;

/** Holds a lock that stops whoever needs it at that point, as a reaper does; the function returned lets go. */
async function stopAt(name: string, byte: number, count: number): Promise<() => Promise<void>> {
  const holder = spawn(python as string, ['-c', locker, shmPath(name), String(byte), String(count)]);
  const ended = once(holder, 'exit');
  await within(once(holder.stdout, 'data'), 'lock');
  return async () => {
    holder.stdin.end('\n');
    await within(ended, 'end of the lock’s holder');
  };
}

describeWithNumpy('at a named point', () => {
  test('SIGKILL between a replacement’s completion and its renaming leaves the old array and one name to reap', async () => {
    const name = freshName();
    ndshm.fromArray(name, [1, 1]).close();
    const letGo = await stopAt(name, nameLock, 1);
    const peer = await Peer.start();
    let dead = false;
    const replacing = (async () => {
      // It waits at that point for a while and then gives up; so it goes there again until it is seen.
      while (!dead) await peer.call('a', 'fromArray', name, [2, 2], { ifExists: 'replace' }).catch(() => {});
    })();
    const orphan = await within(
      (async () => {
        for (;;) {
          const found = ndshm.list().find(({ kind, peers }) => kind === 'temporary' && peers[0]?.pid === peer.pid);
          if (found !== undefined) return found.name;
          await new Promise(setImmediate);
        }
      })(),
      'temporary name',
    );
    dead = true;
    await peer.kill();
    await replacing;
    const a = ndshm.open(name);
    expect([...a]).toEqual([1, 1]);
    a.close();
    expect(exists(orphan)).toBe(true);
    expect(ndshm.gc()).toContain(orphan);
    expect(exists(orphan)).toBe(false);
    await letGo();
    ndshm.fromArray(name, [3, 3], { ifExists: 'replace' }).close();
    ndshm.unlink(name);
  });

  test('replacing and unlinking give up with ERR_NDSHM_BUSY on a name that is held too long, and leave it', async () => {
    const name = freshName();
    ndshm.fromArray(name, [1, 1]).close();
    const letGo = await stopAt(name, nameLock, 1);
    expect(thrownBy(() => ndshm.fromArray(name, [2, 2], { ifExists: 'replace' })).code).toBe('ERR_NDSHM_BUSY');
    expect(thrownBy(() => ndshm.unlink(name)).code).toBe('ERR_NDSHM_BUSY');
    expect(ndshm.list().filter(({ kind, peers }) => kind === 'temporary' && peers[0]?.pid === process.pid)).toEqual([]);
    expect(ndshm.stat(name).nbytes).toBe(16);
    await letGo();
    ndshm.unlink(name);
  });

  test('opening waits until a reaper has let go of the slots', async () => {
    const name = freshName();
    const made = ndshm.create(name, { shape: 2, ephemeral: true });
    made.set(0, 4);
    const letGo = await stopAt(name, slotLock + 1, 257);
    const peer = await Peer.start();
    const opening = peer.call('a', 'open', name);
    await letGo();
    await opening;
    expect(await peer.on('a', 'get', 0)).toBe(4);
    await peer.kill();
    made.close();
    expect(exists(name)).toBe(false);
  });
});
