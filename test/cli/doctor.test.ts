import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import type { Check } from '../../dist/cli/doctor/check';
import { checkLimits } from '../../dist/cli/doctor/limits';
import { type Folder, type Machine, thisMachine } from '../../dist/cli/doctor/machine';
import { checkSharedMemory } from '../../dist/cli/doctor/shared-memory';
import { checkSystem } from '../../dist/cli/doctor/system';
import { describeAsRoot, otherUser, Peer } from '../helpers/child';
import { ndshm as cli, ndshmWith, type Ran, type RunOptions } from '../helpers/cli';
import { exists, freshName } from '../helpers/shm';
import { describeWithStrace } from '../helpers/strace';

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

const roomy: Folder = {
  fileSystem: 0x01021994,
  totalBytes: 8 * gibibyte,
  freeBytes: 7 * gibibyte,
  totalFiles: 1_000_000,
  freeFiles: 999_000,
  permissions: 0o1777,
  refusal: null,
};

interface MadeUp extends Partial<Omit<Machine, 'read' | 'folder'>> {
  readonly files?: Readonly<Record<string, string>>;
  /** What is otherwise about /dev/shm; null = it is not there. */
  readonly shm?: Partial<Folder> | null;
}

const fineFiles = {
  '/proc/self/maps': '7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/libc.so.6\n',
  '/proc/self/status': 'Name:\tnode\nSeccomp:\t0\n',
  '/proc/self/limits': 'Max file size   unlimited unlimited bytes\nMax open files   65536 65536 files\n',
  '/proc/self/cgroup': '0::/\n',
  '/proc/meminfo': 'MemTotal:       16777216 kB\n',
  '/proc/mounts': 'proc /proc proc rw,relatime 0 0\ntmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\n',
  '/sys/kernel/mm/transparent_hugepage/shmem_enabled': 'always within_size advise [never] deny force\n',
};

function madeUp({ files, shm = {}, ...others }: MadeUp): Machine {
  const all: Readonly<Record<string, string>> = { ...fineFiles, ...files };
  return {
    platform: 'linux',
    arch: 'x64',
    kernel: '6.1.0-13-amd64',
    versions: { node: '22.1.0' },
    glibc: '2.36',
    read: (path) => all[path] ?? null,
    folder: (path) => (path === '/dev/shm' && shm !== null ? { ...roomy, ...shm } : null),
    ...others,
  };
}

const checksOf = (what: MadeUp): Check[] => {
  const machine = madeUp(what);
  return [...checkSystem(machine), ...checkSharedMemory(machine), ...checkLimits(machine)];
};

function checkOf(name: string, what: MadeUp): Check {
  const found = checksOf(what).find((check) => check.name === name);
  if (found === undefined) throw new Error(`No check is called '${name}'`);
  return found;
}

const summary = ({ status, found }: Check): string => `${status}: ${found}`;

