import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

test('docs/api.md and docs/errors.md say what the source says', () => {
  const { status, stderr } = spawnSync(process.execPath, [resolve(__dirname, '../../scripts/docs.mjs'), '--check'], {
    encoding: 'utf8',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});
