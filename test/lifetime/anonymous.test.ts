import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import * as ndshm from 'ndshm';
import { Child, within } from '../helpers/child';

const peerProgram = resolve(__dirname, '../children/peer.js');

/** Inodes of the memfds of ours that a process has open. */
function memfds(pid: number | 'self'): Set<number> {
  const folder = `/proc/${pid}/fd`;
  const inodes = readdirSync(folder).flatMap((fd) => {
    try {
      return readlinkSync(`${folder}/${fd}`).startsWith('/memfd:ndshm') ? [statSync(`${folder}/${fd}`).ino] : [];
    } catch {
      return []; // the descriptor of the listing itself, closed by now
    }
  });
  return new Set(inodes);
}

/** The living peers of a memfd: each holds one lock on it. */
const locksOn = (inode: number): number =>
  readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`:${inode} `)).length;

describe('anonymous arrays', () => {
  test('outlive their maker’s hold in a forked child, and not the child', async () => {
    const scratch = ndshm.anonymous({ shape: 4 });
    const [inode] = [...memfds('self')].slice(-1) as [number];
    const child = ndshm.fork(peerProgram, [], { share: { scratch }, serialization: 'advanced' });
    const message = (): Promise<unknown> => within(new Promise((done) => child.once('message', done)), 'message');
    const ask = (question: object): Promise<unknown> => {
      child.send(question);
      return message();
    };
    expect(await message()).toBe('ready');
    await ask({ of: 'none', method: 'inherited', args: [] });
    scratch.set(1, 42);
    expect(locksOn(inode)).toBe(2);
    scratch.close();
    expect(memfds('self').has(inode)).toBe(false);
    expect(await ask({ of: 'scratch', method: 'get', args: [1] })).toEqual({ value: 42 });
    expect(locksOn(inode)).toBe(1);
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await within(gone, 'end of the child');
    expect(locksOn(inode)).toBe(0);
  });

  test('a killed parent is no peer any more, though its child inherited the descriptor; a grandchild gets an error', async () => {
    const parent = new Child('generations.js');
    const second = await parent.message<{ pid: number }>();
    expect(second).toMatchObject({ generation: 2, value: 5, again: true });
    expect(await parent.message()).toMatchObject({ generation: 3, code: 'ERR_NDSHM_INHERIT' });
    const [inode] = [...memfds(second.pid)] as [number];
    expect(memfds(parent.pid).has(inode)).toBe(true);
    expect(locksOn(inode)).toBe(2);
    // SIGSTOP first, so that the second generation cannot leave by itself when its channel closes.
    process.kill(second.pid, 'SIGSTOP');
    parent.process.kill('SIGKILL');
    await within(new Promise((done) => parent.process.once('exit', done)), 'end of the parent');
    expect(locksOn(inode)).toBe(1);
    process.kill(second.pid, 'SIGKILL');
    await parent.end();
  });
});
