import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { type Address, addressText, parseAddress } from '../../dist/manager/address';
import { describeAsRoot, otherUser, Peer, rejection } from '../helpers/child';
import { folder } from '../helpers/manager-net';
import { thrownBy } from '../helpers/shm';

describe('an address', () => {
  test.each<[string, Address]>([
    ['/run/m.sock', { kind: 'unix', path: '/run/m.sock' }],
    ['/run/../tmp//m.sock', { kind: 'unix', path: '/tmp/m.sock' }],
    ['./m.sock', { kind: 'unix', path: resolve('m.sock') }],
    ['m', { kind: 'unix', path: resolve('m') }],
    ['a/b:c', { kind: 'unix', path: resolve('a/b:c') }],
    ['unix:/run/m.sock', { kind: 'unix', path: '/run/m.sock' }],
    ['unix:m.sock', { kind: 'unix', path: resolve('m.sock') }],
    ['/run/tcp://host:1', { kind: 'unix', path: '/run/tcp:/host:1' }],
    ['tcp://example.org:65535', { kind: 'tcp', host: 'example.org', port: 65535 }],
    ['tcp://127.0.0.1:0', { kind: 'tcp', host: '127.0.0.1', port: 0 }],
    ['tcp://[::1]:80', { kind: 'tcp', host: '::1', port: 80 }],
    ['tcp://my_host-1:80', { kind: 'tcp', host: 'my_host-1', port: 80 }],
  ])('%s is read', (given, expected) => {
    expect(parseAddress(given)).toEqual(expected);
    expect(parseAddress(addressText(parseAddress(given)))).toEqual(expected);
  });

  test.each([
    '',
    'unix:',
    '/run/',
    '\0abstract',
    'unix:\0abstract',
    '/run/a\0b',
    'http://host:80',
    'file:///run/m.sock',
    'unix://run/m.sock',
    '//run/m.sock',
    'C:/m.sock',
    'tcp:host:80',
    'tcp:/host:80',
    'tcp://host',
    'tcp://host:',
    'tcp://:80',
    'tcp://host:65536',
    'tcp://host:-1',
    'tcp://host:1e3',
    'tcp://host:80/path',
    'tcp://user@host:80',
    'tcp://host:80 ',
    'tcp://::1:80',
    'tcp://[host]:80',
    'tcp://[::1:80',
    'tcp://[::1]80',
    'TCP://host:80',
  ])('%j is refused', (given) => {
    expect(thrownBy(() => parseAddress(given))).toMatchObject({ code: 'ERR_NDSHM_OUT_OF_RANGE', name: 'RangeError' });
  });

  test.each([undefined, null, 80, {}, ['/run/m.sock'], Buffer.from('/run/m.sock')])(
    'of another kind is refused',
    (it) => {
      expect(thrownBy(() => parseAddress(it))).toMatchObject({ code: 'ERR_NDSHM_INVALID_ARGUMENT', name: 'TypeError' });
    },
  );

  test('may have a path of 107 bytes, and no more, whatever its characters', () => {
    for (const [path, more] of [
      [`/${'x'.repeat(106)}`, 'x'],
      [`/${'é'.repeat(53)}`, 'x'],
      [`/${'é'.repeat(52)}x`, 'é'],
    ] as const) {
      expect(parseAddress(path)).toEqual({ kind: 'unix', path });
      const { code, message } = thrownBy(() => parseAddress(path + more));
      expect(code).toBe('ERR_NDSHM_OUT_OF_RANGE');
      expect(message).toMatch(/at most 107 bytes .* received 10[89]/);
    }
  });

  test('is written as it is read, or refused: nothing else comes of any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.webUrl(), fc.stringMatching(/^tcp:.*/)), (given) => {
        let address: Address;
        try {
          address = parseAddress(given);
        } catch (error) {
          return (error as NodeJS.ErrnoException).code === 'ERR_NDSHM_OUT_OF_RANGE';
        }
        expect(parseAddress(addressText(address))).toEqual(address);
        return address.kind === 'tcp' || address.path.startsWith('/');
      }),
    );
  });
});

