import { execFileSync } from 'node:child_process';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { runInThisContext } from 'node:vm';
import * as fc from 'fast-check';
import { readFunctionText } from '../../dist/pool/free-names';
import { describe as describeFunction, type FunctionSpec } from '../../dist/pool/functions';
import { Child } from '../helpers/child';

const fixtures = join(__dirname, 'fixtures/functions');
const fixture = (file: string): string => join(fixtures, file);

interface Refusal {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}
type Results = Readonly<Record<string, FunctionSpec & Refusal>>;

const run = (file: string, execArgv: readonly string[] = []): Results =>
  JSON.parse(
    execFileSync(process.execPath, [...execArgv, fixture(file)], { encoding: 'utf8', timeout: 20_000, cwd: fixtures }),
  ) as Results;

interface Loaded {
  readonly value?: unknown;
  readonly name?: string;
  readonly error?: { name: string; code?: string; message: string; stack: string; cause?: string };
}

let worker: Child;
beforeAll(() => {
  worker = new Child('load-function.js');
});
afterAll(() => worker.kill());

/** What comes of loading the function in another process and calling it there. */
async function call(spec: FunctionSpec | Promise<FunctionSpec>, ...args: unknown[]): Promise<Loaded> {
  worker.send({ spec: JSON.parse(JSON.stringify(await spec)), args });
  return worker.message<Loaded>();
}
const resultOf = async (...args: Parameters<typeof call>): Promise<unknown> => {
  const { error, value } = await call(...args);
  if (error !== undefined) throw new Error(error.stack);
  return value;
};

/** A function as it is at run time, whatever jest's transform would make of it. */
const evaluate = (code: string): unknown => runInThisContext(`(${code})`);
const given = (code: string): FunctionSpec => describeFunction(evaluate(code), 'map()') as FunctionSpec;

describe('an ES module program', () => {
  let results: Results;
  beforeAll(() => {
    results = run('program.mjs');
  });

  test.each<[string, string, string, unknown[], unknown]>([
    ['times', 'exports.mjs', 'times', [4], 20],
    ['byDefault', 'exports.mjs', 'default', ['/dev/null'], 0],
    ['outer', 'exports.mjs', 'outer', [6], 1],
    ['unnamed', 'exports.mjs', 'unnamed', [1], 6],
    ['method', 'exports.mjs', 'method', [1], 6],
  ])('gives %s of an ES module as its export', async (key, file, name, args, value) => {
    expect(results[key]).toMatchObject({
      kind: 'module',
      module: pathToFileURL(fixture(file)).href,
      export: name,
    });
    expect(await resultOf(results[key] as FunctionSpec, ...args)).toEqual(value);
  });

  test('gives an exported class as its export', async () => {
    expect(results['Counter']).toMatchObject({ kind: 'module', export: 'Counter' });
    expect((await call(results['Counter'] as FunctionSpec)).error?.message).toMatch(/without 'new'/);
  });

  test('gives functions of CommonJS modules and of Node itself as exports', async () => {
    expect(await resultOf(results['triple'] as FunctionSpec, 4)).toBe(12);
    expect(results['half']).toMatchObject({ kind: 'module', export: 'half' });
    expect(await resultOf(results['half'] as FunctionSpec, 4)).toBe(2);
    expect(results['builtin']).toMatchObject({ module: 'node:path', export: 'dirname' });
    expect(await resultOf(results['builtin'] as FunctionSpec, '/a/b')).toBe('/a');
    expect(results['readFileSync']).toMatchObject({ module: 'node:fs', export: 'readFileSync' });
  });

  test('gives what the main module exports as source: its body must not run in a worker', async () => {
    expect(results['exportedByMain']).toMatchObject({ kind: 'source' });
    expect(await resultOf(results['exportedByMain'] as FunctionSpec, 4)).toBe(5);
  });

  test.each([
    ['closedInMain', 'k'],
    ['hiddenClosure', 'n'],
    ['inBlock', 'i'],
    ['isMainThread', 'isMainThread'],
    // An import that hides a global is seen for what it is.
    ['importedOverGlobal', 'crypto'],
  ])('refuses %s for its outer name', (key, name) => {
    expect(results[key]).toEqual({
      name: 'TypeError',
      code: 'ERR_NDSHM_FUNCTION',
      message: expect.stringContaining(`does not have: ${name}. Pass as arguments`),
    });
  });

  test('may use names that exist nowhere: they are missing there as they are here', async () => {
    expect(await resultOf(results['undeclared'] as FunctionSpec)).toBe('undeclared');
  });

  test('may use require(), import() and the file’s own name, from where the function was written', async () => {
    expect(await resultOf(results['requires'] as FunctionSpec)).toEqual([6, fixture('program.mjs')]);
    expect(await resultOf(results['imports'] as FunctionSpec)).toBe(10);
    expect(await resultOf(results['directory'] as FunctionSpec)).toBe(fixtures);
  });

  test('has errors of inline functions name its file and line', async () => {
    const { error } = await call(results['thrower'] as FunctionSpec);
    expect(error).toMatchObject({ name: 'Error', message: 'thrown inline' });
    expect(error?.stack).toMatch(/at .*thrower.*program\.mjs:46:/);
  });
});

