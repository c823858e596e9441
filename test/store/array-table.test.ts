import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { Heap } from '../../dist/store/heap';
import {
  generationOf as generationIn,
  loadState,
  maxGeneration,
  type Row,
  State,
  setState,
} from '../../dist/store/rows';
import {
  arrayName,
  arrayNames,
  expectExactNames,
  generationOf,
  make,
  makeIn,
  numberOf,
  openTable,
  peerWithTable,
  sorted,
  valuesIn,
  valuesOf,
} from '../helpers/array-table';
import { runs, timeoutMs } from '../helpers/arrays';
import { describeAsRoot, otherUser } from '../helpers/child';
import { stopped } from '../helpers/locker';
import { exists, freshName, namesInShm, thrownBy } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

const stale = { code: 'ERR_NDSHM_STALE_HANDLE' };
const closed = { code: 'ERR_NDSHM_CLOSED' };
const namesOf = (name: string): string[] => namesInShm().filter((each) => each.startsWith(name));

describe('an array of a table', () => {
  test.each([false, true])('is known to all processes by one number (in a thread: %s)', async (thread) => {
    const name = freshName();
    const table = openTable(name);
    const peer = await peerWithTable(name, { thread });
    const mine = table.createArray([2, 3], 'float64', { order: 'F' });
    const theirs = await makeIn(peer, 4, 7);
    expect([mine, theirs].every(Number.isSafeInteger)).toBe(true);
    expect(new Set([mine, theirs]).size).toBe(2);
    expect(valuesOf(table, theirs)).toEqual([7, 7, 7, 7]);

    const array = table.getArray(mine);
    expect([array.dtype, array.shape, array.strides, array.mode]).toEqual(['float64', [2, 3], [8, 16], 'r+']);
    expect(array.toNested()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
    array.set([1, 2], 6.5);
    expect(await valuesIn(peer, mine)).toEqual([0, 0, 0, 0, 0, 6.5]);
    await peer.run(({ kept }, handle) => {
      const array = (kept.get('t') as ndshm.ArrayTable).getArray(handle);
      array.set([0, 1], 1.25);
      array.close();
    }, mine);
    expect(array.get(0, 1)).toBe(1.25);
    array.close();

    for (const handles of [table.handles(), await peer.on<number[]>('t', 'handles')]) {
      expect(sorted(handles)).toEqual(sorted([mine, theirs]));
    }
    expectExactNames(table);
    await peer.on('t', 'close');
    await peer.kill();
    table.close();
    expect(namesOf(name)).toEqual([]);
  });

  test('is float64 by default, and of any shape and dtype that create() makes', () => {
    const table = openTable(freshName());
    const described = (handle: number) => {
      const array = table.getArray(handle);
      const { dtype, shape, nbytes } = array;
      array.close();
      return { dtype, shape, nbytes };
    };
    expect(described(table.createArray(3))).toEqual({ dtype: 'float64', shape: [3], nbytes: 24 });
    expect(described(table.createArray([]))).toMatchObject({ shape: [], nbytes: 8 });
    expect(described(table.createArray([0, 5], 'bool'))).toMatchObject({ shape: [0, 5], nbytes: 0 });
    expect(described(table.createArray([3, 2], 'complex64'))).toMatchObject({ dtype: 'complex64', nbytes: 48 });
    table.close();
  });

  test('opens in the modes of open(): writable for all, read-only, or a copy on write', () => {
    const table = openTable(freshName());
    const handle = make(table, 2, 1);
    const [shared, readOnly, copy] = [
      table.getArray(handle),
      table.getArray(handle, { mode: 'r' }),
      table.getArray(handle, { mode: 'c' }),
    ];
    shared.set(1, 3);
    copy.set(0, 50);
    expect([shared, readOnly, copy].map((array) => [...array])).toEqual([
      [1, 3],
      [1, 3],
      [50, 3],
    ]);
    expect(thrownBy(() => readOnly.set(0, 9))).toMatchObject({ code: 'ERR_NDSHM_READ_ONLY' });
    for (const array of [shared, readOnly, copy]) array.close();
    expect(thrownBy(() => table.getArray(handle, { mode: 'w' as 'r' }))).toMatchObject({
      code: 'ERR_NDSHM_OUT_OF_RANGE',
    });
    expect(thrownBy(() => table.getArray(handle, { kind: 1 } as object))).toMatchObject({
      code: 'ERR_NDSHM_INVALID_ARGUMENT',
    });
    table.close();
  });

  test('has locks that keep processes apart', async () => {
    const name = freshName();
    const table = openTable(name);
    const handle = make(table, 1, 0);
    const peers = await Promise.all([0, 1, 2].map((n) => peerWithTable(name, { thread: n === 2 })));
    const each = 500;
    await Promise.all(
      peers.map((peer) =>
        peer.run(
          ({ kept }, handle, each) => {
            const array = (kept.get('t') as ndshm.ArrayTable).getArray<'int32'>(handle);
            for (let n = 0; n < each; n++) array.writeSync(({ data }) => data.set([(data[0] as number) + 1]));
            array.close();
          },
          handle,
          each,
        ),
      ),
    );
    expect(valuesOf(table, handle)).toEqual([3 * each]);
    table.close();
    await Promise.all(peers.map((peer) => peer.kill()));
  });

  test('stays with whoever has it open when it is freed', async () => {
    const name = freshName();
    const table = openTable(name);
    const peer = await peerWithTable(name);
    const handle = make(table, 3, 4);
    const array = table.getArray(handle);
    await peer.run(({ kept }, handle) => {
      const table = kept.get('t') as ndshm.ArrayTable;
      kept.set('a', table.getArray(handle));
      table.freeArray(handle);
    }, handle);
    expect(arrayNames(name)).toEqual([]);
    // Its place is another's.
    const next = make(table, 3, 9);
    expect(numberOf(next)).toBe(numberOf(handle));
    array.writeSync((of) => of.set(1, 5));
    expect(await peer.on('a', 'toNested')).toEqual([4, 5, 4]);
    expect(valuesOf(table, next)).toEqual([9, 9, 9]);
    array.close();
    await peer.on('a', 'close');
    table.close();
    await peer.kill();
  });
});

describe('a handle', () => {
  test('of a freed array is stale for everybody, and never means another array', async () => {
    const name = freshName();
    const table = openTable(name);
    const peer = await peerWithTable(name);
    const handle = make(table, 1, 1);
    expect(await peer.on('t', 'has', handle)).toBe(true);
    await peer.on('t', 'freeArray', handle);
    const next = make(table, 1, 2);
    expect([numberOf(next), generationOf(next)]).toEqual([numberOf(handle), generationOf(handle) + 1]);

    expect([table.has(handle), await peer.on('t', 'has', handle)]).toEqual([false, false]);
    expect(thrownBy(() => table.getArray(handle))).toMatchObject(stale);
    expect(thrownBy(() => table.freeArray(handle))).toMatchObject(stale);
    expect(await codeOf(valuesIn(peer, handle))).toBe(stale.code);
    expect(await codeOf(peer.on('t', 'freeArray', handle))).toBe(stale.code);
    expect(await valuesIn(peer, next)).toEqual([2]);

    const seen = new Set([handle, next]);
    let last = next;
    for (let n = 0; n < 50; n++) {
      table.freeArray(last);
      last = make(table, 1, n);
      expect(seen.has(last)).toBe(false);
      seen.add(last);
    }
    for (const old of seen) expect(table.has(old)).toBe(old === last);
    expect(await peer.on('t', 'handles')).toEqual([last]);
    expectExactNames(table);
    table.close();
    await peer.kill();
  });

  test('is that of the array that was made, even if somebody frees it at once', () => {
    const name = freshName();
    const [table, other] = [openTable(name), openTable(name)];
    let seen: number[] = [];
    const { store } = Atomics;
    const freeing = jest.spyOn(Atomics, 'store').mockImplementation(((words: Int32Array, at: number, value: number) => {
      const stored = store(words, at, value);
      if (seen.length === 0) {
        seen = other.handles();
        for (const handle of seen) other.freeArray(handle);
      }
      return stored;
    }) as typeof Atomics.store);
    const handle = make(table, 1, 1);
    freeing.mockRestore();
    expect(seen).toEqual([handle]);
    expect(table.has(handle)).toBe(false);
    const next = make(table, 1, 2);
    expect(next).not.toBe(handle);
    expect(valuesOf(other, next)).toEqual([2]);
    for (const each of [table, other]) each.close();
  });

  test.each(['x', null, undefined, {}, 1n, [3], true])('of the wrong kind is an error: %p', (handle) => {
    const table = openTable(freshName());
    for (const method of ['getArray', 'freeArray', 'has'] as const) {
      expect(thrownBy(() => table[method](handle as number))).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT' });
    }
    table.close();
  });

  test.each([-1, 1.5, Number.NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 40)])(
    'that no table can give is an error: %p',
    (handle) => {
      const table = openTable(freshName());
      for (const method of ['getArray', 'freeArray', 'has'] as const) {
        expect(thrownBy(() => table[method](handle))).toMatchObject({ code: 'ERR_NDSHM_OUT_OF_RANGE' });
      }
      table.close();
    },
  );

  test('that was never given means no array', () => {
    const table = openTable(freshName());
    const handle = make(table, 1, 1);
    const numbers = [1, 1023, 1024, 2 ** 17, 2 ** 29 - 1];
    const never = [...numbers, ...numbers.map((n) => 2 ** 29 + n), handle + 2 ** 29, Number.MAX_SAFE_INTEGER];
    for (const other of never) {
      expect({ other, has: table.has(other) }).toEqual({ other, has: false });
      expect(thrownBy(() => table.getArray(other))).toMatchObject(stale);
      expect(thrownBy(() => table.freeArray(other))).toMatchObject(stale);
    }
    table.close();
    const empty = openTable(freshName());
    expect([empty.has(0), empty.handles()]).toEqual([false, []]);
    expect(thrownBy(() => empty.getArray(0))).toMatchObject(stale);
    empty.close();
  });

  test(
    'means what it should after any sequence of making and freeing, through two attachments',
    () => {
      const step = fc.record({ free: fc.boolean(), which: fc.nat(1000), other: fc.boolean() });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
          const name = freshName();
          const tables = [openTable(name), openTable(name)] as const;
          const live = new Map<number, number>();
          const freed: number[] = [];
          for (const [n, { free, which, other }] of steps.entries()) {
            const [one, two] = other ? [tables[1], tables[0]] : tables;
            const handles = [...live.keys()];
            if (free && handles.length > 0) {
              const handle = handles[which % handles.length] as number;
              one.freeArray(handle);
              live.delete(handle);
              freed.push(handle);
            } else {
              const handle = make(one, 2, n);
              expect(live.has(handle) || freed.includes(handle)).toBe(false);
              live.set(handle, n);
            }
            expect(sorted(two.handles())).toEqual(sorted([...live.keys()]));
            for (const handle of freed) expect([one.has(handle), two.has(handle)]).toEqual([false, false]);
          }
          for (const [handle, value] of live) expect(valuesOf(tables[1], handle)).toEqual([value, value]);
          expectExactNames(tables[0]);
          for (const table of tables) table.close();
          expect(namesOf(name)).toEqual([]);
        }),
        runs(30),
      );
    },
    timeoutMs,
  );
});

