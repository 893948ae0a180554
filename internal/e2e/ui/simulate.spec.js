// Trying a draft before it is saved: on a named trace, on what was recorded, and
// beside the policy in force.
import { test, expect } from './clean_page.js';
import { policy, service, translate } from './outside.js';

/** @typedef {import('@playwright/test').Page} Page */

/** The editor's text. @param {Page} page @param {string} name */
const editor = (page, name) => page.getByLabel(`Policy ${name} as HCL text`);

/** A draft of a policy, with another bound. @param {string} text @param {number} most */
const drafted = (text, most) => text.replace(/^( *max *=).*/m, `$1 ${most}`);

/** Waits until a simulation is over. @param {Page} page */
const done = (page) => expect(page.locator('#simulation')).toHaveAttribute('data-state', 'done', { timeout: 40_000 });

/** What everybody finds on the page of a simulation that is done. @param {Page} page */
async function figures(page) {
  await expect(page.getByRole('status').filter({ hasText: 'The draft would have used' })).toBeVisible();
  const table = page.getByRole('table', { name: /What each way to scale would have cost/ });
  for (const name of [/^draft$/, /^live, version \d+$/, /^kpa$/, /^always-on$/]) await expect(table.getByRole('rowheader', { name })).toBeVisible();
  for (const name of [/p99 added wait against GPU-hours/, /mean added wait/, /over time: draft/, /over time: live/]) {
    await expect(page.getByRole('img', { name })).toBeVisible();
  }
}

test.describe('an operator tries a draft before it is saved', () => {
  test.use({ pardoned: [/status of (422|404)/] });

  test('on a named trace, and goes back to the editor with it', async ({ page }) => {
    const before = await policy('drafts');
    const draft = drafted(before.text, 7);
    await page.goto('/policies/drafts');
    await editor(page, 'drafts').fill(draft);
    await page.getByLabel('Try it on').selectOption('azure-llm-2023-code');
    await page.getByRole('button', { name: 'Simulate' }).click();
    await expect(page).toHaveURL(/\/policies\/drafts\/simulations\//);
    await done(page);
    await figures(page);
    await expect(page.getByText(/Tried on the trace azure-llm-2023-code, 8,819 requests/)).toBeVisible();
    await page.getByText('The same as a table').first().click();
    await page.getByRole('button', { name: 'Back to the editor' }).click();
    await expect(editor(page, 'drafts')).toHaveValue(draft);
    await expect(page.locator('#verdict')).toContainText('Valid');
    expect((await policy('drafts')).version, 'nothing was saved').toBe(before.version);
  });

  test('on what was asked of the service', async ({ page }) => {
    await translate();
    const { text } = await policy('translate');
    await expect(async () => { // it is recorded within seconds
      await page.goto('/policies/translate');
      await editor(page, 'translate').fill(drafted(text, 5));
      await page.getByLabel('Try it on').selectOption('the last 24 hours');
      await page.getByRole('button', { name: 'Simulate' }).click();
      await expect(page).toHaveURL(/\/simulations\//, { timeout: 2000 });
    }).toPass({ timeout: 30_000 });
    await done(page);
    await figures(page);
    await expect(page.getByText(/Tried on what was asked of translate from .* nothing is known: no scaler was there to record/)).toBeVisible();
  });

  test('and where nothing was asked is told so, and what else there is', async ({ page }) => {
    const draft = drafted((await policy('drafts')).text, 9);
    await page.goto('/policies/drafts');
    await editor(page, 'drafts').fill(draft);
    await page.getByRole('button', { name: 'Simulate' }).click();
    await expect(page.getByRole('alert')).toContainText(/Nobody is known to have asked for drafts .* or a trace: azure-llm-2023-code/);
    await expect(editor(page, 'drafts')).toHaveValue(draft);
  });

  test('and cancels what takes too long', async ({ page }) => {
    await page.goto('/policies/drafts');
    await page.getByLabel('Try it on').selectOption('servegen-office');
    await page.getByLabel('with other values of patience').check();
    await page.getByRole('button', { name: 'Simulate' }).click();
    await expect(page.getByRole('progressbar')).toBeVisible();
    await expect(page.locator('.far')).toContainText(/of virtual time, [\d,]+ requests/);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await expect(page.getByRole('status').filter({ hasText: 'Cancelled' })).toHaveText('Cancelled: it was cancelled.');
  });

  test('beside the policy in force, and ends it', async ({ page }) => {
    const before = await policy('drafts');
    const draft = before.text.replace(/^( *max *=)/m, '    min = 1\n$1').replace(/^ *min *= *0\n/m, '');
    await page.goto('/policies/drafts');
    await editor(page, 'drafts').fill(draft);
    await page.getByLabel(/^Why/).fill('one always there');
    await page.getByRole('button', { name: 'Run as a shadow' }).click();
    await expect(page).toHaveURL(/\/services\/drafts#shadow/);
    const shadow = page.locator('#shadow');
    await expect(shadow).toContainText('one always there');
    await expect(shadow, 'it appears by itself').toContainText('It wants 1 replica; the policy in force wants 0', { timeout: 15_000 });
    await expect(shadow.getByRole('img', { name: /wanted by the shadow/ })).toBeVisible();
    expect((await service('drafts')).replicas.wanted, 'it must never act').toBe(0);
    await shadow.getByRole('button', { name: 'Open the draft' }).click();
    await expect(editor(page, 'drafts')).toHaveValue(draft);
    await page.goto('/services/drafts');
    await shadow.getByRole('button', { name: 'End the shadow' }).click();
    await expect(shadow).toHaveCount(0);
    expect((await policy('drafts')).version).toBe(before.version);
  });
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('a simulation reads itself again until it is over', async ({ page }) => {
    const { text } = await policy('drafts');
    await page.goto('/policies/drafts');
    await editor(page, 'drafts').fill(drafted(text, 6));
    await page.getByLabel('Try it on').selectOption('mooncake-conversation');
    await page.getByRole('button', { name: 'Simulate' }).click();
    await done(page);
    await figures(page);
  });
});
