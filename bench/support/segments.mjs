import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

const directory = '/dev/shm';
const prefix = `ndshm-bench-${process.pid}-`;

/** The name of a segment of this run; `removeSegments` takes it away, whoever made it. */
export const segmentName = (hint) => prefix + hint;

export const pathOf = (name) => join(directory, name);

/** The bytes that the segments whose names begin so have in memory. */
export function bytesInMemory(beginning) {
  const names = readdirSync(directory).filter((name) => name.startsWith(beginning));
  return names.reduce((sum, name) => sum + statSync(pathOf(name)).blocks * 512, 0);
}

export function removeSegments() {
  for (const name of readdirSync(directory)) {
    if (name.startsWith(prefix)) rmSync(pathOf(name), { force: true });
  }
}
