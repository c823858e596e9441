import Module, { createRequire, isBuiltin } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { exportsItself } from './load-function';
import { type Surroundings, scriptOf } from './origin';

// Which module exports a function: looked for among what this process has loaded, and never by running anything anew.

export interface Found {
  /** An absolute path is for require(), a URL for import(). */
  readonly module: string;
  readonly export: string;
}

/** All modules that require() has loaded. `require.cache` is the same object, except under jest, whose are not files. */
const cache = (): NodeJS.Dict<NodeJS.Module> =>
  (Module as unknown as { _cache?: NodeJS.Dict<NodeJS.Module> })._cache ?? {};

/** The file as the worker should load it: with the loader that this process took, or else with import(), which takes both kinds. */
export const asLoaded = (file: string): string =>
  file in cache() || extname(file) === '.node' ? file : pathToFileURL(file).href;

/** Of several modules the last one: a module that hands on what others export has begun to load before them. */
export function exportedByCommonJs(fn: object): Found | null {
  const main = mainFiles();
  let found: Found | null = null;
  for (const module of Object.values(cache())) {
    if (module === undefined || main.has(module.filename)) continue;
    const name = exportName(module.exports, fn);
    if (name !== null) found = { module: module.filename, export: name };
  }
  return found;
}

function exportName(namespace: unknown, fn: object): string | null {
  if (namespace === fn) return exportsItself;
  if ((typeof namespace !== 'object' && typeof namespace !== 'function') || namespace === null) return null;
  try {
    for (const key of Object.keys(namespace)) {
      if (Object.getOwnPropertyDescriptor(namespace, key)?.value === fn) return key;
    }
    // Compilers (swc, esbuild, Babel) export through getters. The getters of others may do anything: they are let be.
    if ((namespace as { __esModule?: unknown }).__esModule === true) {
      const { name } = fn as { name?: unknown };
      for (const key of ['default', typeof name === 'string' ? name : '']) {
        if (Object.hasOwn(namespace, key) && (namespace as Record<string, unknown>)[key] === fn) return key;
      }
    }
  } catch {
    // A Proxy that throws, or a module that has not been evaluated yet: its function is not to be had from there.
  }
  return null;
}

/** How long an import() of a module that is loaded already may take: hooks on another thread have a say in it. */
const importLimitMs = 1000;

/** By the place where it was written: the ES module around it, or a module of Node's own. null if there is none. */
export function exportedByOrigin(fn: object, around: Surroundings | null): Promise<Found | null> | null {
  const script = around === null ? null : scriptOf(around);
  if (script === null) return null;
  const { url } = script;
  const isForeign = script.isModule && url.startsWith('file:') && !mainFiles().has(fileURLToPath(url));
  if (!isForeign && !isBuiltin(url)) return null;
  return alreadyImported(url).then((namespace) => {
    const name = exportName(namespace, fn);
    return name === null ? null : { module: url, export: name };
  });
}

/** Its namespace, or null while it is being evaluated: a module that awaits the pool at its top level would wait for itself. */
async function alreadyImported(url: string): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), importLimitMs);
  });
  try {
    return await Promise.race([import(url) as Promise<unknown>, late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

/** What the program was started with: to load it in a worker would start the program again. */
function mainFiles(): Set<string> {
  const files = new Set<string>();
  // Of an ES module program undefined, and under Deno null.
  if (require.main) files.add(require.main.filename);
  const given = process.argv[1];
  if (given !== undefined) {
    files.add(given);
    try {
      files.add(createRequire(given).resolve(given));
    } catch {
      // Not a file (node -e with arguments): nothing more to exclude.
    }
  }
  return files;
}
