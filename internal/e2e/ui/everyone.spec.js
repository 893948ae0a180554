// Every page is for everyone: no violation that axe finds, wide and narrow, light
// and dark; nothing wider than the screen; and a picture of each, to look at.
import AxeBuilder from '@axe-core/playwright';
import { test, expect } from './clean_page.js';
import { api, ask, policy, savePolicy, translate } from './outside.js';
import { picture } from './pictures.js';

/** @typedef {import('@playwright/test').Page} Page */

const wide = { width: 1280, height: 900 };
const narrow = { width: 360, height: 740 };

/** How many pixels of the page are beside the screen. @param {Page} page */
const sideways = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** @type {Record<string, (page: Page) => Promise<unknown>>} how to get to each page */
const pages = {
  fleet: (page) => page.goto('/'),
  'fleet-found-nothing': (page) => page.goto('/?q=nobody'),
  service: (page) => page.goto('/services/translate-large'),
  'service-never-woken': (page) => page.goto('/services/drafts'),
  'service-pin': (page) => page.goto('/services/translate-large/pin'),
  'service-pin-dialog': async (page) => {
    await page.goto('/services/translate-large');
    await page.getByRole('link', { name: 'Pin', exact: true }).click();
    await expect(page.getByRole('dialog', { name: /Pin translate-large/ })).toBeVisible();
  },
  'cold-starts': async (page) => {
    await page.goto('/cold-starts');
    await page.getByText('The same as numbers').click();
  },
  'cold-starts-none': (page) => page.goto('/cold-starts?service=drafts'),
  decisions: async (page) => {
    await page.goto('/decisions');
    await page.locator('.decisions summary').first().click();
  },
  requests: (page) => page.goto('/queue'),
  'requests-none': (page) => page.goto('/queue?service=drafts'),
  'requests-cancel': async (page) => {
    const [{ id }] = await api('/requests?service=patient');
    await page.goto(`/queue/${id}/cancel`);
  },
  'requests-cancel-dialog': async (page) => {
    await page.goto('/queue');
    await page.getByRole('link', { name: 'Cancel request shown-1' }).click();
    await expect(page.getByRole('dialog', { name: 'Cancel this request of patient?' })).toBeVisible();
  },
  policies: (page) => page.goto('/policies'),
  policy: (page) => page.goto('/policies/translate'),
  'policy-new': (page) => page.goto('/policies/fresh'),
  'policy-wrong': async (page) => {
    await page.goto('/policies/drafts');
    const { text } = await policy('drafts');
    await page.getByLabel('Policy drafts as HCL text').fill(text.replace(/^( *max *=).*/m, '$1 "many"'));
    await expect(page.locator('#verdict .problems li')).not.toHaveCount(0);
  },
  'policy-conflict': async (page) => {
    await page.goto('/policies/drafts');
    const { text } = await policy('drafts');
    await page.getByLabel('Policy drafts as HCL text').fill(text.replace(/^( *concurrency *=).*/m, '$1 64'));
    await savePolicy('drafts', text.replace(/^( *description *=).*/m, `$1 "Nobody asks for it, as of ${Date.now()}"`), { by: 'Grace', comment: 'say when' });
    await page.getByRole('button', { name: 'Save', exact: true }).click();
    await expect(page.getByRole('heading', { name: /Grace saved version/ })).toBeVisible();
  },
  'policy-nothing-to-simulate': async (page) => {
    await page.goto('/policies/drafts');
    await page.getByRole('button', { name: 'Simulate' }).click();
    await expect(page.getByRole('alert')).toContainText('Nobody is known to have asked');
  },
  simulation: async (page) => {
    const { text } = await policy('translate-large');
    await page.goto('/policies/translate-large');
    await page.getByLabel('Policy translate-large as HCL text').fill(text.replace(/^( *max *=).*/m, '$1 9'));
    await page.getByLabel('Try it on').selectOption('azure-llm-2023-code');
    await page.getByRole('button', { name: 'Simulate' }).click();
    await expect(page.locator('#simulation')).toHaveAttribute('data-state', 'done', { timeout: 45_000 });
  },
  'service-shadow': async (page) => {
    const { text } = await policy('translate-large');
    await page.goto('/policies/translate-large');
    await page.getByLabel('Policy translate-large as HCL text').fill(text.replace(/^( *max *=).*/m, '$1 9'));
    await page.getByRole('button', { name: 'Run as a shadow' }).click();
    await expect(page.locator('#shadow')).toContainText('the policy in force wants', { timeout: 15_000 });
    await page.getByText('What both wanted, as a table').click();
  },
  'policy-history': async (page) => {
    const { text } = await policy('drafts');
    await savePolicy('drafts', text + '# one more line\n', { by: 'Grace', comment: 'a history worth comparing' });
    await page.goto('/policies/drafts/history');
  },
  'not-found': (page) => page.goto('/services/nobody'),
};

