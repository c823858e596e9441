import * as ndshm from 'ndshm';
import { Child, holdings, Peer } from '../helpers/child';
import { exists, freshName, thrownBy } from '../helpers/shm';

// Further runtimes to try: paths of node executables, separated by colons.
const nodes = [process.execPath, ...(process.env['NDSHM_NODES']?.split(':') ?? [])];

describe('close()', () => {
  test('in any order, and again, gives back every descriptor and mapping', () => {
    const name = freshName();
    const before = holdings();
    const made = ndshm.create(name, { shape: [4, 4] });
    const arrays = [made, ndshm.open(name), ndshm.open(name, { mode: 'r+' }), ndshm.open(name, { mode: 'c' })];
    expect(holdings().descriptors).toBe(before.descriptors + 4);
    for (const n of [2, 0, 3, 1, 2, 0]) arrays[n]?.close();
    expect(holdings()).toEqual(before);
    ndshm.unlink(name);
  });

  test('of an array closes its views, and of a view nothing else', () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: [4, 4], ephemeral: true });
    const row = a.row(1);
    const part = a.slice('1:3', ':');
    row.close();
    expect(thrownBy(() => row.get(0)).code).toBe('ERR_NDSHM_CLOSED');
    expect(part.get(0, 0)).toBe(0);
    a.close();
    for (const use of [
      () => part.get(0, 0),
      () => part.data,
      () => part.slice(0),
      () => [...part],
      () => part.set([0, 0], 1),
    ]) {
      expect(thrownBy(use).code).toBe('ERR_NDSHM_CLOSED');
    }
    expect(part.closed).toBe(true);
  });

  test('during an iteration ends it with ERR_NDSHM_CLOSED', () => {
    const a = ndshm.create(freshName(), { shape: 4, ephemeral: true });
    let rounds = 0;
    const error = thrownBy(() => {
      for (const _value of a) if (++rounds === 2) a.close();
    });
    expect([error.code, rounds]).toEqual(['ERR_NDSHM_CLOSED', 2]);
  });

  test('inside a callback that is writing the array does not write to freed memory', () => {
    const a = ndshm.create(freshName(), { shape: 3, ephemeral: true });
    const source = [1, 2, 3];
    Object.defineProperty(source, 1, {
      get() {
        a.close();
        return 2;
      },
    });
    try {
      a.copyFrom(source);
    } catch (error) {
      expect((error as { code?: string }).code).toBe('ERR_NDSHM_CLOSED');
    }
    expect(a.closed).toBe(true);
  });
});

describe.each(nodes)('memory that is handed on, under %s', (node) => {
  test.each(['structuredClone', 'postMessage', 'transfer', 'transferToFixedLength'])(
    'by %s and then closed is valid or an error, never a crash',
    async (way) => {
      const name = freshName();
      const a = ndshm.create(name, { shape: 100_000 });
      const child = new Child('hand-on.js', [name, way], { node, execArgv: ['--expose-gc'] });
      const { outcome, leaked } = await child.message<{ outcome: string; leaked: object }>();
      expect(['refused', 'unknown here', 'moved: 7', 'copied: 7']).toContain(outcome);
      expect(leaked).toEqual({ descriptors: 0, mappings: 0 });
      expect(await child.end()).toEqual({ code: 0, signal: null });
      expect(ndshm.stat(name).peers).toHaveLength(1);
      a.close();
      ndshm.unlink(name);
    },
  );

  test('arrays that are dropped without close() are unmapped by the collector, and not unlinked', async () => {
    const peer = await Peer.start({ node, execArgv: ['--expose-gc'] });
    await peer.on('a', 'collect');
    const before = await peer.on('a', 'holdings');
    const names = Array.from({ length: 20 }, () => freshName('dropped'));
    for (const [n, name] of names.entries())
      await peer.call('a', 'create', name, { shape: 10, ephemeral: n % 2 === 0 });
    await peer.on('a', 'drop', 'a');
    await peer.on('a', 'collect');
    expect(await peer.on('a', 'holdings')).toEqual(before);
    expect(names.every(exists)).toBe(true);
    expect(ndshm.gc().filter((name) => names.includes(name))).toHaveLength(10);
    for (const [n, name] of names.entries()) if (n % 2 === 1) ndshm.unlink(name);
    await peer.kill();
  });
});
