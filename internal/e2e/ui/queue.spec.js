// Requests that wait are seen as they come, and a durable one is cancelled: with
// a dialog, and without JavaScript. What they carry is never shown.
import { test, expect } from './clean_page.js';
import { api, ask } from './outside.js';

/** The row of a request. @param {import('@playwright/test').Page} page @param {string} id */
const rowOf = (page, id) => page.getByRole('row').filter({ hasText: id });

/** Asks for an answer later; what the request carries is a secret. @param {string} id */
const later = (id) => ask('/patient/v1/predict', { 'X-Request-Id': id, 'Prefer': 'respond-async', 'Idempotency-Key': `secret-${id}` }, '"secret-body"');

test('a request appears when it waits, and is gone when it is cancelled, without reload', async ({ page }) => {
  const id = `seen-${Date.now()}`;
  await page.goto('/queue?service=patient');
  await expect(page.locator('#live')).toHaveAttribute('data-state', 'live');
  await page.evaluate(() => { /** @type {any} */ (window).same = true; });
  const { status, location } = await later(id);
  expect(status).toBe(202);
  const row = rowOf(page, id);
  await expect(row).toBeVisible();
  await expect(row.locator('[data-label="State"]')).toContainText('held');
  await expect(row.locator('[data-label="Place"]')).toHaveText(/^\d+$/);
  await expect(row.locator('[data-label="Kind"]')).toHaveText('async');
  await expect(row.locator('[data-label="Deadline"] time')).toHaveText(/^in \d/);
  await expect(row.locator('[data-label="Sent in about"]')).toContainText('unknown'); // it has never started
  expect(await page.content()).not.toContain('secret');

  await row.getByRole('link', { name: `Cancel request ${id}` }).click();
  const dialog = page.getByRole('dialog', { name: 'Cancel this request of patient?' });
  await expect(dialog).toContainText(/leaves the queue at place \d+/);
  await dialog.getByRole('link', { name: 'Keep it' }).click();
  await expect(dialog).toBeHidden();
  await expect(row).toBeVisible();
  expect(await page.evaluate(() => /** @type {any} */ (window).same), 'the page was reloaded').toBe(true);

  await row.getByRole('link', { name: `Cancel request ${id}` }).click();
  await dialog.getByLabel(/^Your name/).fill('Ada');
  await dialog.getByRole('button', { name: 'Cancel the request' }).click();
  await expect(page).toHaveURL(/\/queue\?service=patient$/);
  await expect(rowOf(page, id)).toHaveCount(0);
  await expect.poll(async () => (await ask(location, {}, undefined, 'GET')).body).toContain('"cancelled"');
});

test('the page of a service shows its first requests and leads to the others', async ({ page }) => {
  const id = `listed-${Date.now()}`;
  const { location } = await later(id);
  await page.goto('/services/patient');
  await expect(rowOf(page, id)).toBeVisible();
  await page.getByRole('link', { name: 'All requests' }).click();
  await expect(page).toHaveURL(/\/queue\?service=patient$/);
  await expect(page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Requests' })).toHaveAttribute('aria-current', 'page');
  await expect(rowOf(page, id)).toBeVisible();
  await page.getByRole('link', { name: 'running', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'No durable request runs' })).toBeVisible();
  await ask(location, {}, undefined, 'DELETE');
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false, pardoned: [/status of 404/] });

  test('requests are listed, filtered and cancelled on pages of their own', async ({ page }) => {
    const id = `plain-${Date.now()}`;
    await later(id);
    await page.goto('/');
    await page.getByRole('link', { name: 'Requests', exact: true }).click();
    await page.getByLabel('Service', { exact: true }).selectOption('patient');
    await page.getByRole('button', { name: 'Show' }).click();
    await rowOf(page, id).getByRole('link', { name: `Cancel request ${id}` }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Cancel this request of patient?');
    await page.getByRole('button', { name: 'Cancel the request' }).click();
    await expect(page).toHaveURL(/\/queue\?service=patient$/);
    await expect(rowOf(page, id)).toHaveCount(0);
    const left = await api('/requests?service=patient');
    expect(left.filter((/** @type {any} */ r) => r.request_id === id)).toEqual([]);

    await page.goto('/queue/patient.nobody/cancel');
    await expect(page.getByText('there is no such request')).toBeVisible();
  });
});
