// Links to the socket that it is told, says 'linked', and sends back what comes; it has nothing else to do.
const net = require('node:net');
const { Link } = require('../../dist/manager/link');
const { Ring } = require('../../dist/manager/ring');

const [path, limits, refs] = process.argv.slice(2);

async function run() {
  const socket = net.connect(path);
  await new Promise((resolve) => socket.once('connect', resolve));
  const link = new Link(socket, JSON.parse(limits));
  const handle = await link.receive();
  const ring = handle === null ? undefined : Ring.attach(handle);
  link.send(ring !== undefined);
  if (ring !== undefined) link.useRing(ring);
  void echo(link);
  for (const each of refs) {
    if (each === 'u') link.unref();
    else link.ref();
  }
  process.send('linked');
  process.disconnect();
}

async function echo(link) {
  try {
    for (;;) link.send(await link.receive());
  } catch {
    // The link has ended.
  }
}

void run();
