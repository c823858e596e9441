// Makes the pictures of the documentation: what `ndshm serve` and `ndshm plot --png` show of the scene of cli-scene.mjs, in a
// /dev/shm of their own.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { startScene } from './cli-scene.mjs';

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const images = fileURLToPath(new URL('../docs/images/', import.meta.url));

const ndshm = (args, stdout) => spawn(process.execPath, [program, ...args], { stdio: ['ignore', stdout, 'inherit'] });

if (process.argv.includes('--inside')) await main();
else {
  const own = 'mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm && exec "$0" "$@"';
  const unshare = ['--user', '--map-root-user', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const command = [process.execPath, fileURLToPath(import.meta.url), '--inside'];
  const { status, error } = spawnSync('unshare', [...unshare, 'sh', '-c', own, ...command], { stdio: 'inherit' });
  if (error !== undefined) throw error;
  process.exitCode = status ?? 1;
}

async function main() {
  mkdirSync(images, { recursive: true });
  // First, so that its memory over time begins with none.
  const server = ndshm(['serve', '--json'], 'pipe');
  const [line] = await once(createInterface({ input: server.stdout }), 'line');
  const scene = await startScene();
  try {
    await shootPage(JSON.parse(line).url);
    await shootPlot();
  } finally {
    server.kill();
    await scene.end();
  }
}

async function shootPage(url) {
  const browser = await chromium.launch({
    executablePath: process.env.NDSHM_CHROMIUM ?? '/usr/bin/chromium',
    // Root has no sandbox, and this /dev/shm is too small for two.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
    await page.goto(`${url}#prices`);
    await page.getByRole('img', { name: 'Values of prices' }).waitFor();
    const prices = page.locator('[data-name=prices]');
    await prices.getByText(/^\d+\.\d$/).waitFor(); // writes in a second: known from the second state on
    await page.screenshot({ path: `${images}serve.png` });
  } finally {
    await browser.close();
  }
}

async function shootPlot() {
  const [code] = await once(ndshm(['plot', 'grid', '--png', `${images}plot.png`], 'inherit'), 'exit');
  if (code !== 0) throw new Error(`ndshm plot ended with ${code}`);
}
