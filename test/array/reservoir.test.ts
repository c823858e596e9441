import { randomFillSync } from 'node:crypto';
import { statfsSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { Reservoir } from '../../dist/array/reservoir';
import { describeAsRoot, holdings, otherUser, Peer, randomFrom, rejection, within } from '../helpers/child';
import { label, leased, openIn, Pages, pageBytes, readOnly } from '../helpers/reservoir';
import { exists, freshName, thrownBy } from '../helpers/shm';

const mebibyte = 2 ** 20;
const pagesOf = (bytes: number): number => Math.ceil(bytes / pageBytes) * pageBytes;
const randomBytes = (count: number): Buffer => randomFillSync(Buffer.alloc(count));

async function until(done: () => boolean, what: string): Promise<void> {
  await within(
    (async () => {
      while (!done()) await new Promise(setImmediate);
    })(),
    what,
  );
}

describe('a reservoir', () => {
  test('takes no memory until it is filled, and has its length wherever it is opened', () => {
    const pages = new Pages(2 ** 40);
    expect(pages.existingBytes).toBe(0);
    const again = pages.reopen();
    expect([again.name, again.byteLength]).toEqual([`${pages.parentName}.${label}`, 2 ** 40]);
    expect(ndshm.stat(again.name)).toMatchObject({ kind: 'array', dtype: 'uint8', shape: [2 ** 40], peers: [] });
    again.close();
    pages.close();
  });

  test('opened by its name in mode r+, keeps its holes', () => {
    const pages = new Pages(2 ** 28);
    const whole = ndshm.open(`${pages.parentName}.${label}`, { mode: 'r+' });
    expect(pages.existingBytes).toBe(0);
    whole.set(5, 1);
    expect(pages.existingBytes).toBe(pageBytes);
    whole.close();
    pages.close();
  });

  test('made by several processes at once is the same one to all', async () => {
    const peers = await Promise.all([Peer.start(), Peer.start(), Peer.start()]);
    for (let round = 0; round < 20; round++) {
      const name = freshName();
      const parent = ndshm.create(name, { shape: 4, ephemeral: true });
      const mark = (peer: Peer, page: number): Promise<void> =>
        peer.run(
          ({ ndshm, part }, parentName, at) => {
            const { Reservoir } = part('array/reservoir') as typeof import('../../dist/array/reservoir');
            const parent = ndshm.open(parentName, { mode: 'r+' });
            const reservoir = Reservoir.openOrCreate(parent, 'pages.0', 3 * 4096);
            reservoir.fill(at * 4096, 4096, new Uint8Array([at + 1]));
            reservoir.close();
            parent.close();
          },
          name,
          page,
        );
      await Promise.all(peers.map(mark));
      const reservoir = Reservoir.openOrCreate(parent, label, pageBytes);
      const all = new Uint8Array(reservoir.map(0, 3 * pageBytes, readOnly));
      expect([all[0], all[pageBytes], all[2 * pageBytes]]).toEqual([1, 2, 3]);
      reservoir.close();
      parent.close();
    }
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('left by an earlier parent of the same name is made anew', () => {
    const pages = new Pages();
    pages.reservoir.fill(0, pageBytes, Buffer.from('old'));
    const second = ndshm.create(pages.parentName, { shape: 4, ephemeral: true, ifExists: 'replace' });
    const reservoir = Reservoir.openOrCreate(second, label, pageBytes);
    expect(reservoir.byteLength).toBe(pageBytes);
    // Whoever has the old one keeps it; whoever opens by the old parent does not get what belongs to the new one.
    expect(pages.read(0, 3).toString()).toBe('old');
    expect(thrownBy(() => pages.reopen()).code).toBe('ERR_NDSHM_BUSY');
    reservoir.close();
    second.close();
    pages.close();
    expect(exists(`${pages.parentName}.${label}`)).toBe(false);
  });

  test('does not take a name that is somebody else’s', () => {
    const parent = ndshm.create(freshName(), { shape: 4, ephemeral: true });
    const other = ndshm.create(`${parent.name}.${label}`, { shape: 9000, dtype: 'uint8' });
    expect(thrownBy(() => Reservoir.openOrCreate(parent, label, pageBytes)).code).toBe('EEXIST');
    other.close();
    parent.close();
    expect(exists(`${parent.name}.${label}`)).toBe(true);
    ndshm.unlink(`${parent.name}.${label}`);
  });

  test('refuses ranges that it does not have, and what is no multiple of a page', () => {
    const pages = new Pages(8 * pageBytes);
    const { reservoir } = pages;
    const page = Buffer.alloc(pageBytes);
    const wrong: readonly (readonly [number, number])[] = [
      [0, 0],
      [-pageBytes, pageBytes],
      [0, 9 * pageBytes],
      [8 * pageBytes, pageBytes],
      [1, pageBytes],
      [0, 1],
      [Number.NaN, pageBytes],
      [0, Number.NaN],
      [2 ** 53, pageBytes],
    ];
    for (const [offset, byteLength] of wrong) {
      const calls = [
        () => reservoir.fill(offset, byteLength, null),
        () => reservoir.punch(offset, byteLength),
        () => reservoir.map(offset, byteLength, leased),
        () => reservoir.isLeased(offset, byteLength),
      ];
      for (const call of calls) expect(thrownBy(call).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    }
    expect(thrownBy(() => reservoir.fill(0, pageBytes, Buffer.alloc(pageBytes + 1))).code).toBe(
      'ERR_NDSHM_OUT_OF_RANGE',
    );
    expect(thrownBy(() => reservoir.write(7 * pageBytes + 1, page)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    expect(pages.existingBytes).toBe(0);
    pages.close();
  });

  test('says that it is closed, once and again', async () => {
    const pages = new Pages();
    const { reservoir } = pages;
    pages.close();
    pages.close();
    const calls = [
      () => reservoir.fill(0, pageBytes, null),
      () => reservoir.write(0, Buffer.alloc(1)),
      () => reservoir.punch(0, pageBytes),
      () => reservoir.map(0, pageBytes, leased),
      () => reservoir.isLeased(0, pageBytes),
    ];
    for (const call of calls) expect(thrownBy(call).code).toBe('ERR_NDSHM_CLOSED');
    expect((await rejection(reservoir.prefault(0, pageBytes))).code).toBe('ERR_NDSHM_CLOSED');
    expect(reservoir.faulted).toBe(false);
  });
});

describe('filling', () => {
  // Below a MiB, above, and from where several threads do it.
  test.each([1, pageBytes, pageBytes + 1, mebibyte - 1, mebibyte, 3 * mebibyte + 5, 40 * mebibyte + 4097])(
    'puts a source of %i bytes into pages of their own, and zeros behind it',
    (count) => {
      const pages = new Pages();
      const source = randomBytes(count);
      const at = 5 * pageBytes;
      const byteLength = pagesOf(count) + 2 * mebibyte;
      pages.reservoir.fill(at, byteLength, source);
      expect(pages.existingBytes).toBe(byteLength);
      expect(pages.read(at, count).equals(source)).toBe(true);
      expect(pages.read(at + count, byteLength - count).every((byte) => byte === 0)).toBe(true);
      pages.close();
    },
  );

  test.each([pageBytes, 2 * mebibyte, 40 * mebibyte])('with nothing reserves %i bytes of zeros', (byteLength) => {
    const pages = new Pages();
    pages.reservoir.fill(pageBytes, byteLength, null);
    expect(pages.existingBytes).toBe(byteLength);
    expect(pages.read(pageBytes, byteLength).every((byte) => byte === 0)).toBe(true);
    pages.close();
  });

  test('puts the source also into pages that exist already', () => {
    const pages = new Pages();
    pages.reservoir.fill(mebibyte, 10 * pageBytes, Buffer.alloc(10 * pageBytes, 9));
    const source = randomBytes(3 * mebibyte);
    pages.reservoir.fill(0, source.length, source);
    expect(pages.read(0, source.length).equals(source)).toBe(true);
    expect(pages.existingBytes).toBe(source.length);
    pages.close();
  });

  test('more than there is room for is ENOSPC with the sizes, and leaves holes', () => {
    const { blocks, bsize } = statfsSync('/dev/shm');
    const byteLength = pagesOf(blocks * bsize) + pageBytes;
    const pages = new Pages(byteLength);
    const error = thrownBy(() => pages.reservoir.fill(0, byteLength, null));
    expect(error).toMatchObject({ code: 'ENOSPC', path: expect.stringContaining(label) });
    expect(error.message).toMatch(/[\d.]+ [KMGT]iB wanted, [\d.]+ [KMGT]iB free of/);
    expect(pages.existingBytes).toBe(0);
    pages.close();
  });
});

describe('writing into pages that exist', () => {
  test('puts every byte where it belongs, whatever offset and length', () => {
    const total = 24 * mebibyte;
    const pages = new Pages(total);
    const expected = Buffer.alloc(total, 1);
    pages.reservoir.fill(0, total, expected);
    const random = randomFrom(4);
    const below = (limit: number): number => Math.floor(random() * limit);
    const large = randomBytes(16 * mebibyte);
    for (let round = 0; round < 60; round++) {
      // Copied plainly, past the caches (with a last piece of some bytes, too), and by several threads.
      const counts = [below(100), below(20_000), 2 * mebibyte + below(70), below(3 * mebibyte), below(12 * mebibyte)];
      const first = below(100);
      const source = large.subarray(first, first + (counts[round % counts.length] as number));
      const offset = below(total - source.length);
      pages.reservoir.write(offset, source);
      source.copy(expected, offset);
      expect(pages.read(0, total).equals(expected)).toBe(true);
    }
    expect(pages.existingBytes).toBe(total);
    pages.close();
  });
});

describe('giving pages back', () => {
  test('takes their memory and leaves zeros, to who has them mapped too', () => {
    const pages = new Pages();
    pages.reservoir.fill(0, 4 * pageBytes, Buffer.alloc(4 * pageBytes, 7));
    const mapped = new Uint8Array(pages.reservoir.map(0, 4 * pageBytes, readOnly));
    expect(mapped[pageBytes]).toBe(7);
    pages.reservoir.punch(pageBytes, 2 * pageBytes);
    expect(pages.existingBytes).toBe(2 * pageBytes);
    expect([0, 1, 2, 3].map((page) => mapped[page * pageBytes])).toEqual([7, 0, 0, 7]);
    pages.reservoir.fill(pageBytes, pageBytes, Buffer.from([8]));
    expect(mapped[pageBytes]).toBe(8);
    pages.close();
  });
});

describe('a mapped range', () => {
  test('shows what others write, and keeps stray stores to itself unless it is shared', () => {
    const pages = new Pages();
    const other = pages.reopen();
    pages.reservoir.fill(0, 2 * pageBytes, Buffer.from([1]));
    const mine = new Uint8Array(pages.reservoir.map(0, pageBytes, readOnly));
    const shared = new Uint8Array(other.map(0, 2 * pageBytes, { shared: true, leased: false }));
    shared[1] = 2;
    expect([mine[0], mine[1]]).toEqual([1, 2]);
    mine[0] = 3;
    expect(shared[0]).toBe(1);
    expect(pages.read(0, 2)).toEqual(Buffer.from([1, 2]));
    other.close();
    pages.close();
  });

  test('is detached when it is unmapped, and costs no descriptor', () => {
    const pages = new Pages();
    const before = holdings();
    const buffers = Array.from({ length: 100 }, (_, page) => pages.reservoir.map(page * pageBytes, pageBytes, leased));
    expect(holdings()).toEqual({ ...before, mappings: before.mappings + 100 });
    for (const buffer of buffers) pages.reservoir.unmap(buffer);
    expect(buffers.every(({ byteLength }) => byteLength === 0)).toBe(true);
    expect(holdings()).toEqual(before);
    pages.reservoir.unmap(buffers[0] as ArrayBuffer);
    pages.reservoir.unmap(new ArrayBuffer(8));
    pages.close();
  });
});

describe('a lease', () => {
  test('is seen by this hold and by others, page by page, until it ends', () => {
    const pages = new Pages();
    const other = pages.reopen();
    const buffer = pages.reservoir.map(2 * pageBytes, 3 * pageBytes, leased);
    for (const reservoir of [pages.reservoir, other]) {
      const seen = Array.from({ length: 7 }, (_, page) => reservoir.isLeased(page * pageBytes, pageBytes));
      expect(seen).toEqual([false, false, true, true, true, false, false]);
      expect(reservoir.isLeased(0, 3 * pageBytes)).toBe(true);
      expect(reservoir.isLeased(4 * pageBytes, 9 * pageBytes)).toBe(true);
      expect(reservoir.isLeased(0, 9 * pageBytes)).toBe(true);
    }
    pages.reservoir.unmap(buffer);
    for (const reservoir of [pages.reservoir, other]) expect(reservoir.isLeased(0, 9 * pageBytes)).toBe(false);
    const unleased = pages.reservoir.map(0, pageBytes, readOnly);
    expect(other.isLeased(0, pageBytes)).toBe(false);
    pages.reservoir.unmap(unleased);
    other.close();
    pages.close();
  });

  test('of several buffers over one range ends with the last of them', () => {
    const pages = new Pages();
    const other = pages.reopen();
    const buffers = [1, 2, 3].map(() => pages.reservoir.map(0, 2 * pageBytes, leased));
    const neighbour = pages.reservoir.map(2 * pageBytes, pageBytes, leased);
    for (const buffer of buffers) {
      expect(other.isLeased(0, pageBytes)).toBe(true);
      pages.reservoir.unmap(buffer);
    }
    expect(other.isLeased(0, 2 * pageBytes)).toBe(false);
    expect(other.isLeased(2 * pageBytes, pageBytes)).toBe(true);
    pages.reservoir.unmap(neighbour);
    expect(other.isLeased(2 * pageBytes, pageBytes)).toBe(false);
    other.close();
    pages.close();
  });

  test('outlives close(), which gives up the descriptor when the last one ends', () => {
    const pages = new Pages();
    const before = holdings();
    const second = pages.reopen();
    second.fill(0, pageBytes, Buffer.from([5]));
    const buffer = second.map(0, pageBytes, leased);
    const unleased = second.map(0, pageBytes, readOnly);
    second.close();
    expect(new Uint8Array(buffer)[0]).toBe(5);
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(true);
    expect(holdings().descriptors).toBe(before.descriptors + 1);
    second.unmap(buffer);
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(false);
    expect(holdings().descriptors).toBe(before.descriptors);
    expect(new Uint8Array(unleased)[0]).toBe(5);
    second.unmap(unleased);
    expect(holdings()).toEqual(before);
    pages.close();
  });

  test.each(['collected', 'killed'])('of another process ends when its buffer is %s', async (how) => {
    const pages = new Pages();
    const peer = await Peer.start({ execArgv: ['--expose-gc'] });
    await openIn(peer, pages);
    await peer.run(({ kept }) => {
      const reservoir = kept.get('reservoir') as Reservoir;
      kept.set('buffer', reservoir.map(0, 4096, { shared: false, leased: true }));
      reservoir.close();
    });
    await peer.on('none', 'collect');
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(true);
    if (how === 'killed') await peer.kill();
    else await peer.on('none', 'drop', 'buffer').then(() => peer.on('none', 'collect'));
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(false);
    await peer.kill();
    pages.close();
  });

  test('ends with its worker thread', async () => {
    const pages = new Pages();
    const peer = await Peer.start({ thread: true });
    await openIn(peer, pages);
    await peer.run(({ kept }) => {
      const reservoir = kept.get('reservoir') as Reservoir;
      kept.set('buffer', reservoir.map(0, 4096, { shared: false, leased: true }));
    });
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(true);
    await peer.on('none', 'terminate');
    expect(pages.reservoir.isLeased(0, pageBytes)).toBe(false);
    expect(await peer.on('none', 'terminate')).toBeNull();
    await peer.kill();
    pages.close();
  });
});

describe('prefaulting', () => {
  const much = 512 * mebibyte;

  test('makes pages while the event loop goes on', async () => {
    const pages = new Pages();
    let turns = 0;
    let over = false;
    const done = pages.reservoir.prefault(pageBytes, much).finally(() => {
      over = true;
    });
    await until(() => {
      turns++;
      return over;
    }, 'end of prefaulting');
    await done;
    expect(turns).toBeGreaterThan(10);
    expect(pages.existingBytes).toBe(much);
    pages.close();
  });

  test('that close() interrupts is given up, with its pages', async () => {
    const pages = new Pages();
    const other = pages.reopen();
    const failed = rejection(other.prefault(0, 4 * much));
    await until(() => pages.existingBytes > 0, 'first page');
    other.close();
    expect((await within(failed, 'rejection')).code).toBe('ERR_NDSHM_CLOSED');
    expect(pages.existingBytes).toBe(0);
    pages.close();
  });

  test('of more than there is room for is ENOSPC', async () => {
    const { blocks, bsize } = statfsSync('/dev/shm');
    const byteLength = pagesOf(blocks * bsize) + pageBytes;
    const pages = new Pages(byteLength);
    expect((await rejection(pages.reservoir.prefault(0, byteLength))).code).toBe('ENOSPC');
    expect(pages.existingBytes).toBe(0);
    pages.close();
  });

  test.each(['exit', 'the end of its work', 'termination of its thread'])(
    'does not keep a process from %s',
    async (how) => {
      const pages = new Pages();
      const peer = await Peer.start({ thread: how === 'termination of its thread' });
      await openIn(peer, pages);
      await peer.run(({ kept }) => {
        const reservoir = kept.get('reservoir') as Reservoir;
        kept.set('prefault', reservoir.prefault(0, 2 ** 32));
      });
      await until(() => pages.existingBytes > 0, 'first page');
      if (how === 'exit') peer.send({ of: 'none', method: 'exit', args: [0] });
      else if (how === 'the end of its work') peer.process.disconnect();
      else await peer.on('none', 'terminate').then(() => peer.send('exit'));
      expect(await peer.end()).toEqual({ code: 0, signal: null });
      // process.exit() is as good as a death: nobody gives back what was made.
      if (how !== 'exit') expect(pages.existingBytes).toBe(0);
      pages.close();
    },
  );
});

describeAsRoot('a small /dev/shm (needs root to mount one)', () => {
  test('that fills up in the middle of a fill is ENOSPC, and leaves holes', async () => {
    const peer = await Peer.start({
      wrap: ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=64m ndshm-test /dev/shm && exec "$@"', 'sh'],
    });
    const other = await Peer.start({ wrap: ['nsenter', '-m', '-t', String(peer.pid)] });
    const open = (each: Peer): Promise<void> =>
      each.run(({ ndshm, kept, part }) => {
        const { Reservoir } = part('array/reservoir') as typeof import('../../dist/array/reservoir');
        const parent = ndshm.create('parent', { shape: 1, ifExists: 'open' });
        kept.set('parent', parent);
        kept.set('reservoir', Reservoir.openOrCreate(parent, 'pages.0', 2 ** 30));
      });
    await open(peer);
    await open(other);
    const empty = await peer.on('none', 'room');
    const fill = (each: Peer, at: number, bytes: number): Promise<string> =>
      each.run(
        ({ kept }, offset, byteLength) => {
          const reservoir = kept.get('reservoir') as Reservoir;
          const source = new Uint8Array(byteLength).fill(6);
          try {
            reservoir.fill(offset, byteLength, source);
          } catch (error) {
            return (error as { code: string }).code;
          }
          const sum = new Uint8Array(reservoir.map(offset, byteLength, { shared: false, leased: false })).every(
            (byte) => byte === 6,
          );
          reservoir.punch(offset, byteLength);
          return sum ? 'filled' : 'lost';
        },
        at,
        bytes,
      );
    const outcomes = new Set<string>();
    for (let round = 0; round < 12; round++) {
      const each = await Promise.all([fill(peer, 0, 40 * mebibyte), fill(other, 2 ** 28, 40 * mebibyte)]);
      for (const outcome of each) outcomes.add(outcome);
      expect(await peer.on('none', 'room')).toEqual(empty);
    }
    expect([...outcomes].sort()).toEqual(['ENOSPC', 'filled']);
    await Promise.all([peer.kill(), other.kill()]);
  });

  test('is not shared with another user unless that is allowed', async () => {
    const pages = new Pages();
    const { chmodSync } = await import('node:fs');
    for (const name of [pages.parentName, pages.reservoir.name]) chmodSync(`/dev/shm/${name}`, 0o666);
    const peer = await Peer.start({ uid: otherUser });
    const open = (allowForeignOwner: boolean): Promise<number> =>
      peer.run(
        ({ ndshm, part }, name, allowed) => {
          const { Reservoir } = part('array/reservoir') as typeof import('../../dist/array/reservoir');
          const parent = ndshm.open(name, { mode: 'r+', allowForeignOwner: true });
          return Reservoir.openOrCreate(parent, 'pages.0', 4096, { allowForeignOwner: allowed }).byteLength;
        },
        pages.parentName,
        allowForeignOwner,
      );
    expect((await rejection(open(false))).code).toBe('ERR_NDSHM_FOREIGN_OWNER');
    expect(await open(true)).toBe(2 ** 33);
    await peer.kill();
    pages.close();
  });
});