describe('a CommonJS program', () => {
  let results: Results;
  beforeAll(() => {
    results = run('program.cjs');
  });

  test.each<[string, string, string, unknown[], unknown]>([
    ['triple', 'exports.cjs', 'triple', [4], 12],
    ['renamed', 'exports.cjs', 'renamed', [4], 7],
    ['later', 'exports.cjs', 'later', [4], 1],
    ['assigned', 'exports.cjs', 'assigned', ['x'], 'xassigned3'],
    ['itself', 'itself.cjs', 'module.exports', [4], 5],
    ['plusOne', 'handed-on.cjs', 'plusOne', [4], 5],
    ['half', 'compiled.cjs', 'half', [4], 2],
    ['quarter', 'compiled.cjs', 'default', [4], 1],
  ])('gives %s as the export of the module that defines it', async (key, file, name, args, value) => {
    expect(results[key]).toMatchObject({ kind: 'module', module: fixture(file), export: name });
    expect(await resultOf(results[key] as FunctionSpec, ...args)).toEqual(value);
  });

  test('gives what the main module exports as source', async () => {
    expect(results['exportedByMain']).toMatchObject({ kind: 'source' });
    expect(await resultOf(results['requires'] as FunctionSpec, 2)).toBe(6);
  });

  test('is told all outer names of a function', () => {
    expect(results['closed']).toMatchObject({ message: expect.stringContaining('does not have: k, module. ') });
    for (const word of ['arguments', 'this']) {
      expect(results[word]).toMatchObject({ message: expect.stringContaining(`does not have: ${word}. `) });
    }
  });

  test('keeps a sloppy function sloppy', async () => {
    expect(results['sloppy']).toMatchObject({ kind: 'source', strict: false });
    expect(await resultOf(results['sloppy'] as FunctionSpec)).toBe(true);
  });
});

test('without the inspector, functions of ES modules are judged by their text alone', () => {
  const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission';
  const results = run('program.mjs', ['--no-warnings', flag, '--allow-fs-read=*']);
  expect(results['times']).toMatchObject({ message: expect.stringContaining('does not have: factor. ') });
  expect(results['undeclared']).toMatchObject({ message: expect.stringContaining('does not have: nowhere. ') });
  expect(results['triple']).toMatchObject({ kind: 'module', module: fixture('exports.cjs') });
  expect(results['exportedByMain']).toMatchObject({ kind: 'source' });
});

