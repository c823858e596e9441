// Packs the packages, installs the tarball into an empty folder with install scripts blocked, and tries it there: on
// every runtime, with every Python, with the type checker, and without a prebuilt binary.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythons } from './smoke/pythons.mjs';
import { runtimes } from './smoke/runtimes.mjs';

const scripts = dirname(fileURLToPath(import.meta.url));
const root = dirname(scripts);
const app = mkdtempSync(join(tmpdir(), 'ndshm-smoke-'));
const installed = join(app, 'node_modules/ndshm');

const npm = (cwd, ...args) =>
  execFileSync('npm', ['--loglevel=error', ...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
const install = (...what) => npm(app, 'install', '--ignore-scripts', '--no-audit', '--no-fund', ...what);

function pack() {
  npm(root, 'run', 'build:lib');
  npm(root, 'run', 'prebuild');
  npm(root, 'run', 'wheels');
  const [{ filename, files, size }] = JSON.parse(npm(root, 'pack', '--json', `--pack-destination=${app}`));
  const paths = files.map(({ path }) => path);
  const binaries = ['x64', 'arm64'].flatMap((arch) =>
    ['ndshm.node', 'libndshm.so'].map((file) => `prebuilds/linux-${arch}/${file}`),
  );
  for (const needed of [...binaries, 'LICENSE', 'web/index.html'])
    assert(paths.includes(needed), `the package lacks ${needed}`);
  assert(
    !paths.some((path) => /^(build|test|node_modules|scripts)\b/.test(path)),
    'the package has what it should not',
  );
  console.log(`Packed ${filename}: ${files.length} files, ${Math.round(size / 1024)} KiB`);
  return join(app, filename);
}

function runProgram({ command: [command, ...args], env = {} }, main, ...parameters) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, [...args, join(app, main), ...parameters], {
    cwd: app,
    encoding: 'utf8',
    timeout: 180_000,
    env: { ...process.env, ...env, SMOKE_COMMAND: JSON.stringify([command, ...args]) },
  });
  const line = stdout?.trim() ?? '';
  const good = status === 0 && /^OK [^\n]*$/.test(line);
  if (!good) console.error(`${main}: ${error?.message ?? signal ?? `exit code ${status}`}\n${stdout}\n${stderr}`);
  return good ? line : undefined;
}

function tryRuntimes(all) {
  assert(!existsSync(join(installed, 'build')), 'the package must run from its prebuilt binary here');
  console.log('\n| runtime | version | processor | C library | by require | by import |\n|---|---|---|---|---|---|');
  let failed = 0;
  for (const runtime of all) {
    const lines = ['main.cjs', 'main.mjs'].map((main) => runProgram(runtime, main));
    failed += lines.filter((line) => line === undefined).length;
    const [, version = '?', processor = '?'] = /^OK (.*) (\S+) by /.exec(lines.find(Boolean) ?? '') ?? [];
    const marks = lines.map((line) => (line === undefined ? 'FAILED' : 'OK'));
    console.log(`| ${[runtime.label, version, processor, runtime.libc, ...marks].join(' | ')} |`);
  }
  assert.equal(failed, 0, `${failed} runs failed`);
}

function tryPythons() {
  const folder = mkdtempSync(join(app, 'python-'));
  console.log('\n| Python | processor | library | with Node |\n|---|---|---|---|');
  let failed = 0;
  for (const { label, command } of pythons(folder)) {
    const line = runProgram({ command }, 'exchange.py', JSON.stringify([process.execPath]));
    if (line === undefined) failed++;
    const [, version = '?', processor = '?'] = /^OK Python (\S+) (\S+)/.exec(line ?? '') ?? [];
    console.log(`| ${[version, processor, label, line === undefined ? 'FAILED' : 'OK'].join(' | ')} |`);
  }
  assert.equal(failed, 0, `${failed} runs failed`);
}

/** From the installed package, with no more than it has brought along. */
function tryCommandLine(all) {
  const name = `ndshm-smoke-${process.pid}-cli`;
  const tried = [];
  for (const { label, command } of all.filter(({ label }) => /^Node( \d+$|,)/.test(label))) {
    const [node, ...options] = command;
    const ndshm = (...args) =>
      execFileSync(node, [...options, join(installed, 'dist/cli/main.js'), ...args], { cwd: app, encoding: 'utf8' });
    writeFileSync(join(app, 'points.csv'), '1,2\n3,4\n');
    ndshm('load', 'points.csv', name);
    try {
      assert.deepEqual(JSON.parse(ndshm('print', name, '1', '--json')).values, [3, 4]);
      assert.equal(JSON.parse(ndshm('ls', '--json', name))[0].name, name);
      ndshm('plot', name, '--png', 'points.png');
      assert.equal(readFileSync(join(app, 'points.png')).toString('latin1', 1, 4), 'PNG');
    } finally {
      ndshm('rm', name);
    }
    tried.push(label);
  }
  assert(tried.length > 0);
  console.log(`\nThe command line on ${tried.join(', ')}: OK`);
}

/** No Python for musl is to be had; Bun can call a C library. */
function tryLibraryOnMusl(all) {
  const bun = all.find(({ label }) => label === 'Bun for musl');
  const library = join(root, 'prebuilds/linux-x64/libndshm.so');
  const name = `ndshm-smoke-${process.pid}-musl`;
  assert(runProgram(bun, 'musl-library.mjs', library, name), 'libndshm.so does not load on musl');
  console.log('\nlibndshm.so on musl, from Bun: OK');
}

function checkTypes() {
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const typesOf = (config) =>
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(app, config)], { stdio: 'inherit' });
  cpSync(join(scripts, 'smoke/types'), app, { recursive: true });
  install(`@types/node@${devDependencies['@types/node']}`);
  typesOf('tsconfig.json');
  install(`numpy-ts@${devDependencies['numpy-ts']}`);
  typesOf('tsconfig.numpy.json');
  console.log('\nTypes of ndshm and ndshm/numpy, by import and by require: OK');
}

function withoutPrebuild() {
  rmSync(join(installed, 'prebuilds'), { recursive: true });
  const load = "try { require('ndshm') } catch (error) { console.log(error.code, error.message) }";
  const said = execFileSync(process.execPath, ['-e', load], { cwd: app, encoding: 'utf8' });
  assert.match(said, /^ERR_NDSHM_NO_BINARY .*npx ndshm build/s);
  // Offline, and nothing is fetched for it: all that it needs has been installed.
  npm(app, 'exec', '--offline', '--no', '--', 'ndshm', 'build');
  assert(existsSync(join(installed, 'build/Release/ndshm.node')));
  assert(runProgram({ command: [process.execPath] }, 'main.cjs'), 'what `npx ndshm build` made does not work');
  console.log('\nWithout a prebuilt binary: ERR_NDSHM_NO_BINARY names `npx ndshm build`, and that works');
}

try {
  const tarball = pack();
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', private: true }));
  install(tarball);
  cpSync(join(scripts, 'smoke/program'), app, { recursive: true });
  const all = runtimes();
  tryRuntimes(all);
  tryPythons();
  tryLibraryOnMusl(all);
  tryCommandLine(all);
  checkTypes();
  withoutPrebuild();
} finally {
  rmSync(app, { recursive: true, force: true });
}
