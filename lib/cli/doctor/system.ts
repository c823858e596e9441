import { type Check, fail, ok, warn } from './check';
import type { Machine } from './machine';

/** The machine, its kernel, and what runs this program. */
export function checkSystem(machine: Machine): Check[] {
  return [
    platform(machine),
    runtime(machine),
    cLibrary(machine),
    kernel(machine),
    hugePages(machine),
    seccomp(machine),
    processes(machine),
  ];
}

function platform({ platform, arch }: Machine): Check {
  const found = `${platform}-${arch}`;
  return ['linux-x64', 'linux-arm64'].includes(found)
    ? ok('platform', found)
    : fail('platform', found, 'ndshm runs on linux-x64 and linux-arm64');
}

function runtime({ versions }: Machine): Check {
  const { bun, deno, node = '' } = versions;
  if (bun !== undefined) return ok('runtime', `Bun ${bun}`);
  if (deno !== undefined) return ok('runtime', `Deno ${deno}`);
  const found = `Node.js ${node}`;
  return isAtLeast(node, [20]) ? ok('runtime', found) : fail('runtime', found, 'Use Node.js 20 or later');
}

function cLibrary(machine: Machine): Check {
  const { glibc } = machine;
  const mapped = machine.read('/proc/self/maps') ?? '';
  if (/\/(ld-musl-|libc\.musl-)/.test(mapped)) return ok('libc', 'musl');
  if (glibc === null) return ok('libc', /\/libc[.-]/.test(mapped) ? 'glibc' : 'not known');
  return isAtLeast(glibc, [2, 28])
    ? ok('libc', `glibc ${glibc}`)
    : fail('libc', `glibc ${glibc}`, 'The addon needs glibc 2.28 or later, or musl: use a newer system or base image');
}

function kernel({ kernel }: Machine): Check {
  const found = `Linux ${kernel}`;
  // memfd_create(2) is the youngest of the calls for which there is nothing else.
  if (!isAtLeast(kernel, [3, 17])) return fail('kernel', found, 'ndshm needs Linux 3.17 or later');
  return isAtLeast(kernel, [5, 14])
    ? ok('kernel', found)
    : ok('kernel', found, 'From Linux 5.14 on large arrays are made faster');
}

function hugePages(machine: Machine): Check {
  const setting = machine.read('/sys/kernel/mm/transparent_hugepage/shmem_enabled')?.match(/\[(\w+)\]/)?.[1];
  const shm = mountOptions(machine, '/dev/shm')?.match(/\bhuge=(\w+)/)?.[1];
  const found = `shmem_enabled is ${setting ?? 'not there'}${shm === undefined ? '' : `, /dev/shm has huge=${shm}`}`;
  const used = setting === 'force' || (setting !== 'deny' && shm !== undefined && shm !== 'never');
  return ok(
    'huge pages',
    found,
    used
      ? null
      : 'Arrays lie on pages of 4 KiB, which is fine. Where arrays of many MB are made all the time: ' +
          '`mount -o remount,huge=within_size /dev/shm`',
  );
}

function seccomp(machine: Machine): Check {
  const mode = machine.read('/proc/self/status')?.match(/^Seccomp:\s*(\d)/m)?.[1];
  return mode === '2'
    ? ok(
        'seccomp',
        'system calls are filtered, as in containers',
        'Where userfaultfd(2) is not allowed, large arrays are made more slowly; what else is needed is tried below',
      )
    : ok('seccomp', 'no filter');
}

function processes(machine: Machine): Check {
  if (machine.read('/proc/self/maps') === null) {
    return warn('/proc', 'not to be read', '`who` and `rm` cannot see who uses a segment: mount /proc');
  }
  const hidden = mountOptions(machine, '/proc')?.match(/\bhidepid=(\w+)/)?.[1];
  return hidden === undefined || ['0', 'off'].includes(hidden)
    ? ok('/proc', 'shows the processes')
    : warn(
        '/proc',
        `hides other users' processes (hidepid=${hidden})`,
        '`who` and `rm` see the processes of this user alone; root sees all',
      );
}

/** How something is mounted; null if nothing is mounted there. */
export function mountOptions(machine: Machine, at: string): string | null {
  const lines = machine.read('/proc/mounts')?.split('\n') ?? [];
  // What is mounted last is on top.
  return lines.map((line) => line.split(' ')).findLast(([, point]) => point === at)?.[3] ?? null;
}

function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [n, wanted] of least.entries()) {
    const part = parts[n] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}
