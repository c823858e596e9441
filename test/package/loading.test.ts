import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(__dirname, '../..');

function evaluate(script: string, cwd = root, ...flags: string[]): unknown {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', script], { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

describe('loading the package', () => {
  test.each(['ndshm', 'ndshm/numpy'])(
    '%s has the same names, and the same values, by require and by import',
    (entry) => {
      const { required, imported, same } = evaluate(
        `const required = require('${entry}');
      import('${entry}').then((imported) => console.log(JSON.stringify({
        required: Object.keys(required).sort(),
        imported: Object.keys(imported).filter((name) => !['default', 'module.exports', '__esModule'].includes(name)).sort(),
        same: Object.keys(required).every((name) => required[name] === imported[name]),
      })));`,
      ) as { required: string[]; imported: string[]; same: boolean };
      expect(required.length).toBeGreaterThan(0);
      expect(imported).toEqual(required);
      expect(same).toBe(true);
    },
  );

  describe('without the addon', () => {
    let folder: string;
    const load =
      "try { require('./dist') } catch ({ code, message }) { console.log(JSON.stringify({ code, message })) }";

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'ndshm-test-'));
      cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
      symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    test('the error says where it was looked for and names the command that compiles it', () => {
      const { code, message } = evaluate(load, folder) as { code: string; message: string };
      expect(code).toBe('ERR_NDSHM_NO_BINARY');
      expect(message).toContain(`${folder}/prebuilds`);
      expect(message).toContain('npx ndshm build');
    });

    test('a file that is no library gives the same error', () => {
      const place = join(folder, 'prebuilds', `linux-${process.arch}`);
      mkdirSync(place, { recursive: true });
      writeFileSync(join(place, 'ndshm.node'), 'not a library');
      const { code, message } = evaluate(load, folder) as { code: string; message: string };
      expect(code).toBe('ERR_NDSHM_NO_BINARY');
      expect(message).toMatch(/invalid ELF header|file too short/);
    });

    test('another platform is told that it is not supported, not to compile', () => {
      const elsewhere = `Object.defineProperty(process, 'platform', { value: 'darwin' }); ${load}`;
      const { code, message } = evaluate(elsewhere, folder) as { code: string; message: string };
      expect(code).toBe('ERR_NDSHM_UNSUPPORTED');
      expect(message).toContain('darwin');
    });
  });
});
