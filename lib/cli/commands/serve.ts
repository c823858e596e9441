import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type ServerType } from '@hono/node-server';
import { type Command, InvalidArgumentError } from 'commander';
import { note, type OutputOptions, print } from '../output';
import { makeApp } from '../serve/app';
import { makeToken } from '../serve/guard';
import { Live } from '../serve/live';

interface ServeOptions extends OutputOptions {
  readonly port: number;
  readonly allowWrite?: boolean;
}

export function define(command: Command): void {
  command
    .option('--port <number>', 'listen on this port; 0 means any that is free', portOf, 0)
    .option('--allow-write', 'let the page remove segments')
    .action(serve);
}

function portOf(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError('Expected a port: 0 to 65535.');
  return port;
}

async function serve({ port: wanted, allowWrite = false, json = false }: ServeOptions): Promise<void> {
  const token = makeToken();
  const live = new Live();
  const server = createAdaptorServer({ fetch: makeApp({ token, allowWrite, live }).fetch });
  try {
    // Of this machine alone: whoever is elsewhere comes through ssh -L.
    server.listen(wanted, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/${token}/`;
    print({ json }, { url, port }, () => url);
    if (!json) note(allowWrite ? writable : readOnly);
    await askedToEnd();
  } finally {
    live.end();
    close(server);
  }
}

const readOnly = 'Whoever has this address can look, and change nothing (--allow-write). Ctrl-C ends it.';
const writable = 'Whoever has this address can look, and remove segments. Ctrl-C ends it.';

function askedToEnd(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}

function close(server: ServerType): void {
  server.close();
  // Streams would go on for as long as the page is open.
  if ('closeAllConnections' in server) server.closeAllConnections();
}
