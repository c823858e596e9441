import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import { lookIntoStore } from '../../dist/cli/stores';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { ndshm as cli, ndshmJson } from '../helpers/cli';
import { freshName, namesInShm, thrownBy } from '../helpers/shm';
import { draftIn, existingBytes, keepIn, mebibyte, openIn, peerWith } from '../helpers/store';

interface Summary {
  readonly name: string;
  readonly capacityBytes: number;
  readonly allocatedBytes: number;
  readonly peers: number;
  readonly leftover: boolean;
}

/** As JSON has it: times are strings. */
type Listed = Pick<ndshm.ObjectInfo, 'ref' | 'state' | 'byteLength' | 'mapped' | 'pid'>;

interface Freed {
  readonly name: string;
  readonly freedBytes: number;
  readonly inUseBytes: number;
}

const spillDir = mkdtempSync(join(tmpdir(), 'ndshm-test-spill-'));
afterAll(() => rmSync(spillDir, { recursive: true }));

const stores: ndshm.Store[] = [];
afterEach(() => {
  for (const store of stores.splice(0)) store.close();
});
function open(options: ndshm.StoreOptions = {}): ndshm.Store {
  const store = ndshm.Store.open(freshName('store'), { capacity: '8MiB', ...options });
  stores.push(store);
  return store;
}

describe('store ls', () => {
  test('lists the stores, without opening any', async () => {
    const store = open();
    store.putSync(new Uint8Array(mebibyte));
    const left = await peerWith(freshName('left'));
    const leftName = await left.run(({ kept }) => (kept.get('store') as ndshm.Store).name);
    await left.kill();
    const other = freshName('array');
    using _ = ndshm.create(other, { shape: 3, ephemeral: true });
    const found = ndshmJson<Summary[]>('store', 'ls');
    const mine = found.find(({ name }) => name === store.name);
    expect(mine).toMatchObject({ capacityBytes: 8 * mebibyte, peers: 1, leftover: false });
    expect(mine?.allocatedBytes).toBeGreaterThan(mebibyte);
    expect(found.find(({ name }) => name === leftName)).toMatchObject({ peers: 0, leftover: true });
    expect(found.map(({ name }) => name)).not.toContain(other);
    const { stdout } = cli('store', 'ls');
    expect(stdout).toMatch(/^NAME +CAPACITY +SIZE +PEERS +AGE +NOTE\n/);
    expect(stdout).toMatch(new RegExp(`^${store.name} +8 MiB +[\\d.]+ MiB +1 +\\d+ s$`, 'm'));
    expect(stdout).toMatch(new RegExp(`^${leftName} .* leftover$`, 'm'));
    ndshm.gc();
  });

  test('with a name lists the objects in that store', async () => {
    const store = open();
    const peer = await peerWith(store.name);
    const large = store.putSync(new Uint8Array(mebibyte));
    const small = store.putSync('small');
    const making = await draftIn(peer, 1000);
    await keepIn(peer, 'kept', large);
    const found = ndshmJson<Listed[]>('store', 'ls', store.name);
    expect(found.map(({ ref }) => ref.object)).toEqual(
      [large, small, making].map(({ object }) => object).sort((a, b) => a - b),
    );
    expect(found.find(({ ref }) => ref.object === large.object)).toMatchObject({
      ref: large,
      state: 'sealed',
      mapped: true,
      pid: process.pid,
    });
    expect(found.find(({ ref }) => ref.object === making.object)).toMatchObject({ state: 'making', pid: peer.pid });
    const { stdout } = cli('store', 'ls', store.name);
    expect(stdout).toMatch(/^ *OBJECT +STATE +SIZE +MAPPED +PUT BY +AGE\n/);
    expect(stdout).toMatch(new RegExp(`^ *${large.object} +sealed +1\\.004 MiB +yes +${process.pid} +\\d+ s$`, 'm'));
    expect(stdout).toMatch(new RegExp(`^ *${making.object} +making +– +`, 'm'));
  });

  test('says that a store is empty', () => {
    const store = open();
    expect(cli('store', 'ls', store.name).stdout).toBe(`The store '${store.name}' is empty\n`);
    expect(ndshmJson('store', 'ls', store.name)).toEqual([]);
  });
});

describe('store stat', () => {
  test('tells how full a store is, and where it spills to', () => {
    const store = open({ capacity: '1MiB', spillDir });
    for (let n = 0; n < 4; n++) store.putSync(new Uint8Array(400_000));
    const found = ndshmJson<ndshm.StoreInfo>('store', 'stat', store.name);
    expect(found).toEqual(store.stat());
    expect(found).toMatchObject({ objects: 4, capacityBytes: mebibyte });
    expect(found.spilledObjects).toBeGreaterThanOrEqual(2);
    const { stdout } = cli('store', 'stat', store.name);
    expect(stdout).toMatch(/^capacity +1 MiB$/m);
    expect(stdout).toMatch(/^objects +4, 1\.5\d* MiB$/m);
    expect(stdout).toContain(`, to ${found.spillDir}`);
  });

  test('is gone from the peers when it is done', () => {
    const store = open();
    ndshmJson('store', 'stat', store.name);
    expect(ndshm.stat(store.name).peers.map(({ pid }) => pid)).toEqual([process.pid]);
  });
});

