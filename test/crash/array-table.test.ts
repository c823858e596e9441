import * as ndshm from 'ndshm';
import {
  arrayName,
  arrayNames,
  expectExactNames,
  make,
  makeIn,
  numberOf,
  openIn,
  openTable,
  peerWithTable,
  sorted,
  valuesOf,
} from '../helpers/array-table';
import { Child, randomFrom } from '../helpers/child';
import { exists, freshName, namesInShm, shmPath } from '../helpers/shm';
import { describeWithStrace, killingAt } from '../helpers/strace';
import { dyingAtEachStore } from '../helpers/sync';

// NDSHM_STORM_KILLS=5000 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
const kills = Number(process.env['NDSHM_STORM_KILLS'] ?? 40);
const seed = Number(process.env['NDSHM_STORM_SEED'] ?? Date.now() % 2 ** 31);
const atOnce = 3;

/** That all arrays are whole, the table goes on, and nothing is left that no handle means. */
function expectWholeTable(table: ndshm.ArrayTable): void {
  for (const handle of table.handles()) {
    const values = valuesOf(table, handle);
    expect(values).toEqual(new Array(values.length).fill(values[0]));
    expect(values[0]).not.toBe(0);
  }
  const handle = make(table, 3, 5);
  expect(valuesOf(table, handle)).toEqual([5, 5, 5]);
  expectExactNames(table);
  table.freeArray(handle);
  expectExactNames(table);
}

describe('SIGKILL in the place of each store', () => {
  test('of createArray() leaves the whole array or nothing', async () => {
    const table = openTable(freshName());
    const mine = make(table, 2, 9);
    let before = 0;
    const seen = new Set<string>();
    const stores = await dyingAtEachStore(
      (peer) => openIn(peer, table.name),
      (peer) => makeIn(peer, 2000, 7),
      async (died) => {
        const made = table.handles().filter((handle) => handle !== mine);
        expect(made.length - before).toBeGreaterThanOrEqual(died ? 0 : 1);
        expect(made.length - before).toBeLessThanOrEqual(1);
        seen.add(`${made.length - before} made, ${arrayNames(table.name).length - made.length - 1} half-made`);
        before = made.length;
        for (const handle of made) expect(valuesOf(table, handle)).toEqual(new Array(2000).fill(7));
        expectWholeTable(table);
      },
    );
    expect(stores).toBeGreaterThanOrEqual(5);
    // Before its name, with its name, and after it was published.
    expect([...seen].sort()).toEqual(['0 made, 0 half-made', '0 made, 1 half-made', '1 made, 0 half-made']);
    expect(valuesOf(table, mine)).toEqual([9, 9]);
    table.close();
    expect(namesInShm().filter((name) => name.startsWith(table.name))).toEqual([]);
  }, 60_000);

  test('of freeArray() leaves the array or nothing', async () => {
    const table = openTable(freshName());
    const mine = make(table, 2, 9);
    let handle = make(table, 2000, 7);
    const seen = new Set<string>();
    const stores = await dyingAtEachStore(
      (peer) => openIn(peer, table.name),
      (peer) => peer.on('t', 'freeArray', handle),
      async (died) => {
        const there = table.has(handle);
        seen.add(`${there ? 'there' : 'freed'}, ${exists(arrayName(table.name, handle)) ? 'with' : 'without'} a name`);
        if (!died) expect(there).toBe(false);
        if (there) expect(valuesOf(table, handle)).toEqual(new Array(2000).fill(7));
        expectWholeTable(table);
        expect(sorted(table.handles())).toEqual(sorted(there ? [mine, handle] : [mine]));
        if (!there) handle = make(table, 2000, 7);
      },
    );
    expect(stores).toBeGreaterThanOrEqual(2);
    expect([...seen].sort()).toEqual(
      ['freed, with a name', 'freed, without a name', 'there, with a name'].slice(-seen.size),
    );
    expect(valuesOf(table, mine)).toEqual([9, 9]);
    table.close();
  });

  test('of a table’s whole life leaves what gc() removes, and a name that is free', async () => {
    const name = freshName();
    const stores = await dyingAtEachStore(
      async () => {},
      async (peer) => {
        await openIn(peer, name);
        const handle = await makeIn(peer, 10, 1);
        await makeIn(peer, 10, 2);
        await peer.on('t', 'freeArray', handle);
        await peer.on('t', 'close');
      },
      async (died) => {
        const left = namesInShm().filter((each) => each.startsWith(name));
        if (!died) expect(left).toEqual([]);
        ndshm.gc();
        expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
        const table = openTable(name);
        expect(table.handles()).toEqual([]);
        expectWholeTable(table);
        table.close();
      },
    );
    expect(stores).toBeGreaterThanOrEqual(15);
  }, 60_000);

  test('of a table’s end leaves it to whoever opens it next', async () => {
    const name = freshName();
    await dyingAtEachStore(
      async (peer) => {
        await openIn(peer, name, false);
        await makeIn(peer, 10, 1);
      },
      (peer) => peer.on('t', 'unlink'),
      async () => {
        const table = openTable(name, false);
        // Before the first store nothing had happened.
        const survived = table.handles();
        for (const handle of survived) expect(valuesOf(table, handle)).toEqual(new Array(10).fill(1));
        expect(survived.length).toBeLessThanOrEqual(1);
        ndshm.gc();
        expectWholeTable(table);
        table.unlink();
        table.close();
        expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
      },
    );
  });
});

