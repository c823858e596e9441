import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import * as ndshm from 'ndshm';
import { exists, freshName, thrownBy } from '../helpers/shm';

const child = (file: string) => resolve(__dirname, '../children', file);

describe('processes and threads that share arrays', () => {
  test('cluster workers answer from one table, and from its replacement once it is there', async () => {
    const name = freshName();
    const { stdout } = await promisify(execFile)(process.execPath, [child('cluster-lookup.js'), name]);
    expect(JSON.parse(stdout)).toEqual({ before: [41, 41], after: [-41, -41] });
    expect(exists(name)).toBe(false);
  });

  test('a worker thread attaches by handle', async () => {
    const a = ndshm.create(freshName(), { shape: [2], ephemeral: true });
    a.set(0, 41);
    const worker = new Worker(child('worker-thread.js'), { workerData: { handle: a.handle } });
    expect(await once(worker, 'message')).toEqual([41]);
    await once(worker, 'exit');
    expect(a.get(1)).toBe(42);
    a.close();
  });

  test('fork passes arrays in their modes: named, read-only, copy-on-write and anonymous', async () => {
    const named = ndshm.create(freshName(), { shape: [2], ephemeral: true, init: (a) => a.fill(1) });
    const name = named.name as string;
    const readOnly = ndshm.open(name);
    const copied = ndshm.open(name, { mode: 'c' });
    const scratch = ndshm.anonymous({ shape: [2], dtype: 'int32' });
    scratch.fill(7);
    const forked = ndshm.fork(child('shared-child.js'), [], { share: { named, readOnly, copied, scratch } });
    const [report] = await once(forked, 'message');
    expect(report).toEqual({
      named: { first: 1, mode: 'r+', name, again: true },
      readOnly: { first: 101, mode: 'r', name, again: true },
      copied: { first: 101, mode: 'c', name, again: true },
      scratch: { first: 7, mode: 'r+', name: null, again: true },
    });
    expect([named.get(0), readOnly.get(0), scratch.get(0)]).toEqual([101, 101, 107]);
    forked.send('end');
    expect(await once(forked, 'exit')).toEqual([0, null]);
    for (const array of [named, readOnly, copied, scratch]) array.close();
    expect(exists(name)).toBe(false);
  });

  test('fork refuses what is no array, closed arrays and views of anonymous ones', () => {
    const scratch = ndshm.anonymous({ shape: [4] });
    const share = (value: unknown) => () => ndshm.fork(child('shared-child.js'), [], { share: { x: value as never } });
    expect(thrownBy(share([1])).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    expect(thrownBy(share(scratch.slice('1:'))).code).toBe('ERR_NDSHM_INVALID_ARGUMENT');
    scratch.close();
    expect(thrownBy(share(scratch)).code).toBe('ERR_NDSHM_CLOSED');
    expect(thrownBy(() => ndshm.inherited()).code).toBe('ERR_NDSHM_INHERIT');
  });

  test('an anonymous array has no handle', () => {
    const scratch = ndshm.anonymous({ shape: [4] });
    expect(thrownBy(() => scratch.handle).code).toBe('ERR_NDSHM_ANONYMOUS');
    scratch.close();
  });
});
