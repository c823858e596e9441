import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const fixture = resolve(__dirname, '../fixtures/segment-v1.npy');
const workshop = mkdtempSync(join(tmpdir(), 'ndshm-golden-'));
const program = join(workshop, 'golden');

beforeAll(() => {
  const options = ['-std=c++17', '-Wall', '-Wextra', '-Werror'];
  execFileSync(process.env['CXX'] ?? 'g++', [...options, '-o', program, join(__dirname, 'golden.cc')]);
});
afterAll(() => rmSync(workshop, { recursive: true }));

function parsed(file: string) {
  const { status, stderr } = spawnSync(program, [file], { encoding: 'utf8', timeout: 10_000 });
  return { status, stderr };
}

test('the structures of layout.h lie where the golden segment has them', () => {
  expect(parsed(fixture)).toEqual({ status: 0, stderr: '' });
});

test('they would tell a segment of another layout version', () => {
  const bytes = readFileSync(fixture);
  bytes.writeUInt32LE(2, 8192 + 8);
  const changed = join(workshop, 'changed.npy');
  writeFileSync(changed, bytes);
  expect(parsed(changed)).toEqual({ status: 1, stderr: 'not so: header.layoutVersion == 1\n' });
});
