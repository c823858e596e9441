import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import * as ndshm from 'ndshm';
import { holdings, within } from '../helpers/child';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

const header = (shape: string, descr = '<f8'): Buffer => {
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117) + '\n';
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00v\x00', 'latin1'), Buffer.from(dict)]);
};

const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

type Make = (path: string) => void | Promise<void>;
const notFiles: Record<string, Make> = {
  'a FIFO': (path) => void spawnSync('mkfifo', [path]),
  'a directory': (path) => mkdirSync(path),
  'a dangling symbolic link': (path) => symlinkSync('/dev/shm/ndshm-test-nothing-there', path),
  'a symbolic link to a device': (path) => symlinkSync('/dev/zero', path),
  'a socket': (path) =>
    new Promise((done) => {
      servers.push(createServer().listen(path, done));
    }),
};
const badFiles: Record<string, Make> = {
  'an empty file': (path) => writeFileSync(path, ''),
  'one byte': (path) => writeFileSync(path, 'x'),
  garbage: (path) => writeFileSync(path, Buffer.alloc(100_000, 0xa5)),
  'a magic and nothing else': (path) => writeFileSync(path, header('(3,)').subarray(0, 6)),
  'half a header': (path) => writeFileSync(path, header('(3,)').subarray(0, 60)),
  'a header that promises more than there is': (path) => writeFileSync(path, header('(1000000,)')),
  'a header with a product that overflows': (path) =>
    writeFileSync(path, header('(4294967296, 4294967296, 4294967296)')),
  'a header of objects': (path) => writeFileSync(path, header('(3,)', '|O')),
};

describe.each(Object.entries({ ...notFiles, ...badFiles }))('%s under a name', (_what, make) => {
  const name = freshName('hostile');
  beforeAll(() => make(shmPath(name)));

  test('is an error with a code in every way of opening, and leaks nothing', () => {
    const before = holdings();
    const attempts = [
      () => ndshm.open(name),
      () => ndshm.open(name, { mode: 'r+' }),
      () => ndshm.open(name, { mode: 'c' }),
      () => ndshm.openRaw(name, { dtype: 'float64', shape: [1_000_000], mode: 'r+' }),
      () => ndshm.create(name, { shape: 3, ifExists: 'open' }),
    ];
    for (const attempt of attempts) expect(thrownBy(attempt).code).toMatch(/^(ERR_NDSHM_[A-Z_]+|E[A-Z]+)$/);
    expect(thrownBy(() => ndshm.create(name, { shape: 3 })).code).toBe('EEXIST');
    expect(holdings()).toEqual(before);
  });

  test('is passed over by list() and gc()', () => {
    const found = ndshm.list().find((info) => info.name === name);
    if (found !== undefined) expect(found.problem?.code).toMatch(/^ERR_NDSHM_/);
    expect(ndshm.gc()).not.toContain(name);
    expect(() => lstatSync(shmPath(name))).not.toThrow();
  });
});

describe.each(Object.entries(notFiles))('replacing %s', (_what, make) => {
  test('is refused, and leaves it and nothing else', async () => {
    const name = freshName('replaced');
    await make(shmPath(name));
    const before = lstatSync(shmPath(name)).ino;
    expect(thrownBy(() => ndshm.create(name, { shape: 3, ifExists: 'replace' })).code).toMatch(/^E[A-Z]+$/);
    expect(lstatSync(shmPath(name)).ino).toBe(before);
    expect(ndshm.list().filter(({ kind, peers }) => kind === 'temporary' && peers.length === 0)).toEqual([]);
  });
});

describe('a huge sparse file with a header to match', () => {
  // Beyond any address space, and within it but beyond any memory.
  test.each([2 ** 51, 2 ** 43])('of %d elements is an error or opens, and reserves nothing', (elements) => {
    const name = freshName('sparse');
    const before = holdings();
    writeFileSync(shmPath(name), header(`(${elements},)`, '|u1'));
    truncateSync(shmPath(name), 128 + elements);
    for (const mode of ['r', 'c'] as const) {
      try {
        const a = ndshm.open(name, { mode });
        expect(a.get(a.size - 1)).toBe(0);
        a.close();
      } catch (error) {
        expect((error as { code?: string }).code).toMatch(/^(ENOMEM|ERR_NDSHM_TOO_LARGE)$/);
      }
    }
    expect(thrownBy(() => ndshm.open(name, { mode: 'r+' })).code).toMatch(/^(ENOSPC|ENOMEM)$/);
    // The header's page, and one that tmpfs adds for a hole that was read.
    expect(lstatSync(shmPath(name)).blocks * 512).toBeLessThanOrEqual(2 * 4096);
    expect(holdings()).toEqual(before);
  });
});

test('list() and gc() do not wake whoever waits at a FIFO', async () => {
  const path = shmPath(freshName('fifo'));
  spawnSync('mkfifo', [path]);
  const reader = spawn('cat', [path], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  reader.stdout.on('data', (data) => {
    text += data;
  });
  const closed = new Promise((done) => reader.once('close', done));
  const waiting = async (): Promise<void> => {
    while (readFileSync(`/proc/${reader.pid}/wchan`, 'utf8') !== 'wait_for_partner') {
      if (!existsSync(`/proc/${reader.pid}`)) throw new Error('The reader has gone');
      await new Promise(setImmediate);
    }
  };
  await within(waiting(), 'reader that waits');
  ndshm.list({ foreign: true });
  ndshm.gc();
  const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(fd, 'still here');
  closeSync(fd);
  await within(closed, 'end of the reader');
  expect(text).toBe('still here');
});
