import { statSync, truncateSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { Peer, rejection } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const count = 65_536;
const last = count - 1;
const fives = () => new Float64Array(count).fill(5);

describe.each(['process', 'worker thread'])('a file truncated under the mapping of a %s', (where) => {
  test.each(['r', 'r+', 'c'])(
    "reads as zeros in mode '%s', is reported by the next call, and harms nothing else",
    async (mode) => {
      const [name, other] = [freshName(), freshName()];
      ndshm.fromArray(name, fives()).close();
      ndshm.fromArray(other, fives()).close();
      const peer = await Peer.start({ thread: where === 'worker thread' });
      await peer.call('half', 'open', name, { mode });
      await peer.call('all', 'open', name, { mode });
      await peer.call('other', 'open', other, { mode });
      const whole = statSync(shmPath(name)).size;

      truncateSync(shmPath(name), 4096 + 8 * (count / 2));
      expect(await peer.on('half', 'peek', 0)).toBe(5);
      expect(await peer.on('half', 'peek', last)).toBe(0);
      expect(await rejection(peer.on('half', 'get', 0))).toMatchObject({ code: 'ERR_NDSHM_TRUNCATED' });
      expect(await peer.on('other', 'get', last)).toBe(5);
      // Not touched beyond the new end yet, so nothing is known to be lost.
      expect(await peer.on('all', 'get', 0)).toBe(5);

      truncateSync(shmPath(name), 0);
      expect(await peer.on('all', 'get', 3)).toBe(0);
      expect(await rejection(peer.on('all', 'get', 3))).toMatchObject({ code: 'ERR_NDSHM_TRUNCATED' });
      await peer.on('other', 'get', 0);
      if (mode !== 'r')
        expect(await rejection(peer.on('all', 'set', 0, 1))).toMatchObject({ code: 'ERR_NDSHM_TRUNCATED' });
      expect(['ERR_NDSHM_HEADER', 'ERR_NDSHM_TRUNCATED']).toContain(thrownBy(() => ndshm.open(name)).code);

      truncateSync(shmPath(name), whole);
      expect(await rejection(peer.on('all', 'get', 0))).toMatchObject({ code: 'ERR_NDSHM_TRUNCATED' });
      for (const key of ['half', 'all', 'other']) await peer.on(key, 'close');
      expect(await peer.on('other', 'holdings')).toMatchObject({ mappings: 0 });
      await peer.kill();
      ndshm.unlink(name);
      ndshm.unlink(other);
    },
  );
});

describe('truncation', () => {
  test('and stores beyond the new end do not end the process', async () => {
    const name = freshName();
    ndshm.fromArray(name, fives()).close();
    const peer = await Peer.start();
    for (const mode of ['r', 'r+', 'c']) await peer.call(mode, 'open', name, { mode });
    truncateSync(shmPath(name), 0);
    for (const mode of ['r', 'r+', 'c']) await peer.on(mode, 'poke', last, 1);
    for (const mode of ['r', 'r+', 'c']) await peer.on(mode, 'close');
    await peer.kill();
    ndshm.unlink(name);
  });

  test('of an ephemeral array still lets its peers leave', async () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 4, ephemeral: true });
    truncateSync(shmPath(name), 0);
    a.close();
    expect(thrownBy(() => ndshm.stat(name)).code).toBe('ENOENT');
  });

  test('again and again while another process opens, reads and closes is survived', async () => {
    const name = freshName();
    ndshm.fromArray(name, fives()).close();
    const whole = statSync(shmPath(name)).size;
    const peer = await Peer.start();
    let over = false;
    const churned = peer.on<{ codes: string[] }>('a', 'churn', name, 3000).finally(() => {
      over = true;
    });
    for (let round = 0; !over; round++) {
      truncateSync(shmPath(name), [0, 4096, 8192, whole / 2][round % 4]);
      truncateSync(shmPath(name), whole);
      if (round % 64 === 0) await new Promise(setImmediate);
    }
    const { codes } = await churned;
    const expected = ['ERR_NDSHM_HEADER', 'ERR_NDSHM_TRUNCATED'];
    expect(codes.filter((code) => !expected.includes(code))).toEqual([]);
    await peer.kill();
    ndshm.unlink(name);
  });

  test('is the only reason for a bus error to be survived: one sent by kill() ends the process as ever', async () => {
    const name = freshName();
    ndshm.fromArray(name, fives()).close();
    const peer = await Peer.start();
    await peer.call('a', 'open', name);
    truncateSync(shmPath(name), 0);
    expect(await peer.on('a', 'peek', last)).toBe(0);
    expect(await peer.kill('SIGBUS')).toEqual({ code: null, signal: 'SIGBUS' });
    ndshm.unlink(name);
  });
});
