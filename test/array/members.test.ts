import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { createMember } from '../../dist/array/create';
import { Peer, rejection, within } from '../helpers/child';
import { describeWithNumpy, python } from '../helpers/python';
import { label, openIn, Pages } from '../helpers/reservoir';
import { exists, freshName, namesInShm, shmPath, thrownBy } from '../helpers/shm';

const ephemeralParent = (name = freshName()) => ndshm.create(name, { shape: 4, ephemeral: true });
const lastingParent = (name = freshName()) => ndshm.create(name, { shape: 4 });
const mine = (names: readonly string[], parent: string) => names.filter((name) => name.startsWith(parent));

describe('a member', () => {
  test('is an ordinary array under its parent’s name and label', async () => {
    const parent = ephemeralParent();
    const member = createMember(parent, '7.1', { shape: [2, 3], dtype: 'int32', init: (array) => array.fill(5) });
    expect(member.name).toBe(`${parent.name}.7.1`);
    const opened = ndshm.open(`${parent.name}.7.1`, { mode: 'r+' });
    await opened.write((array) => array.set([1, 2], 6));
    expect(member.toNested()).toEqual([
      [5, 5, 5],
      [5, 5, 6],
    ]);
    opened.close();
    member.close();
    expect(ndshm.gc()).not.toContain(`${parent.name}.7.1`);
    expect(exists(`${parent.name}.7.1`)).toBe(true);
    parent.close();
    expect(mine(ndshm.gc(), parent.name as string)).toEqual([`${parent.name}.7.1`]);
  });

  test('is not reaped while its parent’s name means that parent, with or without peers', () => {
    const parent = lastingParent();
    createMember(parent, '0.1', { shape: 1 }).close();
    parent.close();
    expect(ndshm.gc()).not.toContain(`${parent.name}.0.1`);
    expect(exists(`${parent.name}.0.1`)).toBe(true);
    ndshm.unlink(parent.name as string);
    expect(ndshm.gc()).toContain(`${parent.name}.0.1`);
  });

  test('is reaped when its parent’s name means another segment', () => {
    const parent = lastingParent();
    createMember(parent, '0.1', { shape: 1 }).close();
    const next = ndshm.create(parent.name as string, { shape: 4, ifExists: 'replace' });
    createMember(next, '0.2', { shape: 1 }).close();
    expect(mine(ndshm.gc(), next.name as string)).toEqual([`${parent.name}.0.1`]);
    expect(exists(`${parent.name}.0.2`)).toBe(true);
    parent.close();
    next.close();
    ndshm.unlink(next.name as string);
    expect(mine(ndshm.gc(), next.name as string)).toEqual([`${parent.name}.0.2`]);
  });

  test('is reaped when its parent’s name means something that is no segment of ours', () => {
    const parent = lastingParent();
    createMember(parent, '0.1', { shape: 1 }).close();
    parent.close();
    ndshm.unlink(parent.name as string);
    writeFileSync(shmPath(parent.name as string), Buffer.alloc(100_000));
    expect(ndshm.gc()).toContain(`${parent.name}.0.1`);
    expect(exists(parent.name as string)).toBe(true);
    rmSync(shmPath(parent.name as string));
  });

  test('is not reaped while anybody has it open', async () => {
    const parent = lastingParent();
    createMember(parent, '0.1', { shape: 1, init: (array) => array.fill(3) }).close();
    const peer = await Peer.start();
    await peer.call('member', 'open', `${parent.name}.0.1`);
    parent.close();
    ndshm.unlink(parent.name as string);
    expect(ndshm.gc()).not.toContain(`${parent.name}.0.1`);
    expect(await peer.on('member', 'get', 0)).toBe(3);
    await peer.kill();
    expect(ndshm.gc()).toContain(`${parent.name}.0.1`);
  });

  test('whose name has been changed so that no parent can be told is left alone', () => {
    const parent = lastingParent();
    createMember(parent, '0.1', { shape: 1 }).close();
    parent.close();
    ndshm.unlink(parent.name as string);
    const moved = freshName();
    renameSync(shmPath(`${parent.name}.0.1`), shmPath(moved));
    expect(ndshm.gc()).not.toContain(moved);
    ndshm.unlink(moved);
  });

  test('may have members itself, which go in the same turn', () => {
    const parent = ephemeralParent();
    const member = createMember(parent, '0.1', { shape: 1 });
    createMember(member, '5.2', { shape: 1 }).close();
    member.close();
    parent.close();
    expect(mine(ndshm.gc(), parent.name as string)).toEqual([`${parent.name}.0.1`, `${parent.name}.0.1.5.2`]);
  });

  test('cannot be made of a parent without a segment of its own, or under a label of another form', () => {
    const parent = ephemeralParent();
    for (const wrong of ['', 'a', 'a.', '.a', 'a.b.c', '../a.b', 'a/b.c', 'a.b\0']) {
      expect(thrownBy(() => createMember(parent, wrong, { shape: 1 })).code).toBe('ERR_NDSHM_INVALID_NAME');
    }
    expect(thrownBy(() => createMember(parent, `${'a'.repeat(240)}.b`, { shape: 1 })).code).toBe(
      'ERR_NDSHM_INVALID_NAME',
    );
    const anonymous = ndshm.anonymous({ shape: 1 });
    expect(thrownBy(() => createMember(anonymous, 'a.b', { shape: 1 })).code).toBe('ERR_NDSHM_ANONYMOUS');
    anonymous.close();
    parent.close();
    expect(thrownBy(() => createMember(parent, 'a.b', { shape: 1 })).code).toBe('ERR_NDSHM_CLOSED');
  });

  test('that exists is an error, opened or replaced, as asked', () => {
    const parent = ephemeralParent();
    const first = createMember(parent, '0.1', { shape: 1, init: (array) => array.fill(1) });
    expect(thrownBy(() => createMember(parent, '0.1', { shape: 1 })).code).toBe('EEXIST');
    const same = createMember(parent, '0.1', { shape: 1, ifExists: 'open' });
    expect(same.get(0)).toBe(1);
    const next = createMember(parent, '0.1', { shape: 1, ifExists: 'replace' });
    expect([first.get(0), next.get(0)]).toEqual([1, 0]);
    for (const array of [first, same, next, parent]) array.close();
    expect(mine(ndshm.gc(), parent.name as string)).toEqual([`${parent.name}.0.1`]);
  });

  test.each(['error', 'open', 'replace'] as const)('does not take a name that is somebody else’s (%s)', (ifExists) => {
    const parent = ephemeralParent();
    ndshm.create(`${parent.name}.0.1`, { shape: 1, init: (array) => array.fill(4) }).close();
    expect(thrownBy(() => createMember(parent, '0.1', { shape: 1, ifExists })).code).toBe('EEXIST');
    const other = ndshm.open(`${parent.name}.0.1`);
    expect(other.get(0)).toBe(4);
    other.close();
    parent.close();
    ndshm.unlink(`${parent.name}.0.1`);
  });

  test('takes the place of what an earlier parent of the name has left', () => {
    const parent = lastingParent();
    createMember(parent, '0.1', { shape: 1, init: (array) => array.fill(1) }).close();
    parent.close();
    ndshm.unlink(parent.name as string);
    const next = ephemeralParent(parent.name as string);
    const member = createMember(next, '0.1', { shape: 1 });
    expect(member.get(0)).toBe(0);
    member.close();
    next.close();
    expect(mine(ndshm.gc(), next.name as string)).toEqual([`${next.name}.0.1`]);
  });
});

