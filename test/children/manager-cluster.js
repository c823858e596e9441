// Two workers of `cluster` that listen with lib/manager/listen, on a path and a port each, and on a common path. The
// argument is a folder for the sockets; the parent gets who answered where, by the worker's number.
const cluster = require('node:cluster');
const { once } = require('node:events');
const { join } = require('node:path');
const { parseAddress } = require('../../dist/manager/address');
const { dial } = require('../../dist/manager/dial');
const { listen } = require('../../dist/manager/listen');

const folder = process.argv[2];
const authKey = Buffer.from('the key of all in this test');

if (cluster.isPrimary) void primary();
else void worker(String(cluster.worker.id));

async function primary() {
  const workers = [cluster.fork(), cluster.fork()];
  const reports = (await Promise.all(workers.map((each) => once(each, 'message')))).map(([report]) => report);
  const answer = async (address) => {
    const stream = await dial(address, { authKey, timeoutMs: 10_000 });
    const [id] = await once(stream, 'data');
    stream.destroy();
    return String(id);
  };
  const own = await Promise.all(reports.map(({ own }) => answer(own)));
  const tcp = await Promise.all(reports.map(({ tcp }) => answer(tcp)));
  const common = reports.map(({ common }) => common).sort();
  for (const each of workers) each.send('end');
  await Promise.all(workers.map((each) => once(each, 'exit')));
  process.send({ own, tcp, common });
  process.disconnect();
}

async function worker(id) {
  const onStream = (stream) => stream.end(id);
  const options = { authKey, maxConnections: 9, handshakeTimeoutMs: 10_000, onStream };
  const own = await listen(parseAddress(join(folder, `${id}.sock`)), options);
  const tcp = await listen(parseAddress('tcp://127.0.0.1:0'), options);
  const common = await listen(parseAddress(join(folder, 'common.sock')), options).catch((error) => error);
  process.send({ own: own.address, tcp: tcp.address, common: common.code ?? 'listening' });
  await once(process, 'message');
  for (const each of [own, tcp, common]) await each.close?.();
  process.disconnect();
}
