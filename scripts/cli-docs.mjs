// Runs the commands of docs/cli.md, in order, in the scene of cli-scene.mjs and a /dev/shm of their own, and puts what they
// print below them. With --check: says where the page shows something else, and exits with 1.
//
// Commands are the lines of ```console blocks that begin with '$ '. Where <!-- varies --> stands before a block, other
// numbers than those shown are as good, as are pids, times and ages everywhere; where <!-- varies by machine --> does, all but
// the names in the second column.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startScene } from './cli-scene.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = join(root, 'docs/cli.md');
const args = process.argv.slice(2);

if (args.includes('--inside')) await main();
else {
  const own = 'mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm && exec "$0" "$@"';
  const unshare = ['--user', '--map-root-user', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const command = [process.execPath, fileURLToPath(import.meta.url), '--inside', ...args];
  const { status, error } = spawnSync('unshare', [...unshare, 'bash', '-c', own, ...command], { stdio: 'inherit' });
  if (error !== undefined) throw error;
  process.exitCode = status ?? 1;
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), 'ndshm-cli-'));
  const scene = await startScene();
  try {
    const env = environment(folder);
    const text = readFileSync(page, 'utf8');
    const shown = text.replace(/^```console\n([\s\S]*?)^```$/gm, (_, block) => {
      const commands = block.split('\n').filter((line) => line.startsWith('$ '));
      return `\`\`\`console\n${commands.map((line) => `${line}\n${outputOf(line.slice(2), folder, env)}`).join('')}\`\`\``;
    });
    if (!args.includes('--check')) writeFileSync(page, shown);
    else report(text, shown);
  } finally {
    await scene.end();
    rmSync(folder, { recursive: true });
  }
}

/** A package of its own, for what the commands write, and `npx ndshm`. */
function environment(folder) {
  const copy = join(folder, '.package');
  for (const part of ['dist', 'native', 'web', 'CMakeLists.txt', 'package.json', 'build/Release/ndshm.node']) {
    cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const bin = join(folder, '.bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec ${process.execPath} ${copy}/dist/cli/main.js "$@"\n`);
  chmodSync(join(bin, 'npx'), 0o755);
  return { PATH: `${bin}:${process.env.PATH}`, HOME: folder, LANG: 'C.UTF-8', NO_COLOR: '1', COLUMNS: '100' };
}

function outputOf(command, cwd, env) {
  const { stdout, error } = spawnSync('bash', ['-c', `exec 2>&1; ${command}`], {
    cwd,
    env,
    encoding: 'utf8',
    timeout: 120_000,
  });
  if (error !== undefined) throw error;
  const plain = stdout.replaceAll(`${cwd}/.package`, '/app/node_modules/ndshm').replaceAll(cwd, '/app');
  return plain === '' || plain.endsWith('\n') ? plain : `${plain}\n`;
}

function report(text, shown) {
  const [before, now] = [text, shown].map(comparable);
  const at = before.findIndex((line, n) => line !== now[n]);
  if (at === -1 && before.length === now.length) return;
  const around = (lines) => lines.slice(Math.max(at - 3, 0), at + 12).join('\n');
  console.error(`docs/cli.md is not what the commands print; node scripts/cli-docs.mjs makes it so.
--- the page, compared without what varies\n${around(before)}\n--- the commands\n${around(now)}`);
  process.exitCode = 1;
}

/** The lines, without what is another each time. */
function comparable(text) {
  let varies = '';
  let inside = false;
  return text.split('\n').flatMap((line) => {
    const mark = /^<!-- (varies.*) -->$/.exec(line);
    if (mark !== null) varies = mark[1];
    else if (line === '```console') inside = true;
    else if (line === '```') {
      if (inside) varies = '';
      inside = false;
    }
    if (!inside) return line;
    if (varies === 'varies by machine' && !line.startsWith('$'))
      return /^(?:ok|warn|fail) +(.*?) {2}/.exec(line)?.[1] ?? [];
    const spaced = line
      .replace(/ {2,}/g, ' ')
      .trimEnd()
      .replace(/\b[\da-f]{32}\b/g, 'ID')
      .replace(/\/[\w-]{32}\//, '/TOKEN/');
    if (varies === 'varies') return spaced.replace(/\d+(\.\d+)?/g, '0').replace(/writes\b/g, 'write');
    return spaced
      .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+Z?/g, 'TIME')
      .replace(/\b\d+ (ms|s|min|h|d|day|days)\b/g, 'AGE')
      .replace(/^ ?\d+(?= – )/, 'PID');
  });
}
