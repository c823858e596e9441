import { typeError } from '../errors';
import { describe, type FunctionSpec } from '../pool/functions';
import { loadModule } from '../pool/load-function';
import type { Objects } from './objects';

/** The full name of a module: what its functions are described by. Errors: ERR_NDSHM_FUNCTION if there is none. */
export function moduleName(module: string | URL): string {
  const spec = describe({ module }, 'modules') as Extract<FunctionSpec, { kind: 'module' }>;
  return spec.module;
}

/**
 * Registers each class that a module exports, under the name of the export; the default export under its own.
 * Errors: ERR_NDSHM_INVALID_ARGUMENT if the module cannot be loaded, ERR_NDSHM_MISMATCH if a name is taken.
 */
export async function registerModule(name: string, objects: Objects): Promise<void> {
  let namespace: unknown;
  try {
    namespace = await loadModule(name);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw Object.assign(typeError('ERR_NDSHM_INVALID_ARGUMENT', `The module ${name} cannot be loaded: ${why}`), {
      cause,
    });
  }
  const exports = { ...(namespace as object) } as Record<string, unknown>;
  const { default: inside } = exports;
  if (typeof inside === 'object' && inside !== null) Object.assign(exports, inside); // of a CommonJS module
  for (const [key, value] of Object.entries(exports)) {
    if (isClass(value)) objects.register(key === 'default' ? value.name : key, value);
  }
}

const isClass = (value: unknown): value is new () => object =>
  typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
