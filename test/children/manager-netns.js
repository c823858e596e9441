// One side of test/manager/netns.test.ts, in a network namespace of its own: does what the parent says, [deed, ...arguments],
// and answers with what came of it. Bytes are hexadecimal.
const { once } = require('node:events');
const { connect, createServer } = require('node:net');
const ndshm = require('ndshm');
const { parseAddress } = require('../../dist/manager/address');

const seen = { accepted: 0, refused: [] };

class Echo {
  say(text) {
    seen.accepted++;
    return text;
  }
  sum(array) {
    return array.data.reduce((sum, each) => sum + each, 0);
  }
}

async function serve(address, authKey) {
  const onRefused = ({ code }, remote) => seen.refused.push({ code, from: remote.split(' ')[0] });
  const manager = await ndshm.Manager.serve({ address, authKey, onRefused });
  await manager.register('Echo', Echo);
  return parseAddress(manager.address).port;
}

async function call(address, authKey, text) {
  try {
    const manager = await ndshm.Manager.connect({ address, authKey });
    const answer = await manager.Echo().say(text);
    await manager.close();
    return answer;
  } catch (error) {
    return error.code;
  }
}

/** Of an array that goes in several chunks. */
async function sum(address, authKey, length) {
  const manager = await ndshm.Manager.connect({ address, authKey });
  const array = ndshm.anonymous({ shape: length, dtype: 'float64' });
  array.fill(0.5);
  const answer = await manager.Echo().sum(array);
  array.close();
  await manager.close();
  return answer;
}

/** call() by way of a proxy, which writes down what goes to the server. */
async function callRecorded(address, authKey, text) {
  const { host, port } = parseAddress(address);
  const recorded = [];
  const proxy = createServer((socket) => {
    const onward = connect(port, host);
    for (const each of [socket, onward]) each.on('error', () => {});
    socket.on('data', (chunk) => recorded.push(chunk));
    socket.pipe(onward).pipe(socket);
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const answer = await call(`tcp://127.0.0.1:${proxy.address().port}`, authKey, text);
  proxy.close();
  return { answer, recorded: Buffer.concat(recorded).toString('hex') };
}

/** Sends bytes without any TLS; what comes back until the end. */
async function send(address, bytes) {
  const { host, port } = parseAddress(address);
  const socket = connect(port, host).on('error', () => {});
  const chunks = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.end(Buffer.from(bytes, 'hex'));
  await new Promise((closed) => socket.on('close', closed));
  return Buffer.concat(chunks).toString('hex');
}

const deeds = { serve, call, sum, callRecorded, send, seen: () => seen };

process.on('message', async ([deed, ...given]) => process.send(await deeds[deed](...given)));
process.send('ready');
