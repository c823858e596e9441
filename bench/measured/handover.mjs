// Two processes, this one and the partner that it forks, pass a token to and fro in one of several ways; prints the round
// trip in microseconds.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import * as ndshm from 'ndshm';
import { startMemberOn } from '../support/members.mjs';
import { quantile } from '../support/statistics.mjs';

const given = JSON.parse(process.argv[2]);
const { way, name, milliseconds, partnersProcessors, isPartner = false } = given;
const partner = isPartner
  ? undefined
  : startMemberOn(partnersProcessors, 'handover.mjs', { ...given, isPartner: true });
const limit = { timeoutMs: 60_000 };

/** Two of a kind, named alike in both processes: the one that this process waits for, and the partner's. */
function pairOf(Primitive, ...options) {
  const toLeader = new Primitive(`${name}-to-leader`, ...options);
  const toPartner = new Primitive(`${name}-to-partner`, ...options);
  return isPartner ? [toPartner, toLeader] : [toLeader, toPartner];
}

/** Takes the tokens that somebody emits: the promise of the next is made before it can come. */
function arrivals(emitter, event) {
  let arrive;
  let next;
  const renew = () => {
    next = new Promise((resolve) => {
      arrive = resolve;
    });
  };
  renew();
  emitter.on(event, () => arrive());
  return async () => {
    await next;
    renew();
  };
}

async function connectionAt(address) {
  const server = createServer().listen(address);
  const [socket] = await once(server, 'connection');
  server.close();
  return socket;
}

// The leader may not listen yet.
async function connectionTo(address) {
  for (;;) {
    const socket = connect(address);
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    if (connected) return socket;
  }
}

const ways = {
  event() {
    const [mine, other] = pairOf(ndshm.Event);
    return {
      pass: () => other.set(),
      take() {
        mine.waitSync(limit);
        mine.clear();
      },
    };
  },
  semaphore() {
    const [mine, other] = pairOf(ndshm.Semaphore, { value: 0, undo: false });
    return { pass: () => other.release(), take: () => mine.acquireSync(limit) };
  },
  awaitedEvent() {
    const [mine, other] = pairOf(ndshm.Event);
    return {
      pass: () => other.set(),
      async takeLater() {
        await mine.wait(limit);
        mine.clear();
      },
    };
  },
  awaitedSemaphore() {
    const [mine, other] = pairOf(ndshm.Semaphore, { value: 0, undo: false });
    return { pass: () => other.release(), takeLater: () => mine.acquire(limit) };
  },
  async unixSocket() {
    const address = `\0${name}`; // an abstract address: no file to remove
    const socket = isPartner ? await connectionTo(address) : await connectionAt(address);
    return { pass: () => socket.write('.'), takeLater: arrivals(socket, 'data') };
  },
  ipc() {
    const other = partner ?? process;
    return { pass: () => other.send('token'), takeLater: arrivals(other, 'message') };
  },
};

const { pass, take, takeLater } = await ways[way]();

// Until it is killed.
async function follow() {
  for (;;) {
    if (take === undefined) await takeLater();
    else take();
    pass();
  }
}

async function lead() {
  const times = [];
  let end = Number.POSITIVE_INFINITY;
  for (let last = performance.now(); last < end; ) {
    pass();
    if (take === undefined) await takeLater();
    else take();
    const now = performance.now();
    if (times.length === 0) end = now + milliseconds; // the partner has come
    times.push((now - last) * 1000);
    last = now;
  }
  return times.slice(times.length / 2); // in the first half the compiler is still at work
}

if (isPartner) {
  await follow();
} else {
  const times = await lead();
  partner.kill('SIGKILL');
  process.stdout.write(JSON.stringify({ p50: quantile(times, 0.5), p99: quantile(times, 0.99) }));
}
