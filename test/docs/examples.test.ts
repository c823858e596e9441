import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

// Every JavaScript block of the README and every @example of a public function runs as it stands, in a program of its
// own, and leaves nothing in /dev/shm.

const root = resolve(__dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'ndshm-examples-'));
writeFileSync(join(folder, 'worker.js'), "require('ndshm').inherited();\n");
mkdirSync(join(folder, 'node_modules'));
symlinkSync(root, join(folder, 'node_modules/ndshm'));
for (const peer of ['numpy-ts', 'apache-arrow']) {
  symlinkSync(join(root, 'node_modules', peer), join(folder, 'node_modules', peer));
}
afterAll(() => rmSync(folder, { recursive: true }));

// Other tests run at the same time; the names that examples use are plain words.
const exampleNames = /^[a-z]+$/;

interface Example {
  title: string;
  code: string;
}

function readmeBlocks(): Example[] {
  const blocks = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```js\n([\s\S]*?)```/g)];
  return blocks.map(([, code], n) => ({ title: `README block ${n + 1}`, code: code as string }));
}

function docstringExamples(): Example[] {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return files.flatMap((file) => {
    const comments = readFileSync(join(root, 'lib', file), 'utf8').match(/\/\*\*[\s\S]*?\*\//g) ?? [];
    return comments.flatMap((comment) =>
      [...comment.matchAll(/@example\s([\s\S]*?)(?=\n\s*\* @|\s*\*\/)/g)].map(([, text]) => {
        const code = (text as string).replace(/^\s*\* ?/gm, '');
        return { title: `${file}: ${code.trim().split('\n')[0]}`, code };
      }),
    );
  });
}

/** Runs the code as a program of its own; what it prints. */
function run(code: string): string {
  // A whole file (it requires ndshm itself) runs as it is; anything else as the body of an async function.
  const whole = code.includes("require('ndshm');");
  const program = whole ? code : `const ndshm = require('ndshm');\n(async () => {\n${code}\n})();\n`;
  const file = join(folder, 'example.js');
  writeFileSync(file, program);
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 20_000,
  });
  if (status !== 0) throw new Error(`The example failed:\n${code}\n${stdout}\n${stderr}`);
  return stdout;
}

const examples = [...readmeBlocks(), ...docstringExamples()];

test('there are examples to run', () => {
  expect(examples.length).toBeGreaterThan(15);
});

test.each(examples)('$title runs and leaves nothing', ({ code }) => {
  const before = new Set(readdirSync('/dev/shm'));
  const left = () => readdirSync('/dev/shm').filter((name) => exampleNames.test(name) && !before.has(name));
  try {
    run(code);
    expect(left()).toEqual([]);
  } finally {
    for (const name of left()) rmSync(join('/dev/shm', name));
  }
});

test('the README’s first program prints what its comments say', () => {
  const [first] = readmeBlocks() as [Example];
  expect(run(first.code)).toBe('child reads 42\nparent reads 99\n');
});
