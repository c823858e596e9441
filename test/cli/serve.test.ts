import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { create, Mutex, type PrimitiveInfo, putTensors, type SegmentInfo, Store, stat, unlink } from 'ndshm';
import { Peer } from '../helpers/child';
import { LiveNdshm, ndshm } from '../helpers/cli';
import { type EventStream, Served } from '../helpers/served';
import { exists, freshName, namesInShm, shmPath } from '../helpers/shm';

interface State {
  readonly memory: { readonly usedBytes: number; readonly totalBytes: number };
  readonly segments: readonly (SegmentInfo & { readonly owner: string; readonly primitive: PrimitiveInfo | null })[];
}
interface Refusal {
  readonly error: { readonly code: string; readonly message: string };
}
interface Chart {
  readonly svg: string;
  readonly warning: string | null;
}
interface Details {
  readonly who: { readonly peers: readonly { readonly process: { readonly pid: number } | null }[] };
  readonly tensors: readonly string[] | null;
  readonly store: { readonly info: { readonly objects: number }; readonly objects: readonly unknown[] } | null;
}

let reader: Served;
let writer: Served;
beforeAll(async () => {
  [reader, writer] = await Promise.all([Served.start(), Served.start('--allow-write')]);
});
const streams: EventStream[] = [];
afterEach(() => {
  for (const stream of streams.splice(0)) stream.leave();
});
async function streamOf(served: Served): Promise<EventStream> {
  const stream = await served.events();
  streams.push(stream);
  return stream;
}

/** Another process that is inside the segment's write lock, until it is killed. */
async function writerInside(name: string): Promise<Peer> {
  const peer = await Peer.start();
  await peer.run(
    ({ ndshm, kept }, segment) =>
      new Promise<null>((inside) => {
        const array = ndshm.open(segment, { mode: 'r+' });
        kept.set('array', array);
        void array.write(() => {
          inside(null);
          return new Promise(() => {});
        });
      }),
    name,
  );
  return peer;
}

