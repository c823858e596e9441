import * as fc from 'fast-check';
import * as ndshm from 'ndshm';
import { encode } from '../../dist/codec/encode';
import { Peer } from '../helpers/child';
import { freshName, thrownBy } from '../helpers/shm';
import { codeOf, dyingAtEachStore } from '../helpers/sync';

const queue = (name: string, options: ndshm.QueueOptions = {}) =>
  new ndshm.Queue(name, { ephemeral: true, ...options });

async function peerWith(name: string, options: ndshm.QueueOptions = {}, thread = false): Promise<Peer> {
  const peer = await Peer.start({ thread });
  await peer.call('q', 'Queue', name, { ephemeral: true, ...options });
  return peer;
}

describe('a queue', () => {
  test('takes what structured clone takes, and gives it in the same order, in another process', async () => {
    const name = freshName();
    const q = queue(name);
    const peer = await peerWith(name);
    const items = [
      1,
      'two',
      undefined,
      null,
      { deep: [{ er: 3n }] },
      new Map([[1, new Set(['a'])]]),
      new Date(4),
      new Float64Array([1, Number.NaN]),
    ];
    for (const [n, item] of items.entries()) {
      if (n % 3 === 0) await q.put(item);
      else if (n % 3 === 1) q.putSync(item);
      else expect(q.tryPut(item)).toBe(true);
    }
    expect([q.size, q.empty, q.full]).toEqual([items.length, false, false]);
    for (const [n, item] of items.entries()) {
      expect(await peer.on('q', ['get', 'getSync', 'tryGet'][n % 3] as string)).toEqual(item);
    }
    expect([q.size, q.empty, q.tryGet()]).toEqual([0, true, undefined]);
    q.close();
    await peer.kill();
  });

  test('takes arrays as they are when they are put, and gives copies', async () => {
    const q = queue(freshName(), { maxItems: 1, maxBytes: 1000 });
    const array = ndshm.create(freshName(), { shape: 2, ephemeral: true }).fill(1);
    await q.put({ typed: Float64Array.of(1, 2), array });
    const typed = Float64Array.of(3, 4);
    const waits = q.put({ typed });
    typed.fill(0);
    array.fill(0);
    const first = (await q.get()) as { typed: Float64Array; array: ndshm.SharedArray };
    await waits;
    const second = (await q.get()) as { typed: Float64Array };
    q.putSync(new Uint8Array(900).fill(0xff)); // over what the first two were
    expect([first.typed, second.typed]).toEqual([Float64Array.of(1, 2), Float64Array.of(3, 4)]);
    expect(first.array.toNested()).toEqual([1, 1]);
    q.close();
    array.close();
  });

  test('holds as many items and bytes as it says, and forgets none, whatever their sizes', () => {
    const maxItems = 5;
    const maxBytes = 100;
    const q = queue(freshName(), { maxItems, maxBytes }) as ndshm.Queue<string>;
    const inside: string[] = [];
    const bytes = () => inside.reduce((sum, item) => sum + encode(item).byteLength, 0);
    const put = fc.string({ maxLength: 60 }).map((text) => ({ text }));
    fc.assert(
      fc.property(fc.array(fc.oneof(put, fc.constant({})), { maxLength: 100 }), (steps: { text?: string }[]) => {
        for (const { text } of steps) {
          if (text === undefined) expect(q.tryGet()).toBe(inside.shift());
          else {
            const { byteLength } = encode(text);
            const fits = inside.length < maxItems && bytes() + byteLength <= maxBytes;
            expect(q.tryPut(text)).toBe(fits);
            if (fits) inside.push(text);
          }
          expect([q.size, q.full]).toEqual([inside.length, inside.length === maxItems]);
        }
      }),
    );
    q.close();
  });

  test('hands every item of several producers to one of several consumers, in the order of each producer', async () => {
    const name = freshName();
    const options = { maxItems: 7, maxBytes: 200 };
    const q = queue(name, options);
    const peers = await Promise.all([0, 1, 2, 3].map((n) => peerWith(name, options, n === 3)));
    const each = 300;
    const produced = peers.slice(0, 2).map((peer, producer) =>
      peer.run(
        async ({ kept }, producer, each) => {
          const q = kept.get('q') as ndshm.Queue;
          for (let n = 0; n < each; n++) {
            const item = { producer, n, text: 'x'.repeat((n * 7) % 90) };
            if (n % 2 === 0) q.putSync(item);
            else await q.put(item);
          }
        },
        producer,
        each,
      ),
    );
    const consumed = peers.slice(2).map((peer) =>
      peer.run(async ({ kept }) => {
        const items: [number, number][] = [];
        for await (const { producer, n, text } of kept.get('q') as ndshm.Queue<{
          producer: number;
          n: number;
          text: string;
        }>) {
          if (text.length !== (n * 7) % 90) throw new Error('a wrong text');
          items.push([producer, n]);
        }
        return items;
      }),
    );
    await Promise.all(produced);
    q.shutdown();
    const got = await Promise.all(consumed);
    for (const producer of [0, 1]) {
      const numbers = got.map((items) => items.filter(([from]) => from === producer).map(([, n]) => n));
      for (const own of numbers) expect(own).toEqual([...own].sort((a, b) => a - b));
      expect(numbers.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: each }, (_, n) => n));
    }
    q.close();
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('put() waits for room and get() for an item', async () => {
    const name = freshName();
    const q = queue(name, { maxItems: 1 });
    const peer = await peerWith(name, { maxItems: 1 });
    const got = peer.on('q', 'getSync');
    await q.put('a');
    expect(await got).toBe('a');
    await q.put('b');
    expect(await codeOf(q.put('c', { timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    expect(q.tryPut('c')).toBe(false);
    const put = q.put('d');
    expect(await peer.on('q', 'get')).toBe('b');
    await put;
    expect(q.getSync()).toBe('d');
    q.close();
    await peer.kill();
  });

  test('of one process, a small item does not overtake a large one, unless that gives up', async () => {
    const q = queue(freshName(), { maxBytes: 100 }) as ndshm.Queue<string>;
    await q.put('a'.repeat(50));
    const puts = [q.put('b'.repeat(60)), q.put('c')];
    expect(await q.get()).toMatch('a');
    await Promise.all(puts);
    expect([await q.get(), await q.get()]).toEqual(['b'.repeat(60), 'c']);
    await q.put('a'.repeat(50));
    const late = codeOf(q.put('b'.repeat(60), { timeoutMs: 10 }));
    const next = q.put('c');
    expect(await late).toBe('ERR_NDSHM_TIMEOUT');
    await next;
    expect(q.size).toBe(2);
    q.close();
  });

  test('has an item whole or not at all, wherever a process dies that puts or gets', async () => {
    const name = freshName();
    const q = queue(name, { maxItems: 3, maxBytes: 150 });
    const drain = () => {
      const items = [];
      while (!q.empty) items.push(q.getSync({ timeoutMs: 5000 }));
      return items;
    };
    const prepare = async (peer: Peer) => {
      q.putSync('before');
      await peer.call('q', 'Queue', name, { maxItems: 3, maxBytes: 150, ephemeral: true });
    };
    const put: unknown[][] = [];
    const diedPutting = await dyingAtEachStore(
      prepare,
      (peer) => peer.on('q', 'putSync', 'x'.repeat(70)),
      async () => {
        q.putSync('after', { timeoutMs: 5000 });
        put.push(drain());
      },
    );
    for (const items of put)
      expect([
        ['before', 'after'],
        ['before', 'x'.repeat(70), 'after'],
      ]).toContainEqual(items);
    expect(put[0]).toEqual(['before', 'after']);
    expect(diedPutting).toBeGreaterThan(4);
    const got: unknown[][] = [];
    const diedGetting = await dyingAtEachStore(
      prepare,
      (peer) => peer.on('q', 'get'),
      async () => {
        q.putSync('after', { timeoutMs: 5000 });
        got.push(drain());
      },
    );
    for (const items of got) expect([['before', 'after'], ['after']]).toContainEqual(items);
    expect(got[0]).toEqual(['before', 'after']);
    expect(got.at(-1)).toEqual(['after']);
    expect(diedGetting).toBeGreaterThan(1);
    q.close();
  });

  test('loses nothing with consumers that are killed while they wait', async () => {
    const name = freshName();
    const q = queue(name);
    const peers = await Promise.all([peerWith(name), peerWith(name)]);
    for (const peer of peers) {
      await peer.run(({ kept }) => {
        void (kept.get('q') as ndshm.Queue).get();
      });
      await peer.kill();
    }
    await q.put('a');
    expect(await q.get()).toBe('a');
    q.close();
  });

  test('after shutdown() gives what is inside, and then says so to all who wait', async () => {
    const name = freshName();
    const q = queue(name, { maxItems: 1 });
    const peer = await peerWith(name, { maxItems: 1 });
    await q.put(1);
    const putting = codeOf(q.put(2));
    await peer.on('q', 'shutdown');
    expect(await putting).toBe('ERR_NDSHM_SHUT_DOWN');
    expect(q.isShutDown).toBe(true);
    expect(thrownBy(() => q.tryPut(2)).code).toBe('ERR_NDSHM_SHUT_DOWN');
    const items = [];
    for await (const item of q) items.push(item);
    expect(items).toEqual([1]);
    expect(await codeOf(q.get())).toBe('ERR_NDSHM_SHUT_DOWN');
    expect(thrownBy(() => q.tryGet()).code).toBe('ERR_NDSHM_SHUT_DOWN');
    expect(await codeOf(peer.on('q', 'getSync'))).toBe('ERR_NDSHM_SHUT_DOWN');
    q.close();
    await peer.kill();
    const other = queue(freshName());
    const waiting = codeOf(other.get());
    other.shutdown();
    expect(await waiting).toBe('ERR_NDSHM_SHUT_DOWN');
    other.close();
  });

  test('refuses what is too large or cannot be cloned, and wrong options', async () => {
    const name = freshName();
    const q = queue(name, { maxBytes: 100 });
    const large = thrownBy(() => q.tryPut('x'.repeat(200)));
    expect([large.code, large.message]).toEqual(['ERR_NDSHM_OUT_OF_RANGE', expect.stringContaining('takes 100')]);
    expect(await codeOf(q.put('x'.repeat(200)))).toBe('ERR_NDSHM_OUT_OF_RANGE');
    const uncloneable = thrownBy(() => q.tryPut({ fn: () => {} }));
    expect([uncloneable.code, uncloneable.message]).toEqual([
      'ERR_NDSHM_INVALID_ARGUMENT',
      expect.stringContaining('value.fn is a function'),
    ]);
    expect(q.size).toBe(0);
    expect(thrownBy(() => queue(name, { maxBytes: 200 })).code).toBe('ERR_NDSHM_MISMATCH');
    const asItIs = queue(name);
    expect([asItIs.maxItems, asItIs.maxBytes]).toEqual([4096, 100]);
    asItIs.close();
    for (const options of [{ maxItems: 0 }, { maxBytes: 1 }, { maxItems: 1.5 }, { maxBytes: 2 ** 31 }]) {
      expect(thrownBy(() => queue(freshName(), options)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    }
    expect(thrownBy(() => queue(name, { size: 1 } as object)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    q.close();
  });

  test('gives a waiter up at its timeout, its abort and close()', async () => {
    const q = queue(freshName());
    const abort = new AbortController();
    const reason = new Error('enough');
    const aborted = q.get({ signal: abort.signal });
    abort.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    expect(await codeOf(q.get({ timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    expect(thrownBy(() => q.getSync({ timeoutMs: 1 })).code).toBe('ERR_NDSHM_TIMEOUT');
    const waiting = codeOf(q.get());
    q.close();
    q.close();
    expect(await waiting).toBe('ERR_NDSHM_CLOSED');
    for (const use of [() => q.size, () => q.tryGet(), () => q.tryPut(1), () => q.shutdown(), () => q.getSync()]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
  });

  test('whose bytes were overwritten is an error, and has the next item', () => {
    const q = queue(freshName(), { maxItems: 3, maxBytes: 100 });
    q.putSync('a');
    q.putSync('b');
    const hostile = ndshm.open(q.name, { mode: 'r+' });
    const first = hostile.data.byteLength - 104; // 100 bytes, in whole words of 8
    new Uint8Array(hostile.data.buffer, hostile.data.byteOffset).fill(0xff, first, first + 1);
    expect(thrownBy(() => q.getSync()).code).toBe('ERR_NDSHM_CORRUPT_OBJECT');
    expect(q.getSync()).toBe('b');
    hostile.close();
    q.close();
  });

  test('that says to be larger than its segment is an error when it is opened', () => {
    for (const maxItems of [2 ** 24, 0, 4]) {
      const q = queue(freshName(), { maxItems: 3, maxBytes: 100 });
      const hostile = ndshm.open(q.name, { mode: 'r+' });
      (hostile.data as Int32Array)[8] = maxItems;
      expect(thrownBy(() => new ndshm.Queue(q.name)).code).toBe('ERR_NDSHM_CONTROL_CORRUPT');
      hostile.close();
      q.close();
    }
  });

  test('whose words were overwritten is an error, never a read outside', () => {
    for (const [word, value] of [
      [0, 1e9],
      [0, -1],
      [1, 7],
      [3, 1e6],
      [3, -5],
      [4, 0],
      [4, 1e9],
    ] as const) {
      const q = queue(freshName(), { maxItems: 3, maxBytes: 100 });
      q.putSync('a');
      const hostile = ndshm.open(q.name, { mode: 'r+' });
      const words = hostile.data as Int32Array;
      const first = words.length - 2 * 13 - 10; // 100 bytes, then 9 words and one of padding before them
      words[first + word] = value;
      expect(thrownBy(() => q.getSync({ timeoutMs: 0 })).code).toBe('ERR_NDSHM_CONTROL_CORRUPT');
      hostile.close();
      q.close();
    }
  });
});
