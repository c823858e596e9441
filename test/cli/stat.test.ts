import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import * as api from 'ndshm';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { ndshm, ndshmJson, ndshmWith } from '../helpers/cli';
import { exists, freshName, shmPath } from '../helpers/shm';

/** What `ndshm stat` says for people, by its words. */
function facts(name: string): Record<string, string> {
  const { status, stdout, stderr } = ndshm('stat', name);
  expect([status, stderr]).toEqual([0, '']);
  return Object.fromEntries(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/)),
  );
}

describe('ndshm stat', () => {
  test('tells all that is known of an array', async () => {
    const name = freshName();
    const array = api.create(name, { shape: [3, 4], dtype: 'int16', order: 'F', ephemeral: true });
    await array.write(() => {});
    const { id, createdAt } = api.stat(name);
    expect(facts(name)).toMatchObject({
      name,
      kind: 'array',
      dtype: 'int16',
      shape: '(3, 4)',
      order: 'F',
      elements: '24 B',
      file: '28672 B (28 KiB)',
      memory: '28672 B (28 KiB)',
      owner: expect.stringContaining(`(${process.geteuid?.()})`),
      mode: 'rw------- (0600)',
      created: expect.stringMatching(new RegExp(`^${createdAt?.toISOString()} \\(\\d+ s ago\\)$`)),
      id,
      lifetime: 'ephemeral: until the last peer has left',
      peers: '1, of 1 process',
      lock: 'free',
      version: '2',
    });
    array.close();
  });

  test('--json gives what stat() and inspect() give', () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const expected: unknown = JSON.parse(JSON.stringify({ ...api.stat(name), primitive: null, members: [] }));
    expect(ndshmJson('stat', name)).toEqual(expected);
    expect(ndshmJson('stat', shmPath(name))).toEqual(expected);
    array.close();
  });

  test('tells what a primitive is like now', () => {
    const name = freshName();
    const permits = new api.Semaphore(name, { value: 3, ephemeral: true });
    permits.tryAcquire();
    expect(facts(name)).toMatchObject({ kind: 'Semaphore', value: '2' });
    expect(ndshmJson('stat', name)).toMatchObject({ primitive: { kind: 'Semaphore', facts: { value: 2 } } });
    permits.close();
  });

  test('tells what belongs to a store, and to which store something belongs', () => {
    const name = freshName();
    const store = api.Store.open(name, { capacity: '1MiB' });
    expect(facts(name)).toMatchObject({ kind: 'Store', members: `${name}.pages.0` });
    expect(facts(`${name}.pages.0`)).toMatchObject({ kind: 'array', 'member of': name });
    store.unlink();
  });

  test('tells why an array cannot be opened, and what is plain or foreign', () => {
    const [broken, foreign] = [freshName(), freshName()];
    writeFileSync(shmPath(broken), '\x93NUMPY\x01\x00', 'latin1');
    writeFileSync(shmPath(foreign), 'hello');
    expect(facts(broken)).toMatchObject({ kind: 'npy', problem: expect.stringContaining(broken) });
    expect(ndshmJson('stat', broken)).toMatchObject({ problem: { code: expect.stringMatching(/^ERR_NDSHM_/) } });
    const { lock, problem, ...others } = facts(foreign);
    expect([lock, problem]).toEqual([undefined, undefined]);
    expect(others).toMatchObject({ kind: 'foreign', file: '5 B' });
    for (const name of [broken, foreign]) rmSync(shmPath(name));
  });

  test('tells what a crash has left, and leaves it there', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('a', 'create', name, { shape: 3, ephemeral: true });
    await peer.kill();
    expect(facts(name)).toMatchObject({ peers: 'none', leftover: expect.stringContaining('ndshm gc') });
    expect(exists(name)).toBe(true);
    api.unlink(name);
  });

  test.each([
    ['a letter too many', (name: string) => `${name}s`],
    ['letters left out', (name: string) => name.replace('prices', 'prcs')],
    ['the end left out', (name: string) => name.slice(0, -8)],
  ])('an unknown name (%s) is an error that tells the nearest', (_, misspelt) => {
    const name = freshName('prices-of-1999');
    const array = api.create(name, { shape: 1, ephemeral: true });
    const { status, stdout, stderr } = ndshm('stat', misspelt(name));
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^ndshm: ENOENT: no such segment/);
    expect(stderr).toContain(`did you mean '${name}'`);
    array.close();
  });

  test('with --json an error is JSON, too', () => {
    const { status, stdout, stderr } = ndshm('stat', 'ndshm-test-no-such-thing', '--json');
    expect([status, stdout]).toEqual([1, '']);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'ENOENT', message: expect.stringContaining('ndshm ls') },
    });
  });

  test.each(['a/b', '../etc/passwd', '', '.hidden x'])('the impossible name %j is refused', (name) => {
    const { status, stderr } = ndshm('stat', '--json', name);
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'ERR_NDSHM_INVALID_NAME' } });
  });

  test('a name that ndshm does not allow is found all the same', () => {
    const name = `${freshName()} \x1b[1m`;
    writeFileSync(shmPath(name), 'hello');
    expect(ndshmJson('stat', name)).toMatchObject({ name, kind: 'foreign' });
    expect(ndshm('stat', name).stdout).not.toContain('\x1b');
    rmSync(shmPath(name));
  });
});

describeAsRoot('ndshm stat by another user', () => {
  test('tells of what it may not read what anybody may know', () => {
    const name = freshName();
    api.create(name, { shape: 3 }).close();
    chmodSync(shmPath(name), 0o600);
    const { status, stdout } = ndshmWith({ uid: otherUser }, 'stat', name);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^owner +root \(0\)$/m);
    expect(stdout).toMatch(/^problem +EACCES: permission denied/m);
    api.unlink(name);
  });
});
