import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as api from 'ndshm';
import { describeAsRoot, Peer } from '../helpers/child';
import { ndshm, ndshmJson, ndshmWith } from '../helpers/cli';
import { freshName } from '../helpers/shm';

const folder = mkdtempSync(join(tmpdir(), 'ndshm-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

function put(source: Parameters<typeof api.fromArray>[1], options: api.FromArrayOptions = {}): string {
  const name = freshName();
  api.fromArray(name, source, options).close();
  return name;
}

/** Width and height of a PNG file, as its header says. */
function sizeOf(png: Buffer): [number, number] {
  expect(png.toString('latin1', 0, 8)).toBe('\x89PNG\r\n\x1a\n');
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
}

const escapeCode = String.fromCharCode(27);

describe('ndshm plot', () => {
  test('draws a line in the terminal, with what it is and its range', () => {
    const name = put([0, 1, 2, 3, 2, 1]);
    const { status, stdout, stderr } = ndshm('plot', name, '--width', '40', '--height', '12');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')).toEqual([
      `${name}  float64 (6,) · 0 … 3`,
      ' ▲',
      ' │               ┏━━━━━┓',
      ' │               ┃     ┃',
      '2┤          ┏━━━━┛     ┗━━━━┓',
      ' │    ┏━━━━━┛               ┗━',
      ' │    ┃',
      '0┤━━━━┛',
      ' └┬──────────┬──────────┬─────▶',
      '  0          2          4',
      '',
    ]);
  });

  test('draws a slice, as the kind that is asked for', () => {
    const name = put(
      Float64Array.from({ length: 200 }, (_, n) => n),
      { shape: [20, 10] },
    );
    expect(ndshm('plot', name, '-2:, 0', '--histogram', '--bins', '2', '--width', '50').stdout).toBe(
      `${name}[-2:, 0]  float64 (2,) · 180 … 190\n180 … 185 ┤${'█'.repeat(36)} 1\n185 … 190 ┤${'█'.repeat(36)} 1\n`,
    );
    expect(ndshmJson('plot', name, '0')).toMatchObject({ kind: 'line', length: 10, consistent: true });
    expect(ndshmJson('plot', name)).toMatchObject({ kind: 'heatmap', shape: [20, 10], low: 0, high: 199 });
    expect(ndshmJson('plot', name, '--heatmap', '0')).toMatchObject({ kind: 'heatmap', shape: [1, 10] });
  });

  test('uses colours only where they are wanted', () => {
    const name = put(
      Float64Array.from({ length: 64 }, (_, n) => n),
      { shape: [8, 8] },
    );
    const lines = put(
      Float64Array.from({ length: 64 }, (_, n) => n),
      { shape: [2, 32] },
    );
    for (const each of [name, lines]) {
      expect(ndshm('plot', each).stdout).not.toContain(escapeCode);
      expect(ndshmWith({ env: { FORCE_COLOR: '3' } }, 'plot', each).stdout).toContain(`${escapeCode}[3`);
    }
    // Viridis, from its one end to the other.
    const { stdout } = ndshmWith({ env: { FORCE_COLOR: '3' } }, 'plot', name);
    expect(stdout).toContain(`${escapeCode}[38;2;68;1;84m`);
    expect(stdout).toContain(`${escapeCode}[48;2;253;231;37m`);
  });

  test.each([
    [['--line', '--heatmap'], 'cannot be used with'],
    [['--bins', '0'], 'Expected a whole number from 1 on'],
    [['--width', 'wide'], 'Expected a whole number'],
    [['--png', 'x.png', '--pixels', '1000'], 'Expected a size such as 1000x600'],
    [['--png', 'x.png', '--pixels', '1x1'], 'Expected a size such as 1000x600'],
  ])('%j is misuse', (args, message) => {
    const { status, stderr } = ndshm('plot', put([1, 2]), ...args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });

  test('of more than two axes names a slice that would do', () => {
    const name = put(new Float64Array(24), { shape: [2, 3, 4] });
    const { status, stderr } = ndshm('plot', name);
    expect(status).toBe(1);
    const slice = /'([^']*:)'/.exec(stderr)?.[1] as string;
    expect(slice).toBe('0, :, :');
    expect(ndshm('plot', name, slice).status).toBe(0);
  });

  test('says so if the array is being written all the time', async () => {
    const name = freshName();
    const array = api.create(name, { shape: 3, ephemeral: true });
    const writer = await Peer.start();
    await writer.call('a', 'open', name, { mode: 'r+' });
    await writer.run(
      ({ kept }) =>
        new Promise<void>((inside) => {
          void (kept.get('a') as api.SharedArray).write(() => {
            inside();
            return new Promise(() => {});
          });
        }),
    );
    const { status, stdout, stderr } = ndshm('plot', name, '--timeout', '0.05');
    expect(status).toBe(0);
    expect(stderr).toContain(`${name}: it was being written all the time`);
    expect(stdout).toContain('(it was being written all the time');
    await writer.kill();
    array.close();
  });

  test('shows how far it has come with a large array', () => {
    const name = freshName();
    api.create(name, { shape: 2 ** 26, dtype: 'uint8' }).close();
    const { status, stdout, stderr } = ndshm('plot', name, '--height', '8');
    api.unlink(name);
    expect(status).toBe(0);
    expect(stdout).toContain('least and greatest of each');
    expect(stderr).toMatch(new RegExp(`^Reading ${name} \\(Mi elements\\): 0 of 64\n[\\s\\S]*: 64 of 64`));
  });
});

