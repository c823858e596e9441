import { statSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { Peer } from './child';
import { exists, freshName, shmPath } from './shm';

export const pageBytes = 4096;
export const mebibyte = 2 ** 20;

export interface Filled {
  readonly bytes: Uint8Array;
}

/** A value that shows whether all of it is there: every byte is `mark`. */
export const filled = (byteLength: number, mark: number): Filled => ({ bytes: new Uint8Array(byteLength).fill(mark) });

/** Length and mark of a value (or of the array of a draft), or what is wrong with it. */
export function seen(value: Filled | ndshm.SharedArray): readonly [number, number] | string {
  const bytes = 'bytes' in value ? value.bytes : (value.data as Uint8Array);
  const mark = bytes[0] as number;
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).equals(Buffer.alloc(bytes.length, mark));
  if (whole) return [bytes.length, mark];
  const odd = bytes.findIndex((byte) => byte !== mark);
  return `${mark} at 0, ${bytes[odd]} at ${odd}`;
}

/** What the store's pages take of memory, as the kernel counts them: without header and control block. */
export const existingBytes = (name: string): number =>
  statSync(shmPath(`${name}.pages.0`)).blocks * 512 - 6 * pageBytes;

/** The pages of large objects, as list() has them. */
export const largeBytes = (objects: readonly ndshm.ObjectInfo[]): number =>
  objects
    .filter(({ state, byteLength }) => state !== 'spilled' && byteLength > 65_536)
    .reduce((sum, { byteLength }) => sum + Math.ceil(byteLength / pageBytes) * pageBytes, 0);

/** How many bytes of the store's pages are neither free nor a large object's: rows, and slots of small objects. */
function chunkBytes(store: ndshm.Store): number {
  const { usedBytes, readyBytes } = store.stat();
  return usedBytes - readyBytes - largeBytes(store.list());
}

/** A process that has the store open, with objects of its own in it, while others die. */
export class Bystander {
  readonly name = freshName('store');
  readonly store: ndshm.Store;
  /** Of a small object, of a large one that is leased, and of a large one that nobody has mapped. */
  readonly refs: readonly [ndshm.ObjectRef, ndshm.ObjectRef, ndshm.ObjectRef];
  readonly #lease: ndshm.Lease<Filled>;
  readonly #chunkBytes: number;

  constructor(options: ndshm.StoreOptions = {}) {
    this.store = ndshm.Store.open(this.name, { capacity: '2MiB', ...options });
    const put = (byteLength: number, mark: number) => this.store.putSync(filled(byteLength, mark));
    this.refs = [put(500, 1), put(100_000, 2), put(400_000, 3)];
    this.#lease = this.store.lease<Filled>(this.refs[1]);
    this.#chunkBytes = chunkBytes(this.store);
  }

  /** What an object holds. It is not mapped any more afterwards. */
  look(ref: ndshm.ObjectRef): ReturnType<typeof seen> {
    const lease = this.store.lease<Filled>(ref);
    try {
      return seen(lease.value);
    } finally {
      lease.release();
    }
  }

