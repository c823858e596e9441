// Serves one of the peers of support/dicts.mjs at a unix socket.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { socketPeers } from '../support/dicts.mjs';
import { answer } from '../support/members.mjs';

const { key } = JSON.parse(process.argv[2]);

answer({
  async listen() {
    const address = `\0ndshm-bench-${process.pid}`; // an abstract address: no file to remove
    await once(createServer(socketPeers[key].serve).listen(address), 'listening');
    return address;
  },
});
