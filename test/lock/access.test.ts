import { chmodSync, writeFileSync } from 'node:fs';
import * as ndshm from 'ndshm';
import type { PeerContext } from '../helpers/child';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { eventually, LockWords, wordAt } from '../helpers/lock-words';
import { outcome, outcomesOfAll } from '../helpers/locker';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const plainNpy = (): Buffer => {
  const header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }";
  const bytes = Buffer.alloc(128 + 16);
  bytes.write('\x93NUMPY\x01\x00', 0, 'latin1');
  bytes.writeUInt16LE(118, 8);
  bytes.write(`${header.padEnd(117)}\n`, 10, 'latin1');
  return bytes;
};

describe('without lock words', () => {
  test.each(['a plain .npy file', 'raw memory'])('%s says ERR_NDSHM_NO_CONTROL, and works otherwise', async (which) => {
    const name = freshName();
    writeFileSync(shmPath(name), plainNpy());
    const a =
      which === 'raw memory' ? ndshm.openRaw(name, { dtype: 'uint8', mode: 'r+' }) : ndshm.open(name, { mode: 'r+' });
    const code = 'ERR_NDSHM_NO_CONTROL';
    expect(new Set(await outcomesOfAll(a))).toEqual(new Set([code]));
    expect(a.set(0, 1).get(0)).toBe(1);
    a.close();
    ndshm.unlink(name);
  });
});

describe('in a mode that writes nothing for others', () => {
  test.each(['r', 'c'] as const)("'%s' the array is read under the lock, and not written", async (mode) => {
    const name = freshName();
    const writer = ndshm.create(name, { shape: 2 });
    const a = ndshm.open(name, { mode });
    const code = 'ERR_NDSHM_READ_ONLY';
    expect(await outcome(a.write(() => 1))).toBe(code);
    expect(thrownBy(() => a.writeSync(() => 1)).code).toBe(code);
    expect(thrownBy(() => a.tryWrite(() => 1)).code).toBe(code);
    const changed = a.changed();
    await a.read(async () => {
      expect(writer.tryWrite(() => 1)).toBeUndefined();
    });
    expect([a.readSync(() => 1), a.tryRead(() => 1), a.snapshotSync(() => 1)]).toEqual([1, 1, 1]);
    writer.writeSync(() => writer.set(0, 5));
    expect(await changed).toBe(2);
    expect(a.readSync(() => a.get(0))).toBe(5);
    a.close();
    writer.close();
    ndshm.unlink(name);
  });
});

describeAsRoot('a user who may only read the segment (needs root to be another)', () => {
  test('takes no lock, and snapshots, the version and its changes are his', async () => {
    const name = freshName();
    const mine = ndshm.create(name, { shape: 2 });
    chmodSync(shmPath(name), 0o644);
    const peer = await Peer.start({ uid: otherUser });
    const words = new LockWords(name);
    const codes = await peer.run(async ({ ndshm: library, kept }: PeerContext, segment) => {
      const array = library.open(segment, { mode: 'r', allowForeignOwner: true });
      kept.set('a', array);
      const codeOf = (error: unknown): string => String((error as { code?: string }).code);
      const thrown = (call: () => unknown): string => {
        try {
          return String(call());
        } catch (error) {
          return codeOf(error);
        }
      };
      return [
        await array.read(() => 'in').catch(codeOf),
        await array.write(() => 'in').catch(codeOf),
        thrown(() => array.readSync(() => 'in')),
        thrown(() => array.tryRead(() => 'in')),
        thrown(() => new library.Mutex(segment, { allowForeignOwner: true })),
      ];
    }, name);
    expect(codes.slice(0, 4)).toEqual(new Array(4).fill('ERR_NDSHM_READ_ONLY'));
    expect(codes[4]).toMatch(/^(EACCES|ERR_NDSHM_MISMATCH)$/);

    const see = () =>
      peer.run(async ({ kept }: PeerContext) => {
        const array = kept.get('a') as ndshm.SharedArray;
        return [array.version, array.snapshotSync(() => array.get(0)), await array.snapshot(() => array.get(0))];
      });
    const change = () =>
      peer.run(({ kept }: PeerContext) => (kept.get('a') as ndshm.SharedArray).changed({ since: 0 }));
    expect(await see()).toEqual([0, 0, 0]);
    const changed = change();
    mine.writeSync(() => mine.set(0, 5));
    expect(await changed).toBe(2);
    expect(await see()).toEqual([2, 5, 5]);

    // Waits until the writer has left.
    const waiting = await mine.write(async () => {
      const snapshot = peer.run(({ kept }: PeerContext) => {
        const array = kept.get('a') as ndshm.SharedArray;
        return array.snapshot(() => array.get(0));
      });
      await peer.run(() => new Promise<void>((turn) => setImmediate(turn)));
      mine.set(0, 6);
      return { snapshot };
    });
    expect(await waiting.snapshot).toBe(6);
    expect(words.get(wordAt.readerSlots)).toBe(0);

    // And is told when the writer dies.
    const writer = await Peer.start();
    await writer.call('a', 'open', name, { mode: 'r+' });
    void outcome(
      writer.run(({ kept }: PeerContext) => (kept.get('a') as ndshm.SharedArray).write(() => new Promise(() => {}))),
    );
    await eventually('write', () => words.isWriting);
    const lost = outcome(see());
    await writer.kill();
    expect(await lost).toBe('ERR_NDSHM_ABANDONED');
    await peer.kill();
    mine.close();
    ndshm.unlink(name);
  });
});
