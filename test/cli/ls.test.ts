import { chmodSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import * as api from 'ndshm';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { ndshm, ndshmJson, ndshmWith } from '../helpers/cli';
import { exists, freshName, namesInShm, shmPath } from '../helpers/shm';

interface Shown extends api.SegmentInfo {
  readonly primitive: api.PrimitiveInfo | null;
}

const ls = (...args: string[]): Shown[] => ndshmJson<Shown[]>('ls', ...args);
/** What this test file has made, and nobody else. */
const all = freshName('x').replace(/x-\d+$/, '*');
const allOf = (hint: string): string => all.replace('*', `${hint}-*`);

/** The row of a segment in the table for people, by column. */
function rowOf(name: string, table: string): Record<string, string> {
  const [head = '', ...rows] = table.split('\n');
  const row = rows.find((each) => each.startsWith(`${name} `)) ?? '';
  // Columns are two spaces apart at least.
  const cells = row.split(/ {2,}/);
  return Object.fromEntries(head.split(/ {2,}/).map((column, n) => [column, cells[n] ?? '']));
}

/** An array that a killed process has left behind. */
async function leaveBehind(): Promise<string> {
  const name = freshName('left');
  const peer = await Peer.start();
  await peer.call('a', 'create', name, { shape: 3, ephemeral: true });
  await peer.kill();
  return name;
}

describe('ndshm ls', () => {
  test('shows of each array what it is, whose, how many use it and what its lock does', () => {
    const name = freshName();
    const array = api.create(name, { shape: [3, 4], dtype: 'float32', ephemeral: true });
    const { stdout, stderr, status } = ndshm('ls', name);
    expect([status, stderr]).toEqual([0, '']);
    expect(rowOf(name, stdout)).toMatchObject({
      KIND: 'array',
      DTYPE: 'float32',
      SHAPE: '(3, 4)',
      SIZE: '28 KiB',
      MODE: 'rw-------',
      PEERS: '1',
      LOCK: 'free',
      AGE: expect.stringMatching(/^\d+ s$/),
    });
    expect(stdout).toMatch(/^1 segment, 28 KiB; \/dev\/shm: .* of .* used$/m);
    array.close();
  });

  test('--json gives what stat() and inspect() give, as one line', () => {
    const name = freshName();
    const permits = new api.Semaphore(name, { value: 2, ephemeral: true });
    const { stdout } = ndshm('ls', name, '--json');
    expect(stdout.trimEnd()).not.toContain('\n');
    const expected = JSON.parse(JSON.stringify([{ ...api.stat(name), primitive: api.inspect(name) }])) as unknown;
    expect(JSON.parse(stdout)).toEqual(expected);
    permits.close();
  });

  test('says of what kind a primitive is, and what is plain or foreign', () => {
    const [mutex, plain, foreign] = [freshName(), freshName(), freshName()];
    const lock = new api.Mutex(mutex, { ephemeral: true });
    writeFileSync(shmPath(foreign), 'hello');
    const array = api.create(freshName(), { shape: 2 });
    api.save(array.name as string, shmPath(plain));
    const { stdout } = ndshm('ls', all);
    expect(rowOf(mutex, stdout)).toMatchObject({ KIND: 'Mutex', DTYPE: '–', SHAPE: '–', PEERS: '1' });
    expect(rowOf(plain, stdout)).toMatchObject({ KIND: 'npy', DTYPE: 'float64', SHAPE: '(2,)', PEERS: '–', LOCK: '–' });
    expect(rowOf(foreign, stdout)).toMatchObject({ KIND: 'foreign', SIZE: '4 KiB', PEERS: '–', LOCK: '–' });
    array.unlink();
    lock.close();
    for (const name of [plain, foreign]) rmSync(shmPath(name));
  });

  test('puts what belongs to a store behind the store, in whatever order', () => {
    const [before, after, storeName] = [freshName('a'), freshName('z'), freshName('s')];
    const large = api.create(before, { shape: 10_000_000, dtype: 'uint8', ephemeral: true });
    const small = api.create(after, { shape: 1, ephemeral: true });
    const store = api.Store.open(storeName, { capacity: '1MiB' });
    for (const order of ['name', 'size', 'age']) {
      const names = ls(all, '--sort', order).map(({ name }) => name);
      const at = names.indexOf(storeName);
      expect(names[at + 1]).toBe(`${storeName}.pages.0`);
      expect(names).toHaveLength(4);
    }
    expect(ls(all, '--sort', 'size').map(({ name }) => name)[0]).toBe(before);
    expect(ls(`${storeName}.pages.0`).map(({ memberOf }) => memberOf)).toEqual([storeName]);
    store.unlink();
    for (const array of [large, small]) array.close();
  });

  test('--sort age puts the youngest first', () => {
    const names = ['old', 'young', 'middle'].map((hint) => freshName(hint));
    const agesInSeconds = [9000, 0, 500];
    for (const [n, name] of names.entries()) {
      writeFileSync(shmPath(name), '');
      const changedAt = Date.now() / 1000 - (agesInSeconds[n] as number);
      utimesSync(shmPath(name), changedAt, changedAt);
    }
    const shown = ls(all, '--sort', 'age').map(({ name }) => name);
    expect(shown).toEqual([names[1], names[2], names[0]]);
    expect(rowOf(names[0] as string, ndshm('ls', all).stdout)['AGE']).toBe('2 h');
    for (const name of names) rmSync(shmPath(name));
  });

  test('marks what a crash has left, says who removes it, and leaves it there', async () => {
    const name = await leaveBehind();
    const { stdout, stderr } = ndshm('ls', name);
    expect(rowOf(name, stdout)).toMatchObject({ PEERS: '0', NOTE: 'leftover' });
    expect(stderr).toBe('1 leftover; ndshm gc removes them\n');
    expect(exists(name)).toBe(true);
    api.unlink(name);
  });

  test('patterns and names choose; a pattern may fit nothing, an unknown name is an error with the nearest', () => {
    const [one, two] = [freshName('one'), freshName('two')];
    const arrays = [one, two].map((name) => api.create(name, { shape: 1, ephemeral: true }));
    expect(ls(allOf('one')).map(({ name }) => name)).toEqual([one]);
    expect(ls(allOf('{one,two}'))).toHaveLength(2);
    expect(ls(one, allOf('two'), one).map(({ name }) => name)).toEqual([one, two]);
    expect(ls(shmPath(one)).map(({ name }) => name)).toEqual([one]);
    expect(ls('no-such-*')).toEqual([]);
    const { status, stdout, stderr } = ndshm('ls', two, `${one}x`);
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`did you mean '${one}'`);
    for (const array of arrays) array.close();
  });

  test('that a writer died inside stands out, in colour only where colours are wanted', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const peer = await Peer.start();
    await peer.call('a', 'open', name, { mode: 'r+' });
    await peer.run(
      ({ kept }) =>
        new Promise<void>((inside) => {
          void (kept.get('a') as api.SharedArray).write(() => {
            inside();
            return new Promise(() => {});
          });
        }),
    );
    await peer.kill();
    expect(rowOf(name, ndshm('ls', name).stdout)).toMatchObject({
      LOCK: 'abandoned',
      AGE: expect.stringMatching(/ s$/),
    });
    const inColour = ndshmWith({ env: { FORCE_COLOR: '1' } }, 'ls', name).stdout;
    expect(inColour).toContain('\x1b[31mabandoned\x1b[39m');
    expect(stripVTControlCharacters(inColour).replace(/ \d+ s$/m, '')).toBe(
      ndshm('ls', name).stdout.replace(/ \d+ s$/m, ''),
    );
    array.close();
  });

  test('an unknown order is misuse', () => {
    const { status, stderr } = ndshm('ls', '--sort', 'colour');
    expect(status).toBe(2);
    expect(stderr).toContain("option '--sort <order>' argument 'colour' is invalid");
  });

  test('names that a terminal would obey are shown as text', () => {
    const name = `${freshName()}\x1b[31m\nx`;
    writeFileSync(shmPath(name), '');
    const { stdout } = ndshm('ls', all);
    expect(stdout).toContain(`${name.slice(0, name.indexOf('\x1b'))}\\x1b[31m\\x0ax`);
    expect(ls(name).map((each) => each.name)).toEqual([name]);
    rmSync(shmPath(name));
  });

  test('an array that cannot be opened is shown with the reason', () => {
    const name = freshName();
    api.create(name, { shape: 1000 }).close();
    writeFileSync(shmPath(name), readFileSync(shmPath(name)).subarray(0, 5000));
    expect(rowOf(name, ndshm('ls', name).stdout)).toMatchObject({ KIND: 'npy', NOTE: 'ERR_NDSHM_TRUNCATED' });
    rmSync(shmPath(name));
  });

  test('changes nothing: no slot is claimed, no byte written', () => {
    const name = freshName();
    api.create(name, { shape: 3 }).close();
    const before = readFileSync(shmPath(name));
    const { mtimeMs } = statSync(shmPath(name));
    ls();
    expect(readFileSync(shmPath(name)).equals(before)).toBe(true);
    expect(statSync(shmPath(name)).mtimeMs).toBe(mtimeMs);
    api.unlink(name);
  });

  test('shows three hundred segments', () => {
    const names = Array.from({ length: 300 }, () => freshName('many'));
    for (const name of names) api.create(name, { shape: 1 }).close();
    expect(new Set(ls(allOf('many')).map(({ name }) => name))).toEqual(new Set(names));
    for (const name of names) api.unlink(name);
    expect(namesInShm()).toEqual([]);
  });
});

describeAsRoot('ndshm ls by another user', () => {
  test('shows what it may not read as far as anybody may know it', () => {
    const name = freshName();
    api.create(name, { shape: 3 }).close();
    chmodSync(shmPath(name), 0o600);
    const { status, stdout, stderr } = ndshmWith({ uid: otherUser }, 'ls', name);
    expect([status, stderr]).toEqual([0, '']);
    expect(rowOf(name, stdout)).toMatchObject({ KIND: '?', OWNER: 'root', PEERS: '–', NOTE: 'EACCES' });
    api.unlink(name);
  });
});
