import { Peer, rejection } from './child';

/** The code of the error that a promise is rejected with. */
export const codeOf = async (promise: Promise<unknown>): Promise<string | undefined> => (await rejection(promise)).code;

/**
 * Has one process after the other do something, and dies in the place of its first, second, … atomic store, until one
 * gets through; after each, `check` looks at what the survivors see. How many have died.
 */
export async function dyingAtEachStore(
  prepare: (peer: Peer) => Promise<unknown>,
  act: (peer: Peer) => Promise<unknown>,
  check: (died: boolean) => Promise<void>,
): Promise<number> {
  for (let stores = 0; ; stores++) {
    const peer = await Peer.start();
    await prepare(peer);
    await peer.on('', 'dieAtStore', stores);
    const died = await Promise.race([act(peer).then(() => false), peer.exited.then(() => true)]).catch(() => true);
    if (died) {
      const { signal } = await peer.end();
      if (signal !== 'SIGKILL') throw new Error(`The child ended by ${signal}: ${peer.stderr}`);
    }
    await check(died);
    await peer.kill();
    if (!died) return stores;
  }
}