test('the entry file of a worker thread counts as its main module', () => {
  const program = `new (require('node:worker_threads').Worker)(${JSON.stringify(fixture('program.mjs'))})`;
  const results = JSON.parse(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' })) as Results;
  expect(results['exportedByMain']).toMatchObject({ kind: 'source' });
  expect(results['closedInMain']).toMatchObject({ code: 'ERR_NDSHM_FUNCTION' });
  expect(results['times']).toMatchObject({ kind: 'module' });
});

test('a module that awaits the pool while it is evaluated is told so, instead of waiting for itself', () => {
  const program = `import(${JSON.stringify(pathToFileURL(fixture('awaits-itself.mjs')).href)}).then(
    ({ problem }) => process.stdout.write(problem.message),
  )`;
  const message = execFileSync(process.execPath, ['-e', program], { encoding: 'utf8', timeout: 20_000 });
  expect(message).toContain("The function 'own' for map() refers to names outside it");
});

test('the analysis is loaded when it is needed, and never by a worker', () => {
  const loads = (file: string): unknown =>
    JSON.parse(
      execFileSync(
        process.execPath,
        [
          '-e',
          `require(${JSON.stringify(join(__dirname, '../../dist/pool', file))});
           process.stdout.write(JSON.stringify(Object.keys(require.cache).filter((f) => f.includes('node_modules'))))`,
        ],
        { encoding: 'utf8' },
      ),
    );
  expect(loads('load-function.js')).toEqual([]);
  expect(loads('functions.js')).toEqual([]);
});

describe('inline functions', () => {
  test.each<[string, unknown[], unknown]>([
    ['(x) => x * 2', [3], 6],
    ['x => ({ x })', [3], { x: 3 }],
    ['async (x) => x + 1', [3], 4],
    ['async x => await x', [3], 3],
    ['function (x) { return x - 1; }', [3], 2],
    ['function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }', [10], 55],
    ['async function f(x) { return x; }', [3], 3],
    ['{ f(x) { return x + 1; } }.f', [3], 4],
    ['{ async f(x) { return x + 1; } }.f', [3], 4],
    ["{ 'two words'(x) { return x + 1; } }['two words']", [3], 4],
    [`{ ['f' + 1](x) { return x + 1; } }.f1`, [3], 4],
    ['{ async(x) { return x; } }.async', [3], 3],
    ['{ get(x) { return x; } }.get', [3], 3],
    // Its own name is not in scope inside a method: this is the global one.
    ["{ String(x) { return String(x) + '!'; } }.String", [3], '3!'],
    ['class { static f(x) { return x + 1; } }.f', [3], 4],
    ['function () { return this === undefined; }', [], false],
    ['function () { "use strict"; return this === undefined; }', [], true],
    // Whether an arrow function was strict cannot be told.
    ['() => (function () { return this === undefined; })()', [], true],
    ['(...args) => Math.max(...args)', [1, 5, 2], 5],
    ["() => require('node:path').basename('/a/b')", [], 'b'],
    ["async () => (await import('node:path')).basename('/a/b')", [], 'b'],
    ['() => typeof Buffer + typeof setTimeout + typeof structuredClone', [], 'functionfunctionfunction'],
    ['function () { return arguments.length; }', [1, 2], 2],
    ['function (a, a) { return a; }', [1, 2], 2],
    ['(x) => x // the end\n', [1], 1],
  ])('%s runs in another process', async (code, args, value) => {
    expect(await resultOf(given(code), ...args)).toEqual(value);
  });

  test('keep their names', async () => {
    const double = evaluate('{ double: (x) => 2 * x }') as { double: unknown };
    expect(await call(describeFunction(double.double, 'map()'), 2)).toEqual({ value: 4, name: 'double' });
  });

  test('may be classes', async () => {
    const spec = given('class Counter { #n = 1; static of = () => new Counter(); next() { return this.#n++; } }');
    expect((await call(spec)).error?.message).toContain('Counter');
  });

  test.each<[string, string[]]>([
    ['(x) => x * factor + offset(x)', ['factor', 'offset']],
    ['((Base, helper) => class extends Base { next() { return helper; } })(Object)', ['Base', 'helper']],
    ['() => this', ['this']],
    ['() => arguments[0]', ['arguments']],
    ['() => () => this.x + y', ['this', 'y']],
    ['{ f() { return super.toString(); } }.f', ['super']],
    ['(x = outer) => x', ['outer']],
    ['({ a = outer, ...rest }) => [a, rest]', ['outer']],
    ['() => { later = 1; }', ['later']],
    ['() => typeof maybe', ['maybe']],
    ['{ [Symbol.iterator]() { return outer; } }[Symbol.iterator]', ['outer']],
  ])('%s is refused with all its outer names', (code, names) => {
    expect(() => given(code)).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_NDSHM_FUNCTION',
        message: expect.stringContaining(`does not have: ${names.join(', ')}. Pass as arguments`),
      }),
    );
  });

  test.each([
    ['function* () { yield 1; }', /generator function/],
    ['async function* () { yield 1; }', /generator function/],
    ['Math.sqrt', /'sqrt' for map\(\) has no source text/],
    ['function () {}.bind(null)', /no source text.*Wrap it/],
    ['new Proxy(() => 1, {})', /no source text/],
    ["(x) => eval('x')", /uses eval\(\), which hides/],
    ['function (o) { with (o) { return x; } }', /uses with, which hides/],
    ["Object.getOwnPropertyDescriptor({ get x() { return 1; } }, 'x').get", /getter or setter/],
  ])('%s is refused', (code, message) => {
    expect(() => given(code)).toThrow(
      expect.objectContaining({ code: 'ERR_NDSHM_FUNCTION', message: expect.stringMatching(message) }),
    );
  });

  test('import.meta is refused by name', () => {
    expect(readFunctionText('() => import.meta.url', false).outerWords).toEqual(['import.meta']);
  });

  test('one text is described once, though every call makes a function of it anew', () => {
    const make = (): unknown => evaluate('(x) => x + 41');
    expect(make()).not.toBe(make());
    expect(describeFunction(make(), 'map()')).toBe(describeFunction(make(), 'map()'));
  });
});