describe('On a machine made up', () => {
  test('nothing is wrong if nothing is', () => {
    const names = 'platform,runtime,libc,kernel,huge pages,seccomp,/proc,/dev/shm,size,in use,files,permissions';
    expect(checksOf({}).map(({ name, status }) => `${name} ${status}`)).toEqual(
      [...names.split(','), 'memory', 'descriptors', 'size limits'].map((name) => `${name} ok`),
    );
  });

  test.each<[check: string, what: MadeUp, wanted: string, advice: RegExp | null]>([
    ['platform', { platform: 'darwin', arch: 'arm64' }, 'fail: darwin-arm64', /linux-x64 and linux-arm64/],
    ['platform', { arch: 'ia32' }, 'fail: linux-ia32', /linux-x64/],
    ['platform', { arch: 'arm64' }, 'ok: linux-arm64', null],
    ['runtime', { versions: { node: '18.20.0' } }, 'fail: Node.js 18.20.0', /20 or later/],
    ['runtime', { versions: { node: '24.3.0', bun: '1.3.0' } }, 'ok: Bun 1.3.0', null],
    ['runtime', { versions: { node: '24.3.0', deno: '2.5.0' } }, 'ok: Deno 2.5.0', null],
    ['libc', { glibc: '2.17' }, 'fail: glibc 2.17', /glibc 2\.28/],
    ['libc', { glibc: '2.28' }, 'ok: glibc 2.28', null],
    ['libc', { glibc: '3.0' }, 'ok: glibc 3.0', null],
    [
      'libc',
      { glibc: null, files: { '/proc/self/maps': '7f00-7f01 r-xp 0 08:01 1 /lib/ld-musl-x86_64.so.1\n' } },
      'ok: musl',
      null,
    ],
    ['libc', { glibc: null }, 'ok: glibc', null],
    ['libc', { glibc: null, files: { '/proc/self/maps': '' } }, 'ok: not known', null],
    ['kernel', { kernel: '3.10.0-1160.el7' }, 'fail: Linux 3.10.0-1160.el7', /3\.17/],
    ['kernel', { kernel: '5.4.0' }, 'ok: Linux 5.4.0', /5\.14/],
    ['kernel', { kernel: '5.14-rc1' }, 'ok: Linux 5.14-rc1', null],
    ['huge pages', {}, 'ok: shmem_enabled is never', /4 KiB/],
    [
      'huge pages',
      { files: { '/proc/mounts': 'tmpfs /dev/shm tmpfs rw,huge=within_size 0 0' } },
      'ok: shmem_enabled is never, /dev/shm has huge=within_size',
      null,
    ],
    [
      'huge pages',
      {
        files: { '/sys/kernel/mm/transparent_hugepage/shmem_enabled': 'always within_size advise never deny [force]' },
      },
      'ok: shmem_enabled is force',
      null,
    ],
    [
      'huge pages',
      { files: { '/sys/kernel/mm/transparent_hugepage/shmem_enabled': '' } },
      'ok: shmem_enabled is not there',
      /4 KiB/,
    ],
    [
      'seccomp',
      { files: { '/proc/self/status': 'Seccomp:\t2\n' } },
      'ok: system calls are filtered, as in containers',
      /userfaultfd/,
    ],
    [
      '/proc',
      { files: { '/proc/mounts': 'proc /proc proc rw,hidepid=invisible 0 0' } },
      "warn: hides other users' processes (hidepid=invisible)",
      /root sees all/,
    ],
    ['/proc', { files: { '/proc/mounts': 'proc /proc proc rw,hidepid=0 0 0' } }, 'ok: shows the processes', null],
  ])('%s of %j is %s', (name, what, wanted, advice) => {
    const check = checkOf(name, what);
    expect(summary(check)).toBe(wanted);
    if (advice === null) expect(check.advice).toBeNull();
    else expect(check.advice).toMatch(advice);
  });

  test('a missing /proc is a warning', () => {
    const machine: Machine = { ...madeUp({}), read: () => null };
    expect(checkSystem(machine).find(({ name }) => name === '/proc')).toMatchObject({ status: 'warn' });
    expect(checkLimits(machine).map(({ status }) => status)).toEqual(['ok', 'ok', 'ok']);
  });
});

