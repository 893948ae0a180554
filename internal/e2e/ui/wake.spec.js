// A translation wakes a model from zero, watched by an operator; and the model
// goes back to zero.
import { test, expect } from './clean_page.js';
import { api, atZero, metrics, service, translate } from './outside.js';
import { picture } from './pictures.js';

/** @typedef {import('@playwright/test').Page} Page */

/**
 * Notes every text that the elements of selector come to have, in order, in the
 * page itself: a glance now and then would miss the short ones.
 * @param {Page} page @param {string} selector
 */
async function note(page, selector) {
  await page.evaluate((selector) => {
    const seen = /** @type {any} */ (window).seen = [''];
    const look = () => {
      const text = [...document.querySelectorAll(selector)].map((e) => e.textContent?.trim()).join(' ');
      if (text !== seen[seen.length - 1]) seen.push(text);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
    look();
  }, selector);
}

/** What was noted since; fails if the page has been loaded anew. @param {Page} page @returns {Promise<string[]>} */
async function noted(page) {
  const seen = await page.evaluate(() => /** @type {any} */ (window).seen);
  expect(seen, 'the page was reloaded').toBeDefined();
  return seen.filter(Boolean);
}

/** Which of steps were seen, in the order in which they were first seen. @param {string[]} seen @param {string[]} steps */
const firstSeen = (seen, steps) => [...new Set(seen.flatMap((text) => steps.filter((step) => text.startsWith(step))))];

test('the fleet page shows a real translation wake its service, without reload', async ({ page }) => {
  await atZero('translate');
  await page.goto('/');
  const row = page.getByRole('row', { name: /^translate\s/ });
  await expect(row.getByText('zero', { exact: true })).toBeVisible();
  await expect(page.locator('#live')).toContainText('live');
  await note(page, 'tr[data-key="translate"] .state');

  const answer = await translate();
  expect(answer).toMatchObject({ status: 200, cold: 'true' });
  expect(answer.translation).toMatch(/^Hola/);

  await expect(row.getByText('ready', { exact: true })).toBeVisible();
  await expect(row.locator('[data-label="Ready / wanted"]')).toHaveText(/^1\s*\/\s*1$/);
  await expect(row.locator('[data-label="Last cold start"]')).toHaveText(/^[\d.]+\s*(ms|s)$/);
  expect((await translate()).cold, 'the next one is warm').toBe('false');
  expect(firstSeen(await noted(page), ['zero', 'waking', 'ready']).at(-1)).toBe('ready');

  await test.step('and back to zero, on which page, API and metrics agree', async () => {
    await expect(row.getByText('zero', { exact: true })).toBeVisible({ timeout: 20_000 });
    await expect(row.locator('[data-label="Ready / wanted"]')).toHaveText(/^0\s*\/\s*0$/);
    const seen = await noted(page);
    expect(seen.at(-1)).toBe('zero');
    expect(await service('translate')).toMatchObject({
      state: 'zero', replicas: { wanted: 0, pending: 0, starting: 0, ready: 0, draining: 0, list: [] }, demand: { in_flight: 0, held: 0 },
    });
    const replicas = await metrics('pilotlight_replicas', 'translate');
    expect(Object.keys(replicas).some((labels) => labels.includes('state="ready"')), 'the metrics know the service').toBe(true);
    expect(Object.values(replicas).every((count) => count === 0), JSON.stringify(replicas)).toBe(true);
    expect(await metrics('pilotlight_replicas_wanted', 'translate')).toEqual({ '': 0 });
  });
});

test('the service page follows a wake from held to answered, without reload', async ({ page }) => {
  await atZero('translate-large');
  await page.goto('/services/translate-large');
  await expect(page.locator('#live')).toContainText('live');
  await expect(page.locator('.head .state')).toHaveText('zero');
  const steps = ['held', 'place', 'start', 'load', 'ready', 'answered'];
  const strip = page.locator('#wake');
  await note(page, '#wake li[aria-current="step"] .name');

  const answered = translate('/large');
  await expect(page.locator('.head .state')).toHaveText('waking');
  await expect(page.locator('.sentence')).toContainText('1 request held');
  await expect(page.locator('.tiles div', { hasText: 'Held' }).locator('dd')).toHaveText(/^1/);
  await expect(strip.locator('[aria-current="step"] .name')).toHaveText('load');
  await expect(strip.locator('li.done .name')).toHaveText(['held', 'place', 'start']);
  await expect(page.locator('#replicas tbody tr')).toHaveCount(1);
  await expect(page.locator('#replicas .phase')).toHaveText('starting');
  await picture(page, 'service-waking');

  await expect(page.locator('.head .state'), 'ready, with the answer being computed').toHaveText('ready');
  await expect(page.locator('.tiles div', { hasText: 'In flight' }).locator('dd')).toHaveText('1');
  await expect(strip.locator('[aria-current="step"] .name')).toHaveText('answered');
  await expect(strip.locator('li.done .name')).toHaveText(steps.slice(0, -1));
  await expect(strip.locator('li', { hasText: 'load' })).toHaveText(/≤ \d\.\d\s*s$/);
  await expect(strip).toContainText('the first answer is being computed');
  await picture(page, 'service-answering');
  expect(await answered).toMatchObject({ status: 200, cold: 'true' });

  await expect(strip.locator('li.done .name')).toHaveText(steps);
  await expect(strip).toContainText(/The last cold start took 6\.\d s; 1 request waited\./);
  await expect(page.locator('#starts tbody tr').first()).toContainText('answered');
  const seen = firstSeen(await noted(page), steps);
  expect(seen, 'steps are shown in their order').toEqual(steps.filter((step) => seen.includes(step)));
  expect(seen).toEqual(expect.arrayContaining(['load', 'answered']));
  await expect(page.locator('#decisions tbody tr').first()).toContainText('0 → 1');
});

test('a cold start is found as a waterfall whose phases add up', async ({ page }) => {
  if ((await api('/cold-starts?service=translate-large')).length === 0) {
    await translate('/large');
    await expect.poll(async () => (await api('/cold-starts?service=translate-large')).length).toBeGreaterThan(0);
  }
  const [start] = await api('/cold-starts?service=translate-large&limit=1');
  expect(start.outcome).toBe('answered');

  await page.goto('/');
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Cold starts' }).click();
  await page.getByLabel('Service', { exact: true }).selectOption('translate-large');
  await expect(page).toHaveURL(/service=translate-large/);
  const row = page.locator(`.waterfalls tr[data-key="${start.id}"]`);
  await expect(row).toContainText('translate-large');
  await expect(row.locator('[data-label="Outcome"]')).toHaveText('answered');

  await test.step('as bars, each beginning where the one before it ends', async () => {
    const bars = row.locator('svg.bars rect');
    const names = await bars.locator('title').allTextContents();
    expect(names.map((name) => name.replace(/ [\d.]+ (ms|s|min)$/, ''))).toEqual(['decide', 'place', 'start', 'load', 'ready', 'first byte']);
    const drawn = await bars.evaluateAll((all) => all.map((bar) => ({ x: Number(bar.getAttribute('x')), width: Number(bar.getAttribute('width')) })));
    const thousandth = start.dur_ms / Math.max(...(await api('/cold-starts?service=translate-large&limit=50')).map((/** @type {any} */ s) => s.dur_ms)) / start.dur_ms * 1000;
    start.phases.forEach((/** @type {any} */ phase, /** @type {number} */ i) => {
      expect(Math.abs(drawn[i].x - phase.start_ms * thousandth), `${phase.name} begins at its place`).toBeLessThan(1);
      expect(drawn[i].width, `${phase.name} can be seen`).toBeGreaterThan(0);
    });
    await expect(row.locator('svg.bars')).toHaveAttribute('aria-label', /decide .*, load .*, first byte /);
  });

  await test.step('and as numbers that add up to the whole', async () => {
    await page.getByText('The same as numbers').click();
    const table = page.getByRole('table', { name: 'Phases of each cold start' });
    const heads = await table.locator('thead th').allTextContents();
    const cells = await table.locator('tbody tr').first().locator('td').allTextContents();
    const told = Object.fromEntries(heads.map((head, i) => [head, cells[i]]));
    let sum = 0;
    let blur = 0; // each figure is rounded to what is shown of it
    for (const phase of ['decide', 'place', 'start', 'load', 'ready', 'first byte']) {
      const { ms, within } = read(told[phase]);
      sum += ms;
      blur += within;
    }
    const whole = read(told.whole);
    expect(whole.ms, '4 s load and 2 s to the first byte').toBeGreaterThanOrEqual(6000 - whole.within);
    expect(Math.abs(sum - whole.ms), `${JSON.stringify(told)}`).toBeLessThanOrEqual(blur + whole.within);
    expect(read(told.load).ms, 'the model loads for 4 s').toBeGreaterThanOrEqual(4000 - read(told.load).within);
  });

  const exact = start.phases.reduce((/** @type {number} */ sum, /** @type {any} */ phase) => sum + phase.dur_ms, 0);
  expect(Math.abs(exact - start.dur_ms), 'the API adds up to the microsecond').toBeLessThan(0.01);
});

/** A figure as it is shown: milliseconds, and how far its rounding may be off. @param {string} shown */
function read(shown) {
  const [, digits, decimals = '', unit] = /^(\d+(?:\.(\d+))?)\s*(ms|s|min)$/.exec(shown.trim()) ?? [];
  expect(digits, `“${shown}” is a length of time`).toBeDefined();
  const factor = /** @type {Record<string, number>} */ ({ ms: 1, s: 1000, min: 60_000 })[unit];
  return { ms: Number(digits) * factor, within: 0.5 * factor / 10 ** decimals.length + 0.001 };
}
