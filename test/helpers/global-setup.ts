import { readdirSync } from 'node:fs';

/** What was in /dev/shm before the tests; the teardown compares. */
export default function setup(): void {
  (globalThis as { shmBefore?: string[] }).shmBefore = readdirSync('/dev/shm');
}