describe('Of /dev/shm', () => {
  test.each<[what: string, shm: Partial<Folder>, check: string, wanted: string, advice: RegExp | null]>([
    [
      'another file system',
      { fileSystem: 0xef53 },
      '/dev/shm',
      'warn: not in memory (file system type 0xef53)',
      /mount -t/,
    ],
    ['a ramfs', { fileSystem: 0x858458f6 }, '/dev/shm', 'warn: a ramfs', /no limit/],
    [
      "Docker's default",
      { totalBytes: 64 * mebibyte },
      'size',
      "warn: 64 MiB, Docker's default",
      /--shm-size=1g.*shm_size: 1gb.*medium Memory/,
    ],
    ['less', { totalBytes: 16 * mebibyte }, 'size', 'warn: 16 MiB', /--shm-size/],
    ['a little more', { totalBytes: 65 * mebibyte }, 'size', 'ok: 65 MiB', null],
    ['no limit', { totalBytes: 0, freeBytes: 0 }, 'size', 'ok: no limit', null],
    ['no limit', { totalBytes: 0, freeBytes: 0 }, 'in use', 'ok: of any amount', null],
    ['a quarter', { freeBytes: 6 * gibibyte }, 'in use', 'ok: 2 GiB (25 %), 6 GiB free', null],
    ['much of it', { freeBytes: gibibyte }, 'in use', 'warn: 7 GiB (87 %), 1 GiB free', /ndshm gc/],
    ['all of it', { freeBytes: 0 }, 'in use', 'fail: 8 GiB (100 %), 0 B free', /ndshm ls --sort size/],
    ['many files', { freeFiles: 99_999 }, 'files', 'warn: 900001 of at most 1000000', /nr_inodes/],
    ['too many files', { freeFiles: 0 }, 'files', 'fail: 1000000 of at most 1000000', /nr_inodes/],
    ['any number', { totalFiles: 0, freeFiles: 0 }, 'files', 'ok: any number', null],
    [
      'no permission',
      { permissions: 0o755, refusal: 'EACCES' },
      'permissions',
      'fail: 755: this user may not make segments (EACCES)',
      /1777/,
    ],
    ['a read-only mount', { refusal: 'EROFS' }, 'permissions', 'fail: mounted read-only', /remount,rw/],
    ['no sticky bit', { permissions: 0o777 }, 'permissions', 'warn: 777: not sticky', /Any user may remove/],
    ['one user', { permissions: 0o700 }, 'permissions', 'ok: 700: this user may make segments', null],
  ])('%s is told: %j, %s', (_, shm, name, wanted, advice) => {
    const check = checkOf(name, { shm });
    expect(summary(check)).toBe(wanted);
    if (advice === null) expect(check.advice).toBeNull();
    else expect(check.advice).toMatch(advice);
  });

  test('its absence is', () => {
    expect(checkSharedMemory(madeUp({ shm: null }))).toMatchObject([{ name: '/dev/shm', status: 'fail' }]);
  });
});

describe('Of the limit of memory', () => {
  const v2 = (folder: string, limit: string, used: number, inactive = 0): Record<string, string> => ({
    [join('/sys/fs/cgroup', folder, 'memory.max')]: `${limit}\n`,
    [join('/sys/fs/cgroup', folder, 'memory.current')]: `${used}\n`,
    [join('/sys/fs/cgroup', folder, 'memory.stat')]: `anon 1\ninactive_file ${inactive}\n`,
  });
  const v1 = (folder: string, limit: number | bigint, used: number, inactive = 0): Record<string, string> => ({
    [join('/sys/fs/cgroup/memory', folder, 'memory.limit_in_bytes')]: `${limit}\n`,
    [join('/sys/fs/cgroup/memory', folder, 'memory.usage_in_bytes')]: `${used}\n`,
    [join('/sys/fs/cgroup/memory', folder, 'memory.stat')]: `inactive_file 1\ntotal_inactive_file ${inactive}\n`,
  });
  const inGroup = (line: string, ...files: Record<string, string>[]): MadeUp['files'] =>
    Object.assign({ '/proc/self/cgroup': line }, ...files) as Record<string, string>;
  const small = { shm: { totalBytes: gibibyte, freeBytes: gibibyte } };
  const plenty = String(16 * gibibyte);

  test.each<[what: string, files: MadeUp['files'], wanted: string]>([
    ['none', inGroup('0::/\n'), 'ok: no limit for this process; the machine has 16 GiB'],
    ["'max' is none", inGroup('0::/a\n', v2('a', 'max', 5)), 'ok: no limit for this process; the machine has 16 GiB'],
    [
      'version 2, in a container that sees its own group as the root',
      inGroup('0::/\n', v2('', String(4 * gibibyte), gibibyte)),
      "ok: the control group's limit is 4 GiB, 1 GiB in use",
    ],
    [
      'version 2, by a group above',
      inGroup(
        '0::/user.slice/app\n',
        v2('user.slice/app', plenty, 7),
        v2('user.slice', String(2 * gibibyte), gibibyte),
      ),
      "ok: the control group's limit is 2 GiB, 1 GiB in use",
    ],
    [
      'version 2, whose path is not to be seen from the container',
      inGroup('0::/docker/0123abc\n', v2('', String(2 * gibibyte), gibibyte)),
      "ok: the control group's limit is 2 GiB, 1 GiB in use",
    ],
    [
      'caches do not count',
      inGroup('0::/\n', v2('', String(2 * gibibyte), 2 * gibibyte, gibibyte)),
      "ok: the control group's limit is 2 GiB, 1 GiB in use",
    ],
    [
      'less than /dev/shm may grow to',
      inGroup('0::/\n', v2('', String(512 * mebibyte), 100 * mebibyte)),
      "warn: the control group's limit is 512 MiB, 100 MiB in use; /dev/shm may grow to 1 GiB",
    ],
    [
      'near the limit',
      inGroup('0::/\n', v2('', String(2 * gibibyte), 2 * gibibyte - mebibyte)),
      "warn: the control group's limit is 2 GiB, 1.999 GiB in use",
    ],
    [
      'version 1, beside other controllers',
      inGroup('12:cpu,cpuacct:/a\n4:memory:/docker/1\n0::/\n', v1('docker/1', 4 * gibibyte, 3 * gibibyte, gibibyte)),
      "ok: the control group's limit is 4 GiB, 2 GiB in use",
    ],
    [
      'version 1 without one has a large number',
      inGroup('4:memory:/\n', v1('', 9223372036854771712n, 5)),
      'ok: no limit for this process; the machine has 16 GiB',
    ],
    [
      'version 1, less than /dev/shm may grow to',
      inGroup('4:memory:/docker/1\n', v1('docker/1', 256 * mebibyte, 1)),
      "warn: the control group's limit is 256 MiB, 1 B in use; /dev/shm may grow to 1 GiB",
    ],
  ])('%s', (_, files, wanted) => {
    const check = checkOf('memory', { ...small, files: files ?? {} });
    expect(summary(check)).toBe(wanted);
    expect(check.advice === null).toBe(check.status === 'ok');
  });

  test('a /dev/shm larger than the memory of the machine is a warning', () => {
    expect(summary(checkOf('memory', { shm: { totalBytes: 32 * gibibyte } }))).toMatch(/^warn: .* may grow to 32 GiB$/);
  });

  test('a /dev/shm without a limit is larger than any memory, and one that is not there is not', () => {
    const unlimited = { totalBytes: 0, freeBytes: 0 };
    const files = inGroup('0::/\n', v2('', plenty, 7)) ?? {};
    expect(summary(checkOf('memory', { shm: unlimited }))).toMatch(/^warn: .* may grow to any size$/);
    expect(summary(checkOf('memory', { shm: unlimited, files }))).toMatch(/^warn: .* may grow to any size$/);
    expect(checkOf('memory', { shm: null, files }).status).toBe('ok');
  });
});

