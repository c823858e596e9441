import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, runJson } from './processes.mjs';

const bench = fileURLToPath(new URL('..', import.meta.url));
export const cache = resolve(bench, '../.cache');

const compiled = new Map();

/** The program compiled from bench/native/<name>.c. */
export function compileC(name) {
  if (!compiled.has(name)) {
    const folder = join(cache, 'bench');
    mkdirSync(folder, { recursive: true });
    const program = join(folder, name);
    const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-pthread'];
    compiled.set(
      name,
      run('cc', [...flags, '-o', program, join(bench, 'native', `${name}.c`)]).then(() => program),
    );
  }
  return compiled.get(name);
}

const programThatNames = (modules) => `
import json, platform
from importlib.metadata import version
import ${modules.join(', ')}
print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in ${JSON.stringify(modules)}}}))`;

async function searchPython(modules) {
  const candidates = [process.env.NDSHM_PYTHON, resolve(bench, '../.venv/bin/python'), 'python3'];
  for (const candidate of candidates.filter(Boolean)) {
    const found = await runJson(candidate, ['-c', programThatNames(modules)]).catch(() => undefined);
    if (found !== undefined) return { command: candidate, ...found };
  }
  return undefined;
}

let python;
/** A Python with numpy; undefined if there is none. */
export function findPython() {
  python ??= searchPython(['numpy']);
  return python;
}

/** The environment in which Python finds the package as it is in the checkout. */
export const withPackage = { ...process.env, PYTHONPATH: resolve(bench, '../python') };

/** The `command` of a Python with numpy that can import our package, or why it is `missing`. */
export async function findPackage() {
  const found = await findPython();
  if (found === undefined) return { missing: 'no Python with numpy here' };
  const loads = run(found.command, ['-c', 'import ndshm; ndshm.list()'], { env: withPackage });
  return loads.then(
    () => ({ command: found.command }),
    () => ({ missing: 'the Python package does not load here' }),
  );
}

let ray;
/** A Python with numpy and Ray; undefined if there is none. */
export function findRay() {
  ray ??= searchPython(['numpy', 'ray']);
  return ray;
}

/** With its version, if it is here. */
export const nameOfRay = async () => ['Ray', (await findRay())?.ray].filter(Boolean).join(' ');

/** Why there is nothing to compare with Ray; undefined if there is. */
export const noRay = async () => ((await findRay()) === undefined ? 'not installed: pip install ray' : undefined);

async function runWith({ command }, file, args, options) {
  return runJson(command, ['-B', join(bench, 'measured', file), JSON.stringify(args)], {
    env: withPackage,
    ...options,
  });
}

/** Runs a Python file of bench/measured; it prints one JSON value. */
export const runPython = async (file, args) => runWith(await findPython(), file, args);

/** The same by a Python that has Ray, which ends its daemons when it is told to end. */
export const runRay = async (file, args) => runWith(await findRay(), file, args, { endBy: 'SIGTERM' });

// Both peers compile on installation, and both ask for a C++ older than Node's own headers do.
async function installPeer(name) {
  const folder = join(cache, 'bench-peers', name.replace(/\W+/g, '-'));
  const entry = join(folder, 'node_modules', name);
  const load = () => run(process.execPath, ['-e', `require(${JSON.stringify(entry)})`]);
  if (existsSync(entry)) {
    const works = await load().then(
      () => true,
      () => false,
    );
    if (works) return { entry };
  }
  mkdirSync(folder, { recursive: true });
  const prefix = resolve(dirname(process.execPath), '..');
  const headers = existsSync(join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {};
  const args = ['install', '--prefix', folder, '--ignore-scripts=false', '--no-audit', '--no-fund', name];
  try {
    const env = { ...process.env, CXXFLAGS: '-std=c++17', ...headers };
    await run('npm', args, { cwd: folder, env, timeoutMs: 5 * 60_000 });
    await load();
    return { entry };
  } catch {
    return { missing: 'could not be built here' };
  }
}

const peers = new Map();
/** An npm package to compare with: where to require it from, or why it is `missing`. */
export function findPeer(name) {
  if (!peers.has(name)) peers.set(name, installPeer(name));
  return peers.get(name);
}
