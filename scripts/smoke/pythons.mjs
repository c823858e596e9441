// The Pythons that the smoke test runs on, one after the other: that of the build in a fresh virtual environment, with
// each way to get the library, and Debian's for arm64 under qemu. Each: a label and the command.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { python } from '../python.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const source = join(root, 'python');

const run = (command, args, options = {}) =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options });
const pip = (of, args, env = {}) =>
  run(of, ['-m', 'pip', '--quiet', '--disable-pip-version-check', ...args], { env: { ...process.env, ...env } });

function wheelFor(processor) {
  const wheel = readdirSync(join(source, 'dist')).find((file) => file.endsWith(`_${processor}.whl`));
  if (wheel === undefined) throw new Error(`python/dist has no wheel for ${processor}: npm run wheels`);
  return join(source, 'dist', wheel);
}

// Debian's packages, which CPython for arm64 consists of; the C and C++ libraries are those of the cross compiler.
const debianPackages = (version) =>
  `python${version}-minimal libpython${version}-minimal libpython${version}-stdlib
   libexpat1 zlib1g libffi8 libssl3 libuuid1 liblzma5 libbz2-1.0`.split(/\s+/);

/** Fetches and unpacks them by an apt of its own, which leaves the system's as it is. */
function fetchArm64(folder, version) {
  if (existsSync(folder)) return;
  const apt = `${folder}.apt`;
  rmSync(apt, { recursive: true, force: true });
  for (const below of ['lists/partial', 'archives/partial', 'debs', 'root'])
    mkdirSync(join(apt, below), { recursive: true });
  const options = Object.entries({
    'APT::Architecture': 'arm64',
    'APT::Architectures::': 'arm64',
    'APT::Sandbox::User': 'root',
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': apt,
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  run('apt-get', [...options, '-qq', 'update']);
  run('apt-get', [...options, '-qq', 'download', ...debianPackages(version)], { cwd: join(apt, 'debs') });
  for (const file of readdirSync(join(apt, 'debs'))) run('dpkg', ['-x', join(apt, 'debs', file), join(apt, 'root')]);
  renameSync(join(apt, 'root'), folder);
  rmSync(apt, { recursive: true });
}

/** The command of CPython for arm64, with the wheel and what it depends on. */
function arm64(packages) {
  const version = run('/usr/bin/python3', ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'], {
    encoding: 'utf8',
  }).trim();
  const folder = join(root, '.cache/runtimes', `python${version}-arm64`);
  fetchArm64(folder, version);
  const platforms = ['manylinux2014', 'manylinux_2_27', 'manylinux_2_28'].map((name) => `--platform=${name}_aarch64`);
  pip(python, [
    'install',
    `--target=${packages}`,
    '--only-binary=:all:',
    `--python-version=${version}`,
    ...platforms,
    wheelFor('aarch64'),
  ]);
  const libraries = ['usr/lib', 'lib'].map((below) => join(folder, below, 'aarch64-linux-gnu')).join(':');
  const variables = [`LD_LIBRARY_PATH=${libraries}`, `PYTHONPATH=${packages}`].flatMap((variable) => ['-E', variable]);
  return ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', ...variables, join(folder, `usr/bin/python${version}`)];
}

/** `folder` is where they may be installed. */
export function* pythons(folder) {
  const environment = join(folder, 'environment');
  run(python, ['-m', 'venv', environment]);
  const own = join(environment, 'bin/python');
  const again = ['install', '--force-reinstall', '--no-deps'];
  pip(own, ['install', wheelFor('x86_64')]);
  yield { label: 'the wheel', command: [own] };
  pip(own, [...again, source]);
  yield { label: '`pip install ./python`, which compiles it', command: [own] };
  pip(own, [...again, source], { NDSHM_LIBRARY: 'none' });
  yield { label: '`NDSHM_LIBRARY=none pip install ./python`, and the npm package', command: [own] };
  yield { label: 'the wheel, under qemu', command: arm64(join(folder, 'packages-arm64')) };
}