describe('init', () => {
  test('sees the array before anybody can get it', () => {
    const table = openTable(freshName());
    const handle = table.createArray([2], 'int16', {
      init: (array) => {
        expect([array.dtype, array.toNested(), table.handles()]).toEqual(['int16', [0, 0], []]);
        array.set(0, 3);
      },
    });
    expect(valuesOf(table, handle)).toEqual([3, 0]);
    table.close();
  });

  test('that throws leaves nothing, and its place is used again', () => {
    const name = freshName();
    const table = openTable(name);
    const error = Object.assign(new Error('no'), { code: 'EEXIST' });
    let calls = 0;
    const init = () => {
      calls++;
      throw error;
    };
    expect(thrownBy(() => table.createArray(10, 'int32', { init }))).toBe(error);
    expect([calls, table.handles(), arrayNames(name)]).toEqual([1, [], []]);
    expect(numberOf(make(table, 1, 1))).toBe(0);
    expectExactNames(table);
    table.close();
  });

  test('may use the table itself, which makes another array meanwhile', () => {
    const table = openTable(freshName());
    const before = make(table, 1, 1);
    let inner = -1;
    const outer = table.createArray(1, 'int32', {
      init: (array) => {
        inner = make(table, 1, 2);
        table.freeArray(before);
        array.fill(3);
      },
    });
    expect(sorted(table.handles())).toEqual(sorted([inner, outer]));
    expect([valuesOf(table, inner), valuesOf(table, outer)]).toEqual([[2], [3]]);
    expectExactNames(table);
    table.close();
  });

  test.each(['close', 'unlink'] as const)('that ends the table with %s() leaves nothing', async (method) => {
    const name = freshName();
    const table = openTable(name);
    const other = openTable(name);
    const others = make(other, 1, 1);
    expect(thrownBy(() => table.createArray(1, 'int32', { init: () => table[method]() }))).toMatchObject(closed);
    expect(arrayNames(name)).toEqual(method === 'close' ? [arrayName(name, others)] : []);
    if (method === 'close') {
      expect(other.handles()).toEqual([others]);
      make(other, 1, 2);
      expectExactNames(other);
    }
    table.close();
    other.close();
    expect(namesOf(name)).toEqual([]);
  });

  test('and other arguments that are wrong are errors, and leave nothing', () => {
    const name = freshName();
    const table = openTable(name);
    const create = table.createArray.bind(table) as (...args: unknown[]) => number;
    const codes = [
      () => create(-1),
      () => create('3'),
      () => create([2 ** 40, 2 ** 40]),
      () => create(1, 'float12'),
      () => create(1, 'int8', { order: 'K' }),
      () => create(1, 'int8', { init: 5 }),
      () => create(1, 'int8', { ephemeral: true }),
      () => create(1, 'int8', 'init'),
      () => create(),
    ].map((run) => thrownBy(run).code);
    expect(codes).toEqual([
      'ERR_NDSHM_SHAPE',
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_SHAPE',
      'ERR_NDSHM_DTYPE',
      'ERR_NDSHM_OUT_OF_RANGE',
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_INVALID_ARGUMENT',
    ]);
    expect([table.handles(), arrayNames(name)]).toEqual([[], []]);
    table.close();
  });
});

