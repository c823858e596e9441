import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const directory = '/dev/shm';
const prefix = `ndshm-bench-${process.pid}-`;

/** The name of a segment of this run; `removeSegments` takes it away, whoever made it. */
export const segmentName = (hint) => prefix + hint;

export const pathOf = (name) => join(directory, name);

export function removeSegments() {
  for (const name of readdirSync(directory)) {
    if (name.startsWith(prefix)) rmSync(pathOf(name), { force: true });
  }
}
