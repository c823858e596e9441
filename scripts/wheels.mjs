// Packs the Python package into python/dist/: a wheel for each architecture around the library that `npm run prebuild`
// has made and checked, and the sources. Needs a Python with hatchling: NDSHM_PYTHON, that of .venv, or python3.
//   npm run wheels
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { python } from './python.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'python');
const dist = join(source, 'dist');

function pack(target, env = {}) {
  const { status } = spawnSync(python, ['-m', 'hatchling', 'build', '-t', target, '-d', dist], {
    cwd: source,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0)
    throw new Error(`${python} could not pack the ${target}; it needs hatchling (pip install hatchling)`);
}

try {
  rmSync(dist, { recursive: true, force: true });
  for (const arch of ['x64', 'arm64']) {
    const library = join(root, `prebuilds/linux-${arch}/libndshm.so`);
    if (!existsSync(library)) throw new Error(`There is no ${library}: npm run prebuild`);
    pack('wheel', { NDSHM_LIBRARY: library, NDSHM_ARCH: arch });
  }
  pack('sdist');
} catch (error) {
  console.error(`wheels: ${error.message}`);
  process.exitCode = 1;
}
