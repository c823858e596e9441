// The other end of LockPeer in test/helpers/lock-peer.ts: requests locks and holds them as it is told.
// argv: the segment's name ('' = ndshm.locks), then 'thread' to do all of it in a worker thread.
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads');

const [segment, where] = isMainThread ? process.argv.slice(2) : [workerData];

if (isMainThread && where === 'thread') {
  const worker = new Worker(__filename, { workerData: segment });
  worker.on('message', (message) => process.send(message));
  process.on('message', (message) => {
    if (message.do === 'terminate') worker.terminate().then(() => process.send({ event: 'terminated' }));
    else worker.postMessage(message);
  });
} else {
  serve(
    isMainThread
      ? { on: (listener) => process.on('message', listener), send: (message) => process.send(message) }
      : {
          on: (listener) => parentPort.on('message', listener),
          send: (message) => parentPort.postMessage(message),
        },
  );
}

function serve(port) {
  const ndshm = require('ndshm');
  const manager = segment === '' ? ndshm.locks : new ndshm.LockManager(segment);
  const releases = new Map();
  const controllers = new Map();
  const tell = (event, value) => {
    if (!isMainThread || process.connected) port.send({ event, value });
  };

  const deeds = {
    async request({ id, name, options, abortable, exitCode }) {
      const controller = new AbortController();
      controllers.set(id, controller);
      const holding = new Promise((resolve) => releases.set(id, resolve));
      const request = manager.request(name, abortable ? { ...options, signal: controller.signal } : options, (lock) => {
        tell(`granted ${id}`, lock);
        if (exitCode === undefined) return lock === null ? 'not available' : holding;
        process.exitCode = exitCode;
      });
      request.then(
        (value) => tell(`settled ${id}`, { value }),
        (error) => tell(`settled ${id}`, { error: { name: error?.name, code: error?.code, text: String(error) } }),
      );
      await manager.query(); // what one manager is asked it does in order
      tell(`requested ${id}`);
    },
    release: ({ id, value }) => releases.get(id)(value),
    abort: ({ id, reason }) => controllers.get(id).abort(reason),
    query: async ({ id }) => tell(`snapshot ${id}`, await manager.query()),
    close: () => {
      manager.close();
      tell('closed');
    },
    /** From now on the process lives as long as something else than this conversation keeps it. */
    disconnect: () => process.disconnect(),
    dieAt: ({ store }) => dieAt(store),
    storm: ({ array, names }) => storm(ndshm.open(array, { mode: 'r+' }).data, names),
  };

  // Kills the process before the nth word that it stores from now on.
  function dieAt(nth) {
    let left = nth;
    for (const name of ['store', 'compareExchange', 'exchange', 'add', 'sub', 'and', 'or', 'xor']) {
      const original = Atomics[name];
      Atomics[name] = (...args) => {
        if (--left === 0) process.kill(process.pid, 'SIGKILL');
        return original(...args);
      };
    }
  }

  // Takes and gives back locks until it is killed; tells where two are inside that should not be.
  async function storm(data, names) {
    for (let round = 0; ; round++) {
      const which = (round * 7 + process.pid) % names.length;
      const mode = round % 3 === 0 ? 'shared' : 'exclusive';
      await manager.request(names[which], { mode }, async () => {
        if (mode === 'exclusive') data[which] = process.pid;
        const before = data[which]; // a dead writer's, if this is a reader
        await new Promise(setImmediate);
        if (data[which] !== before) tell('violation', `${mode} ${before}: ${data[which]}`);
        Atomics.add(data, names.length, 1);
      });
    }
  }

  port.on((message) => void deeds[message.do](message));
  tell('ready');
}