/** A process that dies when its array has its name, and has not been published. */
async function dieBeforePublishing(table: string): Promise<void> {
  const peer = await peerWithTable(table);
  const dying = peer.run(({ kept }) => {
    const init = (array: ndshm.SharedArray) => {
      array.fill(1);
      Atomics.store = () => process.kill(process.pid, 'SIGKILL') as never;
    };
    (kept.get('t') as ndshm.ArrayTable).createArray(100, 'int32', { init });
  });
  await expect(dying).rejects.toThrow();
  await peer.end();
}

describe('who dies while it makes an array', () => {
  test('leaves its place to others, even if the next process has his slot of the peer table', async () => {
    const table = openTable(freshName());
    const first = await peerWithTable(table.name);
    const others = Array.from({ length: 254 }, () => ndshm.open(table.name));
    const dying = first.run(({ kept }) => {
      (kept.get('t') as ndshm.ArrayTable).createArray(1, 'int8', { init: () => process.kill(process.pid, 'SIGKILL') });
    });
    await expect(dying).rejects.toThrow();
    await first.end();
    expect(ndshm.stat(table.name).peers).toHaveLength(255);
    const second = await peerWithTable(table.name);
    expect(numberOf(await makeIn(second, 1, 1))).toBe(0);
    expect(numberOf(make(table, 1, 1))).toBe(1);
    expectExactNames(table);
    for (const each of others) each.close();
    await second.kill();
    table.close();
    expect(arrayNames(table.name)).toEqual([]);
  });

  test('leaves nothing that needs more than the next createArray()', async () => {
    const table = openTable(freshName());
    await dieBeforePublishing(table.name);
    expect([arrayNames(table.name).length, table.handles()]).toEqual([1, []]);
    const handle = make(table, 1, 1);
    expect(arrayNames(table.name)).toEqual([arrayName(table.name, handle)]);
    table.close();
  });
});

test('SIGKILL in the place of each store of who cleans up after the dead leaves the rest to the next', async () => {
  const table = openTable(freshName());
  const mine = make(table, 2, 9);
  const stores = await dyingAtEachStore(
    async (peer) => {
      await openIn(peer, table.name);
      await dieBeforePublishing(table.name);
    },
    (peer) => makeIn(peer, 10, 7),
    async () => {
      expectWholeTable(table);
      for (const handle of table.handles()) if (handle !== mine) table.freeArray(handle);
      // Had a place been lost, the next would be another.
      expect(numberOf(make(table, 1, 1))).toBe(1);
      for (const handle of table.handles()) if (handle !== mine) table.freeArray(handle);
    },
  );
  expect(stores).toBeGreaterThanOrEqual(8);
  expect(table.handles()).toEqual([mine]);
  table.close();
}, 60_000);

