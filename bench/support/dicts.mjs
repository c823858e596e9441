// Ways to have a dict in another process, of ndshm and of others, each as its users have it, with one face.
import { once } from 'node:events';
import { connect } from 'node:net';
import v8 from 'node:v8';
import { createBirpc } from 'birpc';
import { expose, wrap } from 'comlink';
import { ask, end, startMember } from './members.mjs';

/** Messages as lines of JSON. */
function jsonLines(socket) {
  let rest = '';
  return {
    send: (message) => socket.write(`${JSON.stringify(message)}\n`),
    receive(listener) {
      socket.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of lines) listener(JSON.parse(line));
      });
    },
  };
}

const lengthBytes = 4;

/** Messages as structured clones, each after its length. */
function v8Frames(socket) {
  let chunks = [];
  let received = 0;
  let needed = lengthBytes;
  return {
    send(message) {
      const body = v8.serialize(message);
      const length = Buffer.alloc(lengthBytes);
      length.writeUInt32LE(body.length);
      socket.write(Buffer.concat([length, body]));
    },
    receive(listener) {
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        received += chunk.length;
        if (received < needed) return;
        let bytes = Buffer.concat(chunks);
        for (;;) {
          needed = bytes.length < lengthBytes ? lengthBytes : lengthBytes + bytes.readUInt32LE();
          if (bytes.length < needed) break;
          listener(v8.deserialize(bytes.subarray(lengthBytes, needed)));
          bytes = bytes.subarray(needed);
        }
        chunks = [bytes];
        received = bytes.length;
      });
    },
  };
}

function endpointOver({ send, receive }) {
  return {
    postMessage: send,
    addEventListener: (_, listener) => receive((data) => listener({ data })),
    removeEventListener() {},
  };
}

function mapToServe() {
  const values = new Map();
  return {
    get: (key) => values.get(key),
    set(key, value) {
      values.set(key, value);
    },
  };
}

const comlinkOver = (messagesOf) => ({
  serve: (socket) => expose(mapToServe(), endpointOver(messagesOf(socket))),
  use: (socket) => wrap(endpointOver(messagesOf(socket))),
});

function birpcOver(socket, functions) {
  const { send, receive } = jsonLines(socket);
  return createBirpc(functions, { post: send, on: receive });
}

/** About as many bytes as birpc has for a call of get(), and for its answer. */
const echoed = Buffer.alloc(64, '.');

/** No object at all: bytes go, and come back in their order. */
function echoOver(socket) {
  const waiting = [];
  let received = 0;
  socket.on('data', ({ length }) => {
    received += length;
    for (; received >= echoed.length; received -= echoed.length) waiting.shift()();
  });
  const call = () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      socket.write(echoed);
    });
  return { get: call, set: call };
}

/** How the others are served to a socket, and used by one. */
export const socketPeers = {
  comlink: comlinkOver(jsonLines),
  comlinkV8: comlinkOver(v8Frames),
  birpc: { serve: (socket) => birpcOver(socket, mapToServe()), use: (socket) => birpcOver(socket, {}) },
  echo: { serve: (socket) => socket.pipe(socket), use: echoOver },
};

async function openPeer(key) {
  const server = startMember('manager-peer.mjs', { key });
  const socket = connect(await ask(server, 'listen'));
  await once(socket, 'connect');
  return {
    dict: socketPeers[key].use(socket),
    async close() {
      socket.destroy();
      await end([server]);
    },
  };
}

async function openOurs(options) {
  const { Manager } = await import('ndshm');
  const manager = await Manager.start(options);
  return { dict: await manager.dict(), close: () => manager.close() };
}

/** What each is called, and how it opens: to a dict whose get() and set() are promises, in a new process. */
export const dicts = {
  ours: { label: 'ndshm', open: () => openOurs() },
  socketOnly: { label: 'ndshm, sharedMemory: false', open: () => openOurs({ sharedMemory: false }) },
  tls: { label: 'ndshm, TCP with TLS', open: () => openOurs({ address: 'tcp://127.0.0.1:0' }) },
  comlink: { label: 'comlink, unix socket, JSON', open: () => openPeer('comlink') },
  comlinkV8: { label: 'comlink, unix socket, v8.serialize', open: () => openPeer('comlinkV8') },
  birpc: { label: 'birpc, unix socket, JSON', open: () => openPeer('birpc') },
  echo: { label: 'bare echo, unix socket', open: () => openPeer('echo') },
};
