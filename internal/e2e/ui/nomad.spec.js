// What others do in Nomad, what is in the way there, and what is not known:
// shown where an operator looks, with what can be done about it.
import AxeBuilder from '@axe-core/playwright';
import { test, expect } from './clean_page.js';
import { api, command, nomad, policy, service } from './outside.js';
import { picture } from './pictures.js';

/** @typedef {import('@playwright/test').Page} Page */

test.describe.configure({ timeout: 120_000 }); // axe reads each page four times

/** The notice of a kind. @param {Page} page @param {string} kind */
const notice = (page, kind) => page.locator(`.notices li[data-kind="${kind}"]`);

/** Wide and narrow, light and dark: nothing beside the screen, nothing that axe finds. @param {Page} page @param {string} name */
async function fitForEveryone(page, name) {
  for (const [width, viewport] of Object.entries({ wide: { width: 1280, height: 900 }, narrow: { width: 360, height: 740 } })) {
    await page.setViewportSize(viewport);
    for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
      await page.emulateMedia({ colorScheme });
      await test.step(`${name}, ${width}, ${colorScheme}`, async () => {
        expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
        await picture(page, `${name}-${width}-${colorScheme}`);
        const found = await new AxeBuilder({ page }).analyze();
        expect(found.violations.flatMap((v) => v.nodes.map((node) => `${v.id}: ${node.target} – ${node.failureSummary}`))).toEqual([]);
      });
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}

test('a registered job that is not the job spec is a notice with its differences, folded', async ({ page }) => {
  await page.goto('/services/adopted');
  const drift = notice(page, 'drift');
  await expect(drift.getByRole('heading')).toHaveText('Registered job differs');
  await expect(drift.locator('time')).toBeVisible();
  const differences = drift.locator('.changes li');
  await expect(differences.first()).toBeHidden();
  await drift.getByText(/^\d+ differences/).click();
  const timeout = differences.filter({ hasText: 'kill_timeout' });
  await expect(timeout.locator('del')).toHaveText('"20s"');
  await expect(timeout.locator('ins')).toHaveText('"10s"');

  await test.step('which stays unfolded when the page is brought up to date', async () => {
    await command('adopted', 'pin', { replicas: 0, reason: 'to change the page' });
    await expect(page.locator('.sentence')).toContainText('Held at 0: pinned to 0');
    await expect(timeout).toBeVisible();
  });
  await fitForEveryone(page, 'nomad-drift');
  await command('adopted', 'unpin');
});

test('a job that somebody stopped in Nomad is shown, and Resume says what it will do and does it', async ({ page }) => {
  await page.goto('/services/stopped');
  await expect(page.locator('.head .state')).toHaveText('zero');
  await nomad('DELETE', '/v1/job/stopped');

  await expect(page.locator('.head .state'), 'without reload').toHaveText('paused');
  await expect(page.locator('.sentence')).toContainText('Stopped in Nomad');
  await expect(notice(page, 'stopped')).toContainText('nomad job start');
  await fitForEveryone(page, 'nomad-stopped');
  await page.goto('/');
  const row = page.locator('tr[data-key="stopped"]');
  await expect(row.getByRole('link', { name: 'stopped in Nomad' })).toBeVisible();
  await row.getByRole('link', { name: 'stopped in Nomad' }).click();

  await page.getByRole('link', { name: 'Resume', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: /Resume stopped/ });
  await expect(dialog).toContainText('Job stopped is started again in Nomad, with count 0, as it was registered last');
  await dialog.getByLabel(/^Reason/).fill('the model is in place');
  await dialog.getByRole('button', { name: 'Resume stopped' }).click();
  await expect(notice(page, 'stopped')).toHaveCount(0);
  await expect(page.locator('.head .state')).toHaveText('zero');
  expect((await nomad('GET', '/v1/job/stopped')).Stop).toBe(false);
});

test('a count set by hand is shown as a pin with its end, and Unpin gives it back to the policy', async ({ page }) => {
  await page.goto('/services/scaled');
  await expect(page.locator('.head .state')).toHaveText('zero');
  await nomad('PUT', '/v1/job/scaled/scale', { Count: 2, Target: { Group: 'server' }, Message: 'for the demonstration' });

  const pin = notice(page, 'changed-by-hand');
  await expect(pin.getByRole('heading')).toHaveText(/^Pinned to 2 replicas by hand, until \d\d:\d\d:\d\d UTC \(in \d+ min\)$/);
  await expect(pin).toContainText('for the demonstration');
  await expect(page.locator('#replicas tbody tr')).toHaveCount(2);
  await fitForEveryone(page, 'nomad-by-hand');

  await pin.getByRole('link', { name: 'Unpin' }).click();
  const dialog = page.getByRole('dialog', { name: /Unpin scaled/ });
  await expect(dialog).toContainText('The count of 2 is not held any more');
  await dialog.getByLabel(/^Reason/).fill('the test is over');
  await dialog.getByRole('button', { name: 'Unpin scaled' }).click();
  await expect(pin.getByRole('link', { name: 'Unpin' })).toHaveCount(0);
  expect(await service('scaled')).toMatchObject({ pinned: null, pinned_until: null });
  await command('scaled', 'sleep');
});

test('a max of replicas beyond the GPUs of the cluster is a warning at its line, as it is typed and when it is saved', async ({ page }) => {
  const { text, version } = await policy('lucky'); // max = 2 on the one GPU that there is
  const line = text.split('\n').findIndex((one) => /^ *max *=/.test(one)) + 1;
  const warning = page.locator('#verdict .warnings li').filter({ hasText: 'replicas.max' });
  const words = '2 × 1 GPU = 2 GPUs, but the cluster has 1 healthy nvidia/gpu on 1 node';
  await page.goto('/policies/lucky');
  const editor = page.getByLabel('Policy lucky as HCL text');
  await editor.fill(text.replace(/^( *max *=).*/m, '$1 1'));
  await expect(page.locator('#verdict .changes')).toContainText('replicas.max');
  await expect(warning).toHaveCount(0);

  await editor.fill(`${text}# all the same\n`);
  await expect(warning).toContainText(`line ${line} replicas.max ${words}`);
  await expect(warning).toContainText('at most 1, or more nodes');
  await expect(page.locator('.gutter li.wrong')).toHaveCount(0);
  await fitForEveryone(page, 'nomad-beyond');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.getByRole('status').filter({ hasText: 'Saved' })).toContainText(`Saved as version ${version + 1}`);
  await expect(warning, 'a save is not refused').toContainText(words);
});

