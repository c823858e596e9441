import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path/posix';

/**
 * How many processors this process may keep busy: those that it may run on, or fewer where the CPU quota of its container
 * says so. A quota of one and a half processors counts as two, as in the JDK: one process could not use it up. `root` is
 * where /proc and /sys are; tests have their own. What cannot be read, or is not what the kernel writes, limits nothing.
 */
export function availableProcessors(root = '/'): number {
  const read = (path: string): string => {
    try {
      return readFileSync(join(root, path), 'utf8').trim();
    } catch {
      return '';
    }
  };
  const processors = Math.min(allowedProcessors(read), ...quotas(read));
  return Math.max(1, Math.ceil(processors));
}

type Read = (path: string) => string;

// Not os.availableParallelism(): from libuv 1.49 on (Node 22) it takes the quota into account, but rounds it down.
function allowedProcessors(read: Read): number {
  const [, allowed = ''] = /^Cpus_allowed_list:\s*(.*)$/m.exec(read('proc/self/status')) ?? [];
  // What is allowed may name processors that are switched off, or that the machine could have and has not.
  const online = new Set(processorsIn(read('sys/devices/system/cpu/online')));
  return processorsIn(allowed).filter((processor) => online.has(processor)).length || availableParallelism();
}

/** The numbers in a list as the kernel writes it: 0-3,8. */
function processorsIn(list: string): number[] {
  return [...list.matchAll(/(\d+)(?:-(\d+))?/g)].flatMap(([, first, last = first]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_, n) => Number(first) + n),
  );
}

/** How many processors' time the cgroup of this process is given, and those that it is in. */
function* quotas(read: Read): Generator<number> {
  for (const line of read('proc/self/cgroup').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const cgroup of withAncestors(path)) {
      if (controllers === '') {
        yield ratio(read(join('sys/fs/cgroup', cgroup, 'cpu.max')));
        yield ratio(read(join('sys/fs/cgroup/unified', cgroup, 'cpu.max'))); // version 2 beside version 1
      } else if (controllers.split(',').includes('cpu')) {
        const folder = join('sys/fs/cgroup/cpu', cgroup);
        yield ratio(`${read(join(folder, 'cpu.cfs_quota_us'))} ${read(join(folder, 'cpu.cfs_period_us'))}`);
      }
    }
  }
}

/** Of a quota and its period. The quota is 'max' (version 2) or -1 (version 1) where there is none. */
function ratio(text: string): number {
  const [, quota, period] = /^(\d+) ([1-9]\d*)$/.exec(text) ?? [];
  return quota === undefined || period === undefined ? Infinity : Number(quota) / Number(period);
}

/**
 * The cgroup, and those that it is in, up to the mount's root. In a container the limit is that of the root: either the
 * path is '/' there, or it is the host's, of which the container's mount has nothing but the root.
 */
function* withAncestors(path: string): Generator<string> {
  for (let cgroup = join('/', path); ; cgroup = dirname(cgroup)) {
    yield cgroup;
    if (cgroup === '/') return;
  }
}
