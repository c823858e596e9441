import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import { remove } from '../../dist/cli/remove';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { ndshm as cli, ndshmWith, type Ran } from '../helpers/cli';
import { exists, freshName, namesInShm, shmPath, thrownBy } from '../helpers/shm';
import { keepIn, openIn } from '../helpers/store';

interface Outcome {
  readonly dryRun: boolean;
  readonly removed: readonly { name: string; members: string[]; bytes: number; users: number[] }[];
  readonly refused: readonly { name: string; code: string | null; message: string }[];
}

const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-spill-'));
afterAll(() => rmSync(spillDir, { recursive: true }));

/** With --json, whether all was done or not. */
function rm(...args: readonly string[]): Outcome & { readonly status: number | null } {
  const { status, stdout } = cli('rm', ...args, '--json');
  return { status, ...(JSON.parse(stdout) as Outcome) };
}

const make = (name: string, options: { ephemeral?: boolean } = {}): string => {
  ndshm.create(name, { shape: [1000], ...options }).close();
  return name;
};

/** A table of two arrays, by a process that has ended: the mappings of one that has closed it go when they are collected. */
async function makeTable(name: string): Promise<void> {
  const peer = await Peer.start();
  await peer.run(({ ndshm }, name) => {
    const table = ndshm.ArrayTable.open(name);
    table.createArray([10]);
    table.createArray([20]);
    table.close();
  }, name);
  await peer.kill();
}

const ok = { status: 0, refused: [] };

const segments = (name: string): string[] => namesInShm().filter((each) => each.startsWith(name));