test.describe('every page is fit for everyone, wide and narrow, light and dark', () => {
  test.use({ pardoned: [/status of (404|409|422)/] });

  test.beforeAll('there is something to show', async () => {
    test.setTimeout(60_000);
    if ((await api('/cold-starts?service=translate-large')).length === 0) await translate('/large');
    if ((await api('/cold-starts?service=translate')).length === 0) await translate();
    for (const id of ['shown-1', 'shown-2']) await ask('/patient/x', { 'X-Request-Id': id, 'Prefer': 'respond-async', 'Idempotency-Key': id });
  });

  test.afterAll('the shadow ends', () => fetch(`${process.env.PILOTLIGHT_UI_CONTROL}/api/v1/policies/translate-large/shadow`, { method: 'DELETE' }));

  for (const [name, open] of Object.entries(pages)) {
    test(`the page ${name}`, async ({ page }) => {
      await open(page);
      await expect(page.locator('#live')).toHaveAttribute('data-state', 'live');
      for (const [width, viewport] of Object.entries({ wide, narrow })) {
        await page.setViewportSize(viewport);
        for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
          await page.emulateMedia({ colorScheme });
          await test.step(`${width}, ${colorScheme}`, async () => {
            expect(await sideways(page), 'pixels to scroll sideways').toBeLessThanOrEqual(0);
            await picture(page, `${name}-${width}-${colorScheme}`);
            const found = await new AxeBuilder({ page }).analyze();
            expect(found.violations.flatMap((v) => v.nodes.map((node) => `${v.id}: ${node.target} – ${node.failureSummary}`))).toEqual([]);
          });
        }
      }
    });
  }
});

test('long words do not make a phone scroll sideways', async ({ page }) => {
  const { text } = await policy('drafts');
  const word = 'https://tickets.example.com/'.padEnd(120, 'x');
  await savePolicy('drafts', text.replace(/^( *description *=).*/m, `$1 "${word}"`), { by: word.slice(0, 80), comment: word });
  await page.setViewportSize(narrow);
  for (const path of ['/policies', '/policies/drafts', '/policies/drafts/history', '/services/drafts', '/']) {
    await page.goto(path);
    expect(await sideways(page), `pixels to scroll sideways on ${path}`).toBeLessThanOrEqual(0);
  }
  await savePolicy('drafts', text, { by: 'Grace', comment: 'short words again' });
});

test('a phone shows every column of the fleet under its name', async ({ page }) => {
  await page.setViewportSize(narrow);
  await page.goto('/');
  const row = page.locator('tr[data-key="translate-large"]');
  const cells = await row.locator('[data-label]').all();
  expect(cells.length).toBeGreaterThan(5);
  for (const cell of cells) {
    await cell.scrollIntoViewIfNeeded();
    const label = await cell.getAttribute('data-label');
    const shown = await cell.evaluate((element) => getComputedStyle(element, '::before').content);
    const box = await cell.boundingBox();
    if (label !== 'Service' && label !== 'State') expect(shown, 'its name stands before it').toBe(`"${label}"`);
    expect(box && box.x >= 0 && box.x + box.width <= narrow.width, `${label} is within the screen`).toBe(true);
  }
});

test('every link and button of the service page can be reached with the keyboard', async ({ page }) => {
  await page.goto('/services/translate-large');
  await expect(page.locator('#live')).toHaveAttribute('data-state', 'live');
  const all = await page.locator('a[href]:visible, button:visible, summary:visible, input:visible').count();
  const reached = new Set();
  for (let presses = 0; presses < all + 20; presses++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return '';
      return [...document.querySelectorAll('*')].indexOf(element) + (element.matches('a[href], button, summary, input') ? '' : ' other');
    });
    if (at === '') break;
    if (!at.endsWith('other')) reached.add(at);
  }
  expect(reached.size, `of ${all}`).toBeGreaterThanOrEqual(all);
});

test('a confirmation opens over the page, keeps the focus and gives it back', async ({ page }) => {
  await page.goto('/');
  const pause = page.getByRole('link', { name: 'Pause drafts' });
  await pause.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Pause drafts?' });
  await expect(dialog).toBeVisible();
  await expect(dialog.getByLabel(/^Reason/)).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
  await expect(pause).toBeFocused();
});
