// Writes python/ndshm/_layout.py from the one definition of the bytes, native/core/layout.h, by a C++ program.
// `node scripts/layout.mjs`; with --check it only compares, and fails if the file is out of date.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = 'python/ndshm/_layout.py';

function generated() {
  const workshop = mkdtempSync(join(tmpdir(), 'ndshm-layout-'));
  try {
    const program = join(workshop, 'layout');
    const options = ['-std=c++17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-O0'];
    execFileSync(process.env['CXX'] ?? 'g++', [...options, '-o', program, join(root, 'scripts/layout.cc')]);
    return execFileSync(program, { encoding: 'utf8' });
  } finally {
    rmSync(workshop, { recursive: true });
  }
}

const text = generated();
if (!process.argv.includes('--check')) writeFileSync(join(root, page), text);
else if (readFileSync(join(root, page), 'utf8') !== text) {
  console.error(`${page} is out of date: node scripts/layout.mjs`);
  process.exitCode = 1;
}
