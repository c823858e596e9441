import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

// The commands of docs/cli.md run in a /dev/shm of their own, which takes a mount namespace.
const canUnshare =
  spawnSync('unshare', ['--user', '--map-root-user', '--mount', '--pid', '--fork', 'true']).status === 0;
if (!canUnshare && process.env['CI'] === 'true') throw new Error('CI needs unshare(1) to make a mount namespace');

(canUnshare ? test : test.skip)(
  'docs/cli.md shows what the commands print',
  () => {
    const script = resolve(__dirname, '../../scripts/cli-docs.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  },
  120_000,
);
