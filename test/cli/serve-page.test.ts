import { writeFileSync } from 'node:fs';
import { create, type SharedArray, Store } from 'ndshm';
import type { Browser, Locator, Page } from 'playwright-core';
import { describeWithBrowser, startBrowser } from '../helpers/browser';
import { Peer } from '../helpers/child';
import { Served } from '../helpers/served';
import { exists, freshName, shmPath } from '../helpers/shm';

// The page of `ndshm serve`, in a real browser. Locators wait for what they are asked for, but not for ever.

describeWithBrowser('the page', () => {
  let browser: Browser;
  let served: Served;
  let page: Page;
  /** What the page has complained about: errors, and what its own security policy has kept from it. */
  let complaints: string[];

  beforeAll(async () => {
    [browser, served] = await Promise.all([startBrowser(), Served.start('--allow-write')]);
  });
  afterAll(() => browser.close());
  beforeEach(async () => {
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.setDefaultTimeout(15_000);
    complaints = [];
    page.on('pageerror', ({ message }) => complaints.push(message));
    page.on('console', (message) => {
      if (message.type() !== 'log') complaints.push(message.text());
    });
  });
  afterEach(() => page.close());

  const rowOf = (name: string): Locator => page.locator(`tr[data-name=${JSON.stringify(name)}]`);
  const picture = (name: string): Locator => page.getByRole('img', { name: `Values of ${name}` });
  const addressOf = (name: string): string => `${served.url}#${encodeURIComponent(name)}`;

  /** Resolves when the picture is another one than it was. */
  const redrawn = (name: string, before: string | null): Promise<void> =>
    page.locator(`img[alt="Values of ${name}"]:not([src="${before}"])`).waitFor();

  test('shows the segments, and of a chosen one its values and who has it', async () => {
    const name = freshName();
    using _array = create(name, { shape: [20, 30], dtype: 'float32', ephemeral: true });
    await page.goto(served.url);
    await rowOf(name).getByText('(20, 30)').waitFor();
    await rowOf(name).click();
    await picture(name).waitFor();
    await page.locator(`tr[data-pid="${process.pid}"]`).getByText(/jest/).waitFor();
    expect(decodeURIComponent(new URL(page.url()).hash)).toBe(`#${name}`);
    expect(complaints).toEqual([]);
  });

  test('shows a lock while another process has it, and who that is', async () => {
    const name = freshName();
    using _array = create(name, { shape: [4], dtype: 'uint8', ephemeral: true });
    const peer = await Peer.start();
    await peer.call('array', 'open', name, { mode: 'r+' });
    await page.goto(addressOf(name));
    await rowOf(name).locator('[data-lock=free]').waitFor();
    await peer.run(async ({ kept }) => {
      const array = kept.get('array') as SharedArray;
      await new Promise<void>((inside) => {
        void array.write(() => {
          inside();
          return new Promise<void>((leave) => kept.set('leave', leave));
        });
      });
    });
    await rowOf(name).locator('[data-lock=write]').waitFor();
    await page.locator(`tr[data-pid="${peer.pid}"]`).getByText('writes').waitFor();
    await peer.run(({ kept }) => (kept.get('leave') as () => void)());
    await rowOf(name).locator('[data-lock=free]').waitFor();
    expect(complaints).toEqual([]);
  });

  test('draws values anew when they have been written, under the lock or not', async () => {
    const name = freshName();
    using array = create(name, { shape: [100], dtype: 'float64', ephemeral: true });
    await page.goto(addressOf(name));
    const first = await picture(name).getAttribute('src');
    await array.write(({ data }) => data.fill(5, 50));
    await redrawn(name, first);
    const second = await picture(name).getAttribute('src');
    array.data[0] = -5;
    await redrawn(name, second);
    expect(complaints).toEqual([]);
  });

  test('draws another part in another way, and says why it cannot', async () => {
    const name = freshName();
    using _array = create(name, { shape: [2, 3, 40], dtype: 'float64', ephemeral: true });
    await page.goto(addressOf(name));
    const slice = page.getByLabel('Slice, as numpy writes it');
    const first = await picture(name).getAttribute('src');
    expect(await slice.inputValue()).toBe('0, :, :');
    await page.getByLabel('Kind of chart').selectOption('histogram');
    await redrawn(name, first);
    await slice.fill('7');
    await slice.press('Enter');
    await page.getByText(/out of (range|bounds)|index 7/i).waitFor();
  });

  test('takes names for text', async () => {
    const name = `${freshName()}<img src=x onerror="document.title='taken'">`;
    writeFileSync(shmPath(name), 'not ours');
    await page.goto(served.url);
    await page.getByText(name, { exact: true }).waitFor();
    await page.getByText(name, { exact: true }).click();
    await page.getByRole('heading', { name }).waitFor();
    expect(await page.locator('img[src=x]').count()).toBe(0);
    expect(await page.title()).toBe('ndshm');
    expect(complaints).toEqual([]);
  });

  test("shows a store's objects and hides its pages below it", async () => {
    using store = Store.open(freshName('store'), { capacity: '1MiB' });
    await store.put(new Float64Array(5000));
    await page.goto(addressOf(store.name));
    await page.getByRole('heading', { name: 'Objects 1' }).waitFor();
    await page.getByRole('cell', { name: 'sealed' }).waitFor();
    const names = await page
      .locator('.segments tbody tr')
      .evaluateAll((rows) => rows.map((row) => row.dataset['name']));
    expect(names[names.indexOf(store.name) + 1]).toBe(`${store.name}.pages.0`);
  });

  test('filters, and sorts by a column', async () => {
    const [small, large] = [freshName('sorted'), freshName('sorted')];
    using _small = create(small, { shape: [10], dtype: 'uint8', ephemeral: true });
    using _large = create(large, { shape: [100_000], dtype: 'uint8', ephemeral: true });
    await page.goto(served.url);
    await page.getByLabel('Filter by name or kind').fill(small.slice(0, -1));
    await rowOf(large).waitFor();
    const shown = () =>
      page.locator('.segments tbody tr').evaluateAll((rows) => rows.map((row) => row.dataset['name'] ?? ''));
    expect(await shown()).toEqual([small, large].sort());
    await page.getByRole('button', { name: 'Memory' }).click();
    expect(await shown()).toEqual([small, large]);
    await page.getByRole('button', { name: 'Memory' }).click();
    expect(await shown()).toEqual([large, small]);
    expect(await page.getByRole('columnheader', { name: 'Memory' }).getAttribute('aria-sort')).toBe('descending');
  });

  test('needs no mouse, and no wide window', async () => {
    const name = freshName();
    using _array = create(name, { shape: [10], dtype: 'uint8', ephemeral: true });
    await page.setViewportSize({ width: 375, height: 700 });
    await page.goto(served.url);
    await rowOf(name).getByRole('link').focus();
    await page.keyboard.press('Enter');
    await picture(name).waitFor();
    expect(await page.locator('html').evaluate(({ scrollWidth }) => scrollWidth)).toBe(375);
  });

  test('removes what nobody uses, and what is in use only if that is said', async () => {
    const name = freshName();
    const peer = await Peer.start();
    await peer.call('array', 'create', name, { shape: [4], dtype: 'uint8' });
    await page.goto(addressOf(name));
    await page.getByRole('button', { name: 'Remove…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Remove', exact: true }).click();
    await dialog.getByText(String(peer.pid)).waitFor();
    expect(exists(name)).toBe(true);
    await dialog.getByRole('button', { name: 'Remove it all the same' }).click();
    await page.getByText(`Removed ${name}.`).waitFor();
    expect(exists(name)).toBe(false);
    await page.getByText(`There is no segment '${name}' now.`).waitFor();
  });

  test('asks nobody but its own server, and offers no removal if that may only look', async () => {
    const name = freshName();
    using _array = create(name, { shape: [10], dtype: 'uint8', ephemeral: true });
    const reader = await Served.start();
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.goto(`${reader.url}#${name}`);
    await picture(name).waitFor();
    expect(await page.getByRole('button', { name: /remove/i }).count()).toBe(0);
    expect(asked.filter((url) => !url.startsWith(reader.url) && !url.startsWith('blob:'))).toEqual([]);
  });

  test('says when the connection is lost, goes on when it is back, and when it never will be', async () => {
    const first = await Served.start();
    await page.goto(first.url);
    await page.getByText('live', { exact: true }).waitFor();
    first.live.process.kill('SIGSTOP');
    await page.getByText(/connection is lost/).waitFor();
    first.live.process.kill('SIGCONT');
    await page.getByText('live', { exact: true }).waitFor();
    await first.live.kill();
    await page.getByText(/connection is lost/).waitFor();
    // Another one at the same port does not know the token.
    await Served.start('--port', String(first.port));
    await page.getByText(/does not know this page/).waitFor();
  });
});
