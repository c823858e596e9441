import { statSync } from 'node:fs';
import type * as ndshm from 'ndshm';
import { type ChildOptions, Peer } from './child';
import { namesInShm, shmPath } from './shm';

export const mebibyte = 2 ** 20;

/** Opens a store in a peer, kept there as 'store'. */
export const openIn = (peer: Peer, name: string, options: ndshm.StoreOptions = {}): Promise<void> =>
  peer.run(
    ({ ndshm, kept }, name, options) => {
      kept.set('store', ndshm.Store.open(name, options));
    },
    name,
    options,
  );

/** A peer, process or thread, that has a store open. */
export async function peerWith(name: string, how: ChildOptions & { readonly thread?: boolean } = {}): Promise<Peer> {
  const peer = await Peer.start(how);
  await openIn(peer, name);
  return peer;
}

/** What get() gives in a peer. Arrives as a copy: arrays have to be looked at in the peer. */
export const getIn = <T = unknown>(peer: Peer, ref: ndshm.ObjectRef): Promise<T> =>
  peer.run(({ kept }, ref) => (kept.get('store') as ndshm.Store).get<T>(ref), ref);

/** Has a peer get an object and keep it as `key`. */
export const keepIn = (peer: Peer, key: string, ref: ndshm.ObjectRef): Promise<void> =>
  peer.run(
    ({ kept }, key, ref) => {
      kept.set(key, (kept.get('store') as ndshm.Store).get(ref));
    },
    key,
    ref,
  );

/** Has a peer make an array of so many bytes and keep the draft as 'draft'. */
export const draftIn = (peer: Peer, byteLength = 8): Promise<ndshm.ObjectRef> =>
  peer.run(({ kept }, byteLength) => {
    const draft = (kept.get('store') as ndshm.Store).createArray(byteLength, 'uint8');
    kept.set('draft', draft);
    return draft.ref;
  }, byteLength);

export const sealIn = (peer: Peer): Promise<void> =>
  peer.run(({ kept }) => {
    (kept.get('draft') as ndshm.Draft).seal();
  });

/** What is in /dev/shm of a store. */
export const segmentsOf = (name: string): string[] =>
  namesInShm().filter((found) => found === name || found.startsWith(`${name}.`));

/** What a store's pages take of memory, as the kernel counts; without header and control block. */
export const existingBytes = (name: string): number => statSync(shmPath(`${name}.pages.0`)).blocks * 512 - 6 * 4096;

/** Bytes that tell where they are from: their offset, modulo a prime, and the seed. */
export function pattern(byteLength: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  const period = Math.min(byteLength, 65_537);
  for (let n = 0; n < period; n++) bytes[n] = (Math.imul(n + 1, 2_654_435_761) >>> 20) + seed;
  for (let at = period; at < byteLength; at *= 2) bytes.copyWithin(at, 0, at);
  return bytes;
}

/** Much faster than toEqual(). */
export const same = (found: Uint8Array, wanted: Uint8Array): boolean => Buffer.compare(found, wanted) === 0;