test('a GPU of which nothing is measured is unknown, with its reason for mouse, finger and keyboard', async ({ page }) => {
  await command('lucky', 'wake');
  await page.goto('/services/lucky');
  await expect(page.locator('.head .state')).toHaveText('ready');
  const cell = page.locator('#replicas td[data-label="GPU"]');
  const unknown = cell.getByText('unknown', { exact: true });
  await expect(unknown).toBeVisible();
  const { list } = (await service('lucky')).replicas;
  const reason = list[0].gpu_unknown_reason;
  expect(reason).toBeTruthy();
  await expect(unknown).toHaveAttribute('title', reason);
  await expect(cell.getByText(reason)).toBeHidden();
  await unknown.focus();
  await page.keyboard.press('Enter');
  await expect(cell.getByText(reason)).toBeVisible();
  await expect(page.locator('#replicas td[data-label="Node"]')).toContainText('gpu-1');
  await fitForEveryone(page, 'nomad-gpu-unknown');
});

test('a service for which there is no room says so, with the numbers and what to do', async ({ page }) => {
  await command('lucky', 'pin', { replicas: 1, reason: 'it has the only GPU' });
  await expect.poll(async () => (await service('lucky')).replicas.ready, { timeout: 20_000 }).toBe(1);
  await command('waiting', 'wake');
  await page.goto('/services/waiting');
  await expect(page.locator('.head .state')).toHaveText('blocked');
  await expect(page.locator('.sentence')).toContainText(/Blocked: no free GPU: 1 node, 0 of 1 .*gpu.* free/);
  await expect(page.locator('#block')).toContainText('What to do. It goes on by itself as soon as there is room.');
  await expect(page.locator('#decisions tbody tr').first()).toContainText('blocked');
  await fitForEveryone(page, 'nomad-blocked');
  await page.goto('/');
  await expect(page.locator('tr[data-key="waiting"] .why')).toContainText('0 of 1');
  await expect(page.locator('tr[data-key="lucky"]').getByRole('link', { name: 'pinned to 1' })).toBeVisible();
  await fitForEveryone(page, 'nomad-fleet');

  await test.step('and goes on by itself when there is room', async () => {
    await page.goto('/services/waiting');
    await command('lucky', 'unpin');
    await command('lucky', 'sleep');
    await expect(page.locator('.head .state')).toHaveText('ready', { timeout: 20_000 });
    await expect(page.locator('#block')).toHaveCount(0);
  });
  await command('waiting', 'sleep');
});

test('an image that is being pulled is a step of its own, with what its node says of it', async ({ page }) => {
  await command('pulled', 'wake');
  await page.goto('/services/pulled');
  await expect(page.locator('#wake [aria-current="step"] .name')).toHaveText('pull');
  await expect(page.locator('#wake li.done .name')).toHaveText(['held', 'place']);
  await expect(page.locator('#replicas .progress')).toContainText(/Downloading image registry.example\/engine:2|3 of 8 layers/);
  await expect(page.locator('#wake')).toContainText('Its node says:');
  await fitForEveryone(page, 'nomad-pulling');
  await command('pulled', 'sleep');
});

test('every field of a service that the API answers is explained in its description', async () => {
  const { components: { schemas } } = await api('/openapi.json');
  const explained = (/** @type {string} */ name) => Object.entries(schemas[name].properties)
    .filter(([, property]) => /** @type {any} */ (property).description).map(([field]) => field);
  for (const answered of await api('/services')) {
    expect(explained('ServiceInfo')).toEqual(expect.arrayContaining(Object.keys(answered)));
    for (const replica of answered.replicas.list) expect(explained('Replica')).toEqual(expect.arrayContaining(Object.keys(replica)));
    for (const told of answered.notices) expect(explained('Notice')).toEqual(expect.arrayContaining(Object.keys(told)));
  }
});
