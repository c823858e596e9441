// Fills prebuilds/ for the given architectures (default: all), and checks that what lands there loads everywhere.
//   npm run prebuild [-- x64 arm64]
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import prebuildify from 'prebuildify';
import { checkPortable } from './portable.mjs';

const scripts = dirname(fileURLToPath(import.meta.url));
const root = dirname(scripts);

// The toolchain files beside this script are named after the triples.
const triples = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

// The glibc that each binary has to do with: Node's own oldest, and that which the wheels' tag (manylinux2014) promises.
const floors = { 'ndshm.node': [2, 28], 'libndshm.so': [2, 17] };

function toolsFor(arch) {
  if (arch === process.arch) return { compiler: 'g++', strip: 'strip' };
  const triple = triples[arch];
  const compiler = `${triple}-g++`;
  if (spawnSync(compiler, ['--version']).status !== 0) {
    const debianPackage = `g++-${triple.replace('_', '-')}`;
    throw new Error(
      `No compiler for ${arch}: ${compiler} is not on the PATH. Debian: apt-get install ${debianPackage}`,
    );
  }
  return { compiler, strip: `${triple}-strip`, toolchain: `${triple}.cmake` };
}

async function prebuild(arch) {
  const { compiler, strip, toolchain } = toolsFor(arch);
  // prebuildify takes what it finds in build/Release of its working directory: one of its own, beside the checkout's.
  const workshop = join(root, `build-prebuild-${arch}`);
  rmSync(workshop, { recursive: true, force: true });
  mkdirSync(workshop);
  rmSync(join(root, 'prebuilds', `linux-${arch}`), { recursive: true, force: true });
  if (toolchain === undefined) delete process.env['NDSHM_TOOLCHAIN'];
  else process.env['NDSHM_TOOLCHAIN'] = toolchain;
  await promisify(prebuildify)({
    name: 'ndshm',
    platform: 'linux',
    arch,
    napi: true,
    targets: [process.versions.node], // a label only: a Node-API binary is not tied to a version
    nodeGyp: join(scripts, 'cmake-js-as-node-gyp.mjs'),
    cwd: workshop,
    out: root,
    strip: true,
    stripBin: strip,
  });
  const folder = join('prebuilds', `linux-${arch}`);
  copyFileSync(join(workshop, 'build/Release/libndshm.so'), join(root, folder, 'libndshm.so'));
  execFileSync(strip, [join(root, folder, 'libndshm.so')]);
  for (const [name, floor] of Object.entries(floors)) {
    const file = join(folder, name);
    const { bytes, imports } = checkPortable(join(root, file), compiler, floor);
    console.log(`${file}: ${bytes} bytes, needs no library, imports ${imports} functions without versions`);
  }
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(triples);
try {
  for (const arch of wanted) {
    if (!Object.hasOwn(triples, arch)) {
      throw new Error(`Unknown architecture '${arch}'; known: ${Object.keys(triples).join(', ')}`);
    }
    await prebuild(arch);
  }
} catch (error) {
  console.error(`prebuild: ${error.message}`);
  process.exitCode = 1;
}