describe('the names that a function takes from outside', () => {
  test.each<[string, string[]]>([
    ['(a) => { const b = a; { let c = b; return c; } }', []],
    ['() => { for (const i of list) i; for (let j = 0; j < n; j++) j; }', ['list', 'n']],
    ['() => { outer: for (;;) { break outer; } }', []],
    ['(o) => o.outer + o?.other + { key: 1, [computed]: 2 }.key', ['computed']],
    ['(x) => `a $' + '{x} $' + '{hole}`', ['hole']],
    ['() => { try { f(); } catch (error) { return error; } }', ['f']],
    ['() => { try { f(); } catch { return error; } }', ['f', 'error']],
    ['(k) => ((k) => k)(k) + ((j) => j + k)(1)', []],
    ['function self() { return self; }', []],
    ['() => { function inner() { return inner; } class Local { m() { return Local; } } }', []],
    ['() => { { const hidden = 1; } return hidden; }', ['hidden']],
    ['() => { { var lifted = 1; } return lifted; }', []],
    ['([a, { b: [c = d] }]) => a + c', ['d']],
    ['() => ({ short })', ['short']],
    ['() => { ({ a: target.x } = source); }', ['target', 'source']],
    ['class { field = outer; static { inner; } #private = 1; m() { return this.#private; } }', ['outer', 'inner']],
    ['(x) => x?.y ?? z', ['z']],
  ])('%s', (code, names) => {
    expect(readFunctionText(code, false).names).toEqual(names);
  });

  test('are exactly the undeclared ones, however scopes are nested', () => {
    interface Made {
      readonly code: string;
      readonly free: readonly string[];
    }
    // Each construct declares `v<depth>`, and uses a name: that is free unless a scope around it declares it.
    const use = (name: string, depth: number): Made => ({
      code: name,
      free: name.startsWith('v') && Number(name.slice(1)) < depth ? [] : [name],
    });
    const wrappers: readonly ((v: string, inner: string) => string)[] = [
      (v, inner) => `((${v}) => ${inner})(1)`,
      (v, inner) => `(function ({ key: ${v} = 1 } = {}) { return ${inner}; })()`,
      (v, inner) => `(function ${v}() { return ${inner}; })()`,
      (v, inner) => `(() => { const [${v}] = [1]; return ${inner}; })()`,
      (v, inner) => `(() => { try { throw 1; } catch (${v}) { return ${inner}; } })()`,
      (v, inner) => `(() => { for (const ${v} of []) { ${inner}; } })()`,
      (v, inner) => `new (class ${v} { m() { return ${inner}; } })()`,
      (v, inner) => `(() => { if (1) { var ${v} = 1; } return ${inner}; })()`,
    ];
    const made = (depth: number): fc.Arbitrary<Made> =>
      fc
        .tuple(
          fc.constantFrom('v0', 'v1', 'v2', 'v3', 'v4', 'outer', 'other').map((name) => use(name, depth + 1)),
          fc.constantFrom(...wrappers),
          depth === 3 ? fc.constant({ code: '0', free: [] }) : made(depth + 1),
        )
        .map(([used, wrap, inner]) => ({
          code: wrap(`v${depth}`, `[${used.code}, { ${used.code}: 0, ${used.code}() {} }.x, ${inner.code}]`),
          free: [...used.free, ...inner.free],
        }));
    fc.assert(
      fc.property(made(0), ({ code, free }) => {
        expect(readFunctionText(`() => ${code}`, false).names).toEqual([...new Set(free)]);
      }),
      { numRuns: 200 },
    );
  });
});

