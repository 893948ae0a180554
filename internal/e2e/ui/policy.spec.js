// Policies as text: what is wrong is said at its line, what is saved is obeyed
// and kept with its author and reason, and nobody's text is ever lost.
import { readFileSync } from 'node:fs';
import { test, expect } from './clean_page.js';
import { api, atZero, policy, savePolicy, service, translate } from './outside.js';

/** @typedef {import('@playwright/test').Page} Page */

/** The editor's text. @param {Page} page @param {string} name */
const editor = (page, name) => page.getByLabel(`Policy ${name} as HCL text`);

/** Number of the line, from 1, that holds words. @param {string} text @param {string} words */
const lineOf = (text, words) => text.split('\n').findIndex((line) => line.includes(words)) + 1;

test.describe('an operator edits a policy as text', () => {
  test.use({ pardoned: [/status of 422/] }); // the browser's own word on a wrong draft

  test('a wrong value is shown at its line, what is saved is obeyed, and the history says who and why', async ({ page }) => {
    const first = readFileSync(new URL('fleet/policies/chat.hcl', import.meta.url), 'utf8');
    if ((await policy('chat')).text.trim() !== first.trim()) await savePolicy('chat', first, { by: 'Grace', comment: 'as it began' });
    await atZero('chat');
    await page.goto('/services/chat');
    await page.getByRole('link', { name: 'Policy', exact: true }).click();
    const text = editor(page, 'chat');
    const before = await policy('chat');
    await expect(text).toHaveValue(before.text);
    const wished = before.text.replace(/^( *max *=).*/m, '$1 2').replace(/^( *demand *=).*/m, '$1 2');
    const wrong = wished.replace(/^( *demand *=).*/m, '$1 "much"');

    await test.step('as it is typed', async () => {
      await text.fill(wrong);
      const problem = page.locator('#verdict .problems li');
      await expect(problem).toHaveCount(1);
      await expect(problem).toContainText(`line ${lineOf(wrong, '"much"')}`);
      await expect(problem).toContainText('scale_up.demand');
      await expect(page.locator('.gutter li.wrong')).toHaveText(String(lineOf(wrong, '"much"')));
      await expect(text).toHaveValue(wrong);
    });

    await test.step('and again when it is saved all the same, with text and reason kept', async () => {
      await page.getByLabel(/^Why/).fill('bursts come in the afternoon');
      await page.getByLabel('Your name').fill('Ada');
      await page.getByRole('button', { name: 'Save', exact: true }).click();
      await expect(page.locator('#verdict .problems li')).toContainText(`line ${lineOf(wrong, '"much"')}`);
      await expect(text).toHaveValue(wrong);
      await expect(text).toBeFocused();
      expect(await text.evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd)), 'the line is selected').toContain('"much"');
      await expect(page.getByLabel(/^Why/)).toHaveValue('bursts come in the afternoon');
      expect((await policy('chat')).version, 'nothing was written').toBe(before.version);
    });

    const version = before.version + 1;
    await test.step('the right text is saved', async () => {
      await text.fill(wished);
      await expect(page.locator('#verdict')).toContainText('Valid');
      await expect(page.locator('#verdict .changes')).toContainText('replicas.max');
      await page.getByRole('button', { name: 'Save', exact: true }).click();
      await expect(page.getByRole('status').filter({ hasText: 'Saved' })).toContainText(`Saved as version ${version}`);
      await expect(text).toHaveValue(wished);
      expect((await policy('chat')).text).toBe(wished);
    });

    await test.step('the history has who, why and the change', async () => {
      await page.getByRole('link', { name: 'History', exact: true }).click();
      const row = page.getByRole('table', { name: /Versions/ }).getByRole('row', { name: new RegExp(`^${version}\\b`) });
      await expect(row).toContainText('in force');
      await expect(row).toContainText('Ada');
      await expect(row).toContainText('bursts come in the afternoon');
      await expect(page.getByRole('heading', { name: `Version ${before.version} → ${version}` })).toBeVisible();
      await expect(page.locator('table.diff tr.added code').filter({ hasText: 'max' })).toContainText('2');
      await expect(page.locator('.changes li').filter({ hasText: 'replicas.max' })).toContainText('1 → 2');
      await expect(page.locator('.changes li').filter({ hasText: 'scale_up.demand' })).toContainText('50 → 2');
    });

    await test.step('the scaler obeys it', async () => {
      await page.goto('/services/chat');
      await expect(page.locator('#live')).toContainText('live');
      const burst = Promise.all(Array.from({ length: 12 }, () => translate('/chat')));
      const wanted = page.locator('.tiles div', { hasText: 'Ready / wanted' }).locator('dd');
      await expect(wanted, 'the new threshold asks for more, up to the new max').toHaveText(/\/\s*2$/, { timeout: 20_000 });
      expect(await service('chat')).toMatchObject({ policy_version: version, replicas: { wanted: 2 } });
      expect((await burst).map((answer) => answer.status)).toEqual(Array(12).fill(200));
      const [decision] = (await api('/decisions?service=chat')).filter((/** @type {any} */ d) => d.to === 2);
      expect(decision, 'the decision names its reason and the version it obeyed').toMatchObject({ from: 1, policy_version: version });
      expect(decision.reason).toMatch(/demand/);
    });
  });
});