describe('ndshm serve', () => {
  test('prints the address of its page, and what that may do', async () => {
    const live = new LiveNdshm(['serve']);
    const url = await live.line();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/);
    await live.said(/change nothing/);
    expect((await fetch(url)).status).toBe(200);
  });

  test('listens on 127.0.0.1 and no other address', async () => {
    const elsewhere = connect(reader.port, '127.0.0.2');
    await expect(once(elsewhere, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('ends with 0 by %s though a page is open', async (signal) => {
    const served = await Served.start();
    const stream = await streamOf(served);
    await stream.next('state');
    expect(await served.live.kill(signal)).toEqual({ code: 0, signal: null });
    expect(served.live.stderr).toBe('');
  });

  test('says that a port is taken', () => {
    const { status, stdout, stderr } = ndshm('serve', '--port', String(reader.port));
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/EADDRINUSE/);
  });

  test.each(['x', '-1', '65536', '1.5'])("refuses the port '%s'", (port) => {
    expect(ndshm('serve', `--port=${port}`).status).toBe(2);
  });
});

describe('who may ask', () => {
  test('only those who know the token', async () => {
    const { token } = reader;
    const wrong = ['', 'x', token.slice(1), `${token}x`, `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`];
    for (const given of wrong) {
      for (const path of ['', 'main.js', 'events', 'details?name=x', 'nothing']) {
        const { status, text } = await reader.raw(`/${given}/${path}`);
        expect({ status, text }).toMatchObject({ status: 403, text: expect.stringContaining('ERR_NDSHM_AUTH') });
      }
    }
    expect((await reader.raw(`/?token=${token}`)).status).toBe(403);
  });

  test('only under a name of this machine, on whatever port', async () => {
    const asked = async (host: string) => (await reader.raw(`/${reader.token}/`, { headers: { host } })).status;
    expect(await asked('localhost')).toBe(200);
    expect(await asked('127.0.0.1:9000')).toBe(200); // by ssh -L
    for (const host of ['example.com', 'localhost.example.com', `127.0.0.1.example.com:${reader.port}`, '0.0.0.0']) {
      expect(await asked(host)).toBe(403);
    }
  });

  test('nobody finds files but those of the page', async () => {
    for (const path of ['package.json', '../package.json', '%2e%2e/package.json', 'vendor/../main', 'index.html/']) {
      const { status } = await reader.raw(`/${reader.token}/${path}`);
      expect([403, 404]).toContain(status);
    }
    expect((await reader.raw(`/${reader.token}/vendor/lit-html.js`)).headers['content-type']).toMatch(/javascript/);
  });

  test('every answer forbids the browser whatever the page does not need', async () => {
    for (const path of [`/${reader.token}/`, `/${reader.token}/details?name=nothing`, '/wrong/']) {
      const { headers } = await reader.raw(path);
      expect(headers['content-security-policy']).toMatch(/default-src 'none'; script-src 'self'; style-src 'self'/);
      expect(headers['referrer-policy']).toBe('no-referrer');
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['cache-control']).toBe('no-store');
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
  });

  test('sixteen pages at once, and another when one has gone', async () => {
    const asked = await Promise.all(Array.from({ length: 17 }, () => streamOf(reader)));
    const open = asked.filter(({ status }) => status === 200);
    expect(open).toHaveLength(16);
    const refused = await reader.get<Refusal>('events');
    expect(refused).toMatchObject({ status: 503, value: { error: { code: 'ERR_NDSHM_LIMIT' } } });
    open[0]?.leave();
    // The server hears of it when it next looks.
    let status = 503;
    for (const end = Date.now() + 10_000; status === 503 && Date.now() < end; ) {
      const stream = await streamOf(reader);
      status = stream.status;
      if (status === 503) await open[1]?.next('state');
    }
    expect(status).toBe(200);
  });
});

describe('the state that pages are told', () => {
  test('has the segments, their locks as they are taken, and the memory', async () => {
    const name = freshName();
    create(name, { shape: [3, 4], dtype: 'int16' }).close();
    const stream = await streamOf(reader);
    const segmentIn = ({ segments }: State) => segments.find((segment) => segment.name === name);
    const first = await stream.next<State>('state', (state) => segmentIn(state) !== undefined);
    expect(segmentIn(first)).toMatchObject({ dtype: 'int16', shape: [3, 4], lock: { state: 'free', version: 0 } });
    expect(first.memory.usedBytes).toBeLessThanOrEqual(first.memory.totalBytes);

    const peer = await writerInside(name);
    const held = await stream.next<State>('state', (state) => segmentIn(state)?.lock?.state === 'write');
    expect(segmentIn(held)?.peers).toMatchObject([{ pid: peer.pid, holds: 'write' }]);
    await peer.kill();
    await stream.next<State>('state', (state) => segmentIn(state)?.lock?.state === 'abandoned');
    unlink(name);
    await stream.next<State>('state', (state) => segmentIn(state) === undefined);
  });

  test('has primitives as such, and what is foreign whatever its name', async () => {
    using mutex = new Mutex(freshName('mutex'), { ephemeral: true });
    const foreign = `${freshName()} "quoted"\n\u202e<b>`;
    writeFileSync(shmPath(foreign), 'not ours');
    const { segments } = await (await streamOf(reader)).next<State>('state');
    expect(segments.find(({ name }) => name === mutex.name)?.primitive?.kind).toBe('Mutex');
    expect(segments.find(({ name }) => name === foreign)?.kind).toBe('foreign');
  });

  test('leaves what crashes have left where it is', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('array', 'create', name, { shape: [4], dtype: 'uint8', ephemeral: true });
    await peer.kill();
    const { segments } = await (await streamOf(reader)).next<State>('state');
    expect(segments.find((segment) => segment.name === name)?.leftover).toBe(true);
    expect(exists(name)).toBe(true);
  });
});

describe('a chart', () => {
  test('is drawn of the values as they are now, without staying attached', async () => {
    const name = freshName();
    using array = create(name, { shape: [50], dtype: 'float64', ephemeral: true });
    const asked = () => reader.get<Chart>('chart', { name, width: '400', height: '200', dark: 'true' });
    const { status, value } = await asked();
    expect(status).toBe(200);
    expect(value).toMatchObject({ svg: expect.stringMatching(/^<svg[^>]* width="400" height="200"/), warning: null });
    expect((await asked()).value.svg).toBe(value.svg);
    await array.write(({ data }) => data.fill(7, 25));
    expect((await asked()).value.svg).not.toBe(value.svg);
    expect(stat(name).peers).toMatchObject([{ pid: process.pid }]);
  });

  test('is drawn of a part, in another way', async () => {
    const name = freshName();
    using _array = create(name, { shape: [4, 5, 6], dtype: 'float64', ephemeral: true });
    const { value } = await reader.get<Chart>('chart', { name, slice: '0, :, ::2', kind: 'histogram' });
    expect(value.svg).toContain(`${name}[0, :, ::2]`);
    expect(value.svg).toContain('(5, 3)');
  });

  test('is drawn while a writer is stopped inside, with a warning and without waiting for it', async () => {
    const name = freshName();
    create(name, { shape: [50], dtype: 'float64' }).close();
    const peer = await writerInside(name);
    process.kill(peer.pid, 'SIGSTOP');
    const { status, value } = await reader.get<Chart>('chart', { name });
    expect({ status, warning: value.warning }).toEqual({ status: 200, warning: expect.stringMatching(/written/) });
    expect(stat(name).lock).toMatchObject({ state: 'write' });
    await peer.kill();
  });

  test.each([
    [{ slice: '99' }, 400, 'ERR_NDSHM_OUT_OF_RANGE'],
    [{ slice: 'x' }, 400, /^ERR_NDSHM_/],
    [{ width: '5' }, 400, 'ERR_NDSHM_OUT_OF_RANGE'],
    [{ width: '1e9' }, 400, 'ERR_NDSHM_OUT_OF_RANGE'],
    [{}, 400, 'ERR_NDSHM_SHAPE'],
    [{ name: 'ndshm-test-nothing-of-this-name' }, 404, 'ENOENT'],
  ])('is refused by code: %o', async (query, status, code) => {
    const name = freshName();
    using _array = create(name, { shape: [2, 3, 4], dtype: 'float64', ephemeral: true });
    const answer = await reader.get<Refusal>('chart', { name, ...query });
    expect(answer.status).toBe(status);
    expect(answer.value.error.code).toMatch(code);
  });

  test('needs a name', async () => {
    expect(await reader.get('chart')).toMatchObject({
      status: 400,
      value: { error: { code: 'ERR_NDSHM_INVALID_ARGUMENT' } },
    });
  });
});

describe('details', () => {
  test('tell which process a peer is', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('array', 'create', name, { shape: [4], dtype: 'uint8', ephemeral: true });
    const { value } = await reader.get<Details>('details', { name });
    expect(value.who.peers).toMatchObject([{ process: { pid: peer.pid, command: expect.stringMatching(/peer\.js/) } }]);
  });

  test("tell a store's objects, and leave the store", async () => {
    using store = Store.open(freshName('store'), { capacity: '1MiB' });
    await store.put('a');
    await store.put(new Float64Array(1000));
    const { value } = await reader.get<Details>('details', { name: store.name });
    expect(value.store?.info.objects).toBe(2);
    expect(value.store?.objects).toHaveLength(2);
    expect(stat(store.name).peers).toHaveLength(1);
  });

  test('never make a store', async () => {
    const name = freshName('store');
    expect((await reader.get('details', { name })).status).toBe(404);
    expect(exists(name)).toBe(false);
  });

  test('tell the tensors of a file', async () => {
    const name = freshName('tensors');
    putTensors(name, { weight: new Float32Array(4), bias: new Float32Array(2) });
    const { value } = await reader.get<Details>('details', { name });
    expect([...(value.tensors ?? [])].sort()).toEqual(['bias', 'weight']);
    expect((await reader.get('chart', { name, tensor: 'bias' })).status).toBe(200);
  });
});

