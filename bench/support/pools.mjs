// The process and thread pools of npm that ndshm's pool is compared with, each as its README says, with one face.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const measured = (file) => new URL(`../measured/${file}`, import.meta.url);
const work = measured('pool-work.mjs');
const pathOf = (url) => fileURLToPath(url);

async function openTinypool(runtime, size, { workerData }) {
  const { Tinypool } = await import('tinypool');
  const options = { runtime, workerData, minThreads: size, maxThreads: size };
  const pool = new Tinypool({ filename: work.href, ...options });
  return { run: (name, argument) => pool.run(argument, { name }), close: () => pool.destroy() };
}

async function openWorkerpool(workerType, size, { workerData }) {
  const { default: workerpool } = await import('workerpool');
  const options = { workerType, minWorkers: size, maxWorkers: size };
  if (workerData !== undefined) options.workerThreadOpts = { workerData };
  const pool = workerpool.pool(pathOf(measured('pool-work-workerpool.mjs')), options);
  return { run: (name, argument) => pool.exec(name, [argument]), close: () => pool.terminate() };
}

/** What each is called, whether its workers are threads, and how it opens: `size` workers that know pool-work.mjs. */
export const pools = {
  piscina: {
    label: 'piscina, threads',
    threads: true,
    async open(size, { workerData }) {
      const { Piscina } = await import('piscina');
      const pool = new Piscina({ filename: pathOf(work), workerData, minThreads: size, maxThreads: size });
      return { run: (name, argument) => pool.run(argument, { name }), close: () => pool.destroy() };
    },
  },
  tinypoolThreads: {
    label: 'tinypool, threads',
    threads: true,
    open: (size, options) => openTinypool('worker_threads', size, options),
  },
  workerpoolThreads: {
    label: 'workerpool, threads',
    threads: true,
    open: (size, options) => openWorkerpool('thread', size, options),
  },
  tinypoolProcesses: {
    label: 'tinypool, processes',
    threads: false,
    open: (size, options) => openTinypool('child_process', size, options),
  },
  workerpoolProcesses: {
    label: 'workerpool, processes',
    threads: false,
    open: (size, options) => openWorkerpool('process', size, options),
  },
  jestWorker: {
    label: 'jest-worker, processes',
    threads: false,
    async open(size) {
      const { Worker } = await import('jest-worker');
      const exposedMethods = Object.keys(await import(work.href));
      const pool = new Worker(pathOf(work), { exposedMethods, numWorkers: size });
      return { run: (name, argument) => pool[name](argument), close: () => pool.end() };
    },
  },
};

/** Opens a pool of that key of `pools`. `workerData` reaches the workers that are threads. */
export const openPool = (key, size, options = {}) => pools[key].open(size, options);

/** One process without any pool, that takes one task at a time, by structured clone. */
export function openBareFork() {
  const child = fork(measured('pool-work-ipc.mjs'), { serialization: 'advanced' });
  return {
    async run(name, argument) {
      child.send([name, argument]);
      const [result] = await once(child, 'message');
      return result;
    },
    close: () => child.kill('SIGKILL'),
  };
}