describe('a table', () => {
  test('grows, for those too who opened it before', async () => {
    const name = freshName();
    const peer = await peerWithTable(name);
    const table = openTable(name);
    const count = 1100; // the first chunk has 1024
    const handles = Array.from({ length: count }, (_, n) => make(table, 1, n));
    expect(new Set(handles).size).toBe(count);
    expect(sorted(await peer.on<number[]>('t', 'handles'))).toEqual(sorted(handles));
    for (const n of [0, 1023, 1024, 1099]) expect(await valuesIn(peer, handles[n] as number)).toEqual([n]);
    expectExactNames(table);
    for (const [n, handle] of handles.entries()) if (n % 2 === 0) table.freeArray(handle);
    await peer.run(
      ({ kept }, odd) => {
        for (const handle of odd) (kept.get('t') as ndshm.ArrayTable).freeArray(handle);
      },
      handles.filter((_, n) => n % 2 === 1),
    );
    expect([table.handles(), arrayNames(name)]).toEqual([[], []]);
    const again = await makeIn(peer, 1, 5);
    expect(handles.map(numberOf)).toContain(numberOf(again));
    expect(generationOf(again)).toBe(1);
    table.close();
    await peer.kill();
  });

  test('that is ephemeral ends with its last process, whatever the others did', async () => {
    const name = freshName();
    const [one, two] = await Promise.all([peerWithTable(name), peerWithTable(name)]);
    const handle = await makeIn(one, 2, 6);
    expect(await one.run(() => process.exit(0)).catch(() => 'gone')).toBe('gone');
    await one.end();
    expect(await valuesIn(two, handle)).toEqual([6, 6]);
    await makeIn(two, 1, 1);
    await two.run(() => process.exit(0)).catch(() => {});
    expect(await two.end()).toEqual({ code: 0, signal: null });
    expect(namesOf(name)).toEqual([]);
  });

  test('that is ephemeral takes along what its last process had open when it ended', async () => {
    const name = freshName();
    const peer = await peerWithTable(name);
    const handle = await makeIn(peer, 2, 6);
    await peer.run(({ kept }, which) => {
      kept.set('array', (kept.get('t') as ndshm.ArrayTable).getArray(which));
    }, handle);
    await peer.run(() => process.exit(0)).catch(() => {});
    expect(await peer.end()).toEqual({ code: 0, signal: null });
    expect(namesOf(name)).toEqual([]);
  });

  test('that is ephemeral is gone with its arrays by the next gc() after its last process was killed', async () => {
    const name = freshName();
    const peer = await peerWithTable(name, { thread: true });
    await makeIn(peer, 1, 1);
    await peer.on('', 'terminate');
    ndshm.gc();
    expect(namesOf(name)).toEqual([]);
    await peer.kill();

    const another = await peerWithTable(name);
    const handle = await makeIn(another, 1, 1);
    await another.kill();
    expect(namesOf(name)).not.toEqual([]);
    ndshm.gc();
    expect(namesOf(name)).toEqual([]);
    const table = openTable(name);
    expect([table.has(handle), table.handles()]).toEqual([false, []]);
    table.close();
  });

  test('that ends while somebody has an array open leaves him that, and is no obstacle for the next', () => {
    const name = freshName();
    const first = openTable(name);
    const array = first.getArray<'int32'>(make(first, 2, 1));
    first.close();
    expect([exists(name), arrayNames(name)]).toEqual([false, [`${name}.0.0`]]);
    expect([...array]).toEqual([1, 1]);

    const second = openTable(name);
    const handle = make(second, 2, 8);
    expect([valuesOf(second, handle), [...array]]).toEqual([
      [8, 8],
      [1, 1],
    ]);
    expect(second.handles()).toEqual([handle]);
    second.freeArray(handle);
    expect([...array]).toEqual([1, 1]);
    array.close();
    ndshm.gc();
    expect([exists(name), arrayNames(name)]).toEqual([true, []]);
    second.close();
    expect(namesOf(name)).toEqual([]);
  });

  test('that is not ephemeral survives all its processes', async () => {
    const name = freshName();
    const peer = await peerWithTable(name, { ephemeral: false });
    const [kept, freed] = [await makeIn(peer, 3, 5), await makeIn(peer, 1, 1)];
    await peer.on('t', 'freeArray', freed);
    await peer.kill();
    ndshm.gc();
    const table = openTable(name, false);
    expect([table.handles(), table.has(freed)]).toEqual([[kept], false]);
    expect(valuesOf(table, kept)).toEqual([5, 5, 5]);
    const next = make(table, 1, 2);
    expect([numberOf(next), generationOf(next)]).toEqual([numberOf(freed), generationOf(freed) + 1]);
    expectExactNames(table);
    table.close();
    ndshm.gc();
    expect(namesOf(name)).toHaveLength(4);
    const last = openTable(name, false);
    last.unlink();
    last.close();
    expect(namesOf(name)).toEqual([]);
  });

  test('that is unlinked has ended for everybody, and the next of its name has other arrays', async () => {
    const name = freshName();
    const table = openTable(name, false);
    const peer = await peerWithTable(name, { ephemeral: false });
    const handle = make(table, 2, 1);
    const array = table.getArray(handle);
    await peer.on('t', 'unlink');
    expect(namesOf(name)).toEqual([]);

    const uses: (() => unknown)[] = [
      () => make(table, 1, 1),
      () => table.getArray(handle),
      () => table.freeArray(handle),
      () => table.has(handle),
      () => table.handles(),
    ];
    for (const use of uses) expect(thrownBy(use)).toMatchObject(closed);
    expect(await codeOf(peer.on('t', 'handles'))).toBe(closed.code);
    array.set(0, 3);
    expect(array.get(0)).toBe(3);

    const next = openTable(name, false);
    expect(next.handles()).toEqual([]);
    expect(make(next, 2, 9)).toBe(handle); // a number means something in its table alone
    for (const use of uses) expect(thrownBy(use)).toMatchObject(closed);
    expect(valuesOf(next, handle)).toEqual([9, 9]);
    expect([...array]).toEqual([3, 1]);
    table.close();
    array.close();
    expectExactNames(next);
    next.unlink();
    next.close();
    expect(namesOf(name)).toEqual([]);
    await peer.kill();
  });

  test('whose name was taken from it by force never gives or frees the arrays of the next', () => {
    const name = freshName();
    const old = openTable(name, false);
    const handle = make(old, 1, 1);
    ndshm.unlink(name);
    ndshm.gc();
    const next = openTable(name, false);
    expect(make(next, 1, 2)).toBe(handle);
    expect(thrownBy(() => old.getArray(handle))).toMatchObject(stale);
    old.freeArray(handle);
    expect(valuesOf(next, handle)).toEqual([2]);
    old.close();
    next.unlink();
    next.close();
    ndshm.gc();
    expect(namesOf(name)).toEqual([]);
  });

  test('makes way for somebody else’s array of the name that is next, and leaves it alone', () => {
    const name = freshName();
    const table = openTable(name);
    ndshm.fromArray(`${name}.0.0`, [1, 2]).close();
    const handle = make(table, 1, 1);
    expect(valuesOf(table, handle)).toEqual([1]);
    table.freeArray(handle);
    const theirs = ndshm.open(`${name}.0.0`);
    expect([...theirs]).toEqual([1, 2]);
    theirs.close();
    table.unlink();
    table.close();
    expect(namesOf(name)).toEqual([`${name}.0.0`]);
    ndshm.unlink(`${name}.0.0`);
  });

  test('whose array’s name somebody has taken away knows a stale handle', () => {
    const name = freshName();
    const table = openTable(name);
    const handle = make(table, 1, 1);
    ndshm.unlink(arrayName(name, handle));
    expect(thrownBy(() => table.getArray(handle))).toMatchObject(stale);
    table.freeArray(handle);
    expect([table.handles(), table.has(handle)]).toEqual([[], false]);
    table.close();
  });

  test('that is closed refuses everything but close(), and what it gave stays open', () => {
    const name = freshName();
    const table = openTable(name, false);
    const handle = make(table, 1, 3);
    const array = table.getArray(handle);
    expect(table.closed).toBe(false);
    table.close();
    table.close();
    table[Symbol.dispose]();
    expect(table.closed).toBe(true);
    for (const use of [
      () => make(table, 1, 1),
      () => table.getArray(handle),
      () => table.freeArray(handle),
      () => table.has(handle),
      () => table.handles(),
      () => table.unlink(),
    ]) {
      expect(thrownBy(use)).toMatchObject(closed);
    }
    expect([...array]).toEqual([3]);
    array.close();
    const again = openTable(name, false);
    expect(valuesOf(again, handle)).toEqual([3]);
    again.unlink();
    again.close();
  });

  test('is opened by right arguments alone, and leaves nothing otherwise', () => {
    const before = namesInShm();
    const open = (...args: unknown[]) => ndshm.ArrayTable.open(...(args as [string]));
    const long = freshName().padEnd(240, 'x');
    const other = freshName();
    ndshm.fromArray(other, [1]).close();
    const mutex = new ndshm.Mutex(freshName(), { ephemeral: true });
    const codes = [
      () => open(),
      () => open('a/b'),
      () => open(long),
      () => open(freshName(), { ephemeral: 1 }),
      () => open(freshName(), { shape: 3 }),
      () => open(other),
      () => open(mutex.name),
    ].map((run) => thrownBy(run).code);
    expect(codes).toEqual([
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_INVALID_NAME',
      'ERR_NDSHM_INVALID_NAME',
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_INVALID_ARGUMENT',
      'ERR_NDSHM_MISMATCH',
      'ERR_NDSHM_MISMATCH',
    ]);
    mutex.close();
    ndshm.unlink(other);
    expect(namesInShm()).toEqual(before);
  });

  test('whose lock somebody keeps is closed all the same', async () => {
    const name = freshName();
    const table = openTable(name);
    make(table, 1, 1);
    const peer = await peerWithTable(name);
    const stuck = peer
      .run(({ ndshm: library }, name) => {
        const state = library.open(name, { mode: 'r+' });
        state.writeSync(() => process.kill(process.pid, 'SIGSTOP'));
      }, name)
      .catch(() => {});
    await stopped(peer.pid);
    expect(thrownBy(() => make(table, 1, 1))).toMatchObject({ code: 'ERR_NDSHM_TIMEOUT' });
    table.close();
    expect(table.closed).toBe(true);
    await peer.kill();
    await stuck;
    ndshm.gc();
    expect(namesOf(name)).toEqual([]);
  });
});

