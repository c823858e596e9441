import { readdirSync, writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { holdings, Peer, rejection, within } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const limited = { wrap: ['sh', '-c', 'ulimit -n 100 && exec "$@"', 'sh'] };
const temporaries = () => readdirSync('/dev/shm').filter((name) => name.startsWith('.ndshm-'));

describe('a process without free descriptors', () => {
  test('gets EMFILE with a remedy in every way of making and opening, loses nothing, and works again', async () => {
    const name = freshName();
    const made = ndshm.fromArray(name, [1, 2]);
    const peer = await Peer.start(limited);
    await peer.call('a', 'open', name);
    const held = await peer.on('none', 'holdings');
    await peer.on('none', 'exhaust', 0);
    const attempts: [string, ...unknown[]][] = [
      ['open', name],
      ['create', freshName(), { shape: 1 }],
      ['create', name, { shape: 1, ifExists: 'replace' }],
      ['anonymous', { shape: 1 }],
      ['stat', name],
    ];
    for (const [method, ...args] of attempts) {
      const error = await rejection(peer.call('x', method, ...args));
      expect([method, error.code]).toEqual([method, 'EMFILE']);
    }
    expect(await peer.on('a', 'get', 1)).toBe(2);
    await peer.on('none', 'release');
    expect(await peer.on('none', 'holdings')).toEqual(held);
    await peer.call('b', 'open', name);
    expect(await peer.on('b', 'get', 1)).toBe(2);
    expect(ndshm.stat(name).peers).toHaveLength(3);
    await peer.kill();
    made.close();
    ndshm.unlink(name);
  });

  // One descriptor is the new file's. There is none for userfaultfd(2) then, which is how the ways without it are run.
  test('but one fills small and large arrays without userfaultfd, and does not replace half', async () => {
    const names = [freshName('small'), freshName('large'), freshName('parallel')];
    const counts = [100, 300_000, 5_000_000];
    const peer = await Peer.start(limited);
    await peer.call('warm', 'anonymous', { shape: 1 });
    await peer.call('x', 'gc');
    const first = freshName('first');
    await peer.call('first', 'create', first, { shape: 1, ephemeral: true });
    for (const [n, name] of names.entries()) {
      await peer.on('none', 'exhaust', 1);
      await peer.call(name, 'fromArray', name, new Float64Array(counts[n] as number).fill(n + 1));
      await peer.on('none', 'release');
      expect(await peer.on(name, 'sum')).toBe((n + 1) * (counts[n] as number));
    }
    const before = temporaries();
    await peer.on('none', 'exhaust', 1);
    const error = await rejection(peer.call('x', 'fromArray', names[0], [9], { ifExists: 'replace' }));
    expect(error.code).toBe('EMFILE');
    expect(temporaries()).toEqual(before);
    expect(await peer.on(names[0] as string, 'get', 0)).toBe(1);
    await peer.kill();
    for (const name of names) ndshm.unlink(name);
    ndshm.gc();
  });
});

describe('every error', () => {
  test('of watch() ends the watch that it had begun', async () => {
    const name = freshName();
    writeFileSync(
      shmPath(name),
      "\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,), }".padEnd(127) + '\n',
      'latin1',
    );
    const watchers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'FSEventWrap');
    expect(watchers()).toEqual([]);
    expect(thrownBy(() => ndshm.watch(name)).code).toBe('ERR_NDSHM_DTYPE');
    const gone = async (): Promise<void> => {
      while (watchers().length > 0) await new Promise(setImmediate);
    };
    await within(gone(), 'end of the watcher');
    ndshm.unlink(name);
  });

  test('gives back the descriptors and mappings that it had taken', () => {
    const name = freshName();
    ndshm.fromArray(name, [1, 2, 3]).close();
    const handle = { ndshm: 1, name, id: 'of another one', dtype: 'float64', shape: [3], order: 'C' } as const;
    const id = ndshm.stat(name).id as string;
    const failures: (() => unknown)[] = [
      () => ndshm.open(freshName()),
      () => ndshm.create(name, { shape: 3 }),
      () => ndshm.create(name, { shape: 4, ifExists: 'open' }),
      () =>
        ndshm.create(freshName(), {
          shape: 4,
          init: () => {
            throw new Error('in init');
          },
        }),
      () => ndshm.create(freshName(), { shape: 4, init: (array) => array.close() }),
      () => ndshm.fromArray(freshName(), [1, 'x']),
      () => ndshm.fromArray(freshName(), [300], { dtype: 'uint8' }),
      () => ndshm.openRaw(name, { dtype: 'float64', byteOffset: 1 }),
      () => ndshm.openRaw(name, { dtype: 'float64', shape: [2 ** 40] }),
      () => ndshm.attach(handle),
      () => ndshm.attach({ ...handle, id, view: { shape: [4], strides: [8], byteOffset: 0 } }),
      () => ndshm.attach({ ...handle, id, view: { shape: [2], strides: [-8], byteOffset: 0 } }),
      () => ndshm.attach({ ...handle, id, view: { shape: [2], strides: [Number.MAX_VALUE], byteOffset: 0 } }),
      () => ndshm.unlink(freshName()),
      () => ndshm.stat(freshName()),
      () => ndshm.fork(shmPath(name), { share: {} } as never),
    ];
    for (const failure of failures) thrownBy(failure); // whatever the first use of each keeps
    const before = holdings();
    for (const failure of failures) {
      thrownBy(failure);
      expect([String(failure), holdings()]).toEqual([String(failure), before]);
    }
    expect(ndshm.stat(name).peers).toEqual([]);
    ndshm.unlink(name);
  });
});