describe('ndshm plot --png', () => {
  test('writes a picture of the size that is asked for', () => {
    const name = put(Float64Array.from({ length: 300 }, (_, n) => Math.sin(n / 20)));
    const file = join(folder, 'plain.png');
    expect(ndshm('plot', name, '--png', file)).toEqual({ status: 0, stdout: `Drew ${name} to ${file}\n`, stderr: '' });
    expect(sizeOf(readFileSync(file))).toEqual([1000, 600]);
    const options = ['--png', file, '--pixels', '400x300', '--dark'];
    expect(ndshmJson('plot', name, ...options)).toEqual({
      file,
      width: 400,
      height: 300,
      bytes: readFileSync(file).length,
      consistent: true,
    });
    expect(sizeOf(readFileSync(file))).toEqual([400, 300]);
    const { stdout } = ndshmWith({ encoding: 'latin1' }, 'plot', name, '--png', '-');
    expect(sizeOf(Buffer.from(stdout, 'latin1'))).toEqual([1000, 600]);
  });

  test('replaces a file as a whole, and leaves a link what it is', () => {
    const name = put([1, 2, 3]);
    writeFileSync(join(folder, 'old.png'), 'old');
    symlinkSync('old.png', join(folder, 'link.png'));
    expect(ndshm('plot', name, '--png', join(folder, 'link.png')).status).toBe(0);
    expect(sizeOf(readFileSync(join(folder, 'old.png')))).toEqual([1000, 600]);
    expect(readdirSync(folder).filter((file) => file.endsWith('.tmp'))).toEqual([]);
  });

  test('into a folder that is not there fails and leaves nothing', () => {
    const { status, stderr } = ndshm('plot', put([1, 2]), '--png', join(folder, 'none', 'x.png'));
    expect(status).toBe(1);
    expect(stderr).toContain('ENOENT');
    expect(existsSync(join(folder, 'none'))).toBe(false);
  });
});

describeAsRoot('ndshm plot --png, where there are no fonts', () => {
  test('draws all but the text, and says what to install', () => {
    const name = put([1, 2, 3]);
    const file = join(folder, 'mute.png');
    const hide =
      'for d in /usr/share/fonts /usr/local/share/fonts; do [ ! -d $d ] || mount -t tmpfs none $d; done; exec "$@"';
    const options = { wrap: ['unshare', '-m', 'sh', '-c', hide, 'sh'], env: { HOME: folder } };
    const { status, stderr } = ndshmWith(options, 'plot', name, '--png', file);
    expect(status).toBe(0);
    expect(stderr).toContain('no font on this machine: the picture has no text; apt-get install fonts-dejavu-core');
    expect(sizeOf(readFileSync(file))).toEqual([1000, 600]);
  });
});
