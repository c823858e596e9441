import { closeSync, openSync, readSync, truncateSync, writeSync } from 'node:fs';
import * as ndshm from 'ndshm';
import {
  arrayName,
  arrayNames,
  make,
  makeIn,
  openIn,
  openTable,
  peerWithTable,
  valuesOf,
} from '../helpers/array-table';
import { Child, describeAsRoot, Peer, randomFrom } from '../helpers/child';
import { freshName, namesInShm, shmPath, thrownBy } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

const seed = Number(process.env['NDSHM_STORM_SEED'] ?? 1);
const random = randomFrom(seed);
const randomWord = (): number => Math.floor(random() * 2 ** 32) | 0;
const range = (from: number, to: number, step = 1): number[] =>
  Array.from({ length: Math.ceil((to - from) / step) }, (_, n) => from + n * step);

// Where the words lie in the table's segment, in 32-bit words: 16 that say what it is; tick, limbo, ended, one unused;
// the ledger; how many chunks there are, for each of 32 classes the first free row and the newest chunk, the directory of
// chunks; the free pages.
const ledgerAt = 20;
const rowsAt = ledgerAt + 8 + 3 * 256;
const directoryAt = rowsAt + 1 + 2 * 32;
const extentsAt = directoryAt + 4 * 4096;
const rowWords = 16;
const [free, making, live, limbo, spilling, spilled, retired] = [0, 1, 2, 3, 4, 5, 6] as const;
const stateWord = (generation: number, state: number): number => (generation << 4) | state;

const anything = [-1, 0, 1, 2, 1023, 1024, 2 ** 20, 2 ** 31 - 1, -(2 ** 31)];

/** What some process was told wrongly, or how it ended, after it had overwritten these words. */
async function wrongAfter(place: 'words' | 'rows', ats: readonly number[], values: () => readonly number[]) {
  const prefix = freshName('spoilt');
  const child = new Child('table-spoilt.js', [prefix]);
  await child.message();
  const wrong: string[] = [];
  for (const at of ats) {
    child.send({ place, at, values: values() });
    wrong.push(...(await child.message<string[]>()));
  }
  await child.kill();
  ndshm.gc();
  wrong.push(...namesInShm().filter((name) => name.startsWith(prefix)));
  return wrong;
}

const timeoutMs = 60_000;

describe('a word that another process has overwritten is an error or without effect', () => {
  test(
    'in what the table is',
    async () => {
      expect(await wrongAfter('words', range(0, ledgerAt), () => [...anything, randomWord()])).toEqual([]);
    },
    timeoutMs,
  );

  test(
    'in who makes arrays',
    async () => {
      expect(await wrongAfter('words', range(ledgerAt + 12, rowsAt, 31), () => [-1, 1, randomWord()])).toEqual([]);
      expect(await wrongAfter('words', range(ledgerAt, ledgerAt + 12), () => [...anything, randomWord()])).toEqual([]);
    },
    timeoutMs,
  );

  test(
    'in the lists and the directory of chunks',
    async () => {
      const ats = [
        ...range(rowsAt, rowsAt + 3),
        ...range(rowsAt + 32, rowsAt + 36),
        ...range(directoryAt, directoryAt + 8),
      ];
      expect(await wrongAfter('words', ats, () => [...anything, 4096, 4097, randomWord()])).toEqual([]);
    },
    timeoutMs,
  );

  test(
    'in the free pages',
    async () => {
      expect(
        await wrongAfter('words', range(extentsAt, extentsAt + 11), () => [...anything, 8192, 8193, randomWord()]),
      ).toEqual([]);
    },
    timeoutMs,
  );

  test(
    'in the rows of the table',
    async () => {
      const states = [free, making, live, limbo, spilling, spilled, retired, 7, 15].flatMap((state) =>
        [0, 1, 2, 2 ** 24 - 1, 2 ** 24, 2 ** 28 - 1].map((generation) => stateWord(generation, state)),
      );
      for (const row of [0, 2, 3, 4]) {
        const at = row * rowWords;
        expect(await wrongAfter('rows', [at], () => states)).toEqual([]);
        expect(await wrongAfter('rows', range(at + 1, at + 10), () => [...anything, randomWord()])).toEqual([]);
      }
    },
    2 * timeoutMs,
  );
});

const headerBytes = 4096;

/** Words of a table, read and written as any process may do that. */
class Words {
  readonly #file: number;

  constructor(name: string) {
    this.#file = openSync(shmPath(name), 'r+');
  }

  set(at: number, ...values: number[]): void {
    this.write(at, Int32Array.from(values));
  }