/** How often a program was killed, each time one system call later, in a table of its own. */
async function killedAtEach(
  action: 'create' | 'free',
  syscall: string,
  ofTheArrayAlone: boolean,
  check: (table: ndshm.ArrayTable, died: boolean) => void,
): Promise<number> {
  for (let n = 1; ; n++) {
    const table = openTable(freshName());
    if (action === 'free') make(table, 2000, 7);
    const paths = ofTheArrayAlone ? [shmPath(`${table.name}.0.0`)] : [];
    const child = new Child('table-once.js', [table.name, action], { wrap: killingAt(syscall, n, ...paths) });
    const { code, signal } = await child.end();
    const died = signal === 'SIGKILL';
    if (!died && code !== 0) throw new Error(`The child ended with ${code}: ${child.stderr}`);
    check(table, died);
    expectWholeTable(table);
    table.close();
    expect(namesInShm().filter((name) => name.startsWith(table.name))).toEqual([]);
    if (!died) return n - 1;
  }
}

describeWithStrace('SIGKILL in the place of a system call', () => {
  test.each([
    ['ftruncate', false, 1],
    ['fallocate', false, 2],
    ['pwrite64', false, 4],
    ['linkat', false, 1],
    ['openat', true, 2],
  ] as const)('%s of createArray() leaves nothing but a whole array', async (syscall, ofTheArrayAlone, atLeast) => {
    const killed = await killedAtEach('create', syscall, ofTheArrayAlone, (table, died) => {
      const handles = table.handles();
      // close() also looks at the array's name.
      expect(handles.length).toBeGreaterThanOrEqual(died ? 0 : 1);
      if (syscall !== 'openat') expect(handles).toHaveLength(died ? 0 : 1);
      for (const handle of handles) expect(valuesOf(table, handle)).toEqual(new Array(2000).fill(7));
    });
    expect(killed).toBeGreaterThanOrEqual(atLeast);
  });

  test.each([
    ['openat', 2],
    ['fcntl', 1],
    ['unlink', 1],
    ['close', 2],
  ] as const)('%s of freeArray() frees the array all the same', async (syscall, atLeast) => {
    const killed = await killedAtEach('free', syscall, true, (table) => expect(table.handles()).toEqual([]));
    expect(killed).toBeGreaterThanOrEqual(atLeast);
  });
});

/** Lets some time pass without giving the event loop a chance to be regular. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  while (process.hrtime.bigint() < end);
}

describe(`SIGKILL at random points, seed ${seed}`, () => {
  test(
    `${kills} kills leave no array half-made, none missing and none that no handle means`,
    async () => {
      const random = randomFrom(seed);
      const name = freshName('storm');
      const table = openTable(name, false);
      const mine = new Map<number, number>();
      for (let n = 0; n < 10; n++) mine.set(make(table, 500, n + 1), n + 1);

      let begun = 0;
      const killOne = async (): Promise<void> => {
        const child = new Child('table-storm.js', [name, String(Math.floor(random() * 2 ** 31))]);
        for (let rounds = Math.floor(random() * 10); rounds >= 0; rounds--) {
          const message = await child.message<number | { broken: string }>();
          if (typeof message === 'object') throw new Error(`seed ${seed}: ${message.broken}`);
        }
        spin(random() * 400);
        expect(await child.kill()).toEqual({ code: null, signal: 'SIGKILL' });
        for (const handle of mine.keys()) {
          const array = table.getArray<'int32'>(handle);
          const whole = array.readSync(({ data }, { abandoned }) => abandoned || new Set(data).size === 1, {
            onAbandoned: 'ignore',
            timeoutMs: 10_000,
          });
          expect({ handle, dtype: array.dtype, size: array.size, whole }).toEqual({
            handle,
            dtype: 'int32',
            size: 500,
            whole: true,
          });
          array.close();
        }
      };
      const lane = async (): Promise<void> => {
        while (begun++ < kills) await killOne();
      };
      await Promise.all(Array.from({ length: atOnce }, lane));

      const last = make(table, 1, 1);
      expectExactNames(table);
      expect(table.handles()).toEqual(expect.arrayContaining([...mine.keys(), last]));
      for (const handle of table.handles()) {
        const array = table.getArray(handle);
        array.writeSync((of) => of.fill(0), { onAbandoned: 'repair', timeoutMs: 10_000 });
        array.close();
        table.freeArray(handle);
      }
      expect([table.handles(), arrayNames(name)]).toEqual([[], []]);
      expect(ndshm.stat(name).peers).toHaveLength(1);
      table.unlink();
      table.close();
      ndshm.gc();
      expect(namesInShm().filter((each) => each.startsWith(name))).toEqual([]);
    },
    60_000 + kills * 500,
  );
});
