import { statfsSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { describeAsRoot, holdings, Peer, rejection } from '../helpers/child';
import { freshName, namesInShm, thrownBy } from '../helpers/shm';

const mebibyte = 2 ** 20;

describe('more than the file system holds', () => {
  test('is ENOSPC that names the size wanted, the size free and the remedy, and leaves nothing', () => {
    const { blocks, bsize } = statfsSync('/dev/shm');
    const before = { ...holdings(), names: namesInShm() };
    const error = thrownBy(() => ndshm.create(freshName(), { shape: blocks * bsize + mebibyte, dtype: 'uint8' }));
    expect(error).toMatchObject({
      code: 'ENOSPC',
      errno: -28,
      syscall: 'posix_fallocate',
      path: expect.stringContaining('/dev/shm/'),
    });
    expect(error.message).toMatch(/[\d.]+ [KMGT]iB wanted, [\d.]+ [KMGT]iB free of [\d.]+ [KMGT]iB; .*--shm-size/);
    expect(thrownBy(() => ndshm.anonymous({ shape: 2 ** 50, dtype: 'uint8' })).code).toBe('ENOMEM');
    const after = { ...holdings(), names: namesInShm() };
    expect(after).toEqual(before);
  });
});

interface Room {
  readonly free: number;
  readonly names: readonly string[];
}

/** A peer to whom /dev/shm is a file system of its own, of so many MiB. */
const startInside = (sizeMiB: number): Promise<Peer> =>
  Peer.start({
    wrap: ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=${sizeMiB}m ndshm-test /dev/shm && exec "$@"`, 'sh'],
  });

describeAsRoot('a small /dev/shm (needs root to mount one)', () => {
  test('that is full refuses every way of making and enlarging, leaves the old, and works again', async () => {
    const peer = await startInside(64);
    const empty = await peer.on<Room>('none', 'room');
    expect(empty).toMatchObject({ names: [] });
    await peer.call('old', 'create', 'old', { shape: 3 * mebibyte, dtype: 'float64' });
    await peer.on('old', 'fill', 4);
    await peer.call('small', 'create', 'small', { shape: 10, ephemeral: true });
    const held = await peer.on('none', 'holdings');
    const full = await peer.on<Room>('none', 'room');

    const large = { shape: 5 * mebibyte, dtype: 'float64' };
    const refusals: [string, ...unknown[]][] = [
      ['create', 'new', large],
      ['create', 'old', { ...large, ifExists: 'replace' }],
      ['fromArray', 'new', new Float64Array(5 * mebibyte).fill(1)],
      ['fromArray', 'old', new Float64Array(5 * mebibyte).fill(1), { ifExists: 'replace' }],
    ];
    for (const [method, ...args] of refusals) {
      const error = await rejection(peer.call('x', method, ...args));
      expect(error.code).toBe('ENOSPC');
      expect(error.message).toContain('40 MiB wanted');
      expect(await peer.on<Room>('none', 'room')).toEqual(full);
    }
    expect(await peer.on('none', 'holdings')).toEqual(held);
    expect(await peer.on('old', 'sum')).toBe(4 * 3 * mebibyte);

    await peer.on('old', 'close');
    await peer.call('x', 'unlink', 'old');
    await peer.call('x', 'fromArray', 'new', new Float64Array(5 * mebibyte).fill(1));
    expect(await peer.on('x', 'sum')).toBe(5 * mebibyte);
    await peer.kill();
  });

  test('makes room for a creation by reaping what crashes have left', async () => {
    const peer = await startInside(16);
    const killed = await Peer.start({ wrap: ['nsenter', '-m', '-t', String(peer.pid)] });
    await peer.call('first', 'create', 'first', { shape: 1 }); // the first creation of a process reaps in any case
    await killed.call('dead', 'create', 'dead', { shape: 1.5 * mebibyte, ephemeral: true });
    await killed.kill();
    await peer.call('x', 'create', 'x', { shape: 1.5 * mebibyte });
    expect((await peer.on<Room>('none', 'room')).names).toEqual(['first', 'x']);
    await peer.kill();
  });

  // Both may pass the look at the free space; then one of them meets the end of it half way.
  test('that fills up while arrays are being filled is ENOSPC to some, and fatal to nobody', async () => {
    const one = await startInside(64);
    const other = await Peer.start({ wrap: ['nsenter', '-m', '-t', String(one.pid)] });
    const empty = await one.on<Room>('none', 'room');
    let refused = 0;
    for (let round = 0; round < 12; round++) {
      const source = round % 2 === 0 ? [new Float64Array(4.5 * mebibyte).fill(round)] : [{ shape: 4.5 * mebibyte }];
      const method = round % 2 === 0 ? 'fromArray' : 'create';
      const attempts = [one, other].map((peer, n) =>
        peer.call('x', method, `racer-${n}`, ...source).then(
          async () => {
            await peer.on('x', 'close');
            await peer.call('y', 'unlink', `racer-${n}`);
          },
          (error: { code?: string }) => {
            expect(error.code).toBe('ENOSPC');
            refused++;
          },
        ),
      );
      await Promise.all(attempts);
      expect(await one.on('none', 'room')).toEqual(empty);
    }
    expect(refused).toBeGreaterThan(0);
    await Promise.all([one.kill(), other.kill()]);
  });

  test("refuses mode 'r+' of a sparse file that it could not hold, and not the other modes", async () => {
    const peer = await startInside(16);
    await peer.on('none', 'sparse', 'sparse', 32 * mebibyte);
    const how = { dtype: 'float64' };
    expect(await rejection(peer.call('x', 'openRaw', 'sparse', { ...how, mode: 'r+' }))).toMatchObject({
      code: 'ENOSPC',
    });
    await peer.call('part', 'openRaw', 'sparse', { ...how, mode: 'r+', shape: [mebibyte] });
    await peer.on('part', 'fill', 1);
    expect(await peer.on('part', 'sum')).toBe(mebibyte);
    await peer.call('x', 'openRaw', 'sparse', { ...how, mode: 'r' });
    expect(await peer.on('x', 'peek', 4 * mebibyte - 1)).toBe(0);
    await peer.kill();
  });

  test('reads the holes of a sparse file as zeros when it is full, and says so', async () => {
    const peer = await startInside(16);
    await peer.on('none', 'sparse', 'sparse', 4 * mebibyte);
    await peer.call('x', 'openRaw', 'sparse', { dtype: 'uint8' });
    const { free } = await peer.on<Room>('none', 'room');
    await peer.call('rest', 'create', 'rest', { shape: free - 4096 - 20_480, dtype: 'uint8' });
    expect(await peer.on<Room>('none', 'room')).toMatchObject({ free: 0 });
    expect(await peer.on('x', 'peek', 2 * mebibyte)).toBe(0);
    expect(await rejection(peer.on('x', 'get', 0))).toMatchObject({ code: 'ERR_NDSHM_TRUNCATED' });
    expect(await peer.on('rest', 'get', -1)).toBe(0);
    await peer.kill();
  });
});
