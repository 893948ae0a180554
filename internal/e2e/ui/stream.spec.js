// What a page does while its stream is interrupted, and after.
import { test as clean, expect } from './clean_page.js';
import { Line } from './line.js';
import { policy, savePolicy } from './outside.js';

const test = clean.extend({
  line: async ({}, use) => {
    const line = new Line(new URL(process.env.PILOTLIGHT_UI_CONTROL ?? ''));
    await use(line);
    await line.close();
  },
  baseURL: async ({ line }, use) => use(await line.open()),
  pardoned: [[/Failed to load resource: net::ERR_/], { option: true }], // what the browser says of a cut line
});

for (const { fault, words } of [
  { fault: 'cut', words: 'a page whose stream is cut says so, and catches up when it is back' },
  { fault: 'fallSilent', words: 'a page whose stream falls silent says so, and catches up when it speaks again' },
]) {
  test(words, async ({ page, line }) => {
    await page.goto('/policies');
    const live = page.locator('#live');
    await expect(live).toHaveAttribute('data-state', 'live');
    const row = page.getByRole('row', { name: /^drafts\b/ });
    const shown = row.getByRole('link', { name: /^History of drafts/ });
    const before = await policy('drafts');
    await expect(shown).toHaveText(String(before.version));
    await page.evaluate(() => { /** @type {any} */ (window).unmoved = true; });

    line[fault]();
    await expect(live).toHaveAttribute('data-state', 'late', { timeout: 15_000 });
    await expect(live).toContainText(/reconnecting, \d+ s old/);
    const version = await savePolicy('drafts', before.text, { by: 'Grace', comment: `nobody saw it: ${fault}` });
    await expect(shown, 'the page shows what it last knew').toHaveText(String(before.version));

    line.mend();
    await expect(live).toHaveAttribute('data-state', 'live', { timeout: 15_000 });
    await expect(shown).toHaveText(String(version));
    await expect(row).toContainText(`nobody saw it: ${fault}`);
    expect(await page.evaluate(() => /** @type {any} */ (window).unmoved), 'the page was not loaded anew').toBe(true);
  });
}