test.describe('two people edit the same policy', () => {
  test.use({ pardoned: [/status of 409/] });

  test('who saves over an older version sees the other change beside their own and loses nothing', async ({ page }) => {
    await page.goto('/policies/drafts');
    const before = await policy('drafts');
    const mine = before.text.replace(/^( *concurrency *=).*/m, `$1 ${10 + before.version}`);
    const theirs = before.text.replace(/^( *max *=).*/m, `$1 ${2 + before.version}`);
    await editor(page, 'drafts').fill(mine);
    await page.getByLabel(/^Why/).fill('more slots');
    await page.getByLabel('Your name').fill('Ada');
    await page.evaluate(() => { /** @type {any} */ (window).unmoved = true; });

    const version = await savePolicy('drafts', theirs, { by: 'Grace', comment: 'more replicas' });

    await test.step('the open editor is told, and its text stays', async () => {
      await expect(page.locator('#elsewhere')).toContainText(`Grace saved version ${version} just now: “more replicas”`, { timeout: 2000 });
      await expect(editor(page, 'drafts')).toHaveValue(mine);
      expect(await page.evaluate(() => /** @type {any} */ (window).unmoved), 'the page was not loaded anew').toBe(true);
    });

    await test.step('saving shows both changes and writes nothing', async () => {
      await page.getByRole('button', { name: 'Save', exact: true }).click();
      const heading = page.getByRole('heading', { name: `Grace saved version ${version} meanwhile` });
      await expect(heading).toBeVisible();
      await expect(heading).toBeFocused();
      const conflict = page.locator('.conflict');
      await expect(conflict).toContainText('more replicas');
      await expect(conflict.locator('.sides > div').first().locator('tr.added')).toContainText(`${2 + before.version}`);
      await expect(conflict.locator('.sides > div').last().locator('tr.added')).toContainText(`${10 + before.version}`);
      await expect(editor(page, 'drafts')).toHaveValue(mine);
      await expect(page.getByLabel(/^Why/)).toHaveValue('more slots');
      expect(await policy('drafts')).toEqual({ version, text: theirs });
    });

    await test.step('both changes together can be saved on top', async () => {
      const both = theirs.replace(/^( *concurrency *=).*/m, `$1 ${10 + before.version}`);
      await editor(page, 'drafts').fill(both);
      await page.getByRole('button', { name: `Save mine over version ${version}` }).click();
      await expect(page.getByRole('status').filter({ hasText: 'Saved' })).toContainText(`Saved as version ${version + 1}`);
      expect(await policy('drafts')).toEqual({ version: version + 1, text: both });
    });
  });
});

test('a policy is edited and saved with the keyboard alone', async ({ page }) => {
  await page.goto('/policies/drafts');
  const before = await policy('drafts');

  /** Tab until the focus is where it should be. @param {import('@playwright/test').Locator} target */
  const tabTo = async (target) => {
    for (let presses = 0; presses < 40; presses++) {
      await page.keyboard.press('Tab');
      await expectFocusSeen(page);
      if (await target.evaluate((element) => element === document.activeElement)) return;
    }
    throw new Error(`the keyboard does not reach ${target}`);
  };
  await page.keyboard.press('Tab');
  const skip = page.getByRole('link', { name: 'Skip to content' });
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press('Enter');
  await expect(page.locator('main')).toBeFocused();

  await tabTo(editor(page, 'drafts'));
  await page.keyboard.press('Control+Home');
  await page.keyboard.type(`# version ${before.version + 1}, typed`);
  await page.keyboard.press('Enter');
  await tabTo(page.getByLabel(/^Why/));
  await page.keyboard.type('no mouse at hand');
  await tabTo(page.getByRole('button', { name: 'Save', exact: true }));
  await page.keyboard.press('Enter');
  await expect(page.getByRole('status').filter({ hasText: 'Saved' })).toContainText(`Saved as version ${before.version + 1}`);
  expect((await policy('drafts')).text).toBe(`# version ${before.version + 1}, typed\n${before.text}`);
});

/** Fails unless the focused element differs from its unfocused self to the eye. @param {Page} page */
async function expectFocusSeen(page) {
  const seen = await page.evaluate(() => {
    const element = /** @type {HTMLElement} */ (document.activeElement);
    const look = () => {
      const chain = [element, element.parentElement].map((e) => e && getComputedStyle(e));
      return chain.map((style) => style && `${style.outlineStyle} ${style.outlineWidth} ${style.boxShadow} ${style.borderColor} ${style.backgroundColor}`).join('|');
    };
    const focused = look();
    element.blur();
    const plain = look();
    element.focus({ focusVisible: true, preventScroll: true });
    return { same: focused === plain, element: element.outerHTML.slice(0, 120) };
  });
  expect(seen.same, `the focus on ${seen.element} cannot be seen`).toBe(false);
}
