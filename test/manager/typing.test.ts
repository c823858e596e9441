import * as ndshm from 'ndshm';
import { connectTo, serveManager } from '../helpers/managers';
import { Ledger } from './fixtures/classes';

// What TypeScript knows of proxies: checked by `tsc -p test`. The tests run the same code.

type Is<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <T extends true>(fact?: T): void => expect(fact).toBeUndefined();

/** Every kind of member. */
class Sample {
  plain(a: number, b?: string): string {
    return `${a}${b ?? ''}`;
  }
  async later(values: Map<string, number[]>): Promise<Map<string, number[]>> {
    return values;
  }
  get size(): number {
    return 5;
  }
  each(fn: (value: number, name: string) => boolean): boolean {
    return fn(1, 'one');
  }
  adder(by: number): (more: number) => number {
    return (more) => by + more;
  }
  async *count(to: number): AsyncGenerator<number> {
    for (let n = 0; n < to; n++) yield n;
  }
  ledger(): Ledger {
    return ndshm.Manager.proxy(new Ledger(1, 2));
  }
  add(ledger: Ledger): number | Promise<number> {
    return ledger.add(1);
  }
  array(): Float32Array {
    return new Float32Array([1]);
  }
  shared(array: ndshm.SharedArray<'int32'>): ndshm.SharedArray<'int32'> {
    return array;
  }
  nothing(): void {}
  fail(): never {
    throw new Error('failed');
  }
  data(): { at: Date; list: readonly { n: number }[]; any?: bigint } {
    return { at: new Date(0), list: [{ n: 1 }] };
  }
}

const served = async () => {
  const manager = await serveManager();
  const makeSample = await manager.register('Sample', Sample);
  return { manager, makeSample };
};

test('Proxied<T> has the methods of T with promises, and its getters as methods', async () => {
  const { makeSample } = await served();
  const sample = await makeSample();
  sample satisfies ndshm.Proxied<Sample>;
  const text = sample.plain(1, 'b');
  is<Is<Awaited<typeof text>, string>>();
  expect(await text).toBe('1b');
  expect(await sample.plain(2)).toBe('2');
  const map = await sample.later(new Map([['a', [1]]]));
  is<Is<typeof map, Map<string, number[]>>>();
  const size = await sample.size();
  is<Is<typeof size, number>>();
  expect([map, size]).toEqual([new Map([['a', [1]]]), 5]);
  is<Is<Is<ReturnType<typeof sample.fail>, never>, false>>();
  expect(await sample.fail().catch(({ message }: Error) => message)).toBe('failed');
  sample.nothing satisfies () => Promise<void>;
  await sample.nothing();
  const data = await sample.data();
  is<Is<typeof data, { at: Date; list: readonly { n: number }[]; any?: bigint }>>();
  expect(data).toEqual({ at: new Date(0), list: [{ n: 1 }] });
});

test('what is copied keeps its type, and callbacks may be asynchronous', async () => {
  const { makeSample } = await served();
  const sample = await makeSample();
  const array = await sample.array();
  is<Is<typeof array, Float32Array>>();
  const shared = await sample.shared(ndshm.anonymous({ shape: 2, dtype: 'int32' }));
  is<Is<typeof shared, ndshm.SharedArray<'int32'>>>();
  expect([array.length, shared.size]).toEqual([1, 2]);
  expect(await sample.each((value, name) => value === 1 && name === 'one')).toBe(true);
  await sample.each(async (value) => value > 1);
});

test('what goes by reference is a proxy, a function of promises, or an async iterator', async () => {
  const { makeSample } = await served();
  const sample = await makeSample();
  const add = await sample.adder(1);
  is<Is<ReturnType<typeof add>, Promise<number>>>();
  expect(await add(2)).toBe(3);
  const numbers = await sample.count(3);
  numbers satisfies AsyncIterableIterator<number>;
  let sum = 0;
  for await (const n of numbers) sum += n;
  expect(sum).toBe(3);
  const ledger = await sample.ledger();
  ledger satisfies ndshm.Proxied<Ledger>;
  expect(await sample.add(ledger)).toBe(4);
  {
    using again = await sample.ledger();
    again satisfies Disposable;
  }
});

test('Pending<T> has the methods of the object that will come', async () => {
  const { manager, makeSample } = await served();
  const pending = makeSample();
  is<typeof pending extends Promise<ndshm.Proxied<Sample>> ? true : false>();
  const [size, total, text] = await Promise.all([pending.size(), pending.ledger().total(), pending.plain(7)]);
  is<Is<[typeof size, typeof total, typeof text], [number, number, string]>>();
  expect([size, total, text]).toEqual([5, 3, '7']);
  const dict = manager.dict<string, number>({ a: 1 });
  const value = await dict.get('a');
  is<Is<typeof value, number | undefined>>();
  expect(value).toBe(1);
});

test('connect() is told of the types of a manager', async () => {
  const { manager } = await served();
  const client = await ndshm.Manager.connect<{ Ledger: typeof Ledger; Sample: typeof Sample }>({
    address: manager.address,
  });
  const total = await client.Ledger(1, 2).total();
  is<Is<typeof total, number>>();
  const sample = client.make<Sample>('Sample');
  expect([
    total,
    await sample.plain(1),
    await client
      .find<Ledger>('none')
      .total()
      .catch(() => 'none'),
  ]).toEqual([3, '1', 'none']);
  await client.close();
});

test('built-in types are known by their names', async () => {
  const { manager } = await served();
  const client = await connectTo(manager);
  const queue = await client.getOrCreate('typed-queue', 'queue', { maxItems: 1 });
  is<Is<Awaited<ReturnType<typeof queue.tryPut>>, boolean>>();
  const event = await client.getOrCreate('typed-event', 'event');
  const isSet = await event.isSet();
  is<Is<typeof isSet, boolean>>();
  const list = await client.list([1, 2]);
  const items = await list.toArray();
  is<Is<typeof items, number[]>>();
  expect([await queue.tryPut(1), isSet, items]).toEqual([true, false, [1, 2]]);
  await client.close();
});

test('what is wrong is an error', async () => {
  const { manager, makeSample } = await served();
  const sample = await makeSample();
  const wrong = async () => {
    // @ts-expect-error a number
    await sample.plain('1');
    // @ts-expect-error no such method
    await sample.nope();
    // @ts-expect-error the result is a promise
    void sample.plain(1).length;
    // @ts-expect-error no arguments
    await sample.size(1);
    // @ts-expect-error numbers alone
    await manager.Ledger('x');
    // @ts-expect-error another option
    await ndshm.Manager.connect({ adress: 'x' });
    // @ts-expect-error no such type
    await ndshm.Manager.connect<{ Ledger: number }>({ address: 'x' });
    // @ts-expect-error parties are needed
    await manager.barrier();
  };
  expect(typeof wrong).toBe('function');
});
