import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { findPython } from './tools.mjs';

/** What the numbers were measured on. */
export async function describeMachine() {
  const python = await findPython();
  return {
    processors: `${availableParallelism()} × ${cpus()[0]?.model ?? process.arch}`,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    kernel: `Linux ${release()}`,
    node: process.version,
    v8: process.versions.v8,
    python: python?.python ?? 'none with numpy',
    numpy: python?.numpy ?? '–',
  };
}
