// What docs/cli.md and the screenshots show: some segments, and processes that use them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ndshm from '../dist/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));

// Not to be collected as long as the process lives.
const kept = [];
/** The processes of the scene. */
const players = [];

const roles = {
  /** Writes prices ten times a second. */
  feed() {
    const prices = ndshm.create('prices', { shape: [1000, 3], dtype: 'float64', ephemeral: true });
    let tick = 0;
    const write = () =>
      prices.writeSync(() => {
        for (let row = 0; row < 1000; row++) {
          for (let column = 0; column < 3; column++)
            prices.set([row, column], 100 + column + Math.sin((row + tick) / 60));
        }
      });
    write();
    setInterval(() => {
      tick++;
      write();
    }, 100);
  },
  /** Stays inside the lock of a model. */
  trainer() {
    const model = ndshm.create('model', { shape: [256, 128], dtype: 'float32', ephemeral: true });
    return new Promise((inside) => {
      void model.write(() => {
        inside();
        return new Promise(() => setInterval(() => {}, 1e6));
      });
    });
  },
  /** Waits for the model, and has two of three permits. */
  async server() {
    const model = ndshm.open('model', { mode: 'r+' });
    const licences = new ndshm.Semaphore('licences', { value: 3, ephemeral: true });
    licences.tryAcquire();
    licences.tryAcquire();
    const jobs = new ndshm.Queue('jobs', { maxItems: 100, ephemeral: true });
    for (let n = 0; n < 3; n++) jobs.tryPut({ task: 'resize', n });
    const results = ndshm.Store.open('results', { capacity: '8MiB' });
    await results.put({ scores: new Float64Array(100_000) });
    await results.put('done');
    kept.push(licences, jobs, results);
    model.read(() => {}).catch(() => {}); // the trainer ends inside, when all do
    while (ndshm.stat('model').peers.every(({ waitsFor }) => waitsFor === null)) await new Promise(setImmediate);
  },
  /** Is killed, and cannot clean up. */
  crasher() {
    ndshm.create('scratch', { shape: [512, 512], dtype: 'float32', ephemeral: true });
  },
  /** Has all the others, and some arrays of its own. */
  async scene() {
    const grid = ndshm.create('grid', { shape: [48, 96], dtype: 'float32', ephemeral: true });
    for (let i = 0; i < 48; i++) {
      for (let j = 0; j < 96; j++) grid.set([i, j], Math.sin(i / 8) * Math.cos(j / 12) + i / 96);
    }
    kept.push(grid);
    const digits = ndshm.fromArray('digits', [3, 1, 4, 1, 5, 9], { dtype: 'uint8', ifExists: 'replace' });
    ndshm.save(digits, '/dev/shm/plain.npy'); // as numpy would
    digits.close();
    writeFileSync('/dev/shm/sem.other-program', 'not ours');
    for (const role of ['feed', 'trainer', 'server']) players.push(await start(role));
    // Last: whoever makes something after a crash takes away what it has left.
    const crasher = await start('crasher');
    crasher.kill('SIGKILL');
    await once(crasher, 'exit');
  },
};

/** They go with their channel, and what they have with them. */
async function leaveScene() {
  await Promise.all(players.map(end));
  for (const array of kept) array.close();
  for (const name of ['digits', 'plain.npy', 'sem.other-program', 'scratch']) {
    try {
      ndshm.unlink(name);
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
  process.exit();
}

/** By a short command line, which `who` shows. Resolves once it has said 'ready'. */
async function start(role) {
  const stdio = ['ignore', 'inherit', 'inherit', 'ipc'];
  const child = spawn(process.execPath, ['scripts/cli-scene.mjs', role], { argv0: 'node', cwd: root, stdio });
  const [said] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (said !== 'ready') throw new Error(`The ${role} ended early`);
  return child;
}

async function end(child) {
  child.disconnect();
  await once(child, 'exit');
}

/** In the /dev/shm that this process sees; end() takes all of it away. */
export async function startScene() {
  const scene = await start('scene');
  return { end: () => end(scene) };
}

const [, script, role] = process.argv;
if (script === fileURLToPath(import.meta.url)) {
  process.on('disconnect', () => void (role === 'scene' ? leaveScene() : process.exit()));
  await roles[role]();
  process.send('ready');
}
