import { resolve } from 'node:path';
import type { Binding } from '../binding';
import { stateError } from './errors';

export type {
  AccessNumber,
  ChangeNumber,
  EntryNumber,
  Failure,
  Lock,
  ModeNumber,
  PeerRow,
  Reservoir,
  Segment,
} from '../binding';

function load(): Binding {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw stateError(
      'ERR_NDSHM_UNSUPPORTED',
      `ndshm runs on linux-x64 and linux-arm64; this is ${process.platform}-${process.arch}`,
    );
  }
  const root = resolve(__dirname, '..');
  try {
    return (require('node-gyp-build') as (directory: string) => Binding)(root);
  } catch (cause) {
    const error = stateError(
      'ERR_NDSHM_NO_BINARY',
      `No compiled addon of ndshm loads on ${process.platform}-${process.arch} (${process.version}). ` +
        `Looked in ${root}/build and ${root}/prebuilds. Compile it (needs cmake and a C++ compiler): npx ndshm build\n` +
        `The loader said: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
    throw Object.assign(error, { cause });
  }
}

export const binding: Binding = load();
