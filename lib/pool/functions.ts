import { createRequire, isBuiltin } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { typeError, wrongKind } from '../errors';
import { checkOptions } from '../options';
import { type FunctionText, readFunctionText } from './free-names';
import { generatorError, isGenerator } from './load-function';
import { asLoaded, exportedByCommonJs, exportedByOrigin, type Found } from './module-of';
import { knownScript, type Surroundings, scriptOf, surroundingsOf } from './origin';

/**
 * A function of a module, by name.
 *
 * `module` is a path (relative ones from the current directory), a file: URL, the name of a package, or a module of
 * Node's own; `export` is 'default' unless said otherwise, which for CommonJS is also `module.exports` itself. The
 * program's own main module may be named too; its body then runs in each worker.
 */
export interface ModuleFunction {
  readonly module: string | URL;
  readonly export?: string;
}

/**
 * A function that a worker process can run: of a module, by name or as it was imported, or one that needs nothing from
 * outside.
 */
export type TaskFunction = ((...args: never[]) => unknown) | ModuleFunction;

/** How another process comes to the function; JSON. The same function has the same object, as long as it is cached. */
export type FunctionSpec =
  | {
      readonly kind: 'module';
      readonly name: string;
      /** An absolute path is for require(), a URL for import(). */
      readonly module: string;
      readonly export: string;
    }
  | {
      readonly kind: 'source';
      readonly name: string;
      /** An expression. */
      readonly source: string;
      readonly strict: boolean;
      /** The file in whose place it runs: what require() and import() start from, and what a stack trace says. */
      readonly from: string;
      /** Its first line there, from 0. */
      readonly line: number;
    };

type AnyFunction = (...args: never[]) => unknown;

const byFunction = new WeakMap<AnyFunction, FunctionSpec>();
/** What is written in a call, as in `pool.map((x) => x * 2, items)`, is a new function at every call. */
const byText = new Map<string, FunctionSpec>();
const byModule = new Map<string, FunctionSpec>();
const remembered = 1000;

function remember(map: Map<string, FunctionSpec>, key: string, spec: FunctionSpec): FunctionSpec {
  if (map.size >= remembered) map.clear();
  map.set(key, spec);
  return spec;
}

/**
 * How another process comes to the function. `what` is for messages: 'map()'.
 *
 * A function that a loaded module exports is described by module and name, except by the program's main module, whose
 * body would run again; any other by its source text, which may use what is global in every process, `require`,
 * import(), `__filename` and `__dirname`; properties that were set on it stay behind. A promise where the module is found
 * by import(), else at once, errors too: ERR_NDSHM_FUNCTION, ERR_NDSHM_INVALID_ARGUMENT.
 */
export function describe(fn: unknown, what: string): FunctionSpec | Promise<FunctionSpec> {
  if (typeof fn === 'function') return describeFunction(fn as AnyFunction, what);
  if (typeof fn === 'object' && fn !== null && 'module' in fn) return describeModule(fn as ModuleFunction, what);
  throw wrongKind('a function or { module, export }', what, fn);
}

function describeFunction(fn: AnyFunction, what: string): FunctionSpec | Promise<FunctionSpec> {
  const known = byFunction.get(fn);
  if (known !== undefined) return known;
  if (isGenerator(fn)) throw generatorError(nameOf(fn));
  const text = Function.prototype.toString.call(fn);
  const twin = byText.get(text);
  if (twin !== undefined) return twin;

  const keep = (spec: FunctionSpec): FunctionSpec => {
    byFunction.set(fn, spec);
    return spec;
  };
  const exported = exportedByCommonJs(fn);
  if (exported !== null) return keep(moduleSpec(fn, exported));

  const inline = new InlineFunction(fn, text, what);
  if (!inline.mayBeExported()) return keep(inline.spec());
  const found = exportedByOrigin(fn, inline.around);
  return found === null
    ? keep(inline.spec())
    : found.then((origin) => keep(origin === null ? inline.spec() : moduleSpec(fn, origin)));
}

const nameOf = (fn: AnyFunction): string => (typeof fn.name === 'string' && fn.name !== '' ? fn.name : 'anonymous');

const moduleSpec = (fn: AnyFunction, { module, export: name }: Found): FunctionSpec => ({
  kind: 'module',
  name: nameOf(fn),
  module,
  export: name,
});

/** What the wrapper of a CommonJS module gives, and a worker can give again. */
const provided: ReadonlySet<string> = new Set(['require', '__filename', '__dirname']);

/** A function that no module is known to export. */
class InlineFunction {
  readonly around: Surroundings | null;
  readonly #fn: AnyFunction;
  readonly #text: string;
  readonly #what: string;
  #taken: FunctionText | undefined;

  constructor(fn: AnyFunction, text: string, what: string) {
    this.#fn = fn;
    this.#text = text;
    this.#what = what;
    this.around = surroundingsOf(fn);
  }

