// Without JavaScript everything can be read, and a policy can be edited.
import { test, expect } from './clean_page.js';
import { api, policy, savePolicy } from './outside.js';

test.use({ javaScriptEnabled: false, pardoned: [/status of (422|409)/] });

test('every page can be read without JavaScript', async ({ page }) => {
  const names = (await api('/services')).map((/** @type {any} */ s) => s.name);
  await page.goto('/');
  for (const name of names) await expect(page.getByRole('rowheader', { name, exact: true })).toBeVisible();
  await expect(page.locator('#live')).toContainText(/as of \d\d:\d\d:\d\d UTC/);

  await page.getByRole('link', { name: 'translate-large', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('translate-large');
  await expect(page.locator('.sentence')).not.toBeEmpty();
  await page.getByText('The same as a table').click();
  await expect(page.getByRole('table', { name: /Timeline/ }).locator('tbody tr').first()).toBeVisible();

  await page.getByRole('link', { name: 'Cold starts', exact: true }).click();
  await page.getByLabel('Service', { exact: true }).selectOption('drafts');
  await page.getByRole('button', { name: 'Show' }).click();
  await expect(page.getByRole('heading', { name: 'No cold start of drafts yet' })).toBeVisible();

  await page.getByRole('link', { name: 'Decisions', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Decisions');
  await page.getByRole('link', { name: 'Policies', exact: true }).click();
  for (const name of names) await expect(page.getByRole('rowheader', { name, exact: true })).toBeVisible();
});

test('a service is found by name and an action is confirmed on a page of its own without JavaScript', async ({ page }) => {
  await page.goto('/');
  await page.getByLabel('Find a service by name').fill('draf');
  await page.getByRole('button', { name: 'Find' }).click();
  await expect(page.locator('table.fleet tbody tr')).toHaveCount(1);
  await page.getByRole('link', { name: 'Pause drafts' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pause drafts?');
  await page.getByRole('link', { name: 'Cancel' }).click();
  await expect(page).toHaveURL(/\/$/);
});

test('a policy is checked, corrected, saved over a conflict and rolled back without JavaScript', async ({ page }) => {
  await page.goto('/policies/drafts');
  const before = await policy('drafts');
  const text = page.getByLabel('Policy drafts as HCL text');
  const wished = before.text.replace(/^( *after *=).*/m, `$1 "${before.version}m"`);
  const wrong = wished.replace(/^( *max *=).*/m, '$1 -1');
  const line = wrong.split('\n').findIndex((one) => one.includes('-1')) + 1;

  await text.fill(wrong);
  await page.getByLabel(/^Why/).fill('sooner back at zero');
  await page.getByLabel('Your name').fill('Ada');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.locator('#verdict .problems li').first()).toContainText(`line ${line} replicas.max`);
  await expect(page.locator('.gutter li.wrong')).toHaveText(String(line));
  await expect(text).toHaveValue(wrong);

  await text.fill(wished);
  await page.getByRole('button', { name: 'Check and compare' }).click();
  await expect(page.locator('#verdict')).toContainText('Valid');
  await expect(page.locator('#verdict .changes')).toContainText('to_zero.after');

  const theirs = await savePolicy('drafts', before.text + '# seen\n', { by: 'Grace', comment: 'a remark' });
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.getByRole('heading', { name: `Grace saved version ${theirs} meanwhile` })).toBeVisible();
  await expect(text).toHaveValue(wished);
  await page.getByRole('button', { name: `Save mine over version ${theirs}` }).click();
  await expect(page.getByRole('status').filter({ hasText: 'Saved' })).toContainText(`Saved as version ${theirs + 1}`);
  expect(await policy('drafts')).toEqual({ version: theirs + 1, text: wished });

  await page.getByRole('link', { name: 'History', exact: true }).click();
  await page.getByLabel('To version', { exact: true }).selectOption(String(theirs));
  await page.getByRole('button', { name: 'Compare and roll back' }).click();
  await expect(text).toHaveValue(before.text + '# seen\n');
  await expect(page.locator('#verdict .changes')).toContainText('to_zero.after');
  await page.getByLabel(/^Why/).fill('the remark was right');
  await page.getByRole('button', { name: `Roll back to version ${theirs}` }).click();
  await expect.poll(async () => policy('drafts')).toEqual({ version: theirs + 2, text: before.text + '# seen\n' });
});
