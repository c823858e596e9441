import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';

// One process runs several test files, each with a module registry of its own.
const prefix = `ndshm-test-${process.pid}-${randomBytes(3).toString('hex')}-`;
let count = 0;

/** A segment name that no other test uses. Whatever is left under it is removed after the test file. */
export function freshName(hint = 'a'): string {
  return `${prefix}${hint}-${count++}`;
}

/** The names of this test file that exist now. */
export function namesInShm(): string[] {
  return readdirSync('/dev/shm').filter((name) => name.startsWith(prefix));
}

export const shmPath = (name: string): string => `/dev/shm/${name}`;
export const exists = (name: string): boolean => existsSync(shmPath(name));

afterAll(() => {
  for (const name of namesInShm()) rmSync(shmPath(name), { recursive: true });
});

/** The error that `run` throws; fails the test if it throws none. */
export function thrownBy(run: () => unknown): Error & { code?: string } {
  try {
    run();
  } catch (error) {
    return error as Error & { code?: string };
  }
  throw new Error('Expected an error, but nothing was thrown');
}
