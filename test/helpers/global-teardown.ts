import { readdirSync } from 'node:fs';

export default function teardown(): void {
  const before = new Set((globalThis as { shmBefore?: string[] }).shmBefore);
  // What other programs put there at the same time is not ours; examples and the demo check themselves.
  const ours = /^(ndshm-|\.ndshm-|pool-)/;
  const left = readdirSync('/dev/shm').filter((name) => ours.test(name) && !before.has(name));
  if (left.length > 0) throw new Error(`The tests left in /dev/shm: ${left.join(', ')}`);
}
