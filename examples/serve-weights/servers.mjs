import cluster from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/**
 * Starts a cluster of servers, which share a port; resolves when they listen. `broken` rejects if one of them ends
 * before stop(). Aborting `signal` kills them.
 */
export async function startServers(count, given, { signal }) {
  cluster.setupPrimary({
    exec: fileURLToPath(new URL('server.mjs', import.meta.url)),
    args: [JSON.stringify(given)],
  });
  const workers = Array.from({ length: count }, () => cluster.fork());
  const exits = workers.map((worker) => once(worker, 'exit'));
  signal.addEventListener('abort', () => {
    for (const { process } of workers) process.kill('SIGKILL');
  });

  let stopped = false;
  const broken = Promise.race(exits).then(([code, killedBy]) => {
    if (!stopped) throw new Error(`A server ended with ${killedBy ?? `exit code ${code}`}`);
  });
  broken.catch(() => {}); // also while nobody asks
  const listening = Promise.all(workers.map((worker) => once(worker, 'listening')));
  const [[{ port }]] = await Promise.race([listening, broken]);
  return {
    port,
    broken,
    async stop() {
      stopped = true;
      cluster.disconnect();
      await Promise.all(exits);
    },
  };
}
