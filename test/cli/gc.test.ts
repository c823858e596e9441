import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import { describeAsRoot, otherUser, Peer, type PeerContext } from '../helpers/child';
import { ndshm as cli, ndshmJson, ndshmWith } from '../helpers/cli';
import { exists, freshName, namesInShm, shmPath } from '../helpers/shm';
import { describeWithStrace, killingAt } from '../helpers/strace';

interface Collected {
  readonly dryRun: boolean;
  readonly removed: readonly { readonly name: string; readonly bytes: number }[];
  readonly bytes: number;
}

const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-spill-'));
afterAll(() => rmSync(spillDir, { recursive: true }));

/** What of a result is of this test: others may crash, too. */
const names = ({ removed }: Collected, prefix: string): string[] =>
  removed.flatMap(({ name }) => (name.startsWith(prefix) ? [name] : [])).sort();

/** One of everything that goes with its processes, and what stays. */
async function makeAll({ ndshm, kept }: PeerContext, prefix: string, spillDir: string): Promise<void> {
  const ephemeral = { ephemeral: true };
  kept.set('array', ndshm.create(`${prefix}-array`, { shape: [100, 100], ...ephemeral }));
  ndshm.create(`${prefix}-stays`, { shape: 10 }).close();
  kept.set('mutex', new ndshm.Mutex(`${prefix}-mutex`, ephemeral));
  kept.set('semaphore', new ndshm.Semaphore(`${prefix}-semaphore`, { value: 3, ...ephemeral }));
  kept.set('queue', new ndshm.Queue(`${prefix}-queue`, ephemeral));
  kept.set('event', new ndshm.Event(`${prefix}-event`, ephemeral));
  const table = ndshm.ArrayTable.open(`${prefix}-table`, ephemeral);
  table.createArray([1000]);
  kept.set('table', table);
  const store = ndshm.Store.open(`${prefix}-store`, { capacity: '1MiB', spillDir });
  for (let n = 0; n < 4; n++) store.putSync(new Uint8Array(400_000).fill(n));
  kept.set('store', store);
}

/** What of it has a name, without what stays. */
const mortal = (prefix: string): string[] =>
  namesInShm()
    .filter((name) => name.startsWith(prefix) && !name.endsWith('-stays'))
    .sort();

describe('After a kill storm', () => {
  const prefix = freshName('storm');
  const of = (n: number): string => `${prefix}-${n}`;
  let peers: Peer[];
  let spilled: Record<number, string>;

  beforeAll(async () => {
    peers = await Promise.all(Array.from({ length: 6 }, () => Peer.start()));
    // Whoever makes something first reaps: nobody does so after the first death.
    await Promise.all(peers.map((peer, n) => peer.run(makeAll, of(n), spillDir)));
    spilled = Object.fromEntries(
      peers.map((_, n) => [n, readdirSync(spillDir).find((folder) => folder.endsWith(`-${of(n)}-store`)) as string]),
    );
    await Promise.all(peers.filter((_, n) => n % 2 === 0).map((peer) => peer.kill()));
  });

  const dead = [0, 2, 4];
  const living = [1, 3, 5];

  test('a dry run says what would go and removes nothing', () => {
    const before = namesInShm();
    const found = ndshmJson<Collected>('gc', '--dry-run');
    expect(names(found, prefix)).toEqual(dead.flatMap((n) => mortal(of(n))));
    expect(names(found, prefix).length).toBeGreaterThanOrEqual(3 * 10);
    expect(found.dryRun).toBe(true);
    expect(namesInShm()).toEqual(before);
    for (const n of dead) expect(existsSync(join(spillDir, spilled[n] as string))).toBe(true);
    expect(cli('gc', '-n').stdout).toContain(`Would remove ${of(0)}-array (`);
    expect(namesInShm()).toEqual(before);
  });

  test('gc removes just that, and tells how much memory it was', () => {
    const foretold = ndshmJson<Collected>('gc', '-n');
    const wanted = dead.flatMap((n) => mortal(of(n)));
    const kept = living.flatMap((n) => mortal(of(n)));
    const done = ndshmJson<Collected>('gc');
    expect(names(done, prefix)).toEqual(wanted);
    expect(done.removed).toEqual(
      expect.arrayContaining(foretold.removed.filter(({ name }) => name.startsWith(prefix))),
    );
    const sizeOf = (name: string) => done.removed.find((each) => each.name === name)?.bytes;
    expect(sizeOf(`${of(0)}-array`)).toBeGreaterThanOrEqual(80_000);
    expect(sizeOf(`${of(0)}-store.pages.0`)).toBeGreaterThanOrEqual(800_000);
    expect(done.bytes).toBe(done.removed.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(living.flatMap((n) => mortal(of(n)))).toEqual(kept);
    expect(dead.flatMap((n) => mortal(of(n)))).toEqual([]);
    // What was made to stay does, whoever made it.
    for (const n of [...dead, ...living]) expect(exists(`${of(n)}-stays`)).toBe(true);
    for (const n of dead) expect(existsSync(join(spillDir, spilled[n] as string))).toBe(false);
    for (const n of living) expect(existsSync(join(spillDir, spilled[n] as string))).toBe(true);
  });

  test('the living go on with what they have', async () => {
    for (const n of living) {
      const peer = peers[n] as Peer;
      const got = await peer.run(({ kept }) => {
        const store = kept.get('store') as ndshm.Store;
        const [first] = store.list();
        const bytes = store.get<Uint8Array>((first as ndshm.ObjectInfo).ref);
        (kept.get('array') as ndshm.SharedArray).set([99, 99], 7);
        return { length: bytes.length, acquired: (kept.get('semaphore') as ndshm.Semaphore).tryAcquire() };
      });
      expect(got).toEqual({ length: 400_000, acquired: true });
      expect(ndshm.stat(`${of(n)}-array`).peers).toHaveLength(1);
    }
  });

  test('a second time there is nothing to remove', () => {
    expect(names(ndshmJson<Collected>('gc'), prefix)).toEqual([]);
  });

  test('what the last of the living leave goes, too', async () => {
    await Promise.all(living.map((n) => (peers[n] as Peer).kill()));
    const wanted = living.flatMap((n) => mortal(of(n)));
    const { status, stdout, stderr } = cli('gc');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const name of wanted) expect(stdout).toContain(`Removed ${name} (`);
    expect(stdout).toMatch(/\n\d+ segments, [\d.]+ MiB\n$/);
    expect(living.flatMap((n) => mortal(of(n)))).toEqual([]);
    expect(readdirSync(spillDir)).toEqual([]);
  });
});