  write(at: number, values: Int32Array): void {
    writeSync(this.#file, values, 0, values.byteLength, headerBytes + 4 * at);
  }

  read(at: number, count: number): Int32Array {
    const values = new Int32Array(count);
    readSync(this.#file, values, 0, values.byteLength, headerBytes + 4 * at);
    return values;
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** What the table is, and its rows, which lie in the reservoir. */
const wordsOf = (name: string) => ({ words: new Words(name), rows: new Words(`${name}.pages.0`) });

describe('a table under attack', () => {
  test('crashes nobody and lets nobody hang, and leaves other tables alone', async () => {
    const name = freshName();
    const table = openTable(name);
    const mine = Array.from({ length: 5 }, (_, n) => make(table, 2, n + 1));
    const peers = await Promise.all([0, 1].map((n) => peerWithTable(name, { thread: n === 1 })));
    const fine = freshName();
    const others = openTable(fine);
    const handle = make(others, 3, 4);
    await Promise.all(peers.map((peer) => peer.run(({ kept }) => void kept.set('attacked', kept.get('t')))));
    await Promise.all(peers.map((peer) => openIn(peer, fine)));

    let over = false;
    const use = async (peer: Peer): Promise<string[]> => {
      const codes = new Set<string>();
      while (!over) {
        const seen = await peer.run(
          ({ ndshm: library, kept }, name, handles) => {
            const codes: string[] = [];
            const attacked = kept.get('attacked') as ndshm.ArrayTable;
            const tried = (use: () => void) => {
              try {
                use();
              } catch (error) {
                codes.push((error as { code?: string }).code ?? String((error as Error).stack));
              }
            };
            tried(() => attacked.handles());
            for (const each of handles) tried(() => attacked.getArray(each).close());
            tried(() => attacked.freeArray(attacked.createArray(1)));
            tried(() => {
              const another = library.ArrayTable.open(name, { ephemeral: true });
              tried(() => another.freeArray(another.createArray(1)));
              another.close();
            });
            return codes;
          },
          name,
          mine,
        );
        for (const code of seen) codes.add(code);
      }
      return [...codes];
    };
    const users = Promise.all(peers.map(use));
    users.catch(() => {}); // told below
    const { words, rows } = wordsOf(name);
    const before = { words: words.read(ledgerAt, extentsAt), rows: rows.read(0, 1024 * rowWords) };
    const spots = [
      ...range(ledgerAt + 8, ledgerAt + 40),
      ...range(rowsAt, directoryAt + 8),
      ...range(extentsAt, extentsAt + 8),
    ];
    for (let round = 0; round < 200; round++) {
      const value = random() < 0.5 ? randomWord() : Math.floor(random() * 64);
      if (round % 2 === 0) words.set(spots[Math.floor(random() * spots.length)] as number, value);
      else rows.set(Math.floor(random() * 8 * rowWords), value);
      if (round % 20 === 19) {
        words.write(ledgerAt, before.words);
        rows.write(0, before.rows);
      }
      await new Promise(setImmediate);
    }
    over = true;
    const acceptable = /^(ERR_NDSHM_(CONTROL_CORRUPT|STALE_HANDLE|FULL|OUT_OF_RANGE|CLOSED)|EEXIST)$/;
    for (const codes of await users) {
      for (const code of codes) expect(code).toMatch(acceptable);
    }
    for (const peer of peers) expect(valuesOf(others, await makeIn(peer, 1, 3))).toEqual([3]);
    expect(valuesOf(others, handle)).toEqual([4, 4, 4]);
    words.close();
    rows.close();
    table.unlink();
    for (const each of [table, others]) each.close();
    await Promise.all(peers.map((peer) => peer.kill()));
    ndshm.gc();
    expect(namesInShm().filter((each) => each.startsWith(name) || each.startsWith(fine))).toEqual([]);
  }, 60_000);

  test('with a list of free rows that bites its tail gives no row twice', () => {
    const name = freshName();
    const table = openTable(name);
    const handles = range(0, 5).map((n) => make(table, 1, n));
    const last = make(table, 1, 9);
    for (const handle of handles) table.freeArray(handle);
    const { words, rows } = wordsOf(name);
    // Rows 4, 3, 2, 1, 0 are free, in this order; now 3 is followed by 4.
    rows.set(3 * rowWords + 1, 4 + 1);
    const made: number[] = [];
    const error = thrownBy(() => {
      for (let n = 0; n < 10; n++) made.push(make(table, 1, n));
    });
    expect(error).toMatchObject({ code: 'ERR_NDSHM_CONTROL_CORRUPT' });
    expect(new Set(made).size).toBe(made.length);
    expect(made.map((handle) => valuesOf(table, handle))).toEqual([[0], [1]]);
    words.set(rowsAt + 1, 5 + 1); // the live one
    expect(thrownBy(() => make(table, 1, 1))).toMatchObject({ code: 'ERR_NDSHM_CONTROL_CORRUPT' });
    expect(valuesOf(table, last)).toEqual([9]);
    words.close();
    rows.close();
    table.unlink();
    table.close();
    expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
  });

  test('whose rows claim arrays of other generations gives none of those', () => {
    const name = freshName();
    const table = openTable(name);
    const handle = make(table, 1, 1);
    const { words, rows } = wordsOf(name);
    rows.set(0, stateWord(5, live));
    expect([table.handles(), table.has(handle), table.has(5 * 2 ** 29)]).toEqual([[5 * 2 ** 29], false, true]);
    for (const each of [handle, 5 * 2 ** 29]) {
      expect(thrownBy(() => table.getArray(each))).toMatchObject({ code: 'ERR_NDSHM_STALE_HANDLE' });
    }
    rows.set(0, stateWord(0, live));
    expect(valuesOf(table, handle)).toEqual([1]);
    // A name that is somebody else's.
    rows.set(rowWords, stateWord(0, live));
    ndshm.fromArray(`${name}.1.0`, [7]).close();
    expect(thrownBy(() => table.getArray(1))).toMatchObject({ code: 'ERR_NDSHM_STALE_HANDLE' });
    table.freeArray(1);
    expect(arrayNames(name)).toEqual([arrayName(name, handle), `${name}.1.0`]);
    ndshm.unlink(`${name}.1.0`);
    words.close();
    rows.close();
    table.close();
  });

  test.each(['segment', 'reservoir'] as const)(
    'whose %s is truncated is an error, and can be closed and made anew',
    async (part) => {
      const name = freshName();
      const table = openTable(name, false);
      const handle = make(table, 1, 1);
      const array = table.getArray(handle);
      const peer = await peerWithTable(name, { ephemeral: false });
      const other = openTable(freshName());
      const fine = make(other, 1, 2);
      truncateSync(shmPath(part === 'segment' ? name : `${name}.pages.0`), 4096);
      const code = /^ERR_NDSHM_(TRUNCATED|CONTROL_CORRUPT)$/;
      // The words are gone: what is left is found out at the first or at the second look.
      thrownBy(() => {
        for (let n = 0; n < 2; n++) {
          table.handles();
          make(table, 1, 1);
        }
      });
      expect(thrownBy(() => table.handles()).code).toMatch(code);
      expect(thrownBy(() => table.getArray(handle)).code).toMatch(code);
      expect(thrownBy(() => make(table, 1, 1)).code).toMatch(code);
      await codeOf(makeIn(peer, 1, 1));
      expect(await codeOf(makeIn(peer, 1, 1))).toMatch(code);
      expect([array.get(0), valuesOf(other, fine)]).toEqual([1, [2]]);
      array.close();
      table.close();
      await peer.on('t', 'close');
      expect(thrownBy(() => openTable(name, false)).code).toMatch(code);
      // What lies there tells nobody any more what it belongs to.
      for (const each of namesInShm().filter((each) => each.startsWith(name))) ndshm.unlink(each);
      const next = openTable(name, false);
      expect(valuesOf(next, make(next, 1, 3))).toEqual([3]);
      next.unlink();
      next.close();
      other.close();
      await peer.kill();
      expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
    },
  );

  test('whose reservoir’s name is somebody else’s does not open, and leaves that alone', () => {
    const name = freshName();
    ndshm.fromArray(`${name}.pages.0`, [1, 2]).close();
    expect(thrownBy(() => openTable(name))).toMatchObject({ code: 'EEXIST' });
    const theirs = ndshm.open(`${name}.pages.0`);
    expect([...theirs]).toEqual([1, 2]);
    theirs.close();
    ndshm.unlink(`${name}.pages.0`);
    expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
  });
});

describeAsRoot('a table in a small /dev/shm (needs root to mount one)', () => {
  test('that is full makes no array and no room for more of them, loses none, and works again', async () => {
    const peer = await Peer.start({
      wrap: ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=40m ndshm-test /dev/shm && exec "$@"', 'sh'],
    });
    const room = () => peer.on<{ free: number; names: string[] }>('', 'room');
    const create = () => peer.on('t', 'createArray', 1);
    const fill = async (spareBytes: number): Promise<void> => {
      const shape = (await room()).free - spareBytes - 6 * 4096; // a header, and five pages of control block
      await peer.call('filler', 'create', 'filler', { shape, dtype: 'uint8', ephemeral: true });
    };
    await openIn(peer, 't');
    await create(); // and the first chunk of rows
    await fill(12_288);
    const full = await room();
    expect(await codeOf(create())).toBe('ENOSPC');
    expect(await room()).toEqual(full);
    await peer.on('filler', 'close');
    await peer.run(({ kept }) => {
      for (let n = 1; n < 1024; n++) (kept.get('t') as ndshm.ArrayTable).createArray(1);
    });
    await fill(40_960); // an array would fit, but not the next chunk of rows
    expect(await codeOf(create())).toBe('ENOSPC');
    expect(await peer.on('t', 'handles')).toHaveLength(1024);
    await peer.on('filler', 'close');
    await create();
    expect(await peer.on('t', 'handles')).toHaveLength(1025);
    expect((await room()).names).toHaveLength(1025 + 2);
    await peer.kill();
  });
});