  /**
   * Nothing half-made is to be seen, nothing is lost, every page is accounted for, and the store goes on. `grown`: how
   * many bytes of rows and slots may have been added.
   */
  expectWhole({ grown = [0] }: { readonly grown?: readonly number[] } = {}): void {
    const { store, refs } = this;
    const objects = store.list();
    for (const { ref, state } of objects) {
      expect(state).toMatch(/^(sealed|spilled|deleted)$/);
      if (state !== 'deleted') expect(this.look(ref)).toEqual([expect.any(Number), expect.any(Number)]);
    }
    expect(seen(this.#lease.value)).toEqual([100_000, 2]);
    const { usedBytes, readyBytes } = store.stat();
    expect(usedBytes).toBe(existingBytes(this.name));
    expect(grown).toContain(usedBytes - readyBytes - largeBytes(objects) - this.#chunkBytes);

    const [small, large] = [store.putSync(filled(500, 8)), store.putSync(filled(300_000, 9))];
    expect([this.look(small), this.look(large)]).toEqual([
      [500, 8],
      [300_000, 9],
    ]);
    expect([store.delete(small), store.delete(large)]).toEqual([true, true]);
    expect(refs.map((ref) => store.has(ref) && this.look(ref))).toEqual([[500, 1], expect.anything(), [400_000, 3]]);
  }

  /** All of it can be deleted and taken away. */
  end(grown?: readonly number[]): void {
    const { store } = this;
    this.expectWhole(grown === undefined ? {} : { grown });
    this.#lease.release();
    for (const { ref } of store.list()) store.delete(ref);
    expect(store.list()).toEqual([]);
    const { usedBytes, readyBytes } = store.stat();
    expect(grown ?? [0]).toContain(usedBytes - readyBytes - this.#chunkBytes);
    expect(usedBytes).toBe(existingBytes(this.name));
    store.close();
    expect([exists(this.name), exists(`${this.name}.pages.0`), exists(`${this.name}.spill.0`)]).toEqual([
      false,
      false,
      false,
    ]);
  }
}

/**
 * Kills the peer in the place of its n-th step from now on, counted from 0: atomic stores, stores to a row, changes of
 * the lists, calls that fill, map, lease or give back pages, and what is done to files on disk.
 */
const dieAtStep = (peer: Peer, n: number): Promise<void> =>
  peer.run(({ part }, count) => {
    let left = count;
    const mortal = (holder: object, name: string, counts = (_self: unknown) => true): void => {
      const { [name]: original } = holder as { [key: string]: (...given: unknown[]) => unknown };
      Object.defineProperty(holder, name, {
        configurable: true,
        writable: true,
        value(this: unknown, ...given: unknown[]) {
          if (counts(this) && left-- === 0) process.kill(process.pid, 'SIGKILL');
          return original?.apply(this, given);
        },
      });
    };
    const mortalAll = (holder: object, ...names: string[]): void => {
      for (const name of names) mortal(holder, name);
    };
    const prototype = (path: string, name: string): object =>
      (part(path) as { [key: string]: { prototype: object } })[name]?.prototype as object;
    mortalAll(Atomics, 'store', 'add', 'sub', 'and', 'or', 'exchange', 'compareExchange');
    mortalAll(part('store/rows') as object, 'setField', 'setLength');
    mortalAll(prototype('store/rows', 'Rows'), 'take', 'free', 'add', 'relink');
    mortalAll(prototype('store/extents', 'Extents'), 'take', 'give', 'takeWarmest', 'rebuild');
    mortalAll(prototype('array/reservoir', 'Reservoir'), 'fill', 'write', 'punch', 'map', 'unmap', 'isLeased', 'close');
    const isWords = (self: unknown) => self instanceof Int32Array;
    for (const name of ['copyWithin', 'fill', 'set'])
      mortal(Object.getPrototypeOf(Int32Array.prototype), name, isWords);
    const files = process.getBuiltinModule('node:fs');
    mortalAll(files, 'openSync', 'writeSync', 'mkdirSync', 'unlinkSync', 'rmSync', 'rmdirSync');
  }, n);

/**
 * Has one process after the other do something, and dies in the place of its first, second, … step, until one gets
 * through; after each, when it is gone, `check` looks at what is left. How many have died.
 */
export async function dyingAtEachStep(
  prepare: (peer: Peer) => Promise<void>,
  act: (peer: Peer) => Promise<unknown>,
  check: (died: boolean) => void | Promise<void>,
): Promise<number> {
  let next = Peer.start();
  try {
    for (let step = 0; ; step++) {
      const peer = await next;
      next = Peer.start(); // ready when this one is gone
      await prepare(peer);
      await dieAtStep(peer, step);
      const died = await Promise.race([act(peer).then(() => false), peer.exited.then(() => true)]).catch((error) => {
        if (String(error).includes('The child ended')) return true;
        throw error;
      });
      const { signal } = await (died ? peer.end() : peer.kill());
      if (signal !== 'SIGKILL') throw new Error(`The child ended by ${signal}: ${peer.stderr}`);
      await check(died);
      if (!died) return step;
    }
  } finally {
    await (await next).kill();
  }
}