describe('rm removes', () => {
  test('what is named, and says how much memory it was', () => {
    const name = make(freshName());
    const { allocatedBytes } = ndshm.stat(name);
    expect(rm(name)).toMatchObject({ ...ok, removed: [{ name, members: [], bytes: allocatedBytes, users: [] }] });
    expect(exists(name)).toBe(false);
  });

  test('several, in words for people', () => {
    const [one, two] = [make(freshName()), make(freshName())] as const;
    const { status, stdout, stderr } = cli('rm', one, `/dev/shm/${two}`);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Removed ${one} \\([\\d.]+ KiB\\)\nRemoved ${two} \\([\\d.]+ KiB\\)\n$`));
    expect(exists(one) || exists(two)).toBe(false);
  });

  test('nothing in a dry run, which tells the same', () => {
    const name = make(freshName());
    const [foretold] = rm('-n', name).removed;
    expect(exists(name)).toBe(true);
    expect(cli('rm', '--dry-run', name).stdout).toContain(`Would remove ${name}`);
    expect(rm(name).removed).toEqual([foretold]);
  });

  test('each name once, though two patterns fit', () => {
    const prefix = freshName('twice');
    const names = [make(`${prefix}-a`), make(`${prefix}-b`)];
    expect(rm(`${prefix}-*`, `${prefix}-[ab]`, names[0] as string).removed.map(({ name }) => name)).toEqual(names);
    expect(namesInShm().filter((name) => name.startsWith(prefix))).toEqual([]);
  });

  test('what a crash has left', async () => {
    const name = freshName('left');
    const peer = await Peer.start();
    await peer.call('a', 'create', name, { shape: 3, ephemeral: true });
    await peer.kill();
    expect(exists(name)).toBe(true);
    expect(rm(name)).toMatchObject({ ...ok, removed: [{ name }] });
    expect(exists(name)).toBe(false);
  });

  test('an empty primitive and a plain .npy file', () => {
    const [semaphore, plain] = [freshName('semaphore'), freshName('plain')];
    new ndshm.Semaphore(semaphore).close();
    using array = ndshm.anonymous({ shape: 3 });
    ndshm.save(array, shmPath(plain));
    expect(rm(semaphore, plain)).toMatchObject({ ...ok, removed: [{ name: semaphore }, { name: plain }] });
    expect(exists(semaphore) || exists(plain)).toBe(false);
  });
});

describe('rm refuses', () => {
  test('an unknown name, with the nearest ones', () => {
    const name = make(freshName('prices'));
    const { status, stderr } = cli('rm', `${name}x`);
    expect(status).toBe(1);
    expect(stderr).toContain(`did you mean '${name}'?`);
    expect(rm(`${name}x`).refused).toMatchObject([{ name: `${name}x`, code: 'ENOENT' }]);
    expect(exists(name)).toBe(true);
  });

  test('one of several and removes the others', async () => {
    const [one, used, two] = [make(freshName()), make(freshName()), make(freshName())] as const;
    using _ = ndshm.open(used);
    expect(rm(one, used, `${used}-unknown`, two)).toMatchObject({
      status: 1,
      removed: [{ name: one }, { name: two }],
      refused: [
        { name: used, code: 'EBUSY' },
        { name: `${used}-unknown`, code: 'ENOENT' },
      ],
    });
    expect([one, used, two].map(exists)).toEqual([false, true, false]);
  });

  test('to run without a name', () => {
    expect(cli('rm').status).toBe(2);
  });

  test('a path that leads elsewhere', () => {
    const file = join(spillDir, 'precious');
    writeFileSync(file, '');
    expect(rm(`../..${file}`, `/dev/shm/../..${file}`)).toMatchObject({ status: 1, removed: [] });
    expect(existsSync(file)).toBe(true);
  });
});

describe('What is in use', () => {
  /** Runs rm and, as it is refused, once more with --force. */
  function insist(name: string, ...args: string[]): { refused: Ran; forced: Outcome } {
    const refused = cli('rm', name, ...args);
    expect(refused.status).toBe(1);
    expect(exists(name)).toBe(true);
    expect(rm('-n', '--force', name, ...args).removed).toMatchObject([{ name }]);
    expect(exists(name)).toBe(true);
    const forced = rm('--force', name, ...args);
    expect(forced).toMatchObject({ ...ok, removed: [{ name }] });
    expect(exists(name)).toBe(false);
    return { refused, forced };
  }

  test('by a peer is refused, naming it; with --force the peer keeps it', async () => {
    const name = make(freshName('used'));
    const peer = await Peer.start();
    await peer.call('a', 'open', name, { mode: 'r+' });
    const { refused, forced } = insist(name);
    expect(refused.stderr).toMatch(
      new RegExp(`'${name}' is in use by ${peer.pid} \\(.*node .*\\)\n--force takes away`),
    );
    expect(forced.removed[0]?.users).toEqual([peer.pid]);
    await peer.on('a', 'set', [0], 5);
    expect(await peer.on('a', 'get', 0)).toBe(5);
  });

  test('by a process that is no peer is refused: one that has only mapped it', async () => {
    const name = freshName('foreign');
    writeFileSync(shmPath(name), Buffer.alloc(4096));
    const peer = await Peer.start();
    await peer.run(({ ndshm, kept }, name) => {
      kept.set('a', ndshm.openRaw(name, { dtype: 'uint8', shape: 4096, mode: 'r' }));
    }, name);
    expect(insist(name).refused.stderr).toContain(`in use by ${peer.pid} `);
  });

  test('by a process that has the file open is refused', () => {
    const name = make(freshName('open'));
    const fd = openSync(shmPath(name), 'r');
    try {
      expect(insist(name).refused.stderr).toContain(`in use by ${process.pid} `);
    } finally {
      closeSync(fd);
    }
  });

  test('by a stopped writer is refused, and removed with --force, without waiting for it', async () => {
    const name = make(freshName('writer'));
    const peer = await Peer.start();
    await peer.call('a', 'open', name, { mode: 'r+' });
    await peer.run(({ kept }) => {
      const array = kept.get('a') as ndshm.SharedArray;
      void array.write(() => new Promise(() => {}));
    });
    process.kill(peer.pid, 'SIGSTOP');
    expect(ndshm.stat(name).lock?.state).toBe('write');
    insist(name);
    process.kill(peer.pid, 'SIGCONT');
  });

  test('names three of its users and counts the others', async () => {
    const name = make(freshName('many'));
    const peers = await Promise.all(Array.from({ length: 5 }, () => Peer.start()));
    await Promise.all(peers.map((peer) => peer.call('a', 'open', name)));
    expect(cli('rm', name).stderr).toMatch(/in use by \d+ \(.*?\), \d+ \(.*?\), \d+ \(.*?\) and 2 more$/m);
  });

  test('is in use for remove() also if this process is the one', () => {
    const name = freshName('mine');
    using array = ndshm.create(name, { shape: 3 });
    expect(thrownBy(() => remove(name))).toMatchObject({ code: 'EBUSY' });
    expect(remove(name, { force: true })).toMatchObject({ name, users: [] });
    expect(exists(name)).toBe(false);
    expect(array.size).toBe(3);
  });
});

describe('What has come under the name since rm looked stays', () => {
  /** Is asked who uses it, as rm is about to remove it. */
  const meanwhile = (act: () => void) => {
    let acted = false;
    const of = () => {
      if (!acted) act();
      acted = true;
      return [];
    };
    return { hidden: 0, of };
  };

  test('an array', () => {
    const name = make(freshName('replaced'));
    const processes = meanwhile(() => ndshm.create(name, { shape: 3, ifExists: 'replace' }).close());
    expect(thrownBy(() => remove(name, { processes }))).toMatchObject({ code: 'ERR_NDSHM_BUSY' });
    expect(ndshm.stat(name).shape).toEqual([3]);
    ndshm.unlink(name);
  });

  test('a store that is in use', () => {
    const name = freshName('replaced');
    const stores = [ndshm.Store.open(name, { capacity: '1MiB' })];
    const processes = meanwhile(() => {
      stores[0]?.unlink();
      stores.push(ndshm.Store.open(name, { capacity: '1MiB' }));
    });
    expect(thrownBy(() => remove(name, { processes, force: true }))).toMatchObject({ code: 'ERR_NDSHM_BUSY' });
    stores[1]?.putSync(1); // throws if it has ended
    for (const store of stores) store.close();
  });

  test('and nothing stays of a table that rm itself would have made anew', () => {
    const name = freshName('gone');
    ndshm.ArrayTable.open(name).close();
    const processes = meanwhile(() => ndshm.unlink(name));
    remove(name, { processes });
    expect(segments(name)).toEqual([]);
  });
});

describe('A pattern', () => {
  test('means neither foreign segments nor members; named exactly the foreign goes', async () => {
    const prefix = freshName('pattern');
    const [mine, foreign, table] = [`${prefix}-mine`, `${prefix}-foreign`, `${prefix}-table`] as const;
    make(mine);
    writeFileSync(shmPath(foreign), 'something');
    await makeTable(table);
    const { removed } = rm('-n', `${prefix}-*`);
    expect(removed.map(({ name }) => name)).toEqual([mine, table]);
    expect(rm(`${prefix}-*.0`)).toMatchObject({ status: 1, removed: [] });
    expect(rm(`${prefix}-*`)).toMatchObject(ok);
    expect(namesInShm().filter((name) => name.startsWith(prefix))).toEqual([foreign]);
    expect(cli('rm', `${prefix}-*`).stderr).toContain(`'${prefix}-*' fits no segment of yours`);
    expect(rm(foreign)).toMatchObject(ok);
    expect(exists(foreign)).toBe(false);
  });

  test('is a name where a segment is called so', () => {
    const prefix = freshName('odd');
    const [odd, other] = [`${prefix}-[x]`, `${prefix}-x`] as const;
    writeFileSync(shmPath(odd), 'something');
    make(other);
    expect(rm(odd)).toMatchObject({ ...ok, removed: [{ name: odd }] });
    expect([exists(odd), exists(other)]).toEqual([false, true]);
  });

  test('refuses those in use and removes the others', () => {
    const prefix = freshName('some');
    const [free, used] = [make(`${prefix}-free`), make(`${prefix}-used`)] as const;
    using _ = ndshm.open(used);
    expect(rm(`${prefix}-*`)).toMatchObject({ status: 1, removed: [{ name: free }], refused: [{ name: used }] });
  });
});

test('A foreign name that could harm a terminal is shown without what it would obey', () => {
  const name = `${freshName('evil')}\x1b[2J\n`;
  writeFileSync(shmPath(name), 'something');
  const { status, stdout } = cli('rm', name);
  expect(status).toBe(0);
  expect(stdout).toContain('\\x1b[2J\\x0a');
  expect(exists(name)).toBe(false);
});

describe('A store', () => {
  test('goes with its pages and its folder on disk', async () => {
    const name = freshName('store');
    const peer = await Peer.start();
    await openIn(peer, name, { capacity: '1MiB', spillDir });
    await peer.run(({ kept }) => {
      const store = kept.get('store') as ndshm.Store;
      for (let n = 0; n < 4; n++) store.putSync(new Uint8Array(400_000));
    });
    expect(readdirSync(spillDir).some((folder) => folder.endsWith(name))).toBe(true);
    expect(rm(name)).toMatchObject({ status: 1, refused: [{ code: 'EBUSY' }] });
    const members = [`${name}.pages.0`, `${name}.spill.0`];
    expect(rm('--force', name)).toMatchObject({ ...ok, removed: [{ name, members, users: [peer.pid] }] });
    expect(segments(name)).toEqual([]);
    expect(readdirSync(spillDir).some((folder) => folder.endsWith(name))).toBe(false);
    // Its processes know.
    const put = peer.run(({ kept }) => (kept.get('store') as ndshm.Store).putSync(1));
    await expect(put).rejects.toMatchObject({ code: 'ERR_NDSHM_CLOSED' });
  });

  test('leaves readers what they have got', async () => {
    const name = freshName('read');
    const store = ndshm.Store.open(name, { capacity: '1MiB' });
    const ref = store.putSync(new Float64Array(50_000).fill(3));
    const peer = await Peer.start();
    await openIn(peer, name);
    await keepIn(peer, 'values', ref);
    expect(rm('--force', name)).toMatchObject(ok);
    store.close();
    expect(segments(name)).toEqual([]);
    expect(await peer.run(({ kept }) => (kept.get('values') as Float64Array)[49_999])).toBe(3);
  });

  test('keeps its members from being removed alone, even with --force', () => {
    const name = freshName('parts');
    const store = ndshm.Store.open(name, { capacity: '1MiB' });
    for (const force of [[], ['--force']]) {
      const { refused } = rm(`${name}.pages.0`, ...force);
      expect(refused).toMatchObject([
        { code: 'EPERM', message: `'${name}.pages.0' is a part of '${name}', and goes with it alone` },
      ]);
    }
    store.putSync(new Uint8Array(100_000)); // all of it is there
    store.close();
  });

  test('whose last process was killed goes whole', async () => {
    const name = freshName('killed');
    const peer = await Peer.start();
    await openIn(peer, name, { capacity: '1MiB', spillDir });
    await peer.kill();
    expect(segments(name)).toHaveLength(3);
    expect(rm(name)).toMatchObject({ ...ok, removed: [{ name }] });
    expect(segments(name)).toEqual([]);
    expect(readdirSync(spillDir).some((folder) => folder.endsWith(name))).toBe(false);
  });

  test.each([
    ['whose words are damaged', (array: ndshm.SharedArray) => (array.data as Int32Array).fill(-1, 16)],
    ['whose lock a stopped process holds', undefined],
  ])('%s goes all the same', async (_, damage) => {
    const name = freshName('damaged');
    const peer = await Peer.start();
    await openIn(peer, name, { capacity: '1MiB', spillDir });
    if (damage === undefined) {
      await peer.run(({ ndshm, kept }, name) => {
        const array = ndshm.open(name, { mode: 'r+' });
        kept.set('words', array);
        void array.write(() => new Promise(() => {}));
      }, name);
      process.kill(peer.pid, 'SIGSTOP');
    } else {
      using words = ndshm.open(name, { mode: 'r+' });
      damage(words);
    }
    expect(rm('--force', name)).toMatchObject(ok);
    await peer.kill();
    expect(segments(name)).toEqual([]);
    expect(readdirSync(spillDir).some((folder) => folder.endsWith(name))).toBe(false);
  });
});

test('A table of arrays goes with its arrays, also with those that are open', async () => {
  const name = freshName('table');
  await makeTable(name);
  expect(rm('-n', name).removed[0]?.members).toHaveLength(3); // two arrays, and the table's pages
  const peer = await Peer.start();
  const first = namesInShm().find((each) => each.startsWith(`${name}.`) && !each.endsWith('.pages.0')) as string;
  await peer.call('a', 'open', first, { mode: 'r+' });
  expect(rm(name)).toMatchObject({ status: 1, refused: [{ code: 'EBUSY' }] });
  expect(namesInShm().filter((each) => each.startsWith(name))).toHaveLength(4);
  expect(rm('-f', name)).toMatchObject(ok);
  expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
  await peer.on('a', 'set', [0], 1);
});

describeAsRoot("Other people's segments", () => {
  const theirs = (name: string): string => {
    make(name);
    chownSync(shmPath(name), otherUser, otherUser);
    return name;
  };

  test('are not meant by a pattern; root removes them by name', () => {
    const prefix = freshName('theirs');
    const name = theirs(`${prefix}-a`);
    expect(rm(`${prefix}-*`)).toMatchObject({ status: 1, removed: [], refused: [{ code: 'ENOENT' }] });
    expect(rm(name)).toMatchObject(ok);
    expect(exists(name)).toBe(false);
  });

  test('are refused to others, with the reason', () => {
    const name = make(freshName('roots'));
    for (const permissions of [0o600, 0o666]) {
      chmodSync(shmPath(name), permissions);
      const { status, stderr } = ndshmWith({ uid: otherUser }, 'rm', '--force', name);
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: expect.stringMatching(/belongs to another user \(uid 0\), who alone may remove it, or root/),
      });
    }
    expect(exists(name)).toBe(true);
  });

  test('a store that others may write to is not ended by who may not remove it', async () => {
    const name = freshName('open');
    const store = ndshm.Store.open(name, { capacity: '1MiB' });
    for (const each of namesInShm()) if (each.startsWith(name)) chmodSync(shmPath(each), 0o666);
    expect(ndshmWith({ uid: otherUser }, 'rm', '--force', name).status).toBe(1);
    store.putSync(1);
    store.close();
  });

  test("root removes another user's store with all that belongs to it", async () => {
    const name = freshName('store');
    const peer = await Peer.start({ uid: otherUser });
    await openIn(peer, name, { capacity: '1MiB' });
    await peer.kill();
    expect(rm(name)).toMatchObject(ok);
    expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
  });

  test('are not removed with a table though they say that they belong to it', async () => {
    const name = freshName('table');
    await makeTable(name);
    const member = segments(name).find((each) => ndshm.stat(each).nbytes === 80) as string;
    const forged = `${name}.forged.0`;
    copyFileSync(shmPath(member), shmPath(forged));
    chownSync(shmPath(forged), otherUser, otherUser);
    expect(ndshm.stat(forged).memberOf).toBe(name);
    expect(rm(name).removed[0]?.members).not.toContain(forged);
    expect(segments(name)).toEqual([forged]);
    rmSync(shmPath(forged));
  });

  test('peers in another pid namespace count, though they cannot be seen', () => {
    // The other way round: rm is in a namespace of its own, with a /proc of its own.
    const name = make(freshName('namespace'));
    using _ = ndshm.open(name);
    const { stderr } = ndshmWith({ wrap: 'unshare --mount-proc --pid --fork'.split(' ') }, 'rm', name);
    expect(stderr).toContain(`'${name}' is in use by 1 peer in processes that cannot be seen from here`);
    expect(exists(name)).toBe(true);
  });

  test('whatever /dev/shm does not allow is told as it says', () => {
    const mounts = 'mount -t tmpfs ndshm-test /dev/shm && echo > /dev/shm/stuck && mount -o remount,ro /dev/shm';
    const { status, stderr } = ndshmWith(
      { wrap: ['unshare', '-m', 'sh', '-c', `${mounts} && exec "$@"`, 'sh'] },
      'rm',
      'stuck',
    );
    expect(status).toBe(1);
    expect(stderr).toContain('EROFS');
  });
});