describe('removing', () => {
  test('is refused by a server that may only look, whatever asks', async () => {
    const name = freshName();
    create(name, { shape: [4], dtype: 'uint8' }).close();
    for (const path of ['remove', 'gc', 'nothing']) {
      const { status, value } = await reader.post<Refusal>(path, { name });
      expect({ status, code: value.error.code }).toEqual({ status: 403, code: 'ERR_NDSHM_READ_ONLY' });
    }
    expect(exists(name)).toBe(true);
  });

  test('is refused to other pages', async () => {
    const name = freshName();
    create(name, { shape: [4], dtype: 'uint8' }).close();
    for (const origin of [null, 'null', 'http://example.com', `http://127.0.0.1:${writer.port + 1}`]) {
      const { status, value } = await writer.post<Refusal>('remove', { name }, origin);
      expect({ status, code: value.error.code }).toEqual({ status: 403, code: 'ERR_NDSHM_AUTH' });
    }
    expect((await writer.get('remove', { name })).status).toBe(404);
    expect(exists(name)).toBe(true);
  });

  test('takes the name away', async () => {
    const name = freshName();
    create(name, { shape: [4], dtype: 'uint8' }).close();
    expect(await writer.post('remove', { name })).toMatchObject({ status: 200, value: { name, members: [] } });
    expect(exists(name)).toBe(false);
    expect((await writer.post('remove', { name })).status).toBe(404);
  });

  test('spares what is in use, unless it is forced', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('array', 'create', name, { shape: [4], dtype: 'uint8' });
    const refused = await writer.post<Refusal>('remove', { name });
    expect(refused).toMatchObject({ status: 409, value: { error: { code: 'EBUSY' } } });
    expect(exists(name)).toBe(true);
    expect((await writer.post('remove', { name, force: 'true' })).status).toBe(200);
    expect(exists(name)).toBe(false);
  });

  test("spares a store's pages, which are not removed alone", async () => {
    using store = Store.open(freshName('store'), { capacity: '1MiB' });
    await store.put(new Float64Array(1000));
    const name = `${store.name}.pages.0`;
    expect((await writer.post<Refusal>('remove', { name, force: 'true' })).status).toBe(403);
    expect(exists(name)).toBe(true);
  });

  test('takes what crashes have left', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('array', 'create', name, { shape: [4], dtype: 'uint8', ephemeral: true });
    await peer.kill();
    const { value } = await writer.post<{ removed: string[] }>('gc');
    expect(value.removed).toContain(name);
    expect(namesInShm()).not.toContain(name);
  });
});
