import { readdirSync } from 'node:fs';

export default function teardown(): void {
  const before = new Set((globalThis as { shmBefore?: string[] }).shmBefore);
  const left = readdirSync('/dev/shm').filter((name) => !before.has(name));
  if (left.length > 0) throw new Error(`The tests left in /dev/shm: ${left.join(', ')}`);
}
