// What an operator commands: each form asks for a reason, says what it will do,
// does it, and is among the decisions with who and why.
import { test, expect } from './clean_page.js';
import { api, atZero, command, service } from './outside.js';

/** @typedef {import('@playwright/test').Page} Page */

/**
 * Opens the form of a verb on the service's page, fills it in and sends it.
 * @param {Page} page @param {string} verb as its button says
 * @param {{reason: string, says: RegExp, replicas?: number}} form says: what it tells before
 */
async function operate(page, verb, form) {
  await page.getByRole('link', { name: verb, exact: true }).click();
  const dialog = page.getByRole('dialog', { name: `${verb} operated?` });
  await expect(dialog).toContainText(form.says);
  if (form.replicas !== undefined) await dialog.getByLabel('Replicas').fill(String(form.replicas));
  await dialog.getByLabel(/^Reason/).fill(form.reason);
  await dialog.getByLabel(/^Your name/).fill('Ada');
  await dialog.getByRole('button', { name: `${verb} operated` }).click();
  await expect(dialog).toBeHidden();
}

/** Fails unless the page and the API have the command as a decision. @param {Page} page @param {string} words @param {Record<string, unknown>} inputs */
async function recorded(page, words, inputs) {
  const row = page.locator('#decisions tbody tr').filter({ hasText: words });
  await expect(row).toHaveCount(1);
  await expect(row.locator('.rule')).toHaveText('operator');
  const found = (await api('/decisions?service=operated')).filter((/** @type {any} */ d) => d.rule === 'operator' && d.reason === words);
  expect(found).toHaveLength(1);
  expect(found[0].inputs).toMatchObject({ by: 'Ada', ...inputs });
}

test('every command of an operator has its effect, and a decision that says who and why', async ({ page }) => {
  for (const verb of ['resume', 'unpin', 'sleep']) await command('operated', verb);
  await atZero('operated');
  const time = Date.now(); // another run of this spec has its own reasons
  const state = page.locator('.head .state');
  const wanted = page.locator('.tiles div', { hasText: 'Ready / wanted' }).locator('dd');
  await page.goto('/services/operated');
  await expect(page.locator('#live')).toContainText('live');

  await test.step('wake launches a replica', async () => {
    await operate(page, 'Wake', { reason: `demo ${time}`, says: /One replica is launched/ });
    await expect(state).toHaveText('ready');
    await expect(wanted).toHaveText(/^1\s*\/\s*1$/);
    await recorded(page, `wake by Ada: demo ${time}`, { verb: 'wake', reason: `demo ${time}` });
  });

  await test.step('pin holds a count, within the policy', async () => {
    await page.getByRole('link', { name: 'Pin', exact: true }).click();
    const replicas = page.getByRole('dialog', { name: 'Pin operated?' }).getByLabel('Replicas');
    await expect(replicas).toHaveAttribute('max', '3');
    await page.keyboard.press('Escape');
    await operate(page, 'Pin', { reason: `campaign ${time}`, says: /Now: 1 wanted, 1 ready/, replicas: 2 });
    await expect(wanted).toHaveText(/^2\s*\/\s*2$/);
    await expect(page.locator('.notices li[data-kind="pinned"]').getByRole('heading')).toHaveText('Pinned to 2 replicas');
    await recorded(page, `pin to 2 by Ada: campaign ${time}`, { verb: 'pin', reason: `campaign ${time}` });
  });

  await test.step('unpin gives it back to the policy', async () => {
    await operate(page, 'Unpin', { reason: `over ${time}`, says: /The count of 2 is not held any more/ });
    await expect(page.locator('.notices li[data-kind="pinned"]')).toHaveCount(0);
    await recorded(page, `unpin by Ada: over ${time}`, { verb: 'unpin', reason: `over ${time}` });
    expect(await service('operated')).toMatchObject({ pinned: null });
    await expect(wanted, 'nobody asks for more than what is kept alive').toHaveText(/^1\s*\/\s*1$/, { timeout: 20_000 });
  });

  await test.step('pause stops every change', async () => {
    await operate(page, 'Pause', { reason: `repair ${time}`, says: /it keeps 1 replica/ });
    await expect(state).toHaveText('paused');
    await expect(page.locator('.sentence')).toContainText(new RegExp(`^Paused by Ada: repair ${time}, since .* UTC; nothing changes. 1 of 1 wanted replica ready`));
    expect(await service('operated')).toMatchObject({ state: 'paused', blocked_reason: null, paused_reason: `paused by Ada: repair ${time}` });
    await recorded(page, `pause by Ada: repair ${time}`, { verb: 'pause', reason: `repair ${time}` });
  });

  await test.step('resume ends it', async () => {
    await operate(page, 'Resume', { reason: `mended ${time}`, says: /The policy decides again, at once/ });
    await expect(state).not.toHaveText('paused');
    await recorded(page, `resume by Ada: mended ${time}`, { verb: 'resume', reason: `mended ${time}` });
  });

  await test.step('sleep drains to zero', async () => {
    await operate(page, 'Sleep', { reason: `night ${time}`, says: /All replicas \(1 ready, 0 starting\) are drained and stopped/ });
    await recorded(page, `sleep by Ada: night ${time}`, { verb: 'sleep', reason: `night ${time}` });
    await expect(state).toHaveText('zero', { timeout: 20_000 });
    await expect(wanted).toHaveText(/^0\s*\/\s*0$/);
  });
});
