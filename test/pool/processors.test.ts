import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { availableProcessors } from '../../dist/pool/processors';

const folder = mkdtempSync(join(tmpdir(), 'ndshm-processors-'));
afterAll(() => rmSync(folder, { recursive: true }));
let trees = 0;

const sixteen = {
  'proc/self/status': 'Name:\tnode\nCpus_allowed_list:\t0-15\n',
  'sys/devices/system/cpu/online': '0-15\n',
};

/** What is found in a tree of these files, on a machine of sixteen processors unless they say otherwise. */
function found(files: Record<string, string>): number {
  const root = join(folder, String(trees++));
  for (const [path, text] of Object.entries({ ...sixteen, ...files })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return availableProcessors(root);
}

describe('the processors that a process may run on', () => {
  test.each([
    ['0-15', '0-15', 16],
    ['0', '0-15', 1],
    ['2,4-6', '0-15', 4],
    ['0-127', '0-3', 4],
    ['0-7', '0,2-3', 3],
  ])('allowed %s of %s that are online: %i', (allowed, online, expected) => {
    expect(
      found({
        'proc/self/status': `Name:\tnode\nCpus_allowed:\tffff\nCpus_allowed_list:\t${allowed}\n`,
        'sys/devices/system/cpu/online': `${online}\n`,
      }),
    ).toBe(expected);
  });
});

describe('the quota of a container', () => {
  const inGroup = (path: string) => ({ 'proc/self/cgroup': `0::${path}\n` });

  test.each([
    ['max 100000', 16],
    ['400000 100000', 4],
    ['100000 100000', 1],
    ['150000 100000', 2],
    ['401000 100000', 5],
    ['10000 100000', 1],
    ['1000 10000', 1],
    ['6400000 100000', 16],
  ])('in version 2, %s, leaves %i of sixteen', (text, expected) => {
    expect(found({ ...inGroup('/app'), 'sys/fs/cgroup/app/cpu.max': `${text}\n` })).toBe(expected);
  });

  test.each([
    ['-1', '100000', 16],
    ['400000', '100000', 4],
    ['150000', '100000', 2],
    ['5000', '100000', 1],
    ['125000', '50000', 3],
  ])('in version 1, %s in %s, leaves %i of sixteen', (quota, period, expected) => {
    expect(
      found({
        'proc/self/cgroup': '5:memory:/elsewhere\n4:cpu,cpuacct:/app\n1:name=systemd:/app\n',
        'sys/fs/cgroup/cpu/app/cpu.cfs_quota_us': `${quota}\n`,
        'sys/fs/cgroup/cpu/app/cpu.cfs_period_us': `${period}\n`,
      }),
    ).toBe(expected);
  });

  test.each([
    { root: 'max', outer: '300000', inner: 'max', expected: 3 },
    { root: 'max', outer: '300000', inner: '500000', expected: 3 },
    { root: 'max', outer: '800000', inner: '500000', expected: 5 },
    { root: '200000', outer: '800000', inner: '500000', expected: 2 },
    { root: 'max', outer: 'max', inner: 'max', expected: 16 },
  ])('is the least of $inner within $outer within $root', ({ root, outer, inner, expected }) => {
    expect(
      found({
        ...inGroup('/outer/inner'),
        'sys/fs/cgroup/cpu.max': `${root} 100000\n`,
        'sys/fs/cgroup/outer/cpu.max': `${outer} 100000\n`,
        'sys/fs/cgroup/outer/inner/cpu.max': `${inner} 100000\n`,
        'sys/fs/cgroup/other/cpu.max': '100000 100000\n',
      }),
    ).toBe(expected);
  });

  test('is at the mount’s root in a container with a cgroup namespace', () => {
    expect(found({ ...inGroup('/'), 'sys/fs/cgroup/cpu.max': '250000 100000\n' })).toBe(3);
  });

  test('is at the mount’s root, too, where the path is the host’s', () => {
    expect(
      found({
        'proc/self/cgroup': '4:cpu,cpuacct:/docker/0123\n0::/docker/0123\n',
        'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '600000\n',
        'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      }),
    ).toBe(6);
  });

  test.each([
    { one: '300000', two: 'max 100000', expected: 3 },
    { one: '-1', two: '700000 100000', expected: 7 },
    { one: '600000', two: '500000 100000', expected: 5 },
  ])('is the lesser one where both versions are mounted: $one, $two', ({ one, two, expected }) => {
    expect(
      found({
        'proc/self/cgroup': '2:cpu:/app\n0::/app\n',
        'sys/fs/cgroup/cpu/app/cpu.cfs_quota_us': `${one}\n`,
        'sys/fs/cgroup/cpu/app/cpu.cfs_period_us': '100000\n',
        'sys/fs/cgroup/unified/app/cpu.max': `${two}\n`,
      }),
    ).toBe(expected);
  });

  test('holds in a cgroup whose name has colons and spaces', () => {
    expect(found({ ...inGroup('/a:b/c d'), 'sys/fs/cgroup/a:b/c d/cpu.max': '200000 100000\n' })).toBe(2);
  });
});

describe('what limits nothing', () => {
  test.each(['', 'max', '200000', '200000 0', '0x10 100000', '-1 100000', '2e5 100000', '200000 100000 1', '\0\0\0\0'])(
    'a cpu.max of %j',
    (text) => {
      expect(found({ 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': text })).toBe(16);
    },
  );

  test.each(['', '\n\n', 'garbage', '0:', '0::', '0::app', '::/', '7:cpuset:/'])('a list of cgroups of %j', (text) => {
    expect(found({ 'proc/self/cgroup': text, 'sys/fs/cgroup/app/cpu.max': '100000 100000\n' })).toBe(16);
  });

  test('a path that leads out of the mount', () => {
    expect(
      found({
        'proc/self/cgroup': '0::/../../other\n',
        'sys/other/cpu.max': '100000 100000\n',
        'other/cpu.max': '1 1',
      }),
    ).toBe(16);
  });

  test('files that are not there: then it is what the runtime says', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    expect(availableProcessors(empty)).toBe(availableParallelism());
  });
});

describe('on this machine', () => {
  const program = `process.stdout.write(String(require(${JSON.stringify(resolve(__dirname, '../../dist/pool/processors'))}).availableProcessors()))`;
  const printed = (command: string, ...args: string[]): number => {
    const { status, stdout, stderr } = spawnSync(command, [...args, process.execPath, '-e', program], {
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return Number(stdout);
  };

  test('a process that may run on one processor has one', () => {
    const [, first = ''] = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    expect(printed('taskset', '-c', first)).toBe(1);
  });

  const cgroup = smallCgroup();
  afterAll(() => {
    if (cgroup !== undefined) rmdirSync(cgroup);
  });
  // A container may neither make a cgroup nor, as a rule, give a part of its own time to one.
  test(
    cgroup === undefined
      ? 'no cgroup can be made to try a quota in: as many as nproc says, or fewer'
      : 'a process that is given half of the time of one processor has one',
    () => {
      if (cgroup === undefined) {
        const nproc = Number(spawnSync('nproc', { encoding: 'utf8' }).stdout);
        expect(availableProcessors()).toBeGreaterThanOrEqual(1);
        expect(availableProcessors()).toBeLessThanOrEqual(nproc);
      } else {
        const join = 'echo $$ > "$0"/cgroup.procs && exec "$@"';
        expect(printed('sh', '-c', join, cgroup)).toBe(1);
      }
    },
  );
});

/** A cgroup with half of a processor, if there can be one. */
function smallCgroup(): string | undefined {
  const mounts = [
    { folder: '/sys/fs/cgroup/cpu', file: 'cpu.cfs_quota_us', text: '50000' },
    { folder: '/sys/fs/cgroup', file: 'cpu.max', text: '50000 100000' },
  ];
  for (const { folder, file, text } of mounts) {
    const cgroup = join(folder, `ndshm-test-${process.pid}`);
    try {
      mkdirSync(cgroup);
    } catch {
      continue;
    }
    try {
      writeFileSync(join(cgroup, file), text, { flag: 'r+' }); // only where there is such a file
      return cgroup;
    } catch {
      rmdirSync(cgroup);
    }
  }
  return undefined;
}
