import * as ndshm from 'ndshm';
import { Child, Peer } from '../helpers/child';
import { exists, freshName } from '../helpers/shm';

describe('worker threads and ends of processes', () => {
  test('a thread that is terminated while its array is open leaves the peers, and the process goes on', async () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 4 });
    const peer = await Peer.start({ thread: true });
    await peer.call('a', 'open', name, { mode: 'r+' });
    await peer.on('a', 'set', 0, 3);
    expect(ndshm.stat(name).peers).toHaveLength(2);
    await peer.on('a', 'terminate');
    expect(ndshm.stat(name).peers).toHaveLength(1);
    expect(a.get(0)).toBe(3);
    peer.process.disconnect();
    expect(await peer.end()).toEqual({ code: 0, signal: null });
    a.close();
    ndshm.unlink(name);
  });

  test.each([false, true])(
    'process.exit() while arrays are open ends cleanly and unlinks no named one, with a thread: %s',
    async (thread) => {
      const name = freshName();
      const a = ndshm.create(name, { shape: 4 });
      const peer = await Peer.start({ thread });
      await peer.call('a', 'open', name, { mode: 'r+' });
      await peer.call('b', 'open', name, { mode: 'c' });
      peer.send(thread ? 'exit' : { of: 'a', method: 'exit', args: [0] });
      expect(await peer.end()).toEqual({ code: 0, signal: null });
      expect(exists(name)).toBe(true);
      expect(ndshm.stat(name).peers).toHaveLength(1);
      a.close();
      ndshm.unlink(name);
    },
  );

  test('threads that load the addon, attach and end in every way at once leave nothing behind', async () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 1000 });
    const child = new Child('many-threads.js', [name, '24']);
    expect(await child.message()).toEqual({ seen: 24, leaked: { descriptors: 0, mappings: 0 } });
    expect(await child.end()).toEqual({ code: 0, signal: null });
    expect(ndshm.stat(name).peers).toHaveLength(1);
    a.close();
    ndshm.unlink(name);
  });
});