test('Of limits of the process each is told with what sets it', () => {
  const limits = 'Max file size   1048576 unlimited bytes\nMax address space  4294967296 unlimited bytes\n';
  const files = { '/proc/self/limits': `${limits}Max open files   40 4096 files\n` };
  expect(summary(checkOf('size limits', { files }))).toBe(
    'warn: a segment has at most 1 MiB (RLIMIT_FSIZE), a process maps at most 4 GiB (RLIMIT_AS)',
  );
  expect(summary(checkOf('descriptors', { files }))).toBe('fail: 40 for a process');
  const few = { '/proc/self/limits': 'Max open files   1023 4096 files\n' };
  expect(summary(checkOf('descriptors', { files: few }))).toBe('warn: 1023 for a process');
});

// ---- the command, on real machines ----

/** What `ndshm doctor --json` found that is not as it should be, by name. */
function troubles(options: RunOptions = {}): { status: number | null; checks: Map<string, Check>; all: Check[] } {
  const { status, stdout } = ndshmWith(options, 'doctor', '--json');
  const all = JSON.parse(stdout) as Check[];
  return { status, checks: new Map(all.map((check) => [check.name, check])), all };
}

/** Not the memory and the size, which tests do not choose. */
const tried = (all: readonly Check[]) => all.filter(({ name }) => name.startsWith('try: ') || name === 'addon');

