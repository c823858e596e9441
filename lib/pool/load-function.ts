import Module from 'node:module';
import { dirname, isAbsolute } from 'node:path';
import { typeError } from '../errors';
import type { FunctionSpec } from './functions';

type AnyFunction = (...args: unknown[]) => unknown;

/**
 * The function that another process described; a class comes as itself. Errors: ERR_NDSHM_FUNCTION, with what the
 * module threw as `cause`.
 */
export async function loadFunction(spec: FunctionSpec): Promise<AnyFunction> {
  loading++;
  try {
    const fn = spec.kind === 'module' ? await fromModule(spec) : fromSource(spec);
    if (isGenerator(fn)) throw generatorError(spec.name);
    return fn as AnyFunction;
  } finally {
    loading--;
  }
}

let loading = 0;

/** Whether this process is a worker that is loading a function, with all that its module does. */
export const isLoading = (): boolean => loading > 0;

/** `export` of the exports itself, as Node calls it where an ES module imports from CommonJS. */
export const exportsItself = 'module.exports';

type ModuleSpec = Extract<FunctionSpec, { kind: 'module' }>;
type SourceSpec = Extract<FunctionSpec, { kind: 'source' }>;

async function fromModule(spec: ModuleSpec): Promise<unknown> {
  let namespace: unknown;
  try {
    namespace = await loadModule(spec.module);
  } catch (cause) {
    throw failure(`The module of the function '${spec.name}', ${spec.module}, cannot be loaded`, cause);
  }
  const fn = pick(namespace, spec.export);
  if (typeof fn === 'function') return fn;
  const found = fn === undefined ? 'is not there' : `is no function but of type ${typeof fn}`;
  const names = [namespace, property(namespace, 'default')].flatMap((each) => Object.keys(each ?? {}));
  throw typeError(
    'ERR_NDSHM_FUNCTION',
    `The export '${spec.export}' of ${spec.module} ${found}; its exports: ${[...new Set(names)].join(', ')}`,
  );
}

/** What a FunctionSpec names: an absolute path of a CommonJS module, or the URL of another one. */
export const loadModule = async (module: string): Promise<unknown> =>
  isAbsolute(module) ? (require(module) as unknown) : ((await import(module)) as unknown);

/** import() of a CommonJS module has its exports as `default`, and the names only as far as Node could guess them. */
function pick(namespace: unknown, name: string): unknown {
  const inside = property(namespace, 'default');
  if (name === exportsItself) return typeof namespace === 'function' ? namespace : inside;
  const found = property(namespace, name);
  if (typeof found === 'function') return found;
  const guessed = property(inside, name);
  if (typeof guessed === 'function') return guessed;
  return name === 'default' && typeof namespace === 'function' ? namespace : (found ?? guessed);
}

const property = (of: unknown, name: string): unknown =>
  (typeof of === 'object' && of !== null) || typeof of === 'function'
    ? (of as Record<string, unknown>)[name]
    : undefined;

/** What require hooks are made of. vm has no other way to an import() that works, except one that prints a warning. */
interface Compiling {
  filename: string;
  paths: string[];
  exports: unknown;
  _compile(source: string, filename: string): void;
}

function fromSource(spec: SourceSpec): unknown {
  const module = new Module(spec.from) as unknown as Compiling;
  module.filename = spec.from;
  module.paths = (Module as unknown as { _nodeModulePaths(directory: string): string[] })._nodeModulePaths(
    dirname(spec.from),
  );
  // A function without a name of its own takes that of its property. The lines before it make errors name its own.
  const name = JSON.stringify(spec.name);
  const code = `${spec.strict ? '"use strict"; ' : ''}module.exports = { [${name}]: ${spec.source} }[${name}]`;
  try {
    module._compile('\n'.repeat(spec.line) + code, spec.from);
  } catch (cause) {
    throw failure(`The source text of the function '${spec.name}' cannot be run here`, cause);
  }
  return module.exports;
}

function failure(what: string, cause: unknown): TypeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return Object.assign(typeError('ERR_NDSHM_FUNCTION', `${what}: ${reason}`), { cause });
}

export const isGenerator = (fn: unknown): boolean =>
  /^\[object (Async)?GeneratorFunction\]$/.test(Object.prototype.toString.call(fn));

export const generatorError = (name: string): TypeError =>
  typeError(
    'ERR_NDSHM_FUNCTION',
    `'${name}' is a generator function, and what it returns cannot leave its process: return an array`,
  );
