// An earlier version of a policy: seen and compared before it is in force again,
// and never over what somebody else has saved meanwhile.
import { test, expect } from './clean_page.js';
import { api, policy, savePolicy } from './outside.js';

test.use({ pardoned: [/status of 409/] }); // the browser's own word on a lost race

test('a rollback shows the difference first, keeps author and reason, and does not run over another change', async ({ page }) => {
  const good = await policy('drafts');
  const bad = good.text.replace(/^( *concurrency *=).*/m, `$1 ${40 + good.version}`);
  const version = await savePolicy('drafts', bad, { by: 'Grace', comment: 'too many slots' });

  await page.goto('/policies/drafts/history');
  await page.getByLabel('To version', { exact: true }).selectOption(String(good.version));
  await page.getByRole('button', { name: 'Compare and roll back' }).click();

  await test.step('nothing has happened yet', async () => {
    await expect(page.getByRole('status').filter({ hasText: 'text of' })).toContainText(`the text of version ${good.version}`);
    await expect(page.getByLabel('Policy drafts as HCL text')).toHaveValue(good.text);
    await expect(page.locator('#verdict')).toContainText('Valid');
    await expect(page.getByRole('heading', { name: `Against version ${version}` })).toBeVisible();
    await expect(page.locator('#verdict tr.removed code')).toContainText(String(40 + good.version));
    await expect(page.locator('#verdict .changes li')).toContainText('replicas.concurrency');
    await expect(page.getByLabel(/^Why/)).toHaveValue(`roll back to version ${good.version}`);
    expect((await policy('drafts')).version).toBe(version);
  });

  await test.step('somebody else saves meanwhile: both changes are shown and nothing is written', async () => {
    const theirs = `${bad}# theirs, ${version}\n`;
    expect(await savePolicy('drafts', theirs, { by: 'Grace', comment: 'a remark' })).toBe(version + 1);
    await page.getByLabel(/^Why/).fill('slots wait for memory');
    await page.getByLabel('Your name').fill('Ada');
    await page.getByRole('button', { name: `Roll back to version ${good.version}` }).click();
    await expect(page.getByRole('heading', { name: `Grace saved version ${version + 1} meanwhile` })).toBeVisible();
    await expect(page.getByLabel('Policy drafts as HCL text')).toHaveValue(good.text);
    expect(await policy('drafts')).toEqual({ version: version + 1, text: theirs });
  });

  await test.step('having seen it, the rollback is done, with author and reason', async () => {
    await page.getByRole('button', { name: `Save mine over version ${version + 1}` }).click();
    await expect(page.getByRole('status').filter({ hasText: 'Saved' })).toContainText(`Saved as version ${version + 2}`);
    expect(await policy('drafts')).toEqual({ version: version + 2, text: good.text });
    const [newest] = await api('/policies/drafts/versions');
    expect(newest).toMatchObject({ version: version + 2, author: 'Ada', comment: 'slots wait for memory' });
  });
});
