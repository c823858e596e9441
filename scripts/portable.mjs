// What makes one binary load on every glibc from some version on and on musl: it names no library, and imports only C
// functions that all of them have, without asking for a version of one (see native/core/freestanding.cc).
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';

const readelf = (option, file) =>
  execFileSync('readelf', [option, '--wide', file], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });

/** [name, version or ''] of the dynamic symbols that `file` imports, or else defines. */
function symbols(file, imported) {
  return readelf('--dyn-syms', file)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => /^\d+:$/.test(fields[0]) && fields.length >= 8 && (fields[6] === 'UND') === imported)
    .map((fields) => {
      const [name, version = ''] = fields[7].split(/@+/);
      return [name, version];
    });
}

/** For each function of a glibc, the version it has had it from, such as [2, 17]. */
function sinceWhen(libc) {
  const since = new Map();
  for (const [name, version] of symbols(libc, false)) {
    if (!version.startsWith('GLIBC_2')) continue;
    const number = version.slice('GLIBC_'.length).split('.').map(Number);
    if (!since.has(name) || later(since.get(name), number)) since.set(name, number);
  }
  if (since.size === 0) throw new Error(`${libc} is no glibc of 2.34 or later; prebuilds are made and checked on one`);
  return since;
}

const later = ([major, minor], [thanMajor, thanMinor]) =>
  major > thanMajor || (major === thanMajor && minor > thanMinor);

/** Throws unless `file` loads on every glibc from `floor` on; `compiler` is the one it was built with. */
export function checkPortable(file, compiler, floor) {
  const libc = execFileSync(compiler, ['-print-file-name=libc.so.6'], { encoding: 'utf8' }).trim();
  const since = sinceWhen(libc);
  const wrong = [];
  for (const line of readelf('--dynamic', file).split('\n')) {
    if (/\((NEEDED|VERNEED|TEXTREL)\)/.test(line)) wrong.push(line.trim());
  }
  const imports = symbols(file, true).filter(([name]) => name !== undefined && name !== '');
  for (const [name, version] of imports) {
    if (version !== '') wrong.push(`${name} of version ${version}`);
    if (/^(napi|node_api)_/.test(name)) continue;
    const first = since.get(name);
    if (first === undefined) wrong.push(`${name}, which glibc does not have`);
    else if (later(first, floor)) wrong.push(`${name}, which glibc has only since ${first.join('.')}`);
  }
  if (wrong.length > 0) throw new Error(`${file} would not load everywhere. It needs:\n  ${wrong.join('\n  ')}`);
  return { bytes: statSync(file).size, imports: imports.length };
}
