// Screenshots of the pages, for people to look at: artifacts/ui/ at the root.
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../artifacts/ui/', import.meta.url));

/** @param {import('@playwright/test').Page} page @param {string} name */
export async function picture(page, name) {
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: `${folder}${name}.png`, fullPage: true });
}