describe('{ module, export }', () => {
  const here = (file: string): string => `./${relative(process.cwd(), fixture(file))}`;

  test.each<[string, () => string | URL, string | undefined, unknown[], unknown]>([
    ['an absolute path', () => fixture('exports.cjs'), 'triple', [2], 6],
    ['a path from the current directory', () => here('exports.mjs'), 'times', [2], 10],
    ['a URL', () => pathToFileURL(fixture('exports.mjs')), 'outer', [6], 1],
    ['the text of a URL', () => pathToFileURL(fixture('exports.mjs')).href, 'times', [2], 10],
    ['a URL with a query', () => `${pathToFileURL(fixture('exports.mjs')).href}?again`, 'times', [2], 10],
    ['a data: URL', () => 'data:text/javascript,export default (x) => x + 1', undefined, [2], 3],
    ['a package', () => 'acorn', 'isNewLine', [10], true],
    ['a module of Node', () => 'node:path', 'basename', ['/a/b'], 'b'],
    ['a module of Node without a prefix', () => 'path', 'basename', ['/a/b'], 'b'],
    ['a default export', () => here('exports.mjs'), undefined, ['/dev/null'], 0],
    ['module.exports itself', () => here('itself.cjs'), undefined, [2], 3],
    ['the default export of compiled CommonJS', () => here('compiled.cjs'), undefined, [4], 1],
    ['a CommonJS export that import() does not list', () => here('exports.cjs'), 'assigned', ['x'], 'xassigned3'],
    ['a getter of compiled CommonJS', () => here('compiled.cjs'), 'half', [4], 2],
  ])('finds %s', async (_, module, name, args, value) => {
    const fn = { module: module(), ...(name === undefined ? {} : { export: name }) };
    expect(await resultOf(describeFunction(fn, 'map()'), ...args)).toEqual(value);
  });

  test('is described once', () => {
    const give = (): unknown => describeFunction({ module: fixture('exports.cjs'), export: 'triple' }, 'map()');
    expect(give()).toBe(give());
  });

  test.each<[string, unknown, RegExp]>([
    ['a file that is not there', { module: './missing.js' }, /'\.\/missing\.js' for map\(\) cannot be found from/],
    ['a URL of nothing', { module: 'file:///missing.mjs' }, /cannot be found/],
    ['a package that is not there', { module: 'missing-package' }, /a path begins with '\.\/'/],
    ['a protocol that Node cannot import', { module: 'https://example.org/x.js' }, /cannot be found/],
  ])('refuses %s', (_, fn, message) => {
    expect(() => describeFunction(fn, 'map()')).toThrow(
      expect.objectContaining({ code: 'ERR_NDSHM_FUNCTION', message: expect.stringMatching(message) }),
    );
  });

  test.each<[unknown, RegExp]>([
    [3, /Expected a function or \{ module, export \} for map\(\) but received 3 of type number/],
    [null, /received null/],
    [{ module: 3 }, /the module of the function for map\(\)/],
    [{ module: './x.js', export: 3 }, /the export of the function for map\(\)/],
    [{ module: './x.js', name: 'f' }, /Unknown option 'name' for the function for map\(\)/],
  ])('refuses %p', (fn, message) => {
    expect(() => describeFunction(fn, 'map()')).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_NDSHM_INVALID_ARGUMENT',
        message: expect.stringMatching(message),
      }),
    );
  });

  test.each<[string, string, string | undefined, RegExp]>([
    ['an export that is missing', 'exports.mjs', 'tmies', /'tmies' of file:.* is not there; its exports: .*times/],
    ['an export that is no function', 'exports.cjs', 'notAFunction', /is no function but of type number/],
    [
      'a default that is missing',
      'handed-on.cjs',
      undefined,
      /'default'.* is no function but of type object; .*plusOne/,
    ],
    ['a module that throws', 'throws.mjs', 'f', /throws\.mjs, cannot be loaded: broken on purpose/],
    ['a generator function', 'generator.mjs', undefined, /'.*generator\.mjs' is a generator function/],
  ])('has the worker refuse %s', async (_, file, name, message) => {
    const spec = describeFunction({ module: fixture(file), ...(name === undefined ? {} : { export: name }) }, 'map()');
    const { error } = await call(spec);
    expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_NDSHM_FUNCTION' });
    expect(error?.message).toMatch(message);
  });
});
