import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, PassThrough } from 'node:stream';
import { Link, type LinkLimits } from '../../dist/manager/link';
import { Ring } from '../../dist/manager/ring';
import { Peer, within } from './child';

export const linkLimits: LinkLimits = {
  maxMessageBytes: 2 ** 28,
  maxJsonBytes: 2 ** 22,
  maxBufferedBytes: 2 ** 28,
  heartbeatMs: null,
};

const folder = mkdtempSync(join(tmpdir(), 'ndshm-link-'));
const links: Link[] = [];
let sockets = 0;

afterAll(() => {
  for (const link of links) link.abort(new Error('The test is over'));
  rmSync(folder, { recursive: true });
});

/** A socket on which somebody connects to us. */
export async function accepting<T>(
  connect: (path: string) => Promise<T>,
): Promise<{ stream: Socket; connected: Promise<T> }> {
  const server = createServer();
  const path = join(folder, `${sockets++}`);
  server.listen(path);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const connected = connect(path);
  const [stream] = await within(accepted, 'connection');
  server.close();
  return { stream, connected };
}

/** As a manager greets a client: with the handle of a ring, or null. */
export async function greet(stream: Socket, ring: boolean, limits = linkLimits): Promise<Link> {
  const link = linkOver(stream, limits);
  const made = ring ? Ring.make() : undefined;
  link.send(made?.handle ?? null);
  const isAttached = await within(link.receive(), 'greeting');
  if (isAttached !== ring) throw new Error('The ring was not attached');
  made?.unlink();
  if (made !== undefined) link.useRing(made);
  return link;
}

export function linkOver(stream: Duplex, limits: Partial<LinkLimits> = {}): Link {
  const link = new Link(stream, { ...linkLimits, ...limits });
  links.push(link);
  return link;
}

export interface Linked {
  readonly peer: Peer;
  readonly link: Link;
  readonly stream: Socket;
}

/** A link to another process, which keeps its end as 'link'. */
export async function linked(ring: boolean, limits: Partial<LinkLimits> = {}): Promise<Linked> {
  const peer = await Peer.start();
  const both = { ...linkLimits, ...limits };
  const { stream, connected } = await accepting((path) =>
    peer.run(
      async ({ kept, part }, at, given) => {
        const socket = process.getBuiltinModule('node:net').connect(at);
        await new Promise((resolve) => socket.once('connect', resolve));
        const { Link: ItsLink } = part('manager/link') as { Link: typeof Link };
        const its = new ItsLink(socket, given);
        kept.set('link', its);
        const handle = await its.receive();
        const found = handle === null ? undefined : (part('manager/ring') as { Ring: typeof Ring }).Ring.attach(handle);
        its.send(found !== undefined);
        if (found !== undefined) its.useRing(found);
      },
      path,
      both,
    ),
  );
  const link = await greet(stream, ring, both);
  await connected;
  return { peer, link, stream };
}

/** The peer sends back what it receives. */
export const echoing = (peer: Peer): Promise<void> =>
  peer.run(({ kept }) => {
    const link = kept.get('link') as Link;
    const echo = async () => {
      for (;;) link.send(await link.receive());
    };
    echo().catch(() => {});
  });

/** Two ends of a stream within this process, without a socket. */
export function streamPair(): [Duplex, Duplex] {
  const [there, back] = [new PassThrough(), new PassThrough()];
  return [Duplex.from({ readable: back, writable: there }), Duplex.from({ readable: there, writable: back })];
}
