import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

test.each([
  ['docs/api.md and docs/errors.md say what the source says', 'docs.mjs'],
  ['python/ndshm/_layout.py has the numbers of native/core/layout.h', 'layout.mjs'],
])('%s', (_title, script) => {
  const { status, stderr } = spawnSync(process.execPath, [resolve(__dirname, '../../scripts', script), '--check'], {
    encoding: 'utf8',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});
