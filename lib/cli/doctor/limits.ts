import { dirname, join } from 'node:path';
import { bytesInWords } from '../words';
import { type Check, fail, ok, warn } from './check';
import type { Machine } from './machine';

/** What this process may have. */
export function checkLimits(machine: Machine): Check[] {
  return [memory(machine), descriptors(machine), sizes(machine)];
}

// ---- memory ----

interface MemoryLimit {
  readonly limit: number;
  readonly used: number;
}

function memory(machine: Machine): Check {
  const shm = mostShared(machine);
  const group = tightestGroup(machine);
  if (group === undefined) return physicalMemory(machine, shm);
  const { limit, used } = group;
  const found = `the control group's limit is ${bytesInWords(limit)}, ${bytesInWords(used)} in use`;
  if (used >= 0.9 * limit) {
    return warn(
      'memory',
      found,
      'Near the limit the kernel kills processes: raise it, or remove segments (`ndshm ls`)',
    );
  }
  return shm > limit
    ? warn(
        'memory',
        `${found}; /dev/shm may grow to ${sizeInWords(shm)}`,
        'Shared memory counts: before /dev/shm is full (ENOSPC) the kernel kills a process. Give the container more memory ' +
          '(`docker run --memory`, resources.limits.memory) or a smaller /dev/shm',
      )
    : ok('memory', found);
}

function mostShared(machine: Machine): number {
  const folder = machine.folder('/dev/shm');
  if (folder === null) return 0;
  return folder.totalBytes === 0 ? Number.POSITIVE_INFINITY : folder.totalBytes;
}

const sizeInWords = (bytes: number): string => (bytes === Number.POSITIVE_INFINITY ? 'any size' : bytesInWords(bytes));

function physicalMemory(machine: Machine, shm: number): Check {
  const total = 1024 * Number(/^MemTotal:\s*(\d+) kB/m.exec(machine.read('/proc/meminfo') ?? '')?.[1] ?? Number.NaN);
  if (Number.isNaN(total)) return ok('memory', 'no limit for this process');
  const found = `no limit for this process; the machine has ${bytesInWords(total)}`;
  return shm > total
    ? warn(
        'memory',
        `${found}, /dev/shm may grow to ${sizeInWords(shm)}`,
        'Before /dev/shm is full (ENOSPC) the kernel kills a process: `mount -o remount,size=50% /dev/shm`',
      )
    : ok('memory', found);
}

/** Of all control groups that this process is in; in containers the names of most are not to be seen, and the root's is ours. */
function tightestGroup(machine: Machine): MemoryLimit | undefined {
  const groups = machine.read('/proc/self/cgroup')?.trim().split('\n') ?? [];
  const limits = groups.flatMap((line) => {
    const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === '') {
      return limitsUpFrom('/sys/fs/cgroup', path, (folder) =>
        limitOf(machine, folder, { limit: 'memory.max', used: 'memory.current', cached: 'inactive_file' }),
      );
    }
    if (!controllers.split(',').includes('memory')) return [];
    return limitsUpFrom('/sys/fs/cgroup/memory', path, (folder) =>
      limitOf(machine, folder, {
        limit: 'memory.limit_in_bytes',
        used: 'memory.usage_in_bytes',
        cached: 'total_inactive_file',
      }),
    );
  });
  return limits.sort((a, b) => a.limit - b.limit)[0];
}

function limitsUpFrom(root: string, path: string, limitAt: (folder: string) => MemoryLimit | undefined): MemoryLimit[] {
  const limits: MemoryLimit[] = [];
  for (let at = path; ; at = dirname(at)) {
    const limit = limitAt(join(root, at));
    if (limit !== undefined) limits.push(limit);
    if (at === dirname(at)) return limits;
  }
}

function limitOf(
  machine: Machine,
  folder: string,
  names: { readonly limit: string; readonly used: string; readonly cached: string },
): MemoryLimit | undefined {
  const limit = Number(machine.read(join(folder, names.limit)) ?? Number.NaN); // 'max' is none
  // Version 1 has no word for it, but a number that no machine has.
  if (!(limit < 2 ** 60)) return undefined;
  // Pages of files that can be dropped at any time count as used.
  const cached = new RegExp(`^${names.cached} (\\d+)`, 'm').exec(machine.read(join(folder, 'memory.stat')) ?? '')?.[1];
  const used = Number(machine.read(join(folder, names.used)) ?? 0) - Number(cached ?? 0);
  return { limit, used: Math.max(0, used) };
}

// ---- limits of setrlimit(2) ----

function descriptors(machine: Machine): Check {
  const limit = softLimit(machine, 'Max open files');
  const found = Number.isFinite(limit) ? `${limit} for a process` : 'no limit';
  const advice =
    'Every open array holds one: `ulimit -n 65536`; Docker: `--ulimit nofile=65536`; systemd: LimitNOFILE=';
  if (limit < 64) return fail('descriptors', found, advice);
  return limit < 1024 ? warn('descriptors', found, advice) : ok('descriptors', found);
}

function sizes(machine: Machine): Check {
  const file = softLimit(machine, 'Max file size');
  const address = softLimit(machine, 'Max address space');
  const found = [
    ...(Number.isFinite(file) ? [`a segment has at most ${bytesInWords(file)} (RLIMIT_FSIZE)`] : []),
    ...(Number.isFinite(address) ? [`a process maps at most ${bytesInWords(address)} (RLIMIT_AS)`] : []),
  ].join(', ');
  return found === ''
    ? ok('size limits', 'none')
    : warn('size limits', found, '`ulimit -f unlimited -v unlimited`; systemd: LimitFSIZE=, LimitAS=');
}

function softLimit(machine: Machine, name: string): number {
  const found = new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(machine.read('/proc/self/limits') ?? '')?.[1];
  return found === undefined ? Number.POSITIVE_INFINITY : Number(found);
}
