import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { SharedArray } from '../../index';
import { bytesInWords, countInWords } from '../words';
import { type Check, fail, howToEnlarge, ok, warn } from './check';

type Ndshm = typeof import('../../index');

/** Loads the addon and tries all that ndshm asks of the kernel, since no list of settings tells what is forbidden here. */
export async function checkByTrying(): Promise<Check[]> {
  let ndshm: Ndshm;
  try {
    // Here, since without an addon the other checks have to run all the same.
    ndshm = await import('../../index.js');
  } catch (error) {
    const { message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
    const advice =
      cause?.code === 'ERR_DLOPEN_DISABLED'
        ? 'Start Node.js without --no-addons; with --permission it takes --allow-addons'
        : '`npx ndshm build` compiles it';
    return [fail('addon', message, `${advice}. Nothing that needs it was tried`)];
  }
  const found = leftovers(ndshm);
  return [ok('addon', addonPath()), ...(await tryAll(ndshm)), afterwards(ndshm, found)];
}

const addonPath = (): string =>
  (require('node-gyp-build') as { path(directory: string): string }).path(resolve(__dirname, '../../..'));

// ---- what crashes have left ----

interface Leftovers {
  readonly count: number;
  readonly bytes: number;
}

function leftovers({ list }: Ndshm): Leftovers | null {
  try {
    const found = list({ leftovers: true, foreign: true }).filter(({ leftover }) => leftover);
    return { count: found.length, bytes: found.reduce((bytes, { allocatedBytes }) => bytes + allocatedBytes, 0) };
  } catch {
    return null; // the checks of /dev/shm say why
  }
}

/** The first array that any process makes takes away what crashes have left; so did the trial's. */
function afterwards(ndshm: Ndshm, before: Leftovers | null): Check {
  const after = leftovers(ndshm);
  if (before === null || after === null) return ok('leftovers', 'not to be seen');
  const inWords = ({ count, bytes }: Leftovers) => `${countInWords(count, 'segment')} (${bytesInWords(bytes)})`;
  if (after.count > 0) {
    return warn('leftovers', `${inWords(after)} left by crashes`, '`ndshm gc` removes them');
  }
  return ok('leftovers', before.count === 0 ? 'none' : `none any more; this trial has removed ${inWords(before)}`);
}

// ---- the trial ----

interface Trial {
  readonly ndshm: Ndshm;
  readonly name: string;
  /** What the steps have opened, in order. */
  readonly arrays: SharedArray<'int32'>[];
}

/** What 'create' and 'open' leave to the others. */
type Pair = [SharedArray<'int32'>, SharedArray<'int32'>];

interface Step {
  readonly name: string;
  /** The system calls, for where the error does not name one. */
  readonly calls: string;
  /** Resolves with what to tell of it. Later steps build upon it if it is `needed`. */
  readonly run: (trial: Trial) => Promise<string> | string;
  readonly needed?: boolean;
}

const waitMs = 1000;

const steps: readonly Step[] = [
  {
    name: 'create',
    calls: 'open(O_TMPFILE), fallocate, linkat, fcntl(F_OFD_SETLK)',
    run({ ndshm, name, arrays }) {
      arrays.push(ndshm.create(name, { shape: 1024, dtype: 'int32', ephemeral: true }));
      return 'a segment, at once under its name';
    },
    needed: true,
  },
  {
    name: 'open',
    calls: 'open, mmap, fcntl(F_OFD_GETLK)',
    run({ ndshm, name, arrays }) {
      arrays.push(ndshm.open(name, { mode: 'r+' }) as SharedArray<'int32'>);
      const { peers } = ndshm.stat(name);
      if (peers.length !== 2) throw new Error(`Expected to see 2 peers but saw ${peers.length}`);
      return 'a second time; both are seen to be there';
    },
    needed: true,
  },
  {
    name: 'lock',
    calls: 'mmap, futex',
    run({ arrays }) {
      const [one, other] = arrays as Pair;
      const entered = one.writeSync(() => other.tryWrite(() => true));
      if (entered === true) throw new Error('Expected the lock to keep a second writer out, but it came in');
      if (other.tryWrite(() => true) !== true) throw new Error('Expected the lock to be free again, but it was not');
      return 'one writer keeps the other out';
    },
  },
  {
    name: 'wake-up',
    calls: 'clone, futex(FUTEX_WAIT, FUTEX_WAKE)',
    async run({ arrays }) {
      const [one, other] = arrays as Pair;
      const from = performance.now();
      await Promise.all([other.changed({ timeoutMs: waitMs }), one.write((array) => array.set(0, 1))]);
      return `after ${(performance.now() - from).toFixed(1)} ms`;
    },
  },
  {
    name: 'replace',
    calls: 'renameat2',
    run({ ndshm, name, arrays }) {
      const before = ndshm.stat(name).id;
      arrays.push(ndshm.create(name, { shape: 1, dtype: 'int32', ephemeral: true, ifExists: 'replace' }));
      if (ndshm.stat(name).id === before) throw new Error('Expected the name to mean the new segment');
      return 'by another segment, at once';
    },
  },
  {
    name: 'unlink',
    calls: 'unlink',
    run({ ndshm, name }) {
      ndshm.unlink(name);
      return 'the name is gone';
    },
  },
  {
    name: 'anonymous',
    calls: 'memfd_create',
    run({ ndshm }) {
      ndshm.anonymous({ shape: 1024 }).close();
      return 'memory without a name';
    },
  },
  {
    name: 'store',
    calls: 'fallocate(FALLOC_FL_PUNCH_HOLE)',
    run({ ndshm, name }) {
      const store = ndshm.Store.open(name, { capacity: '4MiB' });
      try {
        // A draft that is thrown away gives its pages back to the system.
        store.createArray(2 ** 18, 'uint8').close();
      } finally {
        store.close();
      }
      return 'pages taken and given back';
    },
  },
];

async function tryAll(ndshm: Ndshm): Promise<Check[]> {
  const trial: Trial = { ndshm, name: `ndshm-doctor-${randomBytes(6).toString('hex')}`, arrays: [] };
  const checks: Check[] = [];
  try {
    for (const step of steps) {
      const check = await tryOne(step, trial);
      checks.push(check);
      if (check.status === 'fail' && step.needed === true) break;
    }
  } finally {
    for (const array of trial.arrays) array.close();
  }
  return checks;
}

async function tryOne({ name, calls, run }: Step, trial: Trial): Promise<Check> {
  const check = `try: ${name}`;
  try {
    return ok(check, await run(trial));
  } catch (error) {
    const { code = '', message, syscall } = error as NodeJS.ErrnoException;
    const call = syscall === undefined ? calls : (systemCalls[syscall] ?? syscall);
    return fail(check, syscall === undefined ? `${message} (${calls})` : message, adviceFor(code, call));
  }
}

/** Behind functions of the C library, by which errors are called. */
const systemCalls: Readonly<Record<string, string>> = { posix_fallocate: 'fallocate', rename: 'renameat2' };

function adviceFor(code: string, call: string): string {
  switch (code) {
    case 'ENOSPC':
      return howToEnlarge;
    case 'EMFILE':
    case 'ENFILE':
      return 'Allow more open files: `ulimit -n 65536`; Docker: `--ulimit nofile=65536`';
    case 'EROFS':
      return '/dev/shm is mounted read-only: `mount -o remount,rw /dev/shm`';
    case 'EACCES':
      return 'This user may not do so in /dev/shm: `chmod 1777 /dev/shm`; SELinux or AppArmor may forbid it, too';
    case 'EPERM':
    case 'ENOSYS':
      return `Forbidden, or unknown to this kernel: allow ${call} in the seccomp profile (Docker: --security-opt seccomp=…)`;
    case 'EINVAL':
    case 'ENOTSUP': // Node's name for EOPNOTSUPP
    case 'EISDIR':
      return `The kernel or the file system of /dev/shm lacks it: ${call}. A tmpfs on Linux has it; gVisor does not`;
    case 'EFBIG':
    case 'ENOMEM':
      return 'See the limits of memory and sizes above';
    default:
      return `What failed: ${call}. \`strace -f npx ndshm doctor\` shows more`;
  }
}
