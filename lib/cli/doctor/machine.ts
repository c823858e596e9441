import { accessSync, constants, readFileSync, statfsSync, statSync } from 'node:fs';
import { release } from 'node:os';

/** All that the checks see of the machine, so that tests can make one up. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  readonly kernel: string;
  /** process.versions */
  readonly versions: Readonly<Record<string, string | undefined>>;
  /** That the runtime is linked with; null if it is another C library, or the runtime does not tell. */
  readonly glibc: string | null;
  /** The content of a file; null if it is missing or may not be read. */
  read(path: string): string | null;
  /** Null if there is no such folder. */
  folder(path: string): Folder | null;
}

export interface Folder {
  /** As statfs(2) gives it. */
  readonly fileSystem: number;
  /** 0 = without a limit. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Files that there may be, 0 = any number. */
  readonly totalFiles: number;
  readonly freeFiles: number;
  /** As in chmod. */
  readonly permissions: number;
  /** Why this process may not make files there; null if it may. */
  readonly refusal: string | null;
}

export const thisMachine: Machine = {
  platform: process.platform,
  arch: process.arch,
  kernel: release(),
  versions: process.versions,
  glibc: glibcVersion(),
  read(path) {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  },
  folder(path) {
    try {
      const { type, bsize, blocks, bavail, files, ffree } = statfsSync(path);
      return {
        fileSystem: type,
        totalBytes: blocks * bsize,
        freeBytes: bavail * bsize,
        totalFiles: files,
        freeFiles: ffree,
        permissions: statSync(path).mode & 0o7777,
        refusal: refusalOf(path),
      };
    } catch {
      return null;
    }
  },
};

function refusalOf(path: string): string | null {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function glibcVersion(): string | null {
  if (process.versions['deno'] !== undefined) return null; // it always says 2.38
  const report = process.report?.getReport?.() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime ?? null;
}
