import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const names = ['chromium', 'chromium-browser', 'google-chrome'];

/** NDSHM_CHROMIUM, or what is on the PATH: a Debian package is called chromium. */
function findBrowser(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const candidates = [process.env['NDSHM_CHROMIUM'], ...names.flatMap((name) => folders.map((at) => join(at, name)))];
  const found = candidates.find((path) => path !== undefined && isExecutable(path));
  if (found === undefined && process.env['CI'] === 'true') throw new Error('CI needs chromium');
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const executablePath = findBrowser();

/** describe(), but left out with its name in the report where there is no chromium. In CI there is. */
export const describeWithBrowser: jest.Describe = executablePath === undefined ? describe.skip : describe;

export function startBrowser(): Promise<Browser> {
  // As root it has no sandbox; and its own shared memory is to stay away from the one under test.
  return chromium.launch({
    executablePath: executablePath as string,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}
