import { closeSync, openSync, statSync, truncateSync, writeSync } from 'node:fs';
import * as ndshm from 'ndshm';
import type { Reservoir } from '../../dist/array/reservoir';
import { Peer } from '../helpers/child';
import { openIn, Pages, pageBytes } from '../helpers/reservoir';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const overwrite = (name: string, bytes: Buffer, position: number): void => {
  const fd = openSync(shmPath(name), 'r+');
  writeSync(fd, bytes, 0, bytes.length, position);
  closeSync(fd);
};

describe.each(['process', 'worker thread'])('a reservoir truncated under a %s', (where) => {
  test('reads as zeros, swallows what is written, says so, and harms nothing else', async () => {
    const pages = new Pages(2 ** 26);
    const untouched = new Pages();
    const peer = await Peer.start({ thread: where === 'worker thread' });
    await openIn(peer, pages);
    await peer.run(({ kept }) => {
      const reservoir = kept.get('reservoir') as Reservoir;
      reservoir.fill(0, 4 * 4096, new Uint8Array(4 * 4096).fill(7));
      kept.set('buffer', reservoir.map(0, 4 * 4096, { shared: false, leased: true }));
      kept.set('shared', reservoir.map(4096, 4096, { shared: true, leased: false }));
    });
    const faulted = () => peer.run(({ kept }) => (kept.get('reservoir') as Reservoir).faulted);
    const look = (page: number) =>
      peer.run(({ kept }, at) => new Uint8Array(kept.get('buffer') as ArrayBuffer)[at * 4096], page);
    expect([await look(0), await look(3), await faulted()]).toEqual([7, 7, false]);

    truncateSync(shmPath(pages.reservoir.name), 2 * pageBytes);
    expect([await look(0), await faulted()]).toEqual([7, false]);
    expect([await look(3), await faulted()]).toEqual([0, true]);

    truncateSync(shmPath(pages.reservoir.name), 0);
    await peer.run(async ({ kept }) => {
      const reservoir = kept.get('reservoir') as Reservoir;
      new Uint8Array(kept.get('shared') as ArrayBuffer)[5] = 1;
      await reservoir.prefault(4096, 2 ** 25);
      for (const count of [4096, 2 ** 20, 2 ** 25]) {
        reservoir.fill(2 ** 25, count, null);
        reservoir.fill(2 ** 25, count, new Uint8Array(count).fill(1));
      }
      // Last: the first store into what is lost takes the writer's whole mapping off the file.
      for (const count of [1, 2 ** 20, 2 ** 24]) reservoir.write(3, new Uint8Array(count));
      reservoir.punch(0, 4096);
    });
    expect([await look(0), await faulted()]).toEqual([0, true]);
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(true);
    // Nothing of that made the file longer again, which would hide what has happened.
    expect(statSync(shmPath(pages.reservoir.name)).size).toBe(0);

    await peer.run(({ kept }) => {
      const reservoir = kept.get('reservoir') as Reservoir;
      for (const key of ['buffer', 'shared']) reservoir.unmap(kept.get(key) as ArrayBuffer);
    });
    expect(await faulted()).toBe(true);
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(false);
    await peer.run(({ kept }) => (kept.get('reservoir') as Reservoir).close());
    expect(await peer.on('none', 'holdings')).toMatchObject({ mappings: 1 }); // the parent
    expect(untouched.reservoir.faulted).toBe(false);
    await peer.kill();
    untouched.close();
    pages.close();
  });
});

describe('a reservoir’s file', () => {
  test('that was filled by somebody who lost his source’s pages has zeros in their place', async () => {
    const pages = new Pages(2 ** 26);
    const name = freshName();
    const source = ndshm.create(name, { shape: 2 ** 22, dtype: 'uint8', init: (array) => array.fill(9) });
    source.close();
    const peer = await Peer.start();
    await openIn(peer, pages);
    await peer.call('source', 'open', name);
    truncateSync(shmPath(name), 4096 + 2 ** 21);
    await peer.run(({ kept }) => {
      const source = (kept.get('source') as ndshm.SharedArray<'uint8'>).data;
      (kept.get('reservoir') as Reservoir).fill(0, 2 ** 22, source);
    });
    const copy = pages.read(0, 2 ** 22);
    expect(copy.subarray(0, 2 ** 21).every((byte) => byte === 9)).toBe(true);
    expect(copy.subarray(2 ** 21).every((byte) => byte === 0)).toBe(true);
    expect(await peer.run(({ kept }) => (kept.get('reservoir') as Reservoir).faulted)).toBe(false);
    await peer.kill();
    ndshm.unlink(name);
    pages.close();
  });

  test.each([
    ['is empty', 'ERR_NDSHM_HEADER', (name: string) => truncateSync(shmPath(name), 0)],
    ['is too short', 'ERR_NDSHM_TRUNCATED', (name: string) => truncateSync(shmPath(name), 8192)],
    ['has lost its control block', 'EEXIST', (name: string) => truncateSync(shmPath(name), 4096 + 2 ** 20)],
    ['has grown', 'ERR_NDSHM_CONTROL_CORRUPT', (name: string) => truncateSync(shmPath(name), 2 ** 22)],
    ['has another header', 'ERR_NDSHM_HEADER', (name: string) => overwrite(name, Buffer.alloc(100), 0)],
    [
      'says another length',
      'ERR_NDSHM_CONTROL_CORRUPT',
      (name: string) => overwrite(name, Buffer.from([1]), 4096 + 2 ** 20 + 25),
    ],
    ['belongs to nobody', 'EEXIST', (name: string) => overwrite(name, Buffer.alloc(16), 4096 + 2 ** 20 + 320)],
  ])('that %s is %s', (_, code, damage) => {
    const pages = new Pages(2 ** 20);
    const name = pages.reservoir.name;
    damage(name);
    expect(thrownBy(() => pages.reopen()).code).toBe(code);
    pages.close();
    if (ndshm.list({ foreign: true }).some((info) => info.name === name)) ndshm.unlink(name);
  });

  test('that claims another parent is an orphan, and made anew', () => {
    const pages = new Pages(2 ** 20);
    overwrite(pages.reservoir.name, Buffer.alloc(16, 0xee), 4096 + 2 ** 20 + 320);
    const again = pages.reopen();
    expect(again.byteLength).toBe(pageBytes);
    again.close();
    pages.close();
  });
});