describe('after SIGKILL', () => {
  test('of the last peer of a parent, gc() takes parent, members and reservoir, and nothing before', async () => {
    const pages = new Pages();
    const peer = await Peer.start();
    await openIn(peer, pages);
    await peer.run(({ kept, part }) => {
      const { createMember } = part('array/create') as typeof import('../../dist/array/create');
      kept.set('member', createMember(kept.get('parent') as ndshm.SharedArray, '0.1', { shape: 10 }));
    });
    pages.reservoir.close();
    pages.parent.close();
    expect(mine(ndshm.gc(), pages.parentName)).toEqual([]);
    await peer.kill();
    const all = [pages.parentName, `${pages.parentName}.0.1`, `${pages.parentName}.${label}`];
    expect(mine(namesInShm().sort(), pages.parentName)).toEqual(all);
    expect(mine(ndshm.gc(), pages.parentName)).toEqual(all);
    expect(mine(namesInShm(), pages.parentName)).toEqual([]);
  });

  test('while it is being filled a member has no name; later it is its parent’s', async () => {
    const parent = ephemeralParent();
    const peer = await Peer.start();
    await peer.call('parent', 'open', parent.name, { mode: 'r+' });
    const dying = peer.run(({ kept, part }) => {
      const { createMember } = part('array/create') as typeof import('../../dist/array/create');
      createMember(kept.get('parent') as ndshm.SharedArray, '0.1', { shape: 10 }).close();
      createMember(kept.get('parent') as ndshm.SharedArray, '0.2', {
        shape: 10,
        init: () => process.kill(process.pid, 'SIGKILL'),
      });
    });
    await rejection(dying);
    await peer.end();
    expect(mine(namesInShm().sort(), `${parent.name}.`)).toEqual([`${parent.name}.0.1`]);
    expect(mine(ndshm.gc(), `${parent.name}.`)).toEqual([]);
    createMember(parent, '0.2', { shape: 10 }).close();
    parent.close();
    expect(mine(ndshm.gc(), `${parent.name}.`)).toEqual([`${parent.name}.0.1`, `${parent.name}.0.2`]);
  });
});

// Holds the bytes of all slots of a file, as a reaper does, until a line comes.
const locker = `
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 2 ** 40, 258, 0))  # F_OFD_SETLK
print('locked', flush=True)
sys.stdin.readline()
`;

describeWithNumpy('an opener that comes in the middle of a reaper’s work', () => {
  test('does not get the member that is gone', async () => {
    const parent = lastingParent();
    createMember(parent, '0.1', { shape: 1 }).close();
    parent.close();
    ndshm.unlink(parent.name as string);
    const path = shmPath(`${parent.name}.0.1`);
    const reaper = spawn(python as string, ['-c', locker, path]);
    await within(once(reaper.stdout, 'data'), 'lock');
    const peer = await Peer.start();
    const opening = rejection(peer.call('member', 'open', `${parent.name}.0.1`, { mode: 'r+' }));
    const hasIt = () =>
      readdirSync(`/proc/${peer.pid}/fd`).some((fd) => {
        try {
          return readlinkSync(`/proc/${peer.pid}/fd/${fd}`) === path;
        } catch {
          return false; // closed since
        }
      });
    await within(
      (async () => {
        while (!hasIt()) await new Promise(setImmediate);
      })(),
      'opened file',
    );
    rmSync(path);
    reaper.stdin.end('\n');
    expect((await opening).code).toBe('ENOENT');
    await peer.kill();
  });
});