describeAsRoot('a table of another user', () => {
  test('is opened by who allows it, with its arrays', async () => {
    const name = freshName();
    const peer = await peerWithTable(name, { uid: otherUser });
    const handle = await makeIn(peer, 2, 3);
    expect(thrownBy(() => openTable(name))).toMatchObject({ code: 'ERR_NDSHM_FOREIGN_OWNER' });
    const table = ndshm.ArrayTable.open(name, { allowForeignOwner: true });
    expect(valuesOf(table, handle)).toEqual([3, 3]);
    const mine = make(table, 1, 4); // root's, in a folder with the sticky bit: not theirs to take away
    expect(await codeOf(peer.on('t', 'freeArray', mine))).toMatch(/^(EACCES|EPERM)$/);
    expect([await peer.on('t', 'has', mine), valuesOf(table, mine)]).toEqual([true, [4]]);
    table.freeArray(mine);
    table.freeArray(handle);
    expect(await peer.on('t', 'handles')).toEqual([]);
    table.close();
    await peer.kill();
    ndshm.gc();
  });
});

describe('the heap under it', () => {
  const openHeap = (name: string, discard?: (row: Row) => void) =>
    new Heap(
      name,
      { kind: 'test', capacityPages: undefined, otherwisePages: 2 ** 14, ...(discard && { discard }) },
      { ephemeral: true },
    );
  const take = (heap: Heap, kind = 0): Row => (heap.take(kind, 0) as { row: Row }).row;

  test('gives each of many rows once, over several chunks, and each again when it is free', () => {
    const heap = openHeap(freshName());
    const count = 20_000;
    const rows = Array.from({ length: count }, () => take(heap));
    for (const row of rows) heap.publish(row);
    expect(new Set(rows.map((row) => row.id)).size).toBe(count);
    expect(heap.rows.chunkCount).toBeGreaterThan(3);
    expect([...heap.rows.all()]).toHaveLength(count);
    for (const row of rows) heap.state.quietly(() => heap.end(row));
    const again = new Set(Array.from({ length: count }, () => take(heap).id));
    expect(again).toEqual(new Set(rows.map((row) => row.id)));
    expect(heap.rows.rowsOf(0)).toBeGreaterThanOrEqual(count);
    heap.close();
  });

  test('never gives a row again whose generations are used up', () => {
    const heap = openHeap(freshName());
    const row = take(heap);
    setState(row, maxGeneration - 1, State.live);
    heap.state.quietly(() => heap.end(row));
    expect(take(heap).id).toBe(row.id);
    expect(generationIn(loadState(row))).toBe(maxGeneration);
    expect(Number.isSafeInteger(maxGeneration * 2 ** 29 + 2 ** 29 - 1)).toBe(true);
    heap.publish(row);
    heap.state.quietly(() => heap.end(row));
    const others = Array.from({ length: 2000 }, () => take(heap).id);
    expect(others).not.toContain(row.id);
    heap.rows.relink();
    expect(take(heap).id).not.toBe(row.id);
    heap.close();
  });

  test('leaves a row live whose end fails', () => {
    const heap = openHeap(freshName(), () => {
      throw new Error('not now');
    });
    const row = take(heap);
    heap.publish(row);
    const word = loadState(row);
    expect(thrownBy(() => heap.state.quietly(() => heap.end(row))).message).toBe('not now');
    expect(loadState(row)).toBe(word);
    heap.close();
  });

  test('has its lists and its free pages as before when they are built anew', () => {
    const name = freshName();
    const heap = openHeap(name);
    const state = ndshm.open(name, { mode: 'r+' });
    const kinds = [0, 3, 20];
    const rows = kinds.flatMap((kind) => Array.from({ length: 60 }, () => take(heap, kind)));
    const large = Array.from({ length: 10 }, (_, n) => (heap.take(0, n + 1) as { row: Row }).row);
    for (const row of [...rows, ...large]) heap.publish(row);
    heap.state.quietly(() => {
      for (const [n, row] of rows.entries()) if (n % 3 === 0) heap.end(row);
      heap.drop(large[4] as Row);
    });
    const [used, warm] = [heap.extents.usedPages, heap.extents.warmPages];
    expect(warm).toBe(5);
    // As somebody leaves it who dies inside.
    heap.state.repair?.();
    expect([heap.extents.usedPages, heap.extents.warmPages]).toEqual([used - warm, 0]);
    const freed = new Set(rows.filter((_, n) => n % 3 === 0).map((row) => row.id));
    for (const kind of kinds) {
      for (let n = 0; n < 20; n++) {
        const { id } = take(heap, kind);
        expect(kind === 0 && id === large[4]?.id ? true : freed.delete(id)).toBe(true);
      }
    }
    expect(freed.size).toBeLessThanOrEqual(1);
    state.close();
    heap.close();
  });
});
