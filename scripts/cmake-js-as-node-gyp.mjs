#!/usr/bin/env node
// What prebuildify runs in place of node-gyp, which it believes to drive: its arguments mean nothing to cmake-js, but
// everything needed is in the working directory (one per architecture, made by prebuild.mjs) and the environment.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const scripts = dirname(fileURLToPath(import.meta.url));
const cmakeJs = join(dirname(createRequire(import.meta.url).resolve('cmake-js/package.json')), 'bin/cmake-js');
const toolchain = process.env['NDSHM_TOOLCHAIN'];
const { status } = spawnSync(
  process.execPath,
  [
    cmakeJs,
    'rebuild',
    '--log-level=error',
    `--directory=${dirname(scripts)}`,
    `--out=${resolve('build')}`,
    `--arch=${process.env['PREBUILD_ARCH']}`,
    ...(toolchain ? [`--CDCMAKE_TOOLCHAIN_FILE=${join(scripts, toolchain)}`] : []),
  ],
  { stdio: 'inherit' },
);
process.exit(status ?? 1);