test('gc removes the private store of a pool whose processes were killed all at once', async () => {
  const peer = await Peer.start();
  const workers = await peer.run(async ({ ndshm, kept }) => {
    const pool = new ndshm.Pool({ processes: 2 });
    kept.set('pool', pool);
    await pool.map((bytes: Uint8Array) => bytes.length, [new Uint8Array(500_000), new Uint8Array(500_000)]);
    return pool.pids;
  });
  const store = readdirSync('/dev/shm').filter((name) => name.startsWith(`pool-${peer.pid}-`));
  expect(store).toHaveLength(2);
  // Stopped, so that it starts no others; and they cannot clear up after it.
  process.kill(peer.pid, 'SIGSTOP');
  for (const pid of workers) process.kill(pid, 'SIGKILL');
  await peer.kill();
  expect(names(ndshmJson<Collected>('gc'), `pool-${peer.pid}-`)).toEqual(store.sort());
  expect(readdirSync('/dev/shm').filter((name) => store.includes(name))).toEqual([]);
});

describeWithStrace('A replacement', () => {
  test('that never got its name is removed by gc; what it was to replace stays', async () => {
    const name = freshName('replaced');
    ndshm.create(name, { shape: 3 }).close();
    const { id } = ndshm.stat(name);
    const before = new Set(readdirSync('/dev/shm'));
    const peer = await Peer.start({ wrap: killingAt('renameat2', 1) });
    await expect(peer.call('a', 'create', name, { shape: 5, ifExists: 'replace' })).rejects.toThrow('The child ended');
    const left = readdirSync('/dev/shm').filter((each) => each.startsWith('.ndshm-') && !before.has(each));
    expect(left).toHaveLength(1);
    expect(names(ndshmJson<Collected>('gc'), left[0] as string)).toEqual(left);
    expect(exists(left[0] as string)).toBe(false);
    expect(ndshm.stat(name)).toMatchObject({ id, shape: [3] });
  });
});

test('gc leaves alone what is foreign, plain, or in use', () => {
  const foreign = freshName('foreign');
  writeFileSync(shmPath(foreign), 'something');
  const used = freshName('used');
  using array = ndshm.create(used, { shape: 3, ephemeral: true });
  expect(ndshmJson<Collected>('gc').removed.map(({ name }) => name)).not.toEqual(
    expect.arrayContaining([expect.stringMatching(`^(${foreign}|${used})$`)]),
  );
  expect([exists(foreign), exists(used), array.size]).toEqual([true, true, 3]);
});

describeAsRoot('What its user may only read', () => {
  test('is not removed, and not said to be by a dry run', async () => {
    const name = freshName('read-only');
    const peer = await Peer.start({ uid: otherUser });
    await peer.call('a', 'create', name, { shape: 3, ephemeral: true });
    chmodSync(shmPath(name), 0o400);
    await peer.kill();
    for (const how of [['--dry-run'], []]) {
      const { stdout } = ndshmWith({ uid: otherUser }, 'gc', '--json', ...how);
      expect(JSON.parse(stdout)).toMatchObject({ removed: [] });
    }
    expect(exists(name)).toBe(true);
    rmSync(shmPath(name));
  });
});

test('gc takes no arguments', () => {
  const name = freshName('argument');
  ndshm.create(name, { shape: 3 }).close();
  const { status, stderr } = cli('gc', name);
  expect(status).toBe(2);
  expect(stderr).toContain('too many arguments');
  expect(exists(name)).toBe(true);
});