describe('store gc', () => {
  test('frees what a killed process was making, and nothing else', async () => {
    const store = open();
    const kept = store.putSync(new Uint8Array(mebibyte).fill(7));
    const [dead, living] = [await peerWith(store.name), await peerWith(store.name)];
    await draftIn(dead, 2 * mebibyte);
    const making = await draftIn(living, mebibyte);
    await dead.kill();
    const before = existingBytes(store.name);
    const { freedBytes, inUseBytes } = ndshmJson<Freed>('store', 'gc', store.name);
    expect(freedBytes).toBeGreaterThanOrEqual(2 * mebibyte);
    expect(freedBytes).toBeLessThan(2.1 * mebibyte);
    // What it was making may be there in part: it went back to the system.
    expect(before - existingBytes(store.name)).toBe(freedBytes);
    const { usedBytes, readyBytes } = store.stat();
    expect(inUseBytes).toBe(usedBytes - readyBytes);
    expect(store.get<Uint8Array>(kept)[mebibyte - 1]).toBe(7);
    expect(store.list().map(({ ref }) => ref.object)).toContain(making.object);
    expect(ndshmJson<Freed>('store', 'gc', store.name).freedBytes).toBe(0);
    expect(cli('store', 'gc', store.name).stdout).toMatch(/^Nothing to free; 2 objects, [\d.]+ MiB in use\n$/);
  });

  test('frees what was deleted once its reader is gone', async () => {
    const store = open();
    const ref = store.putSync(new Uint8Array(mebibyte));
    const reader = await peerWith(store.name);
    await keepIn(reader, 'kept', ref);
    store.delete(ref);
    expect(ndshmJson<Freed>('store', 'gc', store.name).freedBytes).toBe(0);
    await reader.kill();
    const { stdout } = cli('store', 'gc', store.name);
    expect(stdout).toMatch(/^Freed 1\.\d* MiB for new objects; 0 objects, /);
  });
});

describe('No command makes a store or ends one', () => {
  const commands = ['ls', 'stat', 'gc'];

  test.each(commands)('store %s refuses an unknown name', (command) => {
    const name = freshName('unknown');
    const { status, stderr } = cli('store', command, name);
    expect(status).toBe(1);
    expect(stderr).toContain('no such segment');
    expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
  });

  test.each(commands)('store %s refuses what is no store', (command) => {
    const [name, table] = [freshName('array'), freshName('table')];
    using _ = ndshm.create(name, { shape: 3, ephemeral: true });
    using __ = ndshm.ArrayTable.open(table, { ephemeral: true });
    for (const [each, kind] of [
      [name, 'array'],
      [table, 'ArrayTable'],
    ] as const) {
      const { status, stderr } = cli('store', command, each, '--json');
      expect(status).toBe(1);
      expect(JSON.parse(stderr)).toEqual({
        error: { code: 'ERR_NDSHM_MISMATCH', message: `Expected '${each}' to be a store but found ${kind}` },
      });
    }
  });

  test.each(commands)('store %s leaves one alone whose processes have all died', async (command) => {
    const name = freshName('dead');
    const peer = await Peer.start();
    await openIn(peer, name, { capacity: '1MiB' });
    await peer.kill();
    const { id } = ndshm.stat(name);
    const { status, stderr } = cli('store', command, name);
    expect(status).toBe(1);
    expect(stderr).toContain('`ndshm gc` removes it');
    expect(ndshm.stat(name)).toMatchObject({ id, leftover: true });
    ndshm.gc();
  });

  test.each(commands)('store %s gives up where a stopped process holds the lock', async (command) => {
    const store = open();
    const peer = await Peer.start();
    await peer.run(({ ndshm, kept }, name) => {
      const words = ndshm.open(name, { mode: 'r+' });
      kept.set('words', words);
      void words.write(() => new Promise<void>((done) => kept.set('done', done)));
    }, store.name);
    process.kill(peer.pid, 'SIGSTOP');
    const { status, stderr } = cli('store', command, store.name, '--json');
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'ERR_NDSHM_TIMEOUT' } });
    process.kill(peer.pid, 'SIGCONT');
    await peer.run(({ kept }) => (kept.get('done') as () => void)());
    expect(store.get(store.putSync(5))).toBe(5);
    expect(ndshmJson('store', command, store.name)).toBeDefined();
  });

  test('lookIntoStore() gives info and objects, and is no peer afterwards', () => {
    const store = open();
    const ref = store.putSync({ a: 1 });
    expect(lookIntoStore(store.name)).toMatchObject({ info: { objects: 1 }, objects: [{ ref }] });
    expect(ndshm.stat(store.name).peers).toHaveLength(1);
    expect(thrownBy(() => lookIntoStore(freshName()))).toMatchObject({ code: 'ENOENT' });
  });
});

describe('The command line', () => {
  test.each([[['store']], [['store', 'frobnicate']], [['store', 'stat']], [['store', 'stat', 'a', 'b']]])(
    '%j is misuse',
    (args) => {
      const { status, stdout, stderr } = cli(...args);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toContain('Usage: ndshm store');
    },
  );

  test('--json may stand before the subcommand, too', () => {
    const store = open();
    const { stdout } = cli('store', '--json', 'stat', store.name);
    expect(JSON.parse(stdout)).toMatchObject({ name: store.name });
  });
});

describeAsRoot("Another user's store", () => {
  test('is looked into only with --allow-foreign-owner', async () => {
    const name = freshName('theirs');
    const peer = await Peer.start({ uid: otherUser });
    await openIn(peer, name, { capacity: '1MiB' });
    expect(cli('store', 'stat', name).stderr).toContain('belongs to');
    expect(ndshmJson('store', 'stat', name, '--allow-foreign-owner')).toMatchObject({ name, objects: 0 });
    await peer.kill();
    const { status } = cli('rm', name);
    expect(status).toBe(0);
  });
});
