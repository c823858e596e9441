import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { freshName, thrownBy } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

const event = (name: string) => new ndshm.Event(name, { ephemeral: true });

async function peerWith(names: Record<string, string>, thread = false): Promise<Peer> {
  const peer = await Peer.start({ thread });
  for (const [key, name] of Object.entries(names)) await peer.call(key, 'Event', name, { ephemeral: true });
  return peer;
}

describe('an event', () => {
  test('is set and cleared for all processes', async () => {
    const name = freshName();
    const e = event(name);
    const peer = await peerWith({ e: name });
    expect(e.isSet).toBe(false);
    await peer.on('e', 'set');
    expect(e.isSet).toBe(true);
    await e.wait({ timeoutMs: 0 });
    e.waitSync({ timeoutMs: 0 });
    e.set();
    e.clear();
    e.clear();
    expect(await peer.run(({ kept }) => (kept.get('e') as ndshm.Event).isSet)).toBe(false);
    e.close();
    await peer.kill();
  });

  test.each(['wait', 'waitSync'])('lets everybody go who waits in %s(), in processes and threads', async (how) => {
    const name = freshName();
    const e = event(name);
    const peers = await Promise.all([peerWith({ e: name }), peerWith({ e: name }), peerWith({ e: name }, true)]);
    const all = [e.wait(), e.wait(), ...peers.map((peer) => peer.on('e', how))];
    e.set();
    await Promise.all(all);
    e.close();
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('lets those go who wait, even if it is cleared at once', async () => {
    const name = freshName();
    const e = event(name);
    const peer = await peerWith({ e: name });
    const here = [e.wait(), e.wait()];
    e.set();
    e.clear(); // before anybody here can have looked
    await Promise.all(here);
    const setElsewhere = e.wait();
    await peer.run(({ kept }) => {
      (kept.get('e') as ndshm.Event).set();
      (kept.get('e') as ndshm.Event).clear();
    });
    await setElsewhere;
    expect(e.isSet).toBe(false);
    expect(await codeOf(e.wait({ timeoutMs: 10 }))).toBe('ERR_NDSHM_TIMEOUT');
    e.close();
    await peer.kill();
  });

  test('passes back and forth between two processes without losing a turn', async () => {
    const names = { ping: freshName('ping'), pong: freshName('pong') };
    const ping = event(names.ping);
    const pong = event(names.pong);
    const peer = await peerWith(names);
    const turns = 2000;
    const answered = peer.run(async ({ kept }, turns) => {
      const { ping, pong } = Object.fromEntries(kept) as Record<string, ndshm.Event>;
      for (let n = 0; n < turns; n++) {
        if (n % 2 === 0) ping?.waitSync();
        else await ping?.wait();
        ping?.clear();
        pong?.set();
      }
      return turns;
    }, turns);
    for (let n = 0; n < turns; n++) {
      ping.set();
      if (n % 3 === 0) await pong.wait();
      else pong.waitSync();
      pong.clear();
    }
    expect(await answered).toBe(turns);
    ping.close();
    pong.close();
    await peer.kill();
  });

  test('that was set by a process which was killed before it could tell, lets go who waits all the same', async () => {
    const name = freshName();
    const e = event(name);
    const peer = await peerWith({ e: name });
    const waiting = e.wait();
    const killed = peer.run(({ kept }) => {
      const { compareExchange } = Atomics;
      Atomics.compareExchange = ((...given: Parameters<typeof compareExchange>) => {
        compareExchange(...given);
        process.kill(process.pid, 'SIGKILL');
      }) as typeof compareExchange;
      (kept.get('e') as ndshm.Event).set();
    });
    killed.catch(() => {});
    await peer.end();
    expect(e.isSet).toBe(true);
    await waiting;
    e.close();
  });

  test('gives a waiter up at its timeout, its abort and close()', async () => {
    const e = event(freshName());
    const abort = new AbortController();
    const reason = new Error('enough');
    const aborted = e.wait({ signal: abort.signal });
    abort.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    await expect(e.wait({ signal: abort.signal })).rejects.toBe(reason);
    expect(await codeOf(e.wait({ timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    expect(thrownBy(() => e.waitSync({ timeoutMs: 1 })).code).toBe('ERR_NDSHM_TIMEOUT');
    const waiting = codeOf(e.wait());
    e.close();
    e.close();
    expect(await waiting).toBe('ERR_NDSHM_CLOSED');
    for (const use of [() => e.set(), () => e.clear(), () => e.isSet, () => e.waitSync()]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
    expect(await codeOf(e.wait())).toBe('ERR_NDSHM_CLOSED');
  });

  test('refuses wrong options', async () => {
    const e = event(freshName());
    expect(thrownBy(() => new ndshm.Event('x', { manual: true } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(() => new ndshm.Event('a/b')).code).toBe('ERR_NDSHM_INVALID_NAME');
    expect(await codeOf(e.wait({ timeout: 1 } as object))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(await codeOf(e.wait({ timeoutMs: -1 }))).toBe('ERR_NDSHM_OUT_OF_RANGE');
    e.close();
  });

  test('lives on under its name until unlink() where it is not ephemeral', () => {
    const name = freshName();
    const e = new ndshm.Event(name);
    e.set();
    e.close();
    const again = new ndshm.Event(name);
    expect([again.isSet, again.name]).toEqual([true, name]);
    again.unlink();
    const other = event(name);
    expect(other.isSet).toBe(false);
    again[Symbol.dispose]();
    other.close();
  });
});