/** privateAddress() where the directory for temporary files is this one. */
async function privateAddressIn(tmp: string): Promise<{ path: string; pid: number }> {
  const peer = await Peer.start({ env: { TMPDIR: tmp } });
  try {
    const path = await peer.run(({ part }) => {
      const { privateAddress } = part('manager/address') as typeof import('../../dist/manager/address');
      const address = privateAddress();
      return address.kind === 'unix' ? address.path : '';
    });
    return { path, pid: peer.pid };
  } finally {
    await peer.kill();
  }
}

const ours = (tmp: string) => join(tmp, `ndshm-${process.geteuid?.()}`);

describe('a private address', () => {
  test('is a new name in a directory that only this user can enter', async () => {
    const tmp = folder();
    const first = await privateAddressIn(tmp);
    expect(first.path).toMatch(new RegExp(`^${ours(tmp)}/${first.pid}-[0-9a-f]{8}\\.sock$`));
    expect(existsSync(first.path)).toBe(false);
    expect(lstatSync(ours(tmp)).mode).toBe(0o40700);
    expect((await privateAddressIn(tmp)).path).not.toBe(first.path);
  });

  test('is refused where the directory is not one, is a link to one, or is open to others', async () => {
    const made: ((path: string, tmp: string) => void)[] = [
      (path) => writeFileSync(path, '', { mode: 0o600 }),
      (path, tmp) => {
        mkdirSync(join(tmp, 'elsewhere'), { mode: 0o700 });
        symlinkSync(join(tmp, 'elsewhere'), path);
      },
      (path) => {
        mkdirSync(path);
        chmodSync(path, 0o750);
      },
      (path) => {
        mkdirSync(path);
        chmodSync(path, 0o701);
      },
    ];
    for (const make of made) {
      const tmp = folder();
      make(ours(tmp), tmp);
      expect(await rejection(privateAddressIn(tmp))).toMatchObject({ code: 'ERR_NDSHM_FOREIGN_OWNER' });
    }
  });

  test('clears away sockets that nobody listens on, and nothing else', async () => {
    const tmp = folder();
    const [dead, living] = await Promise.all([Peer.start(), Peer.start()]);
    const listenAt = (peer: Peer, path: string) =>
      peer.run(async ({ kept, part }, path) => {
        const { listen } = part('manager/listen') as typeof import('../../dist/manager/listen');
        const options = { maxConnections: 9, handshakeTimeoutMs: 9999, onStream: () => {} };
        const probed = new Promise<void>((onRefused) => {
          kept.set('listener', listen({ kind: 'unix', path }, { ...options, onRefused: () => onRefused() }));
        });
        kept.set('probed', probed);
        await kept.get('listener');
      }, path);
    await privateAddressIn(tmp);
    const at = (name: string) => join(ours(tmp), name);
    await listenAt(dead, at('1-0123abcd.sock'));
    await listenAt(dead, at('chosen.sock'));
    await listenAt(living, at('2-0123abcd.sock'));
    writeFileSync(at('3-0123abcd.sock.txt'), '');
    await dead.kill();
    expect(existsSync(at('1-0123abcd.sock'))).toBe(true);
    const peer = await Peer.start({ env: { TMPDIR: tmp } });
    await peer.run(({ part }) => {
      const { privateAddress } = part('manager/address') as typeof import('../../dist/manager/address');
      privateAddress();
    });
    while (existsSync(at('1-0123abcd.sock'))) await new Promise(setImmediate);
    // Whether somebody listens there has been found out, too.
    await living.run(({ kept }) => kept.get('probed') as Promise<void>);
    await peer.kill();
    for (const name of ['chosen.sock', '2-0123abcd.sock', '3-0123abcd.sock.txt'])
      expect(existsSync(at(name))).toBe(true);
    await living.kill();
  });
});

describeAsRoot('a private address', () => {
  test('is refused where the directory is another user’s', async () => {
    const tmp = folder();
    mkdirSync(ours(tmp), { mode: 0o700 });
    chownSync(ours(tmp), otherUser, otherUser);
    expect(await rejection(privateAddressIn(tmp))).toMatchObject({ code: 'ERR_NDSHM_FOREIGN_OWNER' });
    rmSync(ours(tmp), { recursive: true });
  });
});
