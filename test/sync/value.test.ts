import * as fc from 'fast-check';
import * as ndshm from 'ndshm';
import { Peer } from '../helpers/child';
import { freshName, thrownBy } from '../helpers/shm';
import { codeOf } from '../helpers/sync';

const fresh = <D extends ndshm.ValueDType>(dtype: D, value?: ndshm.ElementInput<D>) =>
  new ndshm.Value<D>(freshName(), { dtype, ephemeral: true, ...(value === undefined ? {} : { value }) });

const integers = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
} as const;
type IntegerDType = keyof typeof integers;
const operations = ['add', 'sub', 'and', 'or', 'xor', 'exchange'] as const;

describe('a value', () => {
  test.each(Object.keys(integers) as IntegerDType[])('of dtype %s does what Atomics does', (dtype) => {
    const v = fresh(dtype) as ndshm.Value<'int32'>;
    const model = new integers[dtype](1) as Int32Array;
    const signed = dtype.startsWith('i');
    const bits = Number(dtype.replace(/\D/g, ''));
    const operand = signed
      ? fc.bigInt({ min: -(2n ** BigInt(bits - 1)), max: 2n ** BigInt(bits - 1) - 1n })
      : fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n });
    const element = (n: bigint) => (bits === 64 ? n : Number(n)) as number;
    fc.assert(
      fc.property(fc.constantFrom(...operations), operand, operand, (operation, n, m) => {
        expect(v[operation](element(n))).toBe(Atomics[operation](model, 0, element(n)));
        expect(v.load()).toBe(Atomics.load(model, 0));
        expect(v.compareExchange(element(m), element(n))).toBe(
          Atomics.compareExchange(model, 0, element(m), element(n)),
        );
        expect(v.compareExchange(v.load(), element(m))).toBe(Atomics.exchange(model, 0, element(m)));
        v.store(element(n));
        model[0] = element(n);
        expect(v.load()).toBe(model[0]);
      }),
    );
    v.close();
  });

  test.each(['float32', 'float64'] as const)('of dtype %s does the arithmetic of that type', (dtype) => {
    const v = fresh(dtype, 0.5);
    const model = dtype === 'float64' ? new Float64Array([0.5]) : new Float32Array([0.5]);
    fc.assert(
      fc.property(fc.constantFrom('add', 'sub', 'exchange'), fc.double(), (operation, n) => {
        const before = model[0];
        expect(v[operation](n)).toBe(before);
        model[0] = operation === 'add' ? (before as number) + n : operation === 'sub' ? (before as number) - n : n;
        expect(v.load()).toBe(model[0]);
      }),
    );
    v.store(0);
    expect(v.compareExchange(-0, 1)).toBe(0);
    expect(v.load()).toBe(0);
    v.store(Number.NaN);
    expect(v.compareExchange(Number.NaN, 1)).toBeNaN();
    expect(v.load()).toBe(1);
    expect(thrownBy(() => v.and(1)).code).toBe('ERR_NDSHM_DTYPE');
    v.close();
  });

  test('of dtype bool has booleans, and no arithmetic', () => {
    const v = fresh('bool', true);
    expect([v.and(false), v.or(true), v.xor(true), v.exchange(true), v.load()]).toEqual([
      true,
      false,
      true,
      false,
      true,
    ]);
    expect([v.compareExchange(false, true), v.compareExchange(true, false), v.load()]).toEqual([true, true, false]);
    expect(thrownBy(() => v.add(true)).code).toBe('ERR_NDSHM_DTYPE');
    v.close();
  });

  test('takes only what fits its dtype, as set() of an array', () => {
    const v = fresh('uint8', 7);
    for (const wrong of [256, -1, 1.5, Number.NaN]) {
      for (const use of [() => v.store(wrong), () => v.add(wrong), () => v.compareExchange(7, wrong)]) {
        expect(thrownBy(use).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
      }
    }
    expect(thrownBy(() => v.store('7' as never)).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(v.load()).toBe(7);
    v.close();
    const big = fresh('int64');
    big.add(5);
    expect(big.load()).toBe(5n);
    expect(thrownBy(() => big.add(2n ** 63n)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
    big.close();
    expect(thrownBy(() => fresh('float16' as 'int8')).code).toBe('ERR_NDSHM_DTYPE');
    expect(thrownBy(() => fresh('int8', 128)).code).toBe('ERR_NDSHM_OUT_OF_RANGE');
  });

  test.each(['int32', 'int64', 'float64'] as const)(
    'of dtype %s loses nothing of what four processes add, nor when they are killed',
    async (dtype) => {
      const v = fresh(dtype);
      const each = 300_000; // long enough for all of them to be at it at the same time
      const peers = await Promise.all([1, 2, 3, 4].map((n) => Peer.start({ thread: n === 4 })));
      for (const peer of peers) await peer.call('v', 'Value', v.name, { dtype, ephemeral: true });
      const add = (peer: Peer, times: number) =>
        peer.run(({ kept }, times) => {
          const v = kept.get('v') as ndshm.Value;
          for (let n = 0; n < times; n++) v.add(1);
        }, times);
      await Promise.all(peers.map((peer) => add(peer, each)));
      expect(Number(v.load())).toBe(4 * each);
      const killed = codeOf(add(peers[0] as Peer, 1e9));
      const start = Number(v.load());
      await v.until((value) => Number(value) > start + 1000);
      await peers[0]?.kill();
      await killed;
      const last = Number(v.load());
      await add(peers[1] as Peer, 1);
      expect(Number(v.load())).toBe(last + 1);
      await Promise.all(peers.map((peer) => peer.kill()));
      v.close();
    },
  );

  test('until() waits for what another process stores', async () => {
    const v = fresh('float64');
    const peer = await Peer.start();
    await peer.call('v', 'Value', v.name, { dtype: 'float64', ephemeral: true });
    const waits = [v.until((value) => value >= 2), v.until((value) => value === 3)];
    const blocked = peer.run(({ kept }) => (kept.get('v') as ndshm.Value<'float64'>).untilSync((value) => value < 0));
    v.add(1);
    v.add(1);
    expect(await waits[0]).toBe(2);
    v.compareExchange(2, 3);
    expect(await waits[1]).toBe(3);
    v.exchange(-1);
    expect(await blocked).toBe(-1);
    expect(v.untilSync((value) => value === -1)).toBe(-1);
    v.close();
    await peer.kill();
  });

  test('until() is told at once: so many turns of two processes would take too long otherwise', async () => {
    const v = fresh('int32');
    const peer = await Peer.start();
    await peer.call('v', 'Value', v.name, { ephemeral: true });
    const turns = 600;
    const odd = peer.run(async ({ kept }, turns) => {
      const v = kept.get('v') as ndshm.Value;
      for (let turn = 1; turn < turns; turn += 2) {
        if (turn % 4 === 1) await v.until((value) => value === turn);
        else v.untilSync((value) => value === turn);
        v.add(1);
      }
    }, turns);
    for (let turn = 0; turn < turns; turn += 2) {
      await v.until((value) => value === turn);
      v.compareExchange(turn, turn + 1);
    }
    await odd;
    expect(v.load()).toBe(turns);
    v.close();
    await peer.kill();
  });

  test('until() gives up at its timeout, its abort, a predicate that throws and close()', async () => {
    const v = fresh('int32', 5);
    const never = () => false;
    const reason = new Error('enough');
    await expect(v.until(never, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(await codeOf(v.until(never, { timeoutMs: 1 }))).toBe('ERR_NDSHM_TIMEOUT');
    expect(thrownBy(() => v.untilSync(never, { timeoutMs: 1 })).code).toBe('ERR_NDSHM_TIMEOUT');
    const throws = (value: number) => {
      if (value === 6) throw reason;
      return false;
    };
    const thrown = v.until(throws);
    v.add(1);
    await expect(thrown).rejects.toBe(reason);
    expect(await codeOf(v.until('six' as never))).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    const waiting = codeOf(v.until(never));
    v.close();
    expect(await waiting).toBe('ERR_NDSHM_CLOSED');
    for (const use of [() => v.load(), () => v.store(1), () => v.add(1), () => v.compareExchange(1, 1)]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
  });

  test('keeps what it holds when it is opened again, and is of one dtype', () => {
    const v = fresh('uint64', 2n ** 64n - 1n);
    const again = new ndshm.Value(v.name, { dtype: 'uint64', value: 3 });
    expect([again.load(), again.dtype]).toEqual([2n ** 64n - 1n, 'uint64']);
    const asItIs = new ndshm.Value(v.name);
    expect([asItIs.load(), asItIs.dtype]).toEqual([2n ** 64n - 1n, 'uint64']);
    asItIs.close();
    expect(thrownBy(() => new ndshm.Value(v.name, { dtype: 'int32' })).code).toBe('ERR_NDSHM_MISMATCH');
    expect(thrownBy(() => new ndshm.Value(v.name, { dtype: 'int64' })).message).toMatch(/\bint64.*uint64/);
    again.close();
    v.close();
  });
});
