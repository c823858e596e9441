// The other end of `Peer` in test/helpers/child.ts: calls what it is told to and answers with the result or the error.
// With the argument 'thread' all of that happens in a worker thread, and the process only passes messages on.
const { closeSync, openSync, readdirSync, readFileSync, statfsSync, truncateSync, writeFileSync } = require('node:fs');
const { runInThisContext } = require('node:vm');
const { isMainThread, parentPort, Worker } = require('node:worker_threads');

if (isMainThread && process.argv[2] === 'thread') {
  const worker = new Worker(__filename);
  worker.on('message', (message) => process.send(message));
  process.on('message', (message) => {
    if (message === 'exit') process.exit(0); // while the thread has its arrays open
    if (message.method === 'terminate') worker.terminate().then(() => process.send({ id: message.id, value: null }));
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
  const kept = new Map();
  const taken = [];
  const part = (path) => require(`../../dist/${path}`);
  // What tests need and arrays have no method for.
  const extras = {
    peek: (array, index) => array.data[index],
    poke: (array, index, value) => {
      array.data[index] = value;
    },
    sum: (array) => array.data.reduce((sum, value) => sum + Number(value), 0),
    drop: (_array, key) => kept.delete(key),
    collect: async () => {
      // A finalizer runs a turn after the collection that finds its object dead.
      for (let round = 0; round < 5; round++) {
        globalThis.gc();
        await new Promise(setImmediate);
      }
    },
    churn: (_array, name, rounds) => {
      const codes = new Set();
      for (let round = 0; round < rounds; round++) {
        let array;
        try {
          array = ndshm.open(name, { mode: ['r', 'r+', 'c'][round % 3] });
          for (let at = 0; at < array.size; at += 256) array.get(at);
        } catch (error) {
          codes.add(error.code ?? error.stack);
        }
        array?.close();
      }
      return { codes: [...codes] };
    },
    // Takes all descriptors but so many; release() gives them back.
    exhaust: (_array, spare) => {
      try {
        for (;;) taken.push(openSync('/dev/null'));
      } catch (error) {
        if (error.code !== 'EMFILE') throw error;
      }
      for (let n = 0; n < spare; n++) closeSync(taken.pop());
    },
    release: () => {
      for (const fd of taken.splice(0)) closeSync(fd);
    },
    sparse: (_array, name, byteLength) => {
      writeFileSync(`/dev/shm/${name}`, '');
      truncateSync(`/dev/shm/${name}`, byteLength);
    },
    room: () => {
      const { bfree, bsize } = statfsSync('/dev/shm');
      return { free: bfree * bsize, names: readdirSync('/dev/shm') };
    },
    exit: (_array, code) => process.exit(code),
    holdings: () => ({
      descriptors: readdirSync('/proc/self/fd').length,
      mappings: readFileSync('/proc/self/maps', 'utf8')
        .split('\n')
        .filter((line) => /\/dev\/shm\/|memfd:ndshm/.test(line)).length,
    }),
    inherited: () => {
      for (const [key, array] of Object.entries(ndshm.inherited())) kept.set(key, array);
    },
    identity: () => process.getuid(),
    run: (_object, source, ...given) => runInThisContext(`(${source})`)({ ndshm, kept, part }, ...given),
    // Kills this process in the place of its n-th atomic store from now on, counted from 0.
    dieAtStore: (_object, n) => {
      let left = n;
      for (const name of ['store', 'add', 'sub', 'and', 'or', 'exchange', 'compareExchange']) {
        const original = Atomics[name];
        Atomics[name] = (...given) => {
          if (left-- === 0) process.kill(process.pid, 'SIGKILL');
          return original(...given);
        };
      }
    },
  };
  const call = (key, object, method) => {
    if (key === undefined) return object?.[method]?.bind(object) ?? extras[method].bind(null, object);
    return /^[A-Z]/.test(method) ? (...args) => new ndshm[method](...args) : ndshm[method];
  };
  port.on(async ({ id, key, of, method, args }) => {
    try {
      const value = await call(key, kept.get(of), method)(...args);
      if (typeof value?.close === 'function') {
        kept.set(key ?? of, value);
        port.send({ id, value: null });
      } else {
        port.send({ id, value });
      }
    } catch (error) {
      port.send({ id, error: { code: error.code, message: error.message } });
    }
  });
  port.send('ready');
}
