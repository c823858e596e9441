import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { type OutputOptions, print } from '../output';

export function define(command: Command): void {
  command.action((options: OutputOptions) => {
    const files = build(join(__dirname, '../../..'));
    print(options, { compiled: files }, () => files.map((file) => `Compiled ${file}`).join('\n'));
  });
}

/**
 * Compiles the addon of an installed package, and the library for Python, to where their loaders look first. Needs CMake,
 * a C++17 compiler and make, but no network and no package manager: the headers are dependencies of the package. What is
 * there already stays until the new one is complete. Blocks until done. Throws if a tool is missing or fails.
 */
function build(packageRoot: string): string[] {
  const workshop = mkdtempSync(join(tmpdir(), 'ndshm-build-'));
  try {
    run('cmake', [
      `-S${packageRoot}`,
      `-B${workshop}`,
      '-DCMAKE_BUILD_TYPE=Release',
      // The names under which CMakeLists.txt knows them from cmake-js.
      `-DCMAKE_JS_INC=${headerFolders().join(';')}`,
    ]);
    run('cmake', ['--build', workshop]);
    return ['ndshm.node', 'libndshm.so'].map((file) => {
      const to = join(packageRoot, 'build/Release', file);
      install(join(workshop, file), to);
      return to;
    });
  } finally {
    rmSync(workshop, { recursive: true, force: true });
  }
}

function headerFolders(): string[] {
  return ['node-api-headers/include/node_api.h', 'node-addon-api/napi.h'].map((header) =>
    dirname(require.resolve(header)),
  );
}

function run(tool: string, args: readonly string[]): void {
  const { status, signal, error } = spawnSync(tool, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (error !== undefined) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw missing
      ? new Error(
          `${tool} was not found. Debian, Ubuntu: apt-get install cmake g++ make; Alpine: apk add cmake g++ make`,
        )
      : error;
  }
  if (status !== 0) throw new Error(`${tool} failed (${signal ?? `exit code ${status}`}); what it said is above`);
}

/** By rename, so that no process ever loads half a file, and one that has loaded the old file keeps it. */
function install(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  const beside = `${to}.${process.pid}`;
  copyFileSync(from, beside);
  renameSync(beside, to);
}
