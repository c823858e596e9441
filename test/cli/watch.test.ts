import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import * as api from 'ndshm';
import { Peer } from '../helpers/child';
import { LiveNdshm, ndshm } from '../helpers/cli';
import { freshName, shmPath } from '../helpers/shm';

interface Event {
  readonly event: string;
  readonly name: string;
  readonly time: string;
  readonly [fact: string]: unknown;
}

const watch = (name: string, ...args: string[]) => new LiveNdshm(['watch', name, '--interval', '5', '--json', ...args]);

describe('ndshm watch', () => {
  test('tells of what is written, replaced, removed and made again', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3 });
    const live = watch(name);
    expect(await live.json<Event>()).toMatchObject({ event: 'exists', name, kind: 'array', shape: [3], version: 0 });
    await array.write(() => {});
    const written = await live.json<Event>();
    expect(written).toMatchObject({ event: 'written', name, version: 2, writes: 1 });
    expect(Math.abs(Date.parse(written.time) - Date.now())).toBeLessThan(20_000);
    const next = api.create(name, { shape: [4, 2], ifExists: 'replace' });
    expect(await live.json<Event>()).toMatchObject({ event: 'replaced', shape: [4, 2], id: api.stat(name).id });
    next.unlink();
    expect(await live.json<Event>()).toMatchObject({ event: 'removed' });
    const last = api.create(name, { shape: 5, ephemeral: true });
    expect(await live.json<Event>()).toMatchObject({ event: 'appeared', shape: [5] });
    for (const each of [array, next, last]) each.close();
    expect(await live.json<Event>()).toMatchObject({ event: expect.stringMatching(/^(detached|removed)$/) });
    await live.kill();
  });

  test('waits for a name that does not exist yet, and says so', async () => {
    const name = freshName();
    const live = watch(name, '--count', '1');
    await live.said(/does not exist yet: waiting for it/);
    const array = api.create(name, { shape: 3, ephemeral: true });
    expect(await live.json<Event>()).toMatchObject({ event: 'appeared' });
    expect(await live.end()).toEqual({ code: 0, signal: null });
    array.close();
  });

  test('tells who comes, goes, and dies inside', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const live = watch(name);
    expect(await live.json<Event>()).toMatchObject({ event: 'exists' });
    const peer = await Peer.start();
    await peer.call('a', 'open', name, { mode: 'r+' });
    expect(await live.json<Event>()).toMatchObject({ event: 'attached', pid: peer.pid, mode: 'r+' });
    await peer.run(
      ({ kept }) =>
        new Promise<void>((inside) => {
          void (kept.get('a') as api.SharedArray).write(() => {
            inside();
            return new Promise(() => {});
          });
        }),
    );
    await peer.kill();
    expect(await live.json<Event>()).toMatchObject({ event: 'detached', pid: peer.pid });
    expect(await live.json<Event>()).toMatchObject({ event: 'abandoned' });
    array.close();
    await live.kill();
  });

  test('tells what becomes of a primitive', async () => {
    const name = freshName();
    const permits = new api.Semaphore(name, { value: 3, ephemeral: true });
    const live = watch(name);
    expect(await live.json<Event>()).toMatchObject({ event: 'exists', kind: 'Semaphore' });
    permits.tryAcquire();
    let event = await live.json<Event>();
    // A transaction on its words is a write as well, and may be seen before.
    if (event.event === 'written') event = await live.json<Event>();
    expect(event).toMatchObject({ event: 'changed', facts: { value: 2 } });
    permits.close();
    await live.kill();
  });

  test('tells when a foreign file becomes longer', async () => {
    const name = freshName();
    writeFileSync(shmPath(name), 'hello');
    const live = watch(name);
    expect(await live.json<Event>()).toMatchObject({ event: 'exists', kind: 'foreign', fileBytes: 5 });
    truncateSync(shmPath(name), 8);
    expect(await live.json<Event>()).toMatchObject({ event: 'resized', fileBytes: 8 });
    await live.kill();
    rmSync(shmPath(name));
  });

  test('for people: a line with the time for each event', () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const { status, stdout } = ndshm('watch', name, '--count', '1');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d\d:\d\d:\d\d\.\d{3} {2}exists {4}array float64 \(3,\) 28 KiB\n$/);
    array.close();
  });

  test('does not attach', async () => {
    const name = freshName();
    api.create(name, { shape: 3 }).close();
    const before = readFileSync(shmPath(name));
    const live = watch(name);
    await live.line();
    expect(api.stat(name).peers).toEqual([]);
    await live.kill();
    expect(readFileSync(shmPath(name)).equals(before)).toBe(true);
    api.unlink(name);
  });

  test('an interval of no milliseconds is misuse', () => {
    expect(ndshm('watch', 'ndshm-test-x', '--interval', '0').status).toBe(2);
    expect(ndshm('watch', 'ndshm-test-x', '--count', 'many').status).toBe(2);
  });
});
