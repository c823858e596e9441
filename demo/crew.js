const { fork } = require('node:child_process');
const { once } = require('node:events');
const { join } = require('node:path');

const stopTimeoutMs = 5000;

/** Forked workers, each given one task at a time. Whatever is under way fails when one dies or `signal` is aborted. */
class Crew {
  #broken;
  #stopped = false;

  constructor(count, signal) {
    signal.throwIfAborted();
    this.workers = Array.from({ length: count }, () => fork(join(__dirname, 'worker.js')));
    this.#broken = new Promise((_, reject) => {
      for (const worker of this.workers) {
        worker.on('error', reject);
        worker.on('exit', (code, killedBy) => {
          if (!this.#stopped) reject(new Error(`worker ${worker.pid} died (${killedBy ?? `exit code ${code}`})`));
        });
      }
      signal.addEventListener('abort', () => reject(signal.reason));
    });
    this.#broken.catch(() => {}); // also while nobody asks
  }

  async ask(worker, request) {
    const answer = once(worker, 'message');
    worker.send(request, () => {}); // if it fails the worker is dead, which its exit says better
    const [{ result }] = await Promise.race([answer, this.#broken]);
    return result;
  }

  /** All at the same time; the answers of all. */
  askAll(request) {
    return Promise.all(this.workers.map((worker) => this.ask(worker, request)));
  }

  /** Gives out 0 to count - 1 in pieces, the next one to whoever is free; `workers` may be some of the crew. */
  async share(count, request, { workers = this.workers, pieceLength = 10, onProgress }) {
    let given = 0;
    let done = 0;
    const work = async (worker) => {
      while (given < count) {
        const from = given;
        given = Math.min(from + pieceLength, count);
        const to = given;
        await this.ask(worker, { ...request, from, to });
        done += to - from;
        onProgress(done);
      }
    };
    await Promise.all(workers.map(work));
  }

  /** Every worker has left when this resolves. */
  async stop() {
    this.#stopped = true;
    const alive = this.workers.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    const gone = alive.map((worker) => once(worker, 'exit'));
    const deadline = setTimeout(() => {
      for (const worker of alive) worker.kill('SIGKILL');
    }, stopTimeoutMs);
    for (const worker of alive) if (worker.connected) worker.disconnect();
    await Promise.all(gone);
    clearTimeout(deadline);
  }
}

/** Calls `work` with a new crew, and stops it whatever comes of that. */
async function withCrew(count, signal, work) {
  const crew = new Crew(count, signal);
  try {
    return await work(crew);
  } finally {
    await crew.stop();
  }
}

module.exports = { withCrew };