describe('ndshm doctor', () => {
  test('finds this machine fit, trying what it needs, and leaves nothing', () => {
    const { status, all, checks } = troubles();
    expect(all.filter(({ status }) => status === 'fail')).toEqual([]);
    expect(status).toBe(0);
    expect(tried(all).map(({ name, status }) => `${name} ${status}`)).toEqual(
      [
        'addon',
        ...['create', 'open', 'lock', 'wake-up', 'replace', 'unlink', 'anonymous', 'store'].map((n) => `try: ${n}`),
      ].map((name) => `${name} ok`),
    );
    expect(checks.get('addon')?.found).toMatch(/\/ndshm\.node$/);
    expect(checks.get('runtime')?.found).toBe(`Node.js ${process.versions.node}`);
    expect(ndshm.list({ leftovers: true }).filter(({ name }) => name.startsWith('ndshm-doctor-'))).toEqual([]);
  });

  test('says the same to people, each check with its advice below', () => {
    const { status, stdout } = cli('doctor');
    const { all } = troubles();
    expect(status).toBe(0);
    for (const { name, status, advice } of all) {
      expect(stdout).toMatch(new RegExp(`^${status} +${name.replaceAll('/', '\\/')} `, 'm'));
      if (advice !== null) expect(stdout).toContain(`→ ${advice}\n`);
    }
    const warnings = all.filter(({ status }) => status === 'warn').length;
    expect(stdout).toMatch(new RegExp(`\n\n${all.length} checks: 0 failed, ${warnings} warnings?\n$`));
  });

  test('has colours only where they are wanted', () => {
    expect(cli('doctor').stdout).not.toContain('\x1b');
    expect(ndshmWith({ env: { FORCE_COLOR: '1' } }, 'doctor').stdout).toContain('\x1b[32mok\x1b[39m');
  });

  test('tells of what crashes have left, which its own trial takes away', async () => {
    const name = freshName('left');
    const peer = await Peer.start();
    await peer.call('a', 'create', name, { shape: 100_000, ephemeral: true });
    await peer.kill();
    expect(troubles().checks.get('leftovers')?.found).toMatch(
      /^none any more; this trial has removed \d+ segments? \(/,
    );
    expect(exists(name)).toBe(false);
  });

  test('runs without the addon and says what to do', () => {
    const { status, checks, all } = troubles({ execArgv: ['--no-addons'] });
    expect(status).toBe(1);
    expect(checks.get('addon')).toMatchObject({ status: 'fail', advice: expect.stringContaining('--no-addons') });
    expect(tried(all)).toHaveLength(1);
    expect(checks.get('/dev/shm')?.status).toBe('ok');
  });

  test('and where there is none says how to compile it', () => {
    const { status, checks } = troubles({ env: { NDSHM_PREBUILD: __dirname } });
    expect(status).toBe(1);
    expect(checks.get('addon')).toMatchObject({ status: 'fail', advice: expect.stringContaining('npx ndshm build') });
  });

  test('sees limits as prlimit(1) sets them', () => {
    const few = troubles({ wrap: ['prlimit', '--nofile=256:256'] });
    expect(few.checks.get('descriptors')).toMatchObject({ status: 'warn', found: '256 for a process' });
    expect(few.status).toBe(0);
    const small = troubles({ wrap: ['prlimit', '--fsize=4096:4096'] });
    expect(small.checks.get('size limits')).toMatchObject({ status: 'warn' });
    expect(small.checks.get('try: create')).toMatchObject({ status: 'fail', found: expect.stringContaining('EFBIG') });
    expect(small.status).toBe(1);
  });

  test('reads of the machine what the kernel says', () => {
    const shm = thisMachine.folder('/dev/shm');
    expect(shm).toMatchObject({ refusal: null, permissions: 0o1777 });
    expect(shm?.freeBytes).toBeLessThanOrEqual(shm?.totalBytes as number);
    expect(thisMachine.read('/proc/self/status')).toContain(`Pid:\t${process.pid}\n`);
    expect(thisMachine.read('/nowhere')).toBeNull();
    expect(thisMachine.folder('/nowhere')).toBeNull();
  });
});

describeAsRoot('Where /dev/shm', () => {
  const withShm = (mounts: string): RunOptions => ({
    wrap: ['unshare', '-m', 'sh', '-c', `${mounts} && exec "$@"`, 'sh'],
  });
  const mounted = (how: string): RunOptions => withShm(`mount -t tmpfs -o ${how} ndshm-test /dev/shm`);

  test("has Docker's size, doctor warns", () => {
    const { status, checks } = troubles(mounted('size=64m,mode=1777'));
    expect(status).toBe(0);
    expect(checks.get('size')).toMatchObject({ status: 'warn', found: "64 MiB, Docker's default" });
  });

  test('is too small for anything, it fails and says how to enlarge it', () => {
    const { status, checks } = troubles(mounted('size=8k,mode=1777'));
    expect(status).toBe(1);
    expect(checks.get('try: create')).toMatchObject({
      status: 'fail',
      found: expect.stringContaining('ENOSPC'),
      advice: expect.stringContaining('--shm-size'),
    });
    expect(checks.has('try: open')).toBe(false);
  });

  test('is full, it fails', () => {
    const { status, checks } = troubles(
      withShm('mount -t tmpfs -o size=1m,mode=1777 ndshm-test /dev/shm && fallocate -l 1m /dev/shm/full'),
    );
    expect(status).toBe(1);
    expect(checks.get('in use')).toMatchObject({ status: 'fail', found: '1 MiB (100 %), 0 B free' });
  });

  test('is read-only, it fails', () => {
    const { status, checks } = troubles(mounted('ro,size=1m,mode=1777'));
    expect(status).toBe(1);
    expect(checks.get('permissions')).toMatchObject({ status: 'fail', found: 'mounted read-only' });
    expect(checks.get('try: create')).toMatchObject({ status: 'fail', advice: expect.stringContaining('remount,rw') });
  });

  test('is not for this user, it fails', () => {
    const { wrap = [] } = mounted('mode=755');
    const { status, checks } = troubles({ wrap: [...wrap, 'setpriv', `--reuid=${otherUser}`, '--clear-groups'] });
    expect(status).toBe(1);
    expect(checks.get('permissions')).toMatchObject({ status: 'fail', found: expect.stringContaining('EACCES') });
    expect(checks.get('try: create')).toMatchObject({ status: 'fail', advice: expect.stringContaining('chmod 1777') });
  });

  test('is not sticky, it warns', () => {
    const { status, checks } = troubles(mounted('size=2m,mode=777'));
    expect(status).toBe(0);
    expect(checks.get('permissions')).toMatchObject({ status: 'warn', found: '777: not sticky' });
  });

  test('is not a tmpfs but a folder on disk, it warns', () => {
    const { checks } = troubles(withShm('mount --bind /tmp /dev/shm'));
    // Where /tmp itself is in memory, there is nothing to say.
    const expected = thisMachine.folder('/tmp')?.fileSystem === roomy.fileSystem ? 'ok' : 'warn';
    expect(checks.get('/dev/shm')?.status).toBe(expected);
  });
});

describeWithStrace('Where a system call is forbidden', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ndshm-test-strace-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  // As by a seccomp profile, or missing as in an old kernel.
  const without = (inject: string): RunOptions => {
    const [call] = inject.split(':') as [string];
    return { wrap: `strace -f -o /dev/null -e trace=${call} -e inject=${inject}`.split(' ') };
  };

  const failed = (ran: Ran): Check[] => (JSON.parse(ran.stdout) as Check[]).filter(({ status }) => status === 'fail');

  test.each([
    ['linkat:error=EPERM', 'try: create', 'EPERM', 'linkat'],
    ['renameat2:error=ENOSYS', 'try: replace', 'ENOSYS', 'renameat2'],
    ['memfd_create:error=EPERM', 'try: anonymous', 'EPERM', 'memfd_create'],
  ])('%s is found by %s', (inject, name, code, call) => {
    const ran = ndshmWith(without(inject), 'doctor', '--json');
    expect(failed(ran)).toEqual([
      {
        name,
        status: 'fail',
        found: expect.stringContaining(code),
        advice: expect.stringContaining(call),
      },
    ]);
    expect(ran.status).toBe(1);
  });

  test('the one call that gives pages back is found among others of its name', () => {
    const trace = join(folder, 'calls');
    ndshmWith({ wrap: `strace -f -o ${trace} -e trace=fallocate`.split(' ') }, 'doctor');
    const calls = readFileSync(trace, 'utf8')
      .split('\n')
      .filter((line) => line.includes('fallocate('));
    const n = 1 + calls.findIndex((line) => line.includes('PUNCH_HOLE'));
    expect(n).toBeGreaterThan(1);
    const ran = ndshmWith(without(`fallocate:error=EOPNOTSUPP:when=${n}`), 'doctor', '--json');
    expect(failed(ran)).toEqual([
      {
        name: 'try: store',
        status: 'fail',
        found: expect.stringContaining('ENOTSUP'),
        advice: expect.stringContaining('lacks it: fallocate'),
      },
    ]);
  });
});
