import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, constants, linkSync, lstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Mutex } from '../sync/mutex';
import { isListenedOn } from './address';

/** How long one that puts a dead socket away may take before another one gives up. */
const mutexTimeoutMs = 10_000;

/**
 * The name of a unix socket that is listened on. It is there only while somebody listens, and for this user alone:
 * S1 The socket is bound and its mode set in a directory that nobody else can enter. Not by umask, which is the whole
 *    process's, other threads included.
 * S2 It gets its name when it is complete, by link(), which takes no name from anybody.
 * S3 A dead socket's name is taken away by one at a time, who has just seen that nobody listens. Whoever got the name
 *    since then would listen, by S2, so nobody loses it.
 * S4 Its owner takes it away while it still listens: so by S3 nobody else can have it yet.
 */
export class SocketFile {
  readonly #path: string;
  readonly #inode: bigint;

  private constructor(path: string, inode: bigint) {
    this.#path = path;
    this.#inode = inode;
  }

  /**
   * `bind` makes a server listen on the path that it is given. Errors: EADDRINUSE, EEXIST if the path is no socket's, those of
   * `bind`, link(2) and mkdtemp(3), ERR_NDSHM_TIMEOUT.
   */
  static async make(path: string, bind: (path: string) => Promise<unknown>): Promise<SocketFile> {
    const directory = mkdtempSync(join(dirname(path), '.ndshm-'));
    try {
      const name = join(directory, randomBytes(8).toString('hex'));
      await bindShort(name, bind);
      chmodSync(name, 0o600);
      const { ino } = lstatSync(name, { bigint: true });
      while (!link(name, path)) await removeDead(path);
      return new SocketFile(path, ino);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  /** Takes the name away, if it is still this socket's. To be called once, while the socket is still listened on. */
  remove(): void {
    // An inode lives, and its number is nobody else's, as long as its socket is open.
    if (lstatSync(this.#path, { bigint: true, throwIfNoEntry: false })?.ino === this.#inode) rmSync(this.#path);
  }
}

/** By way of its directory's descriptor: in full, the path may be longer than that of the name to come, and too long. */
async function bindShort(path: string, bind: (path: string) => Promise<unknown>): Promise<void> {
  const directory = openSync(dirname(path), constants.O_DIRECTORY);
  try {
    await bind(`/proc/self/fd/${directory}/${path.slice(dirname(path).length + 1)}`);
  } finally {
    closeSync(directory);
  }
}

/** Whether it could be done: false if the name exists. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function removeDead(path: string): Promise<void> {
  const mutex = new Mutex(`ndshm-manager-${process.geteuid?.()}`, { ephemeral: true });
  try {
    // Who died in the midst of it has left nothing half-done.
    await mutex.run(() => removeIfDead(path), { timeoutMs: mutexTimeoutMs, onAbandoned: 'repair' });
  } finally {
    mutex.close();
  }
}

async function removeIfDead(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw taken('EEXIST', path, 'there is something else than a socket; choose another address, or remove it');
  }
  if (await isListenedOn(path)) {
    throw taken('EADDRINUSE', path, 'somebody listens there already; choose another address, or connect to it');
  }
  rmSync(path, { force: true });
}

const taken = (code: string, address: string, why: string): Error =>
  Object.assign(new Error(`${code}: cannot listen on ${address}: ${why}`), { code, syscall: 'listen', address });