  /** Whether it is worth to look for the module: that may take long, and what is written in a call has no name. */
  mayBeExported(): boolean {
    if (this.around === null) return false;
    return (this.around.inModule && this.#fn.name !== '') || this.#outerNames().length > 0;
  }

  spec(): FunctionSpec {
    const { expression, hidesNames, names, imports, strict } = this.#read();
    if (hidesNames !== null) {
      throw this.#refusal(`uses ${hidesNames}, which hides what else it uses. ${remedy}`);
    }
    const outer = this.#outerNames();
    if (outer.length > 0) {
      throw this.#refusal(
        `refers to names outside it, which another process does not have: ${outer.join(', ')}. ${remedy}`,
      );
    }
    const needsFile = imports || names.some((name) => provided.has(name));
    const name = nameOf(this.#fn);
    const script = this.around === null ? null : needsFile ? scriptOf(this.around) : knownScript(this.around);
    const spec: FunctionSpec = {
      kind: 'source',
      name,
      source: expression,
      strict,
      from: script?.url.startsWith('file:') ? fileURLToPath(script.url) : join(process.cwd(), `[${name}]`),
      line: this.around?.line ?? 0,
    };
    // The same text may stand elsewhere, where other files are near and other names are known.
    const isSameAnywhere = !needsFile && names.every((name) => name in globalThis);
    return isSameAnywhere ? remember(byText, this.#text, spec) : spec;
  }

  /**
   * Whatever is found between the function and the global object. Where only the text is known, a name counts as global
   * if there is a global of that name, and a variable that hides it goes unseen.
   */
  #outerNames(): string[] {
    const { names, outerWords } = this.#read();
    const isOuter = (name: string): boolean =>
      !provided.has(name) && (this.around === null ? !(name in globalThis) : this.around.names.has(name));
    return [...outerWords, ...names.filter(isOuter)];
  }

  #read(): FunctionText {
    if (this.#taken !== undefined) return this.#taken;
    if (/\{\s*\[native code\]\s*\}$/.test(this.#text)) {
      throw this.#refusal('has no source text, being native, bound or a Proxy. Wrap it in a function of a module');
    }
    try {
      this.#taken = readFunctionText(this.#text, isSloppy(this.#fn));
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      throw Object.assign(this.#refusal(`cannot be moved: ${cause.message}. ${remedy}`), { cause });
    }
    return this.#taken;
  }

  #refusal(problem: string): TypeError {
    const shown = this.#fn.name === '' ? this.#text.replace(/\s+/g, ' ').slice(0, 60) : nameOf(this.#fn);
    return typeError('ERR_NDSHM_FUNCTION', `The function '${shown}' for ${this.#what} ${problem}`);
  }
}

/**
 * Only the `caller` of a sloppy `function` can be read. Arrow functions and methods do not tell, nor does their text:
 * they become strict where they can. What a sloppy one may notice: undeclared names cannot be set, and in a `function`
 * inside it that is called without an object, `this` is undefined.
 */
function isSloppy(fn: AnyFunction): boolean {
  try {
    return fn.caller !== undefined;
  } catch {
    return false;
  }
}

const remedy =
  'Pass as arguments what it needs, or export it from a module other than the main one and pass it, or { module, export }';

function describeModule(fn: ModuleFunction, what: string): FunctionSpec {
  checkOptions(fn, ['module', 'export'], `the function for ${what}`);
  const name = fn.export ?? 'default';
  if (typeof name !== 'string') throw wrongKind('a string', `the export of the function for ${what}`, name);
  const given = fn.module as unknown;
  if (typeof given !== 'string' && !isUrl(given)) {
    throw wrongKind('a path, a URL or the name of a package', `the module of the function for ${what}`, given);
  }
  const directory = process.cwd();
  const key = JSON.stringify([directory, String(given), name]);
  return (
    byModule.get(key) ??
    remember(byModule, key, {
      kind: 'module',
      name: name === 'default' ? String(given) : name,
      module: resolveModule(String(given), directory, what),
      export: name,
    })
  );
}

/** By its looks: jest's URL is another class. */
const isUrl = (value: unknown): value is URL => typeof value === 'object' && value !== null && 'href' in value;

function resolveModule(given: string, directory: string, what: string): string {
  const { resolve } = createRequire(join(directory, 'here'));
  try {
    if (given.startsWith('data:')) return given;
    if (given.startsWith('file:')) {
      const file = resolve(fileURLToPath(given));
      // What follows the path makes it another module to import().
      return /[?#]/.test(given) ? given : asLoaded(file);
    }
    const found = resolve(given);
    return isBuiltin(found) ? `node:${found.replace(/^node:/, '')}` : asLoaded(found);
  } catch (cause) {
    const hint = hints[(cause as { code?: string }).code ?? ''] ?? '';
    const message = `The module '${given}' for ${what} cannot be found from ${directory}${hint}`;
    throw Object.assign(typeError('ERR_NDSHM_FUNCTION', message), { cause });
  }
}

const hints: Readonly<Record<string, string>> = {
  MODULE_NOT_FOUND: "; a path begins with './', '../' or '/'",
  ERR_PACKAGE_PATH_NOT_EXPORTED: '; of a package for import() alone, pass the URL: import.meta.resolve(…)',
};
